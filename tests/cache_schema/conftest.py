import itertools
import os
from unittest.mock import patch

import pytest

from cache_schema.place import to_place
from tests.object_servers import BUCKET, CREDENTIALS, moto_server

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def moto():
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def credentials():
    with patch.dict(os.environ, CREDENTIALS):
        yield


@pytest.fixture
def address(moto, credentials):
    """Where a store of this test may lie."""
    return to_place(f"s3+{moto}/{BUCKET}/{next(NUMBERS)}/store.zarr")
