"""``jsonl``: one JSON object per video and line; docs/predictions.md is its prose."""

import json

from cache_schema.errors import CheckpointError
from train.answer import Answer, StreamedRow, as_json
from train.formats.writer import StreamWriter

__all__ = ["JsonLinesWriter", "json_line"]


class JsonLinesWriter(StreamWriter):
    """Everything that is said, for programs."""

    def write(self, answer: Answer) -> None:
        """Write one line; see ``json_line``."""
        self._put(json_line(answer))


def json_line(said: Answer | StreamedRow) -> str:
    """Return what is said as one line, with its end.

    Raises:
        CheckpointError: if a score is not a number, which JSON cannot say.
    """
    try:
        line = json.dumps(as_json(said), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise CheckpointError(
            f"video '{said.video}': the run's scores are not finite, expected numbers. "
            "Its training has diverged: train it again with a smaller optim.lr."
        ) from error
    return f"{line}\n"
