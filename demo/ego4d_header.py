"""The fields that open every Ego4D annotation file.

Data in: the task's name. Data out: a dictionary without a clock in it, so equal sets give equal
files.
"""

from demo.truth import Split

SPLITS: tuple[Split, ...] = ("train", "val")


def header(task: str) -> dict[str, object]:
    """Return version, date and description; the date is fixed."""
    return {"version": "demo1", "date": "000000", "description": f"generated demo set, {task}"}
