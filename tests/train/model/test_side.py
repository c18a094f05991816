import json

import pytest
import torch

from tests.train.model.test_video_llm import CPU, DIM, AskingAnswers, padded_batch
from tests.train.model.tiny_llms import WIDTH, save_tiny_llm, save_tiny_tokenizer
from tests.train.runs import make_config, make_trainer, use_toy_task, with_optim
from train.checkpoints.folder import LAST, read_record
from train.config import AugmentConfig, DataConfig, LlmConfig, SideConfig, TextConfig, TrainConfig
from train.data.window_draws import WindowDraws
from train.model.side import SideNetwork
from train.model.video_llm import build_model
from train.predict.trained_run import load_trained_run
from train.task import Window


def build(tmp_path, answers, *, llm="", **settings):
    folder = llm or str(save_tiny_tokenizer(save_tiny_llm("llama", tmp_path / "llama")))
    config = TrainConfig(
        llm=LlmConfig(name=folder, num_layers="auto" if llm else 0, dtype="float32", width=WIDTH),
        data=DataConfig(window_rows=16, context_rows=4),
        text=TextConfig(max_tokens=8),
        **settings,
    )
    return build_model(config, (DIM,), {"toy": answers}, CPU).eval()


def draws_of(seeds, num_rows=5):
    windows = [Window(sample=0, start=0, stop=num_rows, seed=seed) for seed in seeds]
    return WindowDraws(windows, CPU)


def test_the_head_sees_the_mean_of_the_llm_and_of_what_reads_beside_it(tmp_path):
    model = build(tmp_path, AskingAnswers())
    features, valid = padded_batch()
    seen = model(features, valid, "toy")["rows"]
    of_llm = model.llm(model.translator(features), valid)
    own, _ = model.side.read(model.translator.standardised(features), None)
    torch.testing.assert_close(seen, (of_llm + own) / 2)
    assert not torch.allclose(seen, of_llm, atol=1e-2)


def test_what_reads_beside_sees_no_later_row(tmp_path):
    model = build(tmp_path, AskingAnswers())
    features, valid = padded_batch()
    changed = features.clone()
    changed[:, 3:] = 1e3
    before, after = (model(one, valid, "toy")["rows"] for one in (features, changed))
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[0, 3:], after[0, 3:])


def test_rows_may_come_in_pieces():
    torch.manual_seed(0)
    side = SideNetwork(DIM, WIDTH, SideConfig(), dropout=0)
    rows = torch.randn(1, 9, DIM)
    whole, _ = side.read(rows, None)
    pieces, past = [], None
    for piece in rows.split([4, 1, 4], dim=1):
        states, past = side.read(piece, past)
        pieces.append(states)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)


@pytest.mark.parametrize("alone", [0.0, 0.6])
def test_some_windows_are_read_by_one_of_the_two_alone(alone):
    side = SideNetwork(DIM, WIDTH, SideConfig(alone=alone), dropout=0)
    seeds = range(600)
    rows = torch.zeros(len(seeds), 5, DIM)
    of_llm = torch.ones(len(seeds), 5, WIDTH)
    own, _ = side.read(rows[:1], None)
    states = side(rows, of_llm, draws_of(seeds))
    shares = ((states - own) / (1 - own)).mean(dim=(1, 2))
    found = {share: (shares - share).abs().lt(1e-4).float().mean().item() for share in (0, 0.5, 1)}
    assert found == pytest.approx({0: alone / 2, 0.5: 1 - alone, 1: alone / 2}, abs=0.06)


def test_a_window_draws_the_same_whatever_stands_beside_it():
    torch.manual_seed(0)
    side = SideNetwork(DIM, WIDTH, SideConfig(), dropout=0.4)
    rows, of_llm = torch.randn(3, 5, DIM), torch.randn(3, 5, WIDTH)
    together = side(rows, of_llm, draws_of([1, 2, 3]))
    for number, seed in enumerate([1, 2, 3]):
        one = slice(number, number + 1)
        torch.testing.assert_close(side(rows[one], of_llm[one], draws_of([seed])), together[one])


@pytest.mark.parametrize("llm", ["gru", "tcn", "none"])
def test_only_an_llm_has_a_network_beside_it(tmp_path, llm):
    assert build(tmp_path, AskingAnswers(), llm=llm).side is None


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_query_is_for_the_llm_alone(tmp_path, place):
    assert build(tmp_path, AskingAnswers(place)).side is None


def test_a_width_of_zero_leaves_the_llm_alone(tmp_path):
    model = build(tmp_path, AskingAnswers(), side=SideConfig(width=0))
    assert model.side is None
    features, valid = padded_batch()
    states = model(features, valid, "toy")["rows"]
    assert torch.equal(states, model.llm(model.translator(features), valid))


def test_state_dropout_is_for_both(tmp_path):
    settings = AugmentConfig(noise_std=0, shift_std=0, state_dropout=0.5)
    model = build(tmp_path, AskingAnswers(), augment=settings, side=SideConfig(alone=0))
    features, _ = padded_batch()
    valid = torch.ones(features.shape[:2], dtype=torch.bool)
    first, second = (
        model(features, valid, "toy", draws=draws_of([seed, 9]))["rows"] for seed in (1, 2)
    )
    assert not torch.allclose(first[0], second[0], atol=1e-3)
    torch.testing.assert_close(first[1], second[1])


@pytest.fixture
def run(tmp_path, monkeypatch):
    use_toy_task(monkeypatch)
    trainer = make_trainer(with_optim(make_config(tmp_path), epochs=1), tmp_path / "run")
    assert trainer.model.side is not None
    trainer.train()
    return tmp_path / "run"


def test_a_run_keeps_it_and_learns_it_at_the_rate_of_the_llm(run, tmp_path):
    config = make_config(tmp_path, side=SideConfig(alone=0))
    trainer = make_trainer(with_optim(config, llm_lr=0.0), tmp_path / "still")
    before = {name: value.clone() for name, value in trainer.model.side.state_dict().items()}
    trainer.train()
    assert all(
        torch.equal(value, before[name]) for name, value in trainer.model.side.state_dict().items()
    )
    kept = load_trained_run(run, CPU).model.side.state_dict()
    assert not torch.equal(kept["enter.weight"], before["enter.weight"])


def test_runs_of_an_earlier_version_have_none(run):
    path = run / LAST / "run.json"
    known = json.loads(path.read_text())
    assert read_record(run / LAST).config.side == SideConfig()
    known["format_version"] = 2
    del known["config"]["side"]
    path.write_text(json.dumps(known))
    assert read_record(run / LAST).config.side.width == 0
