"""What a launcher such as torchrun says to each process, checked before anything believes it.

RANK, WORLD_SIZE, LOCAL_RANK     which process of how many this is, and which of its machine
MASTER_ADDR, MASTER_PORT         where the processes meet
"""

import re
from collections.abc import Mapping

from cache_schema.errors import ConfigError

__all__ = ["check_launch", "check_meeting"]

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
VARIABLES = (*NUMBERS, "MASTER_ADDR", "MASTER_PORT")
WAY_OUT = (
    "Start the processes with torchrun, which sets all of them (docs/training.md), or one process "
    f"alone: env {' '.join(f'-u {name}' for name in NUMBERS)} vllm-train ..."
)


def check_launch(environment: Mapping[str, str]) -> None:
    """Refuse a launcher's variables that are not whole; without any, a process trains alone.

    A process that is the only one (RANK 0 of a WORLD_SIZE of 1, as some clusters set) needs no
    others to be told of, unless LOCAL_RANK asks for a meeting.

    Raises:
        ConfigError: if one is missing or wrong.
    """
    numbers = {name: _number(environment, name) for name in NUMBERS if name in environment}
    rank, size = numbers.get("RANK", 0), numbers.get("WORLD_SIZE", 1)
    if numbers.get("LOCAL_RANK", -1) == -1 and rank <= 0 and size <= 1:
        return
    if missing := [name for name in VARIABLES if not environment.get(name)]:
        given = ", ".join(f"{name}={number}" for name, number in numbers.items())
        raise ConfigError(
            f"{given} in the environment: a launcher started several processes, but "
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set. {WAY_OUT}"
        )
    _number(environment, "MASTER_PORT")
    if not 0 <= numbers["LOCAL_RANK"] <= rank < size:
        raise ConfigError(
            f"RANK={rank}, WORLD_SIZE={size}, LOCAL_RANK={numbers['LOCAL_RANK']} in the "
            f"environment: expected 0 <= LOCAL_RANK <= RANK < WORLD_SIZE. {WAY_OUT}"
        )


def check_meeting(environment: Mapping[str, str], num_processes: int) -> None:
    """Refuse to train alone beside others that do the same, each in its own way.

    Args:
        environment: One that ``check_launch`` took.
        num_processes: How many have met.

    Raises:
        ConfigError: if these are not as many as were started.
    """
    started = environment.get("WORLD_SIZE", "1")
    if int(started) > num_processes:
        raise ConfigError(
            f"WORLD_SIZE is {started} in the environment, but {num_processes} of these processes "
            "have met: without a GPU they look for each other only if they are told to work on the "
            "CPU. Add --device cpu."
        )


def _number(environment: Mapping[str, str], name: str) -> int:
    """Return a variable's number; LOCAL_RANK may be -1, which means that there is none."""
    text = environment[name]
    if not re.fullmatch(r"-1|[0-9]+", text):
        raise ConfigError(f"{name} is '{text}' in the environment, not a whole number. {WAY_OUT}")
    return int(text)
