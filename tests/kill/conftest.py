import pytest

from cache_schema.proof import foreign
from tests.kill.server import KillServer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A process that forks workers, whose commands see the module's folder as the current one."""
    server = KillServer(tmp_path_factory.mktemp("killed"))
    yield server
    server.close()


@pytest.fixture(autouse=True)
def quick_verification(monkeypatch):
    """Compare the first and last rows of a part through zarr-python: a store is verified often."""
    monkeypatch.setattr(foreign, "SAMPLED_WINDOWS", 2)
