from dataclasses import fields

import pytest

from cache_schema.errors import AnnotationError, ConfigError
from demo.annotations import write_annotations
from demo.truth import SMALL_SPEC, make_truth
from tests.train.annotations.annotation_folders import breakfast_folder, epic_folder, epic_row
from train.answers.action_segmentation import ActionSegmentationOptions
from train.tasks import TASKS, all_options, load_task, task_class


def test_every_registered_task_loads_under_its_own_name(tmp_path):
    breakfast_folder(tmp_path, {"a": ["SIL"]}, train=["a"], test=["a"])
    epic_folder(tmp_path, train=[epic_row("t", "00.0", "01.0", 0, 0)])
    for name in TASKS:
        assert load_task(name, tmp_path, {}).facts.name == name


def test_an_unknown_task_names_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match=r"'action_segmentatoin'\. Did you mean 'action_segm"):
        load_task("action_segmentatoin", tmp_path, {})


def test_a_task_without_its_annotation_folder_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="found nothing, expected a folder"):
        load_task("online_action_detection", tmp_path / "none", {})


@pytest.mark.parametrize("name", TASKS)
def test_a_task_made_from_one_of_ours_has_answers_of_its_own(name, tmp_path):
    write_annotations(tmp_path, make_truth(SMALL_SPEC))
    base = task_class(name)
    answers = type("Answers", (base.answers_type,), {})
    annotations = tmp_path / name
    options = base.answers_type.options_type()
    made = type("Made", (base,), {"answers_type": answers})(
        base.open(annotations, options), options
    )
    assert type(made.answers) is answers


def test_all_options_are_the_given_ones_and_the_defaults():
    named = all_options("action_segmentation", {"split": 2, "label_fps": "30000/1001"})
    assert (named["split"], named["label_fps"], named["variant"]) == (2, "30000/1001", "ms-tcn")
    assert named.keys() == {field.name for field in fields(ActionSegmentationOptions)}
    assert all_options("action_segmentation", named) == named
    with pytest.raises(ConfigError, match="splt"):
        all_options("action_segmentation", {"splt": 2})
