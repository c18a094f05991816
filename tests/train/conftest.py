"""Leaves the package's log as it was: a command sends it to a stream that ends with its test."""

import logging

import pytest


@pytest.fixture(autouse=True)
def own_log(monkeypatch):
    package = logging.getLogger("train")
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(package, name, getattr(package, name))
