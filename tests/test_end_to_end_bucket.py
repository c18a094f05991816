"""The two commands with features in a bucket, in this process: ``make test-remote`` types them."""

import os
from contextlib import chdir
from unittest.mock import patch

from click.testing import CliRunner

from demo.folder import write_demo
from demo.truth import SMALL_SPEC
from extract.cli import extract_command
from tests.object_servers import BUCKET, CREDENTIALS
from tests.test_end_to_end import SETTINGS
from tests.train.model.tiny_llms import save_tiny_llm
from train.cli import train

STORE = f"s3://{BUCKET}/end/to/end/feats.zarr"


def here(folder, command, line):
    """Run a command in a folder."""
    with chdir(folder):
        done = CliRunner().invoke(command, line.split(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_features_are_extracted_into_a_bucket_and_trained_on_from_there(tmp_path, moto):
    list(write_demo(tmp_path / "set", SMALL_SPEC))
    save_tiny_llm("llama", tmp_path / "llm")
    (tmp_path / "pipeline.toml").write_text(SETTINGS)
    with patch.dict(os.environ, {**CREDENTIALS, "AWS_ENDPOINT_URL": moto}):
        extracted = here(tmp_path, extract_command, f"set/videos --out {STORE}")
        assert "6 videos extracted" in extracted.stdout
        here(tmp_path, train, f"--features {STORE} --out run")
    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode()
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert any(STORE.encode() in path.read_bytes() for path in files)
    assert not any(secret in path.read_bytes() for path in files)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("s3")]
