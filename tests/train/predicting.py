"""Type ``vllm-predict`` in this process, and read what it wrote."""

import json

from click.testing import CliRunner

from train.predict_cli import predict


def typed(*arguments):
    """Type a command as it stands."""
    texts = [*map(str, arguments), "--device", "cpu"]
    return CliRunner().invoke(predict, texts, catch_exceptions=False)


def answers(path):
    return {one["video"]: one for one in map(json.loads, path.read_text().splitlines())}
