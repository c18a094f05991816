import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cache_schema import RowWriter, imported_recipe

NUM_PARTS = 60


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of many parts, as many runs leave it."""
    path = tmp_path_factory.mktemp("parts") / "f.zarr"
    for number in range(NUM_PARTS):
        with RowWriter(path, imported_recipe("i3d", fps=1)) as writer:
            writer.write(f"video{number}", np.full((3, 4), number, np.float32))
    return path


READ_ALL = """
import sys
from cache_schema import open_store

stream = open_store(sys.argv[1]).stream()
print(sum(stream.read(video).float32.sum() for video in stream.video_ids))
"""


COMPACT = """
import sys
from pathlib import Path
from cache_schema.convert.compact import compact_store

print([one.parts_after for one in compact_store(Path(sys.argv[1]))])
"""


def limited(program, store, soft, hard):
    """Run a program in a process that may have so many open files."""
    return subprocess.run(
        [sys.executable, "-c", program, str(store)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        capture_output=True,
        text=True,
    )


def test_a_store_may_have_more_parts_than_a_process_begins_with_open_files(store):
    done = limited(READ_ALL, store, soft=NUM_PARTS // 2, hard=10 * NUM_PARTS)
    assert float(done.stdout) == 12 * sum(range(NUM_PARTS))


def test_more_than_a_process_may_ever_have_is_a_sentence(store):
    done = limited(READ_ALL, store, soft=NUM_PARTS // 2, hard=NUM_PARTS // 2)
    *_, last = done.stderr.splitlines()
    assert "StoreError" in last
    assert f"may have {NUM_PARTS // 2} open files" in last
    assert "vllm-store compact" in last


def test_many_small_parts_are_merged_too(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "f.zarr")
    done = limited(COMPACT, copy, soft=NUM_PARTS // 2, hard=10 * NUM_PARTS)
    assert done.stdout == "[1]\n"
    done = limited(READ_ALL, copy, soft=NUM_PARTS // 2, hard=NUM_PARTS // 2)
    assert float(done.stdout) == 12 * sum(range(NUM_PARTS))
