"""``jsonl``: one JSON object per video and line; docs/predictions.md is its prose."""

import json

from cache_schema.errors import CheckpointError
from train.answer import Answer, as_json
from train.formats.writer import StreamWriter

__all__ = ["JsonLinesWriter"]


class JsonLinesWriter(StreamWriter):
    """Everything that is said, for programs."""

    def write(self, answer: Answer) -> None:
        """Write one line.

        Raises:
            CheckpointError: if a score is not a number, which JSON cannot say.
        """
        try:
            line = json.dumps(as_json(answer), ensure_ascii=False, allow_nan=False)
        except ValueError as error:
            raise CheckpointError(
                f"video '{answer.video}': the run's scores are not finite, expected numbers. "
                "Its training has diverged: train it again with a smaller optim.lr."
            ) from error
        self._put(f"{line}\n")
