"""Write the annotation files of all eight tasks.

Data in: `DemoTruth`. Data out: one folder per task, each in its benchmark's official format.
"""

from collections.abc import Callable
from pathlib import Path

from demo.breakfast import write_breakfast
from demo.ego4d_actions import write_long_term_anticipation, write_narrations
from demo.ego4d_queries import write_moment_queries, write_natural_language_queries
from demo.epic import write_epic
from demo.qvhighlights import write_highlights
from demo.truth import DemoTruth

WRITER_OF_TASK: dict[str, Callable[[Path, DemoTruth], None]] = {
    "online_action_detection": write_epic,
    "action_anticipation": write_epic,
    "action_segmentation": write_breakfast,
    "online_captioning": write_narrations,
    "long_term_anticipation": write_long_term_anticipation,
    "moment_query": write_moment_queries,
    "natural_language_query": write_natural_language_queries,
    "highlight_detection": write_highlights,
}


def write_annotations(folder: Path, truth: DemoTruth) -> None:
    """Write `folder/<task>/...` for every task."""
    for task, write in WRITER_OF_TASK.items():
        write(folder / task, truth)
