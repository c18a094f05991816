"""The public challenges: who scores a subset whose labels nobody else has, and what is uploaded.

Servers come and go, so what is said of each names the page that knows where it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "EGO4D_LONG_TERM_ANTICIPATION",
    "EGO4D_MOMENT_QUERIES",
    "EGO4D_NATURAL_LANGUAGE_QUERIES",
    "EPIC_ANTICIPATION",
    "QVHIGHLIGHTS",
    "Challenge",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenge:
    """One challenge."""

    name: str
    submit: str
    """A sentence for who has a submission: where it is scored."""
    archive: Mapping[str, str] = field(default_factory=dict)
    """Subset -> name of its file in the zip archive that the server takes, which holds these files
    and no folder. Empty where the server takes the file itself."""


EPIC_ANTICIPATION = Challenge(
    name="EPIC-KITCHENS-100 Action Anticipation",
    submit="Upload it where https://github.com/epic-kitchens/C3-Action-Anticipation says.",
    archive={"test": "test.json"},
)
EGO4D_LONG_TERM_ANTICIPATION = Challenge(
    name="Ego4D Long-Term Action Anticipation",
    submit="Upload it at https://eval.ai/web/challenges/challenge-page/1598.",
)
EGO4D_MOMENT_QUERIES = Challenge(
    name="Ego4D Moments Queries",
    submit="Upload it at https://eval.ai/web/challenges/challenge-page/1626.",
)
EGO4D_NATURAL_LANGUAGE_QUERIES = Challenge(
    name="Ego4D Natural Language Queries",
    submit="Upload it at https://eval.ai/web/challenges/challenge-page/1629.",
)
QVHIGHLIGHTS = Challenge(
    name="QVHighlights",
    submit=(
        "Upload it where https://github.com/jayleicn/moment_detr/tree/main/standalone_eval says; "
        "while there is no server, highlight_test_with_gt.jsonl of that repository scores it."
    ),
    archive={"val": "hl_val_submission.jsonl", "test": "hl_test_submission.jsonl"},
)
