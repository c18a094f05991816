"""A real SLURM with two virtual nodes, for the suite of ``make test-cluster``."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

START = Path(__file__).parent / "start_slurm.sh"


def pytest_configure(config):
    config.addinivalue_line("markers", "slurm: starts SLURM on this host (make test-cluster)")


@pytest.fixture(scope="session", autouse=True)
def slurm():
    """Start SLURM; everything it knows lies in one temporary folder."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        # munged asks that everybody may reach its socket; pytest's own folders are closed.
        Path(name).chmod(0o755)
        os.environ["SLURM_CONF"] = f"{name}/slurm.conf"
        try:
            subprocess.run([START, name], check=True, timeout=300)
            yield
        finally:
            subprocess.run([START, "--stop", name], check=True, timeout=60)
