"""One small demo set for all tests of the demo package."""

from pathlib import Path

import pytest

from demo.folder import write_demo
from demo.truth import SMALL_SPEC


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "set"
    assert len(list(write_demo(folder, SMALL_SPEC))) == 6
    return folder
