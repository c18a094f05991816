import sys

import pytest

from cache_schema.errors import AnnotationError, ConfigError
from cache_schema.parsing import to_mapping
from tests.train.annotations.annotation_folders import breakfast_folder, epic_folder, epic_row
from train.tasks import TASKS, load_answers, load_task, task_class


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


MINE = '''
from pathlib import Path

from cache_schema.parsing import record
from train import Answer, Answers, LossSum, Sample, Task, TaskFacts


@record
class Options:
    """One thing can be chosen."""

    share: float = 0.5


@record
class Names:
    class_names: tuple[str, ...] = ("day", "night")


class LightAnswers(Answers):
    facts = TaskFacts(name="light")
    knowledge_type = Names
    options_type = Options

    def labels(self):
        return {"light": self.knowledge.class_names}

    def build_head(self, context):
        raise NotImplementedError

    def answer(self, outputs, queries):
        return Answer(video=outputs[0].sample.video_id, task="light", duration=1.0)


class Light(Task):
    answers_type = LightAnswers
    main_metric = "accuracy"

    @staticmethod
    def open(annotations, options):
        return Path(annotations).read_text().split()

    @property
    def answers(self):
        return LightAnswers(Names(class_names=tuple(self.source)), self.options)

    def samples(self, subset):
        return []

    def targets(self, sample, times_R2, window):
        return {}

    def loss(self, outputs, targets):
        raise NotImplementedError

    def write_predictions(self, outputs, path):
        raise NotImplementedError

    def score(self, predictions):
        return {}

    def baselines(self, folder):
        return {}
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """What pip would install for a package that offers a task; the file of its code."""
    site = tmp_path / "site"
    info = site / "light_tasks-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: light-tasks\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[video_feature_llm.tasks]\nlight = light_tasks:Light\n")
    (site / "light_tasks.py").write_text(MINE)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "light_tasks", raising=False)
    yield site / "light_tasks.py"
    sys.modules.pop("light_tasks", None)


def edit(file, old, new):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_an_installed_task_is_a_task_like_ours(mine, tmp_path):
    (tmp_path / "names.txt").write_text("dawn dusk")
    task = load_task("light", tmp_path / "names.txt", {"share": 0.25})
    assert (task.facts.name, task.options.share) == ("light", 0.25)
    knowledge = to_mapping(task.answers.knowledge)
    answers = load_answers("light", knowledge, {}, where="best")
    assert answers.labels() == {"light": ("dawn", "dusk")}
    with pytest.raises(ConfigError, match=r"options of task light: unknown key 'shar'"):
        load_answers("light", knowledge, {"shar": 1.0}, where="best")


def test_a_misspelt_name_finds_an_installed_task_too(mine):
    with pytest.raises(ConfigError, match=r"Unknown task 'ligth'\. Did you mean 'light'"):
        task_class("ligth")


def test_ours_cannot_be_replaced(mine):
    edit(
        mine.parent / "light_tasks-2.0.dist-info" / "entry_points.txt", "light =", "moment_query ="
    )
    assert task_class("moment_query").__module__ == "train.tasks.moment_query"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("from pathlib import Path", "import pathlibb", "cannot be imported .*ModuleNotFoundError"),
        ("class Light(Task)", "class Other(Task)", "cannot be imported.*has no attribute 'Light'"),
        ("class Light(Task)", "Light = 3\nclass Other(Task)", "is int, expected a class made from"),
        ("class Light(Task)", "class Light", "is Light, expected a class made from train.Task"),
        ("def score", "def skore", "Light lacks score"),
        ("answers_type = LightAnswers", "answers_type = Names", "answers_type is <class .*Names'>"),
        ("answers_type = LightAnswers", "pass", "answers_type is None, expected a class made from"),
        ("def labels", "def label", "LightAnswers lacks labels"),
        ("knowledge_type = Names", "pass", "LightAnswers lacks knowledge_type"),
        ('facts = TaskFacts(name="light")', "pass", "LightAnswers lacks facts"),
        ('name="light"', 'name="dark"', "its facts name it 'dark', expected the entry point's"),
    ],
)
def test_what_an_installed_task_lacks_is_one_sentence_that_says_whose_it_is(
    mine, old, new, message
):
    edit(mine, old, new)
    whose = r"^task 'light' of the package light-tasks 2\.0 \(light_tasks:Light\): "
    with pytest.raises(ConfigError, match=f"{whose}{message}"):
        task_class("light")


def test_an_error_in_its_annotations_is_its_own(mine, tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"light-tasks 2\.0 .*: cannot open its annotations \(light_tasks\.py, line \d+\): "
        "FileNotFoundError",
    ):
        load_task("light", tmp_path / "gone.txt", {})


def test_an_error_of_ours_is_not_blamed_on_a_package(monkeypatch, tmp_path):
    kind = task_class("moment_query")
    monkeypatch.setattr(kind, "open", lambda *_: {}["a"])
    with pytest.raises(KeyError):
        load_task("moment_query", tmp_path, {})
