import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXModel, Qwen2Config, Qwen2Model

from tests.train.model.test_video_llm import DIM, AskingAnswers, build_asking
from tests.train.model.tiny_llms import BUILDERS, GROUPED_HEADS, WIDTH, save_tiny_llm
from train.config import AugmentConfig, LlmConfig
from train.data.window_draws import WindowDraws
from train.model.branches import BranchLayout
from train.model.llm import BRANCHING_FAMILIES, load_llm
from train.task import Window

CPU = torch.device("cpu")

LENGTHS = [3, 5, 4]
WINDOW_OF_Q = torch.tensor([0, 0, 0, 1, 2, 2])
NOISE = AugmentConfig(noise_std=0.5, state_dropout=0.3)
VALID_QS = torch.tensor(
    [[1, 0, 1], [1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=torch.bool
)


def valid_rows():
    return torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


def test_branches_follow_their_rows_and_count_on_from_the_last_one():
    layout = BranchLayout.of(valid_rows(), VALID_QS, WINDOW_OF_Q)
    # Window 0: three rows; branches of 2, 3 and 2 tokens. Window 1: five rows, one branch of 3.
    assert layout.owner_BN.tolist() == [
        [-1, -1, -1, 0, 0, 1, 1, 1, 2, 2],
        [-1, -1, -1, -1, -1, 3, 3, 3, -2, -2],
        [-1, -1, -1, -1, 4, 4, 5, 5, 5, -2],
    ]
    assert layout.positions_BN[0].tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 3, 4]
    assert layout.positions_BN[2, :9].tolist() == [0, 1, 2, 3, 4, 5, 4, 5, 6]
    seen = layout.may_see()[0, 0]
    assert seen[2].nonzero().flatten().tolist() == [0, 1, 2]
    assert seen[6].nonzero().flatten().tolist() == [0, 1, 2, 5, 6]
    assert seen[9].nonzero().flatten().tolist() == [0, 1, 2, 8, 9]


def _qwen2(**more):
    settings = {key: value for key, value in GROUPED_HEADS.items() if key != "head_dim"}
    return Qwen2Model(Qwen2Config(**settings, **more))


def _gpt_neox():
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    settings = {name: GROUPED_HEADS[name] for name in (*names, "num_attention_heads")}
    return GPTNeoXModel(GPTNeoXConfig(**settings))


MADE = {**BUILDERS, "qwen2": _qwen2, "gpt_neox": _gpt_neox}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", BRANCHING_FAMILIES)
def test_every_branch_gets_the_states_it_gets_alone(tmp_path, family, attention):
    torch.manual_seed(7)
    MADE[family]().save_pretrained(tmp_path)
    config = LlmConfig(name=str(tmp_path), num_layers=0, dtype="float32", attention=attention)
    llm = load_llm(config, CPU, seed=3)
    assert llm.reads_branches
    valid_BT = valid_rows()
    rows_BTE = torch.randn(3, 5, WIDTH).where(valid_BT[..., None], 1e3)
    branches_QSE = torch.randn(6, 3, WIDTH).where(VALID_QS[..., None], 1e3)
    layout = BranchLayout.of(valid_BT, VALID_QS, WINDOW_OF_Q)
    states_BNE = llm.forward_branches(layout.join(rows_BTE, branches_QSE), layout)
    states_QSE = layout.branches(states_BNE)
    for branch, window in enumerate(WINDOW_OF_Q.tolist()):
        rows, own = rows_BTE[window, valid_BT[window]], branches_QSE[branch, VALID_QS[branch]]
        tokens = torch.cat([rows, own])[None]
        alone = llm(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))[0]
        torch.testing.assert_close(states_BNE[window, : len(rows)], alone[: len(rows)])
        torch.testing.assert_close(states_QSE[branch, VALID_QS[branch]], alone[len(rows) :])


@pytest.mark.parametrize(
    ("family", "tuning"),
    [("gemma3", "basic"), ("llama", "prompt:2"), ("llama", "prefix:2")],
)
def test_an_llm_whose_positions_cannot_be_told_does_not_read_branches(tmp_path, family, tuning):
    config = LlmConfig(name=str(save_tiny_llm(family, tmp_path)), num_layers=0, dtype="float32")
    assert not load_llm(config, CPU, seed=3, tuning=tuning).reads_branches


def test_blocks_that_see_a_part_of_the_input_keep_seeing_it_alone(tmp_path):
    near = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0}
    torch.manual_seed(7)
    whole = _qwen2(**near).eval()
    whole.save_pretrained(tmp_path)
    llm = load_llm(LlmConfig(name=str(tmp_path), num_layers=0, dtype="float32"), CPU, seed=3)
    tokens = torch.randn(1, 9, WIDTH)
    states = llm(tokens, torch.ones(1, 9, dtype=torch.bool))
    torch.testing.assert_close(states, whole(inputs_embeds=tokens).last_hidden_state)
    assert not llm.reads_branches
    moved = tokens + (torch.arange(9) == 0)[None, :, None]
    last = llm(moved, torch.ones(1, 9, dtype=torch.bool))[:, -1]
    torch.testing.assert_close(last, states[:, -1])  # two blocks see 4 tokens back


QUERIES = ["where is it", "the cat", "dog", "is it the cat", "where", "the dog is it"]


def outputs_and_gradients(model, features_BTD, valid_BT, window_of_Q, weights):
    model.zero_grad()
    outputs = model(features_BTD, valid_BT, "toy", QUERIES, window_of_Q=window_of_Q)
    length = valid_BT.sum(1) if window_of_Q is None else valid_BT.sum(1)[window_of_Q]
    is_row = torch.arange(valid_BT.shape[1]) < length[:, None]
    rows = outputs["rows"].where(is_row[..., None], 0.0)
    (rows.sum(dim=(1, 2)) @ weights + outputs["final"].sum(dim=(1, 2)) @ weights).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"rows": rows, "final": outputs["final"]}, gradients


@pytest.mark.parametrize("tuning", ["lora:2", "full", "prompt:2"])
@pytest.mark.parametrize(("place", "appended"), [("before", 0), ("after", 0), ("after", 2)])
def test_queries_that_share_rows_get_what_each_gets_with_its_own(tmp_path, place, appended, tuning):
    model = build_asking(tmp_path, AskingAnswers(place, appended), run={"tuning": tuning})
    valid_BT = valid_rows()
    features_BTD = torch.randn(3, 5, DIM)
    weights = torch.randn(6)
    shared = outputs_and_gradients(model, features_BTD, valid_BT, WINDOW_OF_Q, weights)
    repeated = features_BTD[WINDOW_OF_Q], valid_BT[WINDOW_OF_Q]
    alone = outputs_and_gradients(model, *repeated, None, weights)
    torch.testing.assert_close(shared, alone, atol=1e-4, rtol=1e-4)
    assert any("llm" in name for name in shared[1])


def test_rows_are_read_once_for_all_queries_behind_them(tmp_path):
    model = build_asking(tmp_path, AskingAnswers("after", 1))
    lengths = []
    model.llm.network.register_forward_pre_hook(
        lambda module, args, named: lengths.append(named["inputs_embeds"].shape[:2]),
        with_kwargs=True,
    )
    model(torch.randn(3, 5, DIM), valid_rows(), "toy", QUERIES, window_of_Q=WINDOW_OF_Q)
    words = [len(query.split()) + 1 for query in QUERIES]
    assert lengths == [(3, max(3 + sum(words[:3]), 5 + words[3], 4 + sum(words[4:])))]


@pytest.mark.parametrize("place", ["before", "after"])
def test_noise_is_that_of_the_window(tmp_path, place):
    model = build_asking(tmp_path, AskingAnswers(place, 1), run={"augment": NOISE}).train()
    windows = [Window(sample=0, start=0, stop=n, seed=n) for n in LENGTHS]
    features_BTD, valid_BT = torch.randn(3, 5, DIM), valid_rows()
    first, second = (
        model(features_BTD, valid_BT, "toy", QUERIES, None, WindowDraws(windows, CPU), WINDOW_OF_Q)[
            "rows"
        ]
        for _ in range(2)
    )
    assert torch.equal(first, second)
    silent = model(features_BTD, valid_BT, "toy", QUERIES, None, None, WINDOW_OF_Q)["rows"]
    assert not torch.allclose(first[0, :3], silent[0, :3], atol=1e-3)
