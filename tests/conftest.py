"""Tests that need a GPU: skipped where there is none, failed where one is promised.

And what opens pages in a browser, for all tests.
"""

import os

import pytest

from tests.browser import chromium, open_page

__all__ = ["chromium", "open_page"]


def pytest_runtest_setup(item):
    if item.get_closest_marker("needs_cuda") is None:
        return
    import torch

    if torch.cuda.is_available():
        return
    if os.environ.get("REQUIRE_CUDA") == "1":
        pytest.fail("REQUIRE_CUDA=1, but torch sees no GPU here", pytrace=False)
    pytest.skip("torch sees no GPU here; with REQUIRE_CUDA=1 this is a failure")
