import pytest

from cache_schema.testing import StoreContract
from tests.cache_schema.killing import check_kills


class TestObjectStore(StoreContract):
    @pytest.fixture
    def path(self, address):
        return address


def test_committed_videos_survive_kills(address):
    check_kills(address, kills=2)
