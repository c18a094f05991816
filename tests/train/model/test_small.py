from dataclasses import replace

import pytest
import torch

from cache_schema.errors import ConfigError
from tests.train.model.test_video_llm import DIM, AskingAnswers
from tests.train.runs import make_config, make_trainer, use_toy_task, with_optim
from train.config import DataConfig, LlmConfig, TrainConfig
from train.data.samples import find_rows
from train.export import export_run
from train.model.small import LAYERS, SMALL, make_small
from train.model.video_llm import build_model, parameter_counts
from train.predict.load_run import load_run
from train.predict.trained_run import load_trained_run
from train.stream.row_stream import RowStream
from train.task import whole_video

CPU = torch.device("cpu")


@pytest.fixture(params=sorted(SMALL))
def name(request):
    return request.param


def test_a_state_depends_on_no_later_token_and_on_no_padding(name):
    network = make_small(LlmConfig(name=name, width=16), 0, "basic").eval()
    tokens = torch.randn(2, 40, 16)
    valid = torch.ones(2, 40, dtype=torch.bool)
    whole = network(tokens, valid)
    changed = tokens.clone()
    changed[:, 25:] = 1e3
    torch.testing.assert_close(network(changed, valid)[:, :25], whole[:, :25])
    torch.testing.assert_close(network(tokens[:, :25], valid[:, :25]), whole[:, :25])


def test_convolutions_see_as_far_as_their_layers_reach():
    network = make_small(LlmConfig(name="tcn", width=4, num_layers=3), 0, "basic").eval()
    tokens = torch.zeros(1, 40, 4)
    base = network(tokens, torch.ones(1, 40, dtype=torch.bool))
    tokens[0, 10] = 5.0
    moved = (network(tokens, torch.ones(1, 40, dtype=torch.bool)) - base).abs().sum(-1)[0] > 1e-6
    # 1 + 2 * (1 + 2 + 4) tokens: the one itself and the 14 after it.
    assert moved.nonzero().flatten().tolist() == list(range(10, 25))


def test_layers_width_and_seed_are_chosen(name):
    config = LlmConfig(name=name, width=24)
    tunings = zip((1, 1, 2), ("full", "auto", "auto"), strict=True)
    first, again, other = (make_small(config, seed, tuning) for seed, tuning in tunings)
    weights = [next(iter(one.parameters())) for one in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert first.width_in == first.width_out == 24
    whole = make_small(replace(config, num_layers=0), 0, "full")
    for one in (first, whole):
        layers = one.network.num_layers if name == "gru" else len(one.dilated)
        assert layers == LAYERS[name]


def test_an_llms_tuning_is_refused(name):
    with pytest.raises(ConfigError, match="trained whole, from nothing"):
        make_small(LlmConfig(name=name), 0, "lora:4")


def test_queries_need_a_language_model(name):
    config = TrainConfig(llm=LlmConfig(name=name), data=DataConfig(window_rows=16, context_rows=4))
    with pytest.raises(ConfigError, match=f"only an LLM can read: llm.name is '{name}'"):
        build_model(config, (DIM,), {"toy": AskingAnswers("after")}, CPU)


@pytest.fixture
def run(tmp_path, monkeypatch, name):
    use_toy_task(monkeypatch)
    config = with_optim(
        make_config(tmp_path, llm=LlmConfig(name=name, width=16)), epochs=12, lr=0.01, llm_lr=0.01
    )
    trainer = make_trainer(config, tmp_path / "run")
    assert parameter_counts(trainer.model)["llm"] > 0
    trainer.train()
    return trainer, tmp_path / "run"


def test_a_run_learns_is_kept_whole_and_answers_row_by_row_as_at_once(run, tmp_path):
    trainer, folder = run
    assert trainer.score_best()["accuracy"] > 70  # chance is 33
    trained = load_trained_run(folder, CPU)
    for key, value in trainer.model.state_dict().items():
        assert torch.equal(value, trained.model.state_dict()[key])
    assert len(list(load_run(folder).predict(tmp_path / "f.zarr"))) == 5
    stream = trained.stream(tmp_path / "f.zarr")
    rows = stream.read("d").float32
    predictor = trained.predictor(stream, trained.answers.inputs)
    found = find_rows([whole_video("d")], stream, allow_missing=0).rows
    (output,) = predictor.predict(found).outputs
    live = RowStream(trained.model, "toy", trained.checkpoint.config.data, torch.float16)
    said = [live.push(torch.from_numpy(row)) for row in rows]
    states = torch.stack([torch.from_numpy(one.arrays["current"]) for one in said])
    torch.testing.assert_close(
        states, torch.from_numpy(output.rows("current")), atol=1e-4, rtol=1e-4
    )


def test_there_is_no_llm_to_export(run, tmp_path):
    with pytest.raises(Exception, match="trained without an LLM"):
        export_run(run[1], tmp_path / "out")
