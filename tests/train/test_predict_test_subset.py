"""``--subset test``: official files without labels -> what the challenge's server takes."""

import json
from zipfile import ZipFile

import pytest
from click.testing import CliRunner

from cache_schema.errors import AnnotationError, ConfigError
from extract import extract
from tests.extract.videos import constant_pts, write_video
from tests.train.annotations.annotation_folders import (
    epic_folder,
    epic_row,
    epic_test_file,
    epic_test_row,
)
from tests.train.annotations.ego4d_files import (
    clip_entry,
    label,
    labelled_clip,
    queried_clip,
    query,
)
from tests.train.model import tiny_llms
from tests.train.predicting import typed
from tests.train.runs import make_trainer
from tests.train.test_predict_page import views
from train.config import DataConfig, LlmConfig, OptimConfig, TrainConfig
from train.score_cli import command
from train.tasks import load_task, task_class

VIDEOS = {"train": "P01_01", "val": "P02_01", "test": "P03_01"}
"""Five seconds each."""
SEGMENTS = ("00.20", "02.10", "04.00")
NUM_ACTIONS = 25
"""Of a clip: 4 that are visible, 20 that follow, and one more."""


def clips_file(path, subset, *clips):
    videos = [{"video_uid": VIDEOS[subset], "split": subset, "clips": list(clips)}]
    path.write_text(json.dumps({"version": "1", "videos": videos}))


def write_epic(folder):
    def rows(subset):
        video = VIDEOS[subset]
        return [
            epic_row(f"{video}_{number}", start, "04.90", number % 2, number, video=video)
            for number, start in enumerate(SEGMENTS)
        ]

    epic_folder(folder, train=rows("train"), val=rows("val"))
    unknown = [
        epic_test_row(f"{VIDEOS['test']}_{number}", start, "04.90", video=VIDEOS["test"])
        for number, start in enumerate(SEGMENTS)
    ]
    epic_test_file(folder, *unknown)


def write_futures(folder):
    (folder / "fho_lta_taxonomy.json").write_text(
        json.dumps({"verbs": ["cut", "mix"], "nouns": ["pan", "egg"]})
    )
    for subset, video in VIDEOS.items():
        labels = {} if subset == "test" else {"verb_label": 1, "noun_label": 0}
        entries = [
            {
                "video_uid": video,
                "clip_uid": f"clip-{subset}",
                "clip_parent_start_sec": 0.0,
                "clip_parent_end_sec": 5.0,
                "action_clip_start_sec": 0.19 * index,
                "action_clip_end_sec": 0.19 * (index + 1),
                "action_idx": index,
                **labels,
            }
            for index in range(NUM_ACTIONS)
        ]
        name = "test_unannotated" if subset == "test" else subset
        (folder / f"fho_lta_{name}.json").write_text(json.dumps({"clips": entries}))


def write_moments(folder):
    times = {"start": 0.0, "end": 5.0}
    for subset in ("train", "val"):
        clip = labelled_clip(f"clip-{subset}", label("eat", 0.5, 2), label("cut", 3, 4), **times)
        clips_file(folder / f"moments_{subset}.json", subset, clip)
    unknown = [clip_entry(f"clip-{number}", [], 2.0 * number, 3.0) for number in range(2)]
    bare = [{key: one[key] for key in one if key != "annotations"} for one in unknown]
    clips_file(folder / "moments_test_unannotated.json", "test", *bare)


def write_queries(folder):
    times = {"start": 0.0, "end": 5.0}
    for subset in ("train", "val"):
        clip = queried_clip(f"clip-{subset}", query("the cat"), query("the dog"), **times)
        clips_file(folder / f"nlq_{subset}.json", subset, clip)
    asked = queried_clip("clip-test", {"query": "The dog?"}, {"query": None}, **times)
    clips_file(folder / "nlq_test_unannotated.json", "test", asked)


def write_highlights(folder):
    for number, (subset, video) in enumerate(VIDEOS.items()):
        line = {"qid": number, "query": "the dog", "vid": video, "duration": 5}
        if subset != "test":
            line |= {
                "relevant_windows": [[0, 2]],
                "relevant_clip_ids": [0],
                "saliency_scores": [[4, 3, 2]],
            }
        (folder / f"highlight_{subset}_release.jsonl").write_text(json.dumps(line))


WRITERS = {
    "action_anticipation": write_epic,
    "long_term_anticipation": write_futures,
    "moment_query": write_moments,
    "natural_language_query": write_queries,
    "highlight_detection": write_highlights,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Features of three videos and a tiny LLM with words."""
    root = tmp_path_factory.mktemp("test-subset")
    for name in VIDEOS.values():
        write_video(root / "videos" / f"{name}.mp4", constant_pts(50, fps=10))
    extract(root / "videos", root / "f.zarr", encoders="fake", fps=4, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_llms, "POSITIONS", 128)
        tiny_llms.save_tiny_tokenizer(tiny_llms.save_tiny_llm("gpt2", root / "llm"))
    return root


@pytest.fixture(scope="module")
def runs(root):
    """A run of each task, trained when it is first asked for."""
    made = {}

    def run(name):
        if name not in made:
            annotations = root / name
            annotations.mkdir()
            WRITERS[name](annotations)
            config = TrainConfig(
                task=(name,),
                annotations=(str(annotations),),
                features=str(root / "f.zarr"),
                device="cpu",
                llm=LlmConfig(name=str(root / "llm"), num_layers=0, dtype="float32"),
                data=DataConfig(window_rows=8, context_rows=2),
                optim=OptimConfig(epochs=1, batch_size=2),
            )
            make_trainer(config, root / "runs" / name).train()
            made[name] = root / "runs" / name
        return made[name]

    return run


def predict(root, run, *more):
    return typed(run, "--features", root / "f.zarr", *more)


def check(root, name, predictions, *more):
    arguments = ["--task", name, "--annotations", root / name, "--predictions", predictions]
    texts = list(map(str, [*arguments, "--subset", "test", *more]))
    return CliRunner().invoke(command, texts, catch_exceptions=False)


def anticipation(document):
    """C3's form: every verb and noun, as many actions as there are, of every segment."""
    assert (document["version"], document["challenge"]) == ("0.2", "action_anticipation")
    assert [document[name] for name in ("sls_pt", "sls_tl", "sls_td")] == [1, 3, 3]
    assert set(document["results"]) == {"P03_01_0", "P03_01_1", "P03_01_2"}
    for entry in document["results"].values():
        assert {kind: set(scores) for kind, scores in entry.items()} == {
            "verb": {"0", "1"},
            "noun": {"0", "1", "2"},
            "action": {"0,0", "1,1", "0,2"},
        }


def futures(document):
    """Of 25 actions, those from the fourth to the fifth have 20 behind them."""
    assert set(document) == {"clip-test_3", "clip-test_4"}
    for entry in document.values():
        assert {kind: [len(one) for one in rows] for kind, rows in entry.items()} == {
            "verb": [20] * 5,
            "noun": [20] * 5,
        }


def moments(document):
    assert set(document) == {"version", "challenge", "detect_results", "retrieve_results"}
    assert document["challenge"] == "ego4d_moment_queries"
    assert document["detect_results"] == document["retrieve_results"]
    assert set(document["detect_results"]) == {"clip-0", "clip-1"}
    found = [one for clip in document["detect_results"].values() for one in clip]
    assert found
    assert {one["label"] for one in found} <= {"eat", "cut"}


def queries(document):
    assert (document["version"], document["challenge"]) == ("1.0", "ego4d_nlq_challenge")
    names = [
        (one["clip_uid"], one["annotation_uid"], one["query_idx"]) for one in document["results"]
    ]
    assert sorted(names) == [("clip-test", "a", 0), ("clip-test", "a", 1)]
    assert all(one["predicted_times"] for one in document["results"])


def highlights(document):
    assert (document["qid"], document["query"], document["vid"]) == (2, "the dog", "P03_01")
    assert len(document["pred_saliency_scores"]) == 2  # 5 seconds are two whole clips


FORMS = {
    "action_anticipation": anticipation,
    "long_term_anticipation": futures,
    "moment_query": moments,
    "natural_language_query": queries,
    "highlight_detection": highlights,
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_submission_has_the_servers_form(root, runs, tmp_path, name):
    out = tmp_path / f"p{task_class(name).answers_type.facts.submission}"
    page = tmp_path / "p.html"
    result = predict(root, runs(name), "--subset", "test", "--out", out, "--html", page)
    assert result.exit_code == 0
    assert "its labels are not public. Upload it " in result.stdout
    FORMS[name](json.loads(out.read_text()))
    lanes = [lane for view in views(page).values() for lane in view["lanes"]]
    assert "said" in {lane["kind"] for lane in lanes}
    assert "truth" not in {lane["kind"] for lane in lanes}
    checked = check(root, name, out)
    assert checked.exit_code == 0
    assert f"{out.name}: follows the rules of " in checked.output


@pytest.mark.parametrize("name", WRITERS)
def test_of_the_subset_it_is_known_what_is_asked_and_not_what_is_right(root, runs, name):
    runs(name)
    task = load_task(name, root / name, {})
    for subset, annotated in (("train", True), ("val", True), ("test", False)):
        samples = task.samples(subset)
        assert {sample.annotated for sample in samples} == {annotated}
        assert {sample.video_id for sample in samples} == {VIDEOS[subset]}
        assert all((task.truth(sample) is not None) == annotated for sample in samples)


def test_a_pair_is_an_archive(root, runs, tmp_path):
    out = tmp_path / "s.zip"
    subsets = ["--subset", "test", "--subset", "val"]
    result = predict(root, runs("highlight_detection"), *subsets, "--out", out)
    assert "s.zip: 2 predicted, 0 videos missing" in result.stdout
    with ZipFile(out) as made:
        found = {name: json.loads(made.read(name)) for name in made.namelist()}
    assert {name: one["qid"] for name, one in found.items()} == {
        "hl_val_submission.jsonl": 1,
        "hl_test_submission.jsonl": 2,
    }
    assert check(root, "highlight_detection", out).exit_code == 0


def test_the_archive_of_epic_holds_one_file(root, runs, tmp_path):
    out = tmp_path / "s.zip"
    options = ["--option", "sls_pt=2", "--option", "sls_td=4"]
    predict(root, runs("action_anticipation"), "--subset", "test", "--out", out, *options)
    with ZipFile(out) as made:
        assert made.namelist() == ["test.json"]
        document = json.loads(made.read("test.json"))
    assert [document[name] for name in ("sls_pt", "sls_tl", "sls_td")] == [2, 3, 4]
    assert check(root, "action_anticipation", out).exit_code == 0


def test_what_the_server_would_refuse_is_refused_at_once(root, runs, tmp_path):
    more = ["--subset", "test", "--out", tmp_path / "p.json", "--option", "num_sequences=3"]
    with pytest.raises(
        AnnotationError, match=r"window 'clip-test_3', .* expected 5 lists of 20 ids"
    ):
        predict(root, runs("long_term_anticipation"), *more)


def test_a_broken_rule_is_told_by_the_checker_with_an_exit_code(root, runs, tmp_path):
    out = tmp_path / "p.json"
    predict(root, runs("natural_language_query"), "--subset", "test", "--out", out)
    document = json.loads(out.read_text())
    document["results"].pop(0)
    out.write_text(json.dumps(document))
    result = check(root, "natural_language_query", out)
    assert result.exit_code == 1
    first, last = result.output.splitlines()
    assert "1 of 2 queries have no entry, the first is ('clip-test', 'a', 0)" in first
    assert last == "It breaks the rules of Ego4D Natural Language Queries."
    told = json.loads(check(root, "natural_language_query", out, "--json").output)
    assert told == {"challenge": "Ego4D Natural Language Queries", "violations": [first]}


def test_a_subset_that_is_not_there_is_refused(root, runs, tmp_path):
    run = runs("moment_query")
    where = ["--features", root / "f.zarr", "--out", tmp_path / "p.json", "--subset"]
    with pytest.raises(ConfigError, match="one file for val and test"):
        typed(run, *where, "val", "--subset", "test")
    own = tmp_path / "own.jsonl"
    line = {"video": VIDEOS["train"], "subset": "train", "duration": 5.0}
    lines = [
        {**line, "moments": [{"start": 0, "end": 1, "label": name} for name in ("eat", "cut")]},
    ]
    own.write_text("".join(json.dumps(one) + "\n" for one in lines))
    with pytest.raises(AnnotationError, match=r"Unknown subset 'test'\. Known: train, val"):
        typed(run, *where, "test", "--annotations", own)


def test_a_task_without_a_challenge_is_not_checked(tmp_path):
    arguments = ["--task", "action_segmentation", "--annotations", tmp_path / "own.jsonl"]
    with pytest.raises(ConfigError, match="action_segmentation has no subset 'test'"):
        CliRunner().invoke(
            command,
            list(map(str, [*arguments, "--predictions", tmp_path, "--subset", "test"])),
            catch_exceptions=False,
        )
