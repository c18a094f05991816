"""The most memory that a process has held."""

import re
from pathlib import Path

__all__ = ["peak_bytes"]


def peak_bytes() -> int:
    """Return this process's peak of resident memory, shared pages included; 0 if it is not known.

    ``getrusage`` would not do: to a new process it counts what the one that started it held.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
