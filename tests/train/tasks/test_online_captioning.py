import json
import math

import numpy as np
import pytest
import torch

from cache_schema.errors import ConfigError
from tests.train.annotations.test_narrations import entry, make, video
from tests.train.model.tiny_llms import save_tiny_llm, save_tiny_tokenizer
from tests.train.outputs import head_context, output_of, states_of, targets_of
from train.answer import Answer, Caption
from train.config import LlmConfig
from train.model.heads.caption import CaptionHead
from train.model.llm import load_llm
from train.task import IGNORED, SampleOutput, Window, WindowOutput
from train.tasks import load_task

END, WHERE, IS, IT, THE, CAT, DOG = range(1, 8)

VIDEOS = {
    "t": video([entry(1, "the dog"), entry(2, "the cat"), entry(3, "the cat"), entry(4, "it is")]),
    "v": video([entry(0.4, "it"), entry(1.0, "the cat"), entry(2.6, "where is the dog")]),
    "w": video([entry(1.5, "dog")]),
}


@pytest.fixture
def language(tmp_path):
    return str(save_tiny_tokenizer(save_tiny_llm("gpt2", tmp_path / "gpt2")))


@pytest.fixture
def load(tmp_path, language):
    make(tmp_path, VIDEOS, {"train": ["t"], "val": ["v", "w"]})
    return lambda **options: load_task(
        "online_captioning", tmp_path, {"generator": language, **options}
    )


def rows(num_rows):
    """One row per second."""
    return np.stack([np.arange(num_rows), np.arange(num_rows) + 1], axis=1).astype(float)


def ids(*captions):
    width = max(map(len, captions))
    return np.array([[*ids, *[IGNORED] * (width - len(ids))] for ids in captions])


def written(task, folder, outputs):
    task.write_predictions(outputs, folder / "p.json")
    return json.loads((folder / "p.json").read_text())


def test_a_sample_is_a_video_with_a_narration(load):
    samples = load().samples("val")
    assert [sample.video_id for sample in samples] == ["v", "w"]
    assert [one.text for one in samples[0].target] == ["it", "the cat", "where is the dog"]
    assert (samples[0].start_seconds, samples[0].end_seconds) == (0.0, math.inf)


def test_the_latest_row_that_has_ended_gives_the_caption(load):
    task = load()
    targets = targets_of(task, task.samples("val")[0], rows(4))
    # At 0.4 s no row has ended; at 1.0 s the first has, at 2.6 s the second.
    assert targets["rows"].tolist() == [0, 1]
    assert targets["tokens"].tolist() == [
        [THE, CAT, END, IGNORED, IGNORED],
        [WHERE, IS, THE, DOG, END],
    ]


def test_the_truth_is_the_narrations_each_until_the_next_one(load):
    task = load()
    assert task.truth(task.samples("val")[0]) == Answer(
        video="v",
        task="online_captioning",
        duration=2.6,
        captions=(
            Caption(start=0.4, end=1.0, text="it"),
            Caption(start=1.0, end=2.6, text="the cat"),
            Caption(start=2.6, end=2.6, text="where is the dog"),
        ),
    )


def test_narrations_of_one_instant_go_on_together(load, tmp_path):
    twice = video([entry(1, "the dog"), entry(3, "it")], [entry(1, "the cat")])
    make(tmp_path, {**VIDEOS, "v": twice}, {"train": ["t"], "val": ["v"]})
    task = load()
    (truth,) = map(task.truth, task.samples("val"))
    found = {one.text: (one.start, one.end) for one in truth.captions}
    assert found == {"the dog": (1.0, 3.0), "the cat": (1.0, 3.0), "it": (3.0, 3.0)}


def test_a_row_is_taught_the_true_caption_that_starts_once_it_has_ended(load):
    task = load()
    truth, times = task.truth(task.samples("val")[0]), rows(4)
    targets = targets_of(task, task.samples("val")[0], times)
    for row, tokens in zip(targets["rows"], targets["tokens"], strict=True):
        (text,) = (
            one.text for one in truth.captions if times[row, 1] <= one.start < times[row + 1, 1]
        )
        assert task.answers.text(tokens) == text


def test_every_caption_belongs_to_one_window_and_counts_from_its_start(load):
    task = load()
    sample = task.samples("train")[0]
    windows = [
        Window(sample=0, start=0, stop=2),
        Window(sample=0, start=1, stop=4, num_context=1),
    ]
    parts = [task.targets(sample, rows(4), window) for window in windows]
    assert [part["rows"].tolist() for part in parts] == [[0, 1], [1, 2]]
    assert [part["tokens"][0].tolist() for part in parts] == [[THE, DOG, END], [THE, CAT, END]]
    past_only = Window(sample=0, start=0, stop=2, num_context=2)
    assert task.targets(sample, rows(4), past_only)["tokens"].shape == (0, 3)


def test_long_captions_are_cut_in_training(load):
    task = load(max_caption_tokens=2)
    tokens = targets_of(task, task.samples("val")[0], rows(4))["tokens"]
    assert tokens.tolist() == [[THE, CAT], [WHERE, IS]]


def test_a_narration_never_looks_at_a_row_that_ends_later(load):
    task, rng = load(), np.random.default_rng(0)
    times = np.sort(rng.random(20) * 4)[:, None] + [0, 0.3]
    sample = task.samples("train")[0]
    for row, seconds in zip(targets_of(task, sample, times)["rows"], (1, 2, 3, 4), strict=True):
        assert times[row, 1] <= seconds
        assert (times[row + 1 :, 1] > seconds).all()


def test_the_loss_is_the_cross_entropy_per_token(load):
    log_p = torch.tensor([[[-1.0, -2.0], [0.0, 0.0]]], requires_grad=True)
    tokens = torch.tensor([[[THE, END], [IGNORED, IGNORED]]])
    loss = load().loss({"log_likelihood": log_p}, {"tokens": tokens})
    assert loss.total.item() == 3.0
    assert loss.num_targets == 2


def test_captions_are_written_for_all_validation_narrations(load, tmp_path):
    task = load()
    generated = ids([DOG, IS, IT], [CAT], [])  # the last line is padding of the batch
    output = output_of(task.samples("val")[0], rows(4), generated=generated)
    assert written(task, tmp_path, [output]) == {
        "v:1:0": "the cat",  # before the first row: the most frequent training caption
        "v:1:1": "dog is it",
        "v:1:2": "cat",
        "w:1:0": "the cat",  # a video without outputs
    }


def test_a_caption_may_be_empty_and_is_scored(load, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    task = load()
    output = output_of(task.samples("val")[0], rows(4), generated=ids([], [WHERE, DOG]))
    assert written(task, tmp_path, [output])["v:1:1"] == ""
    assert 0 < task.score(tmp_path / "p.json")["ROUGE_L"] < 1


def test_captions_of_several_windows_find_their_narrations(load, tmp_path):
    task = load()
    windows = [
        WindowOutput(
            window=Window(sample=0, start=0, stop=2),
            arrays={"generated": ids([THE], [DOG])},
        ),
        WindowOutput(
            window=Window(sample=0, start=1, stop=4, num_context=1),
            arrays={"generated": ids([CAT], [IT])},
        ),
    ]
    sample = task.samples("train")[0]
    output = SampleOutput(sample=sample, times_R2=rows(4), windows=windows)
    # Training narrations: nothing is added to them.
    assert list(written(task, tmp_path, [output]).values()) == ["the", "dog", "cat", "it"]


def test_the_references_given_back_score_highest(load, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    task = load()
    outputs = []
    for sample in task.samples("val"):
        targets = targets_of(task, sample, rows(4))["tokens"]
        generated = np.where(targets == END, IGNORED, targets)
        outputs.append(output_of(sample, rows(4), generated=generated))
    captions = written(task, tmp_path, outputs)
    assert captions.pop("v:1:0") == "the cat"
    assert captions == {"v:1:1": "the cat", "v:1:2": "where is the dog", "w:1:0": "dog"}
    scores = task.score(tmp_path / "p.json")
    assert scores["ROUGE_L"] == pytest.approx(3 / 4)
    assert task.quality(scores) == scores["ROUGE_L"]
    assert scores["METEOR"] is None


def test_baselines_are_training_captions(load, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    task = load()
    baselines = task.baselines(tmp_path / "b")
    majority = json.loads((tmp_path / "b" / "majority.json").read_text())
    chance = json.loads((tmp_path / "b" / "chance.json").read_text())
    assert set(majority.values()) == {"the cat"}
    assert set(chance.values()) <= {"the dog", "the cat", "it is"}
    assert baselines["majority"] == task.score(tmp_path / "b" / "majority.json")
    assert task.baselines(tmp_path / "b") == baselines


def test_a_second_language_model_is_loaded_cut_and_tuned(load):
    task = load(generator_layers=1, generator_tuning="lora:2", max_caption_tokens=3)
    head = task.answers.build_head(head_context(6))
    assert isinstance(head, CaptionHead)
    assert head.generator.identity.num_layers == 1
    assert any("lora_A" in name for name, _ in head.named_parameters())
    targets = {"rows": torch.tensor([[1]]), "tokens": torch.tensor([[[CAT, END]]])}
    outputs = head.eval()(states_of(torch.randn(1, 3, 6), targets=targets))
    assert outputs["generated"].shape == (1, 1, 3)
    assert task.loss(outputs, targets).num_targets == 2


def test_the_runs_own_llm_can_write_the_captions(load, language):
    task = load(generator="llm")
    sample = task.samples("val")[0]
    with pytest.raises(AssertionError, match="build_head"):
        targets_of(task, sample, rows(4))
    config = LlmConfig(name=language, num_layers=0, dtype="float32")
    llm = load_llm(config, torch.device("cpu"), 0)
    head = task.answers.build_head(head_context(32, llm))
    assert head.generator is None
    assert targets_of(task, sample, rows(4))["rows"].tolist() == [0, 1]


def test_without_an_llm_there_is_none_to_write_captions(load):
    with pytest.raises(ConfigError, match=r"but it has none \(llm\.name\)"):
        load(generator="llm").answers.build_head(head_context(32))


def test_options_that_do_not_go_together_are_refused(load):
    for options in ({"generator_layers": 2}, {"generator_tuning": "lora:2"}):
        with pytest.raises(ConfigError, match="generator 'llm' is the run's own"):
            load(generator="llm", **options)
    for options in ({"prefix_tokens": 0}, {"generator_tuning": "full"}, {"max_caption_tokens": 0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            load(**options)


def test_a_generator_that_cannot_be_found_is_named(load, tmp_path):
    with pytest.raises(ConfigError, match=r"llm '.*none': no local folder"):
        load(generator=str(tmp_path / "none")).answers.build_head(head_context(6))


def test_a_tokenizer_without_an_end_is_refused(load, language, tmp_path):
    path = tmp_path / "gpt2" / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "eos_token": None, "pad_token": "<unk>"}))
    with pytest.raises(ConfigError, match="no token that ends a text"):
        load().answers.build_head(head_context(6))
