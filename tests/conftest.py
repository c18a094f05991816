"""Tests that need a GPU: skipped where there is none, failed where one is promised.

And for all tests: what opens pages in a browser, a bucket, and a hub.
"""

import logging
import os

import hypothesis
import pytest

from tests.browser import chromium, open_page
from tests.hub import hub
from tests.object_servers import address, credentials, moto

__all__ = ["address", "chromium", "credentials", "hub", "moto", "open_page"]

# No test measures time: a busy machine may take a second for what takes a millisecond.
hypothesis.settings.register_profile("without a clock", deadline=None)
hypothesis.settings.load_profile("without a clock")


@pytest.fixture(autouse=True)
def own_log():
    """Take back the handler that commands give this process: its stream ends with the test."""
    yield
    package = logging.getLogger("train")
    package.handlers = []
    package.propagate = True


def pytest_runtest_setup(item):
    if item.get_closest_marker("needs_cuda") is None:
        return
    import torch

    if torch.cuda.is_available():
        return
    if os.environ.get("REQUIRE_CUDA") == "1":
        pytest.fail("REQUIRE_CUDA=1, but torch sees no GPU here", pytrace=False)
    pytest.skip("torch sees no GPU here; with REQUIRE_CUDA=1 this is a failure")
