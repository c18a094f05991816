import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cache_schema.errors import AnnotationError, ConfigError
from train.answer import Answer
from train.formats.json_lines import json_line
from train.score_cli import command

GOLDEN = Path(__file__).parent / "golden"
SEGMENTATION = GOLDEN / "action_segmentation" / "edge_one_frame_last_segment"
DETECTION = GOLDEN / "online_action_detection" / "edge_empty_subsets"


def score(task, annotations, predictions, *flags):
    arguments = ["--task", task, "--annotations", annotations, "--predictions", predictions, *flags]
    runner = CliRunner()
    return runner.invoke(command, list(map(str, arguments)), catch_exceptions=False).output


def segmentation(predictions, *flags):
    return score("action_segmentation", SEGMENTATION, predictions, *flags)


@pytest.fixture
def labels(tmp_path):
    shutil.copytree(SEGMENTATION / "predictions", tmp_path / "predictions")
    return tmp_path / "predictions"


@pytest.fixture
def arrays():
    with np.load(DETECTION / "predictions.npz") as archive:
        return dict(archive)


def refused_detection(path, **arrays):
    if arrays:
        np.savez(path, **arrays)
    with pytest.raises(AnnotationError) as caught:
        score("online_action_detection", DETECTION, path)
    return str(caught.value)


def test_json_is_one_object_with_null_for_empty_subsets():
    flags = DETECTION, DETECTION / "predictions.npz", "--json"
    scores = json.loads(score("online_action_detection", *flags))
    assert scores == pytest.approx(json.loads((DETECTION / "expected.json").read_text()))
    assert scores["tail_action_mt5r_by_rule"] is None


def test_the_table_has_one_line_per_number():
    lines = score("online_action_detection", DETECTION, DETECTION / "predictions.npz").splitlines()
    assert lines[0].split() == ["overall_action_mt5r", "54.2157"]
    assert lines[1].split() == ["unseen_action_mt5r_by_rule", "-"]


def test_the_variant_adds_the_other_evaluators_numbers():
    plain = json.loads(segmentation(SEGMENTATION / "predictions", "--json"))
    both = json.loads(segmentation(SEGMENTATION / "predictions", "--variant", "asformer", "--json"))
    assert (plain["F1@0.50"], both["F1@0.50"]) == (100.0, 100.0)
    assert both["asformer_F1@0.50"] == pytest.approx(75.0)
    assert not any(key.startswith("asformer") for key in plain)


def test_a_variant_of_a_task_without_variants_is_refused():
    flags = DETECTION, DETECTION / "predictions.npz", "--variant", "x"
    with pytest.raises(ConfigError, match="unknown key 'variant'"):
        score("online_action_detection", *flags)


def test_options_come_from_a_json_file(tmp_path, labels):
    options = tmp_path / "options.json"
    options.write_text('{"split": 3}')
    with pytest.raises(AnnotationError, match=r"test\.split3\.bundle: cannot be read"):
        segmentation(labels, "--options", options)
    for text, message in [("[1]", "got list, expected a JSON object"), ("{", "not valid JSON")]:
        options.write_text(text)
        with pytest.raises(ConfigError, match=message):
            segmentation(labels, "--options", options)
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
        segmentation(labels, "--options", tmp_path / "none.json")


def test_unknown_and_missing_videos_of_a_label_folder_are_named(labels):
    (labels / "S01_a.txt").rename(labels / "S01_aa.txt")
    message = r"'S01_aa' is in no test split\. Did you mean 'S01_a'"
    with pytest.raises(AnnotationError, match=message):
        segmentation(labels)
    (labels / "S01_aa.txt").unlink()
    with pytest.raises(AnnotationError, match=r"1 of 5 videos of test split 1 .* first is 'S01_a'"):
        segmentation(labels)


def test_an_empty_or_missing_label_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match=r"the folder holds no <video>.txt file"):
        segmentation(tmp_path / "empty")
    with pytest.raises(AnnotationError, match="no such folder"):
        segmentation(tmp_path / "none")


def test_a_folder_of_submissions_tells_which_of_them_is_meant(tmp_path):
    (tmp_path / "action_segmentation").mkdir()
    with pytest.raises(AnnotationError, match=r"lie in\. Give .*/action_segmentation\.$"):
        segmentation(tmp_path)
    assert refused_detection(tmp_path).endswith("npz file. It holds action_segmentation.")
    (tmp_path / "online_action_detection.npz").touch()
    assert refused_detection(tmp_path).endswith(f"Give {tmp_path}/online_action_detection.npz.")


def test_answers_are_no_submission(tmp_path):
    answers = tmp_path / "a.jsonl"
    answers.write_text(json_line(Answer(video="a", task="action_segmentation", duration=4.0)))
    with pytest.raises(AnnotationError, match=r"a\.jsonl: holds answers of vllm-predict"):
        segmentation(answers)


def test_wrong_label_files_are_refused(labels):
    lines = (labels / "S01_a.txt").read_text().splitlines()
    (labels / "S01_a.txt").write_text("\n".join(lines[:-1]))
    message = rf"S01_a\.txt: got {len(lines) - 1} labels, expected {len(lines)}"
    with pytest.raises(AnnotationError, match=message):
        segmentation(labels)
    (labels / "S01_a.txt").write_text("\n".join(["what", *lines]))
    with pytest.raises(AnnotationError, match=r"S01_a\.txt, line 1: label 'what' is not in map"):
        segmentation(labels)
    (labels / "S01_a.txt").write_text("")
    with pytest.raises(AnnotationError, match=r"S01_a\.txt: the file is empty"):
        segmentation(labels)


def test_unknown_and_missing_videos_of_an_npz_are_named(tmp_path, arrays):
    first = sorted(arrays)[0]
    moved = {name: array for name, array in arrays.items() if name != first}
    message = refused_detection(tmp_path / "p.npz", **moved)
    assert f"1 of {len(arrays)} videos have no prediction, the first is '{first}'" in message
    message = refused_detection(tmp_path / "p.npz", **moved, P96_999=arrays[first])
    assert "video 'P96_999' is not among the 3 annotated videos" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: array[1:], "has shape (99, 21), expected (100, 21)"),
        (lambda array: array[:, 1:], "has shape (100, 20), expected (100, 21)"),
        (lambda array: array[0], "has shape (21,), expected (100, 21)"),
        (lambda array: array.astype(np.int64), "is int64, expected floating point"),
        (lambda array: np.where(array == array[2, 3], np.nan, array), "holds nan at (2, 3)"),
        (lambda array: np.where(array == array[2, 3], -np.inf, array), "holds -inf at (2, 3)"),
        (lambda array: array.astype(object), "cannot be read"),
    ],
    ids=["rows", "columns", "dimensions", "integers", "nan", "inf", "pickled objects"],
)
def test_a_wrong_array_is_named_with_its_video(tmp_path, arrays, change, message):
    arrays["P96_101"] = change(arrays["P96_101"])
    found = refused_detection(tmp_path / "p.npz", **arrays)
    assert "p.npz: the array of video 'P96_101'" in found
    assert message in found


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "cannot be read as an npz file"),
        (lambda data: b"", "cannot be read as an npz file"),
        (lambda data: b"not a zip file", "cannot be read as an npz file"),
        (lambda data: data[:4000] + bytes(64) + data[4064:], "the array of video 'P96_101' cannot"),
    ],
    ids=["truncated", "empty", "text", "damaged"],
)
def test_a_broken_npz_file_is_refused(tmp_path, damage, message):
    data = (DETECTION / "predictions.npz").read_bytes()
    (tmp_path / "p.npz").write_bytes(damage(data))
    assert message in refused_detection(tmp_path / "p.npz")


def test_files_that_are_no_archive_of_arrays_are_refused(tmp_path):
    assert "cannot be read as an npz file" in refused_detection(tmp_path / "none.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    assert "holds a single array" in refused_detection(tmp_path / "one.npy")
    np.savez(tmp_path / "empty.npz")
    assert "the file holds no array" in refused_detection(tmp_path / "empty.npz")


def test_scoring_imports_no_torch():
    code = (
        "import sys; from pathlib import Path; from train.tasks import load_task; "
        "load_task('online_action_detection', Path(sys.argv[1]), {}); "
        "load_task('action_segmentation', Path(sys.argv[2]), {}); "
        "print('torch' in sys.modules)"
    )
    arguments = [sys.executable, "-c", code, str(DETECTION), str(SEGMENTATION)]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
