"""The buckets of these tests lie on real servers or on emulators (``make test-remote``)."""

import itertools
import os
from typing import NamedTuple
from unittest.mock import patch

import pytest

from cache_schema.place import to_place
from tests.faulty_server import faulty_server
from tests.object_servers import BUCKET, CREDENTIALS
from tests.remote.azurite import azurite_server
from tests.remote.google_server import google_server
from tests.remote.radosgw import radosgw_server

NUMBERS = itertools.count()


class Server(NamedTuple):
    """What a client needs to know."""

    root: str
    """The address of the bucket."""
    environment: dict[str, str]


@pytest.fixture(scope="session")
def radosgw():
    with radosgw_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def ceph(radosgw):
    return Server(f"s3+{radosgw}/{BUCKET}", CREDENTIALS)


@pytest.fixture(scope="session")
def azure():
    with azurite_server(BUCKET) as environment:
        yield Server(f"az://{BUCKET}", environment)


@pytest.fixture(scope="session")
def google():
    with google_server(BUCKET) as environment:
        yield Server(f"gs://{BUCKET}", environment)


@pytest.fixture(scope="session", params=["ceph", "azure", "google"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def address(server):
    """Where a store of this test may lie; the test runs once on each server."""
    with patch.dict(os.environ, server.environment):
        yield to_place(f"{server.root}/{next(NUMBERS)}/store.zarr")


@pytest.fixture
def ceph_address(ceph, credentials):
    return to_place(f"{ceph.root}/{next(NUMBERS)}/store.zarr")


@pytest.fixture
def faulty(radosgw):
    with faulty_server(radosgw) as server:
        yield server


@pytest.fixture
def faulty_address(ceph_address, faulty):
    """The same place, behind a server with faults."""
    _, _, path = ceph_address.url.partition(f"/{BUCKET}/")
    return to_place(f"s3+{faulty.endpoint}/{BUCKET}/{path}")
