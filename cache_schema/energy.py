"""Energy that processors and GPUs took while a block ran, where the machine tells it.

Processors: RAPL counters that Linux shows as files, often to the administrator alone. GPUs: NVML,
if its Python package (``nvidia-ml-py``) is installed. What cannot be read is not guessed.
"""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

__all__ = ["POWERCAP", "EnergyMeter"]

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows what processors took (kernel documentation, power/powercap)."""

LOOK_SECONDS = 10.0
"""A counter of 65 kJ that starts again at zero lasts a minute at 1 kW."""


class _Counter(Protocol):
    """Joules of one processor or GPU, added up at every look."""

    joules: float

    def look(self) -> None:
        """Add what was taken since the last look; an OSError if that cannot be read."""


class EnergyMeter:
    """Measures the energy of a block: of the whole processors and GPUs, whoever used them.

    Args:
        gpus: UUIDs of the GPUs in use; None if other machines do the work, whose energy nobody
            measures.
        powercap: Folder of the processors' counters.
    """

    def __init__(self, gpus: Collection[str] | None, powercap: Path = POWERCAP) -> None:
        self._gpus = gpus
        self._powercap = powercap
        self._counters: list[_Counter] = []
        self._is_known = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="energy", daemon=True)

    def __enter__(self) -> "EnergyMeter":
        try:
            if self._gpus is not None:
                self._counters = [*_processors(self._powercap), *map(_Gpu, sorted(self._gpus))]
                self._is_known = True
        except OSError:
            return self
        if self._is_known:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._look()

    @property
    def joules(self) -> float | None:
        """What the block took so far; None if anything in use cannot be read."""
        return sum(counter.joules for counter in self._counters) if self._is_known else None

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        try:
            for counter in self._counters:
                counter.look()
        except OSError:
            self._is_known = False


class _Package:
    """A processor; its counter starts again at zero when it is full."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range = _microjoules(folder / "max_energy_range_uj")
        self._last = _microjoules(self._file)
        self.joules = 0.0

    def look(self) -> None:
        now = _microjoules(self._file)
        self.joules += (now - self._last) % self._range / 1e6
        self._last = now


class _Gpu:
    """A GPU; its counter runs from the driver's start."""

    def __init__(self, uuid: str) -> None:
        try:
            import pynvml  # type: ignore[import-untyped,import-not-found,unused-ignore]
        except ImportError as error:
            raise OSError("nvidia-ml-py is not installed") from error
        self._nvml = pynvml
        self._uuid = uuid
        with self._errors():
            pynvml.nvmlInit()
        self._last = self._millijoules()
        self.joules = 0.0

    def look(self) -> None:
        now = self._millijoules()
        self.joules += (now - self._last) / 1e3
        self._last = now

    def _millijoules(self) -> int:
        with self._errors():
            handle = self._nvml.nvmlDeviceGetHandleByUUID(self._uuid)
            return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._nvml.NVMLError as error:
            raise OSError(str(error)) from error


def _processors(powercap: Path) -> list[_Counter]:
    """Return a counter for each processor; its cores are counted in it, memory is not."""
    folders = sorted(powercap.glob("intel-rapl:*"))  # AMD's too have this name
    packages: list[_Counter] = [
        _Package(folder)
        for folder in folders
        if (folder / "name").read_text(encoding="utf-8").startswith("package")
    ]
    if not packages:
        raise FileNotFoundError(powercap)
    return packages


def _microjoules(file: Path) -> int:
    return int(file.read_text(encoding="utf-8"))
