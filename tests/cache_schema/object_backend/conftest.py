import itertools

import pytest

from cache_schema.place import to_place
from tests.object_servers import BUCKET, CREDENTIALS, moto_server

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def moto():
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def credentials(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def address(moto, credentials):
    """Where a store of this test may lie."""
    return to_place(f"s3+{moto}/{BUCKET}/{next(NUMBERS)}/store.zarr")
