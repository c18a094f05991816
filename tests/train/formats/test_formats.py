import subprocess
import sys
from pathlib import Path

import pytest

from cache_schema.errors import ConfigError
from tests.train.formats.hand_made import ALL, AWKWARD, of_video
from train.formats import FOLDERS as FORMATS_OF_FOLDERS
from train.formats import FORMATS, format_of, open_format
from train.tasks import TASKS

STREAMS, FOLDERS = ("jsonl", "csv"), ("vtt", "eaf")


def files(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found)


def test_the_answers_of_these_tests_are_of_all_tasks_and_the_formats_are_all_tried():
    assert {answer.task for answer in ALL} == set(TASKS)
    assert set(STREAMS + FOLDERS) == set(FORMATS)
    assert FORMATS_OF_FOLDERS == FOLDERS


def test_an_unknown_format_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigError, match=r"Unknown format 'jsnl'\. Did you mean 'jsonl'\?"):
        open_format("jsnl", tmp_path / "out")
    with pytest.raises(ConfigError, match="Known: csv, eaf, jsonl, vtt"):
        open_format("parquet", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "out", "expected"),
    [
        (None, "-", "jsonl"),
        (None, "answers", "jsonl"),
        (None, "answers.JSONL", "jsonl"),
        (None, "answers.csv", "csv"),
        ("csv", "answers.txt", "csv"),
        ("vtt", "holiday", "vtt"),
        ("eaf", "holiday.2024", "eaf"),
    ],
)
def test_the_suffix_says_what_is_written_where_no_format_is_named(tmp_path, name, out, expected):
    place = Path(out) if out == "-" else tmp_path / out
    assert format_of(name, place) == expected


def test_a_folder_that_is_there_may_be_named_like_a_file(tmp_path):
    (tmp_path / "holiday.vtt").mkdir()
    assert format_of(None, tmp_path / "holiday.vtt") == "vtt"
    assert format_of("eaf", tmp_path / "holiday.vtt") == "eaf"


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        (None, "a.xlsx", r"'\.xlsx' is no format of answers\. Name it \.jsonl, or \.csv"),
        (None, "a.json", r"'\.json' is no format of answers"),
        (None, "a.vtt", r"\.vtt files are one per video .* --format vtt --out .*/a\.$"),
        ("eaf", "a.eaf", r"--format eaf --out .*/a\.$"),
        ("jsonl", "a.csv", r"a\.csv: is named like csv, and --format says jsonl"),
        ("vtt", "a.csv", r"is named like csv, and --format says vtt"),
    ],
)
def test_a_name_that_promises_something_else_is_refused(tmp_path, name, out, message):
    with pytest.raises(ConfigError, match=message):
        open_format(name, tmp_path / out)
    assert list(tmp_path.iterdir()) == []


def test_naming_the_formats_imports_nothing_heavy():
    code = "import sys, train.formats; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pydantic", "scipy", "pympi"} & set(ran.stdout.split())


@pytest.mark.parametrize("name", FORMATS)
def test_writing_needs_no_torch(name, tmp_path):
    code = (
        "import sys; from pathlib import Path; from train.formats import open_format;"
        "from tests.train.formats.hand_made import ALL;"
        f"writer = open_format({name!r}, Path(sys.argv[1])); list(map(writer.write, ALL));"
        "writer.close(); sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize("name", STREAMS)
def test_one_file_is_there_when_it_is_whole(name, tmp_path):
    path = tmp_path / "new" / "answers"
    writer = open_format(name, path)
    for answer in ALL:
        writer.write(answer)
    assert not path.exists()
    writer.close()
    assert files(tmp_path) == ["new/answers"]


def interrupted(writer):
    with writer:
        writer.write(ALL[0])
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", STREAMS)
def test_one_file_is_absent_when_something_stops_the_writing(name, tmp_path):
    path = tmp_path / "answers"
    path.write_text("the last run's")
    with pytest.raises(KeyboardInterrupt):
        interrupted(open_format(name, path))
    assert path.read_text() == "the last run's"
    assert files(tmp_path) == ["answers"]


@pytest.mark.parametrize("name", STREAMS)
def test_a_dash_is_standard_output_line_by_line(name, tmp_path):
    path = tmp_path / "answers"
    with open_format(name, path) as writer:
        for answer in ALL:
            writer.write(answer)
    code = (
        "from pathlib import Path; from train.formats import open_format;"
        "from tests.train.formats.hand_made import ALL;"
        f"writer = open_format({name!r}, Path('-')); list(map(writer.write, ALL));"
        "import os; os._exit(0)"  # nothing is flushed any more
    )
    environment = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=environment
    )
    assert said.stdout == path.read_bytes()
    assert "切る" in said.stdout.decode("utf-8")


@pytest.mark.parametrize("name", STREAMS)
def test_a_folder_is_refused_before_anything_is_computed(name, tmp_path):
    with pytest.raises(ConfigError, match="is a folder, expected a file"):
        open_format(name, tmp_path)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_or_standard_output_is_refused_where_a_folder_is_needed(name, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (Path("-"), tmp_path / "file"):
        with pytest.raises(ConfigError, match=f"{name} files are one per video and need a folder"):
            open_format(name, out)


@pytest.mark.parametrize("name", FOLDERS)
def test_there_is_a_file_for_every_video_below_the_folders_of_its_id(name, tmp_path):
    with open_format(name, tmp_path) as writer:
        for answer in ALL:
            writer.write(answer)
    assert files(tmp_path) == sorted(f"{answer.video}.{name}" for answer in ALL)


@pytest.mark.parametrize("name", FOLDERS)
def test_ids_may_hold_what_file_names_may(name, tmp_path):
    video = AWKWARD.replace("/", "|") + "/P01.final"
    with open_format(name, tmp_path) as writer:
        writer.write(of_video(video))
    assert files(tmp_path) == [f"{video}.{name}"]


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize(
    "video", ["../a", "a/../../b", "a/../b", "/a", "a//b", "", "a/", ".", "\0"]
)
def test_an_id_leads_nowhere_else(name, video, tmp_path):
    out = tmp_path / "out"
    with open_format(name, out) as writer, pytest.raises(ConfigError, match="no path inside"):
        writer.write(of_video(video))
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", FOLDERS)
def test_a_link_leads_nowhere_else(name, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    with open_format(name, tmp_path / "out") as writer:
        with pytest.raises(ConfigError, match="no path inside"):
            writer.write(of_video("link/a"))
        writer.write(of_video("a"))
    assert files(tmp_path / "out") == [f"a.{name}"]
    assert files(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_that_is_there_is_replaced(name, tmp_path):
    for _ in range(2):
        with open_format(name, tmp_path) as writer:
            writer.write(of_video("a"))
    assert files(tmp_path) == [f"a.{name}"]


def test_eaf_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pympi", None)
    with pytest.raises(ConfigError, match=r"pip install 'video-feature-llm\[elan\]'"):
        open_format("eaf", tmp_path)
