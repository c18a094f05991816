"""The bucket of these tests lies on a real server (``make test-remote``)."""

import itertools

import pytest

from cache_schema.place import to_place
from tests.faulty_server import faulty_server
from tests.object_servers import BUCKET
from tests.remote.radosgw import radosgw_server

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def radosgw():
    with radosgw_server() as endpoint:
        yield endpoint


@pytest.fixture
def address(radosgw, credentials):
    return to_place(f"s3+{radosgw}/{BUCKET}/{next(NUMBERS)}/store.zarr")


@pytest.fixture
def faulty(radosgw):
    with faulty_server(radosgw) as server:
        yield server


@pytest.fixture
def faulty_address(address, faulty):
    """The same place, behind a server with faults."""
    _, _, path = address.url.partition(f"/{BUCKET}/")
    return to_place(f"s3+{faulty.endpoint}/{BUCKET}/{path}")
