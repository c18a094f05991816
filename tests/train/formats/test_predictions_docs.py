"""docs/predictions.md and its schema say what the records are."""

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from cache_schema.parsing import parse
from train import answer as records
from train.answer import SCHEMA_VERSION, Answer, StreamedRow, as_json
from train.formats import FORMATS
from train.formats.table import COLUMNS
from train.tasks import TASKS

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "predictions.md").read_text(encoding="utf-8")
*EXAMPLES, STREAMED = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)


def test_the_schema_is_what_the_records_generate():
    generated = json.dumps(TypeAdapter(Answer | StreamedRow).json_schema(), indent=2) + "\n"
    where = DOCS / "predictions.schema.json"
    assert where.read_text(encoding="utf-8") == generated, "write this text to the file"


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_an_answer(text):
    answer = parse(Answer, text, where="docs/predictions.md")
    assert as_json(answer) == json.loads(text)
    assert answer.schema_version == SCHEMA_VERSION
    assert f"\n### {answer.task}\n" in TEXT[: TEXT.index(text)]


def test_the_last_example_is_a_line_of_a_stream():
    row = parse(StreamedRow, STREAMED, where="docs/predictions.md")
    assert as_json(row) == json.loads(STREAMED)
    assert row.schema_version == SCHEMA_VERSION


def test_every_task_has_its_example():
    assert sorted(json.loads(text)["task"] for text in EXAMPLES) == sorted(TASKS)


def test_every_field_column_and_format_is_described():
    parts = [part for name in records.__all__ if is_dataclass(part := getattr(records, name))]
    assert {Answer, StreamedRow} < set(parts)
    names = {field.name for part in parts for field in fields(part)} | set(FORMATS) | set(COLUMNS)
    described = {
        name
        for line in TEXT.splitlines()
        if line.startswith("|")
        for name in re.findall(r"`([\w]+)`", line)
    }
    assert names - described == set()
