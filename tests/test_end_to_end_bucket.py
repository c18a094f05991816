"""The two commands with features in a bucket; ``make test-remote`` types the others, too."""

import os
from unittest.mock import patch

from demo.folder import write_demo
from demo.truth import SMALL_SPEC
from tests.object_servers import BUCKET, CREDENTIALS
from tests.test_end_to_end import SETTINGS, command
from tests.train.model.tiny_llms import save_tiny_llm

STORE = f"s3://{BUCKET}/end/to/end/feats.zarr"


def test_features_are_extracted_into_a_bucket_and_trained_on_from_there(tmp_path, moto):
    list(write_demo(tmp_path / "set", SMALL_SPEC))
    save_tiny_llm("llama", tmp_path / "llm")
    (tmp_path / "pipeline.toml").write_text(SETTINGS)
    with patch.dict(os.environ, {**CREDENTIALS, "AWS_ENDPOINT_URL": moto}):
        extracted = command(tmp_path, f"vllm-extract set/videos --out {STORE}")
        assert extracted.returncode == 0, extracted.stderr
        assert "6 videos extracted" in extracted.stdout
        trained = command(tmp_path, f"vllm-train --features {STORE} --out run")
        assert trained.returncode == 0, trained.stderr
    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode()
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert any(STORE.encode() in path.read_bytes() for path in files)
    assert not any(secret in path.read_bytes() for path in files)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("s3")]
