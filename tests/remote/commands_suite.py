"""The same commands as in ``test_end_to_end``, with features in a bucket: ``make test-remote``."""

import json
import os
from unittest.mock import patch

import pytest

from cache_schema.object_backend.bucket import Bucket
from cache_schema.place import to_place
from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from demo.folder import write_demo
from demo.truth import SMALL_SPEC
from tests.object_servers import BUCKET, CREDENTIALS
from tests.test_end_to_end import SETTINGS, command
from tests.train.model.tiny_llms import save_tiny_llm


@pytest.fixture(scope="module")
def folder(tmp_path_factory, radosgw):
    path = tmp_path_factory.mktemp("user")
    list(write_demo(path / "set", SMALL_SPEC))
    save_tiny_llm("llama", path / "llm")
    (path / "pipeline.toml").write_text(SETTINGS)
    with patch.dict(os.environ, {**CREDENTIALS, "AWS_ENDPOINT_URL": radosgw}):
        yield path


STORE = f"s3://{BUCKET}/end/to/end/feats.zarr"


@pytest.fixture(scope="module")
def extracted(folder):
    done = command(folder, f"vllm-extract set/videos --out {STORE}")
    assert done.returncode == 0, done.stderr
    assert "6 videos extracted" in done.stdout
    return STORE


def test_features_in_a_bucket_are_those_in_a_folder(folder, extracted):
    done = command(folder, "vllm-extract set/videos --out feats.zarr")
    assert done.returncode == 0, done.stderr
    assert store_digest(open_store(extracted)) == store_digest(open_store(folder / "feats.zarr"))
    info = json.loads(command(folder, f"vllm-store info {extracted} --digest --json").stdout)
    assert info["digest"] == store_digest(open_store(folder / "feats.zarr"))
    listed = command(folder, f"vllm-store ls {extracted}").stdout
    assert listed == command(folder, "vllm-store ls feats.zarr").stdout


def test_workers_fill_a_bucket_with_the_same_rows(folder, extracted):
    store = f"s3://{BUCKET}/end/to/end/workers.zarr"
    done = command(folder, f"vllm-extract set/videos --out {store} --workers 2")
    assert done.returncode == 0, done.stderr
    assert "6 videos extracted" in done.stdout
    assert store_digest(open_store(store)) == store_digest(open_store(extracted))
    writers = {part.id.rpartition("-")[2] for part in open_store(store).stream().parts}
    assert len(writers) == 2


def test_rows_are_made_again_of_videos_in_the_bucket(folder, extracted):
    videos, store = f"s3://{BUCKET}/videos", f"s3://{BUCKET}/of/objects.zarr"
    for path in (folder / "set" / "videos").iterdir():
        Bucket(to_place(videos)).put(path.name, path.read_bytes())
    done = command(folder, f"vllm-extract {videos} --out {store}")
    assert done.returncode == 0, done.stderr
    assert store_digest(open_store(store)) == store_digest(open_store(extracted))
    again = command(folder, f"vllm-store verify {store} --recompute 5")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "5 rows made again: 0 problems" in again.stdout


def test_what_is_there_is_skipped(folder, extracted):
    again = json.loads(command(folder, f"vllm-extract set/videos --out {extracted} --json").stdout)
    assert (again["videos_done"], again["videos_skipped"]) == (0, 6)


def test_a_run_is_trained_on_a_bucket_and_predicts_from_it(folder, extracted):
    done = command(folder, f"vllm-train --features {extracted} --out run")
    assert done.returncode == 0, done.stderr
    answered = command(folder, f"vllm-predict run --features {extracted} --out answers.jsonl")
    assert answered.returncode == 0, answered.stderr
    assert len((folder / "answers.jsonl").read_text().splitlines()) == 6


def test_a_bucket_is_compacted_and_verified(folder, extracted):
    compacted = command(folder, f"vllm-store compact {extracted}")
    assert compacted.stdout == "fake: 6 parts -> 1, 6 videos moved.\n"
    verified = command(folder, f"vllm-store verify {extracted}")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "6 videos" in verified.stdout
    assert "0 problems" in verified.stdout


def test_failures_and_costs_lie_beside_the_store(folder, extracted):
    (folder / "bad").mkdir()
    (folder / "bad" / "broken.mp4").write_bytes(b"no video")
    failed = command(folder, f"vllm-extract bad --out {extracted}")
    assert failed.returncode == 3, failed.stderr
    again = command(folder, f"vllm-extract bad --out {extracted}")
    assert "broken" in again.stdout
    report = command(folder, f"vllm-store report {extracted} --json")
    assert report.returncode == 0, report.stderr
    facts = json.loads(report.stdout)
    assert facts["store"] == extracted
    assert [cost["num_videos"] for cost in facts["costs"]][:1] == [6]
    (failure,) = facts["failures"]
    assert failure["video_id"] == "broken"


def test_no_secret_is_written_anywhere(folder, extracted):
    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "answers.jsonl" for path in files)
    assert not [path for path in files if secret in path.read_bytes()]
