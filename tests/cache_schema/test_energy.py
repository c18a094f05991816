import sys
import time
from types import SimpleNamespace

import pytest

from cache_schema import energy
from cache_schema.energy import EnergyMeter


@pytest.fixture
def powercap(tmp_path):
    """Return two processors, each with a part of itself, and the whole machine."""
    for name, kind in {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
    }.items():
        folder = tmp_path / "powercap" / name
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{kind}\n")
        (folder / "max_energy_range_uj").write_text("10000000\n")
        (folder / "energy_uj").write_text("4000000\n")
    return tmp_path / "powercap"


def turn_to(powercap, name, microjoules):
    """Show another number, as the kernel does: whoever reads at any instant gets a whole one."""
    shown = powercap / name / "energy_uj"
    (powercap / "next").write_text(f"{microjoules}\n")
    (powercap / "next").replace(shown)


def test_joules_are_those_of_whole_processors(powercap):
    with EnergyMeter([], powercap) as meter:
        turn_to(powercap, "intel-rapl:0", 5_500_000)
        turn_to(powercap, "intel-rapl:0:0", 5_400_000)
        turn_to(powercap, "intel-rapl:1", 4_250_000)
        turn_to(powercap, "intel-rapl:2", 9_000_000)
    assert meter.joules == pytest.approx(1.5 + 0.25)


def test_a_counter_that_starts_again_goes_on(powercap):
    with EnergyMeter([], powercap) as meter:
        turn_to(powercap, "intel-rapl:0", 1_000_000)
    assert meter.joules == pytest.approx(7.0)


def test_it_looks_while_the_block_runs(powercap, monkeypatch):
    monkeypatch.setattr(energy, "LOOK_SECONDS", 0.01)
    with EnergyMeter([], powercap) as meter:
        turn_to(powercap, "intel-rapl:0", 9_000_000)
        wait_for(lambda: meter.joules == pytest.approx(5.0))
        turn_to(powercap, "intel-rapl:0", 8_000_000)
    assert meter.joules == pytest.approx(14.0)


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_what_cannot_be_read_is_not_known(powercap, tmp_path):
    with EnergyMeter([], tmp_path / "nothing") as meter:
        pass
    assert meter.joules is None
    with EnergyMeter(None, powercap) as elsewhere:
        pass
    assert elsewhere.joules is None
    with EnergyMeter([], powercap) as lost:
        (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert lost.joules is None


class FakeNvml(SimpleNamespace):
    class NVMLError(Exception):
        pass

    millijoules = 1000

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != "GPU-1":
            raise self.NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        return self.millijoules


def test_a_gpu_in_use_is_counted_too(powercap, monkeypatch):
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with EnergyMeter(["GPU-1"], powercap) as meter:
        nvml.millijoules = 3500
        turn_to(powercap, "intel-rapl:0", 4_500_000)
    assert meter.joules == pytest.approx(2.5 + 0.5)


@pytest.mark.parametrize("module", [None, FakeNvml()])
def test_without_the_gpu_in_use_nothing_is_known(powercap, monkeypatch, module):
    monkeypatch.setitem(sys.modules, "pynvml", module)
    with EnergyMeter(["GPU-2"], powercap) as meter:
        pass
    assert meter.joules is None
