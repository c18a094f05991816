"""Where a server of the tests may listen, and whether it does."""

import socket
import time
import urllib.error
import urllib.request
from contextlib import ExitStack

__all__ = ["answers", "free_ports", "until_answered"]


def free_ports(count: int) -> int:
    """Return the first of some ports in a row that nobody uses."""
    for first in range(27_100, 60_000, count):
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    one = stack.enter_context(socket.socket())
                    one.bind(("127.0.0.1", port))
                return first
            except OSError:
                continue
    raise OSError("no free ports")


def answers(url: str) -> bool:
    """Tell whether a server answers at all."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def until_answered(url: str, seconds: float = 60) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + seconds
    while not answers(url):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} does not answer")
        time.sleep(0.1)
