"""``vllm-extract`` where every video is done: what looking costs, with nothing to extract.

The videos are sparse files of 1 MB and no store of them was ever extracted: nothing is decoded.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.many_videos import SIZE_BYTES

__all__ = ["Run", "make_videos", "up_to_date_run"]

RUN = """
import sys
from extract.cli import main
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""

Run = tuple[float, float]
"""Wall and CPU seconds of a whole command, start of Python included."""


def make_videos(folder: Path, ids: list[str]) -> None:
    """Make files that count as videos."""
    for video_id in ids:
        path = folder / f"{video_id}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(SIZE_BYTES)


def up_to_date_run(videos: Path, store: Path, *, cache: Path, may_load: bool = False) -> Run:
    """Run the command; raise if it extracts something, or loads torch.

    Args:
        videos: Folder.
        store: Holds them all.
        cache: Where recipes are remembered.
        may_load: Whether the network may be loaded: nothing is remembered at first.
    """
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", RUN, str(videos), "--out", str(store)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or "0 videos extracted" not in done.stdout:
        raise SystemExit(done.stdout + done.stderr)
    if done.stderr.split()[-1] != "False" and not may_load:
        raise SystemExit("torch was imported")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu
