import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from cache_schema.errors import ConfigError
from tests.train.model.tiny_llms import save_tiny_tokenizer
from tests.train.stream.streaming import AskingTask, setup
from tests.train.toy import WIDTH, ToyAnswers, ToyTask
from train.config import DataConfig, TranslatorConfig
from train.data.windows import evaluation_windows, window_start
from train.model.heads.future import FutureHeads
from train.model.heads.moments import MomentHead
from train.model.heads.pointer import PointerHead
from train.stream.row_stream import RowStream


def check_equal_to_offline(made):
    """One stream takes all videos one after the other and says what evaluation says."""
    live = made.row_stream()
    offline = made.offline()
    for video_id, (times, expected) in offline.items():
        said = made.streamed(live, video_id)
        assert [one.row for one in said] == list(range(len(expected)))
        np.testing.assert_array_equal([one.times for one in said], times)
        got = np.stack([one.arrays["current"] for one in said])
        assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
    assert len(offline) == len(made.task.val)
    return offline


@pytest.mark.parametrize(
    ("family", "tuning"),
    [
        ("gpt2", "basic"),
        ("gpt2", "prefix:3"),
        ("opt", "prompt:3"),
        ("opt", "lora:4"),
        ("opt-projected", "prefix:3"),
        ("llama", "lora:4"),
        ("llama", "prompt:3"),
        ("llama", "prefix:3"),
        ("qwen3", "full"),
        ("gemma3", "basic"),
        ("t5", "lora:4"),
        ("t5", "full"),
        ("none", "basic"),
    ],
)
def test_a_stream_says_what_evaluation_says(tmp_path, family, tuning):
    made = setup(tmp_path, family, tuning)
    check_equal_to_offline(made)


@pytest.mark.parametrize("family", ["llama", "none"])
@pytest.mark.parametrize(
    ("data", "translator"),
    [
        # Windows of 16 and 5 rows of context; groups of 3 of 60 + 1 and 23 stored rows.
        (DataConfig(window_rows=8, context_rows=3, rows_per_token=3), TranslatorConfig()),
        (DataConfig(window_rows=16, context_rows=5), TranslatorConfig(pool_rows=3)),
        (DataConfig(window_rows=16, context_rows=2), TranslatorConfig(pool_rows=7, token_rms=0.5)),
        (DataConfig(window_rows=16, context_rows=0), TranslatorConfig(pool_rows=4)),
        (DataConfig(window_rows=1, context_rows=0), TranslatorConfig()),
        (DataConfig(window_rows=2, context_rows=1), TranslatorConfig()),
        (DataConfig(window_rows=16, context_rows=15), TranslatorConfig()),
        (
            DataConfig(window_rows=6, context_rows=5, rows_per_token=4),
            TranslatorConfig(pool_rows=3),
        ),
    ],
)
def test_every_way_of_cutting_and_pooling_rows(tmp_path, family, data, translator):
    made = setup(tmp_path, family, lengths=(61, 23), data=data, translator=translator)
    check_equal_to_offline(made)


@pytest.mark.parametrize("rows_per_token", [1, 3])
def test_grid_rows(tmp_path, rows_per_token):
    data = DataConfig(window_rows=16, context_rows=5, rows_per_token=rows_per_token)
    check_equal_to_offline(setup(tmp_path, grid=4, data=data, lengths=(100, 23)))


@pytest.mark.parametrize("tuning", ["basic", "prompt:3", "prefix:3"])
def test_a_query_before_the_rows(tmp_path, tuning):
    made = setup(tmp_path, "gpt2", tuning, task=AskingTask())
    asked = check_equal_to_offline(made)
    silent = setup(tmp_path / "silent", "gpt2", tuning).offline()
    # Every window is asked anew: its last rows, too, are not what they are without a query.
    assert np.abs(asked["video-0"][1] - silent["video-0"][1]).min(axis=1).max() > 1e-3


def test_a_query_through_a_text_encoder(tmp_path):
    torch.manual_seed(2)
    settings = BertConfig(
        vocab_size=50, hidden_size=24, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=32,
    )  # fmt: skip
    BertModel(settings).save_pretrained(tmp_path / "bert")
    encoder = str(save_tiny_tokenizer(tmp_path / "bert"))
    check_equal_to_offline(setup(tmp_path, "llama", task=AskingTask(), encoder=encoder))


def test_rows_are_rounded_as_the_store_rounds_them(tmp_path):
    made = setup(tmp_path)  # a float16 store
    rows = made.store.stream().read("video-1").values
    assert rows.dtype == np.float16
    nearly = torch.from_numpy(rows.astype(np.float32)) * (1 + 1e-5)
    live, exact = made.row_stream(), made.row_stream()
    for row, stored in zip(nearly, torch.from_numpy(rows), strict=True):
        got, expected = live.push(row), exact.push(stored)
        np.testing.assert_array_equal(got.arrays["current"], expected.arrays["current"])


def test_bfloat16_weights_differ_by_their_rounding_only(tmp_path):
    exact = setup(tmp_path / "float32").offline()["video-0"][1]
    made = setup(tmp_path / "bfloat16", dtype="bfloat16")
    _, expected = made.offline()["video-0"]
    said = made.streamed(made.row_stream(), "video-0")
    got = np.stack([one.arrays["current"] for one in said])
    rounding = np.abs(expected - exact).max()
    assert rounding > 1e-3 * np.abs(exact).max()  # it does compute in bfloat16
    assert np.abs(got - expected).max() < 2 * rounding


def test_priming_between_rows_changes_nothing_but_when_it_is_done(tmp_path):
    made = setup(tmp_path)
    rows = torch.from_numpy(made.store.stream().read("video-0").values)
    entered = []
    made.model.llm.stack.layers[0].register_forward_pre_hook(
        lambda module, args: entered.append(args[0].shape[1])
    )
    live, idle = made.row_stream(), made.row_stream()
    expected = [live.push(row).arrays["current"] for row in rows]
    for row, values in zip(rows, expected, strict=True):
        idle.prime()
        entered.clear()
        np.testing.assert_array_equal(idle.push(row).arrays["current"], values)
        assert entered == [1]


def test_a_row_costs_one_token_and_a_window_its_context(tmp_path):
    made = setup(tmp_path)
    live = made.row_stream()
    entered = []
    made.model.llm.stack.layers[0].register_forward_pre_hook(
        lambda module, args: entered.append(args[0].shape[1])
    )
    made.streamed(live, "video-0")
    # 60 rows in windows of 16 with 5 of context: 16 + 4 x 11.
    expected = [1] * 16 + ([5] + [1] * 11) * 4
    assert entered == expected


def test_memory_stays_flat_over_a_thousand_rows(tmp_path):
    data = DataConfig(window_rows=16, context_rows=5, rows_per_token=2)
    made = setup(tmp_path, translator=TranslatorConfig(pool_rows=3), data=data)
    live = made.row_stream()
    rows = torch.randn(16, WIDTH)
    kept, cached = [], []
    for number in range(1_000):
        live.push(rows[number % 16], (float(number), number + 1.0))
        kept.append(live.num_kept_rows)
        cached.append(live.num_cached_tokens)
    # 5 rows of context and an unfinished group of one; never more than a window in the cache.
    assert max(kept) == 6
    assert max(cached) == 16
    assert max(kept[-100:]) == max(kept)
    assert min(cached[100:]) == 6  # a window begins with its context and its first row


@given(st.integers(1, 400), st.integers(1, 64), st.integers(0, 63))
def test_every_row_is_read_in_the_window_that_evaluation_predicts_it_in(
    length, window_rows, context_rows
):
    context_rows = min(context_rows, window_rows - 1)
    starts = [
        window.start
        for window in evaluation_windows([length], window_rows, context_rows)
        for _ in range(window.start + window.num_context, window.stop)
    ]
    got = [window_start(row, window_rows, context_rows) for row in range(length)]
    assert got == starts


class Appending(ToyAnswers):
    appended_tokens = 2


class ReadsTargets(torch.nn.Module):
    def forward(self, states):
        return {"current": states.rows_BTE * states.targets["rows"]}


def headed(build):
    """The toy task with another head."""
    answers = ToyAnswers()
    answers.build_head = build
    return ToyTask(answers=answers)


class MeanOfWindow(torch.nn.Module):
    def forward(self, states):
        return {"current": states.rows_BTE.mean(dim=1)}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            ToyTask(answers=ToyAnswers(query_place="after", online=False)),
            "task toy reads its query behind the last row of a window",
        ),
        (
            ToyTask(answers=Appending()),
            "task toy reads learned tokens behind the last row of a window",
        ),
    ],
)
def test_what_is_known_at_the_end_of_a_window_only_is_refused(tmp_path, task, message):
    made = setup(tmp_path, task=task)
    with pytest.raises(ConfigError, match=message):
        made.row_stream()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (headed(lambda _: ReadsTargets()), "task toy: its head asks for 'rows' of the annotations"),
        (headed(lambda _: MeanOfWindow()), r"'current' of its head does not .* shape \(1, 32\)"),
        (headed(lambda one: MomentHead(one.width, 1, 4)), "needs the last row of a window"),
        (headed(lambda one: MomentHead(one.width, 9, 4)), r"'classes' .* shape \(1, 9, 5\)"),
        (headed(lambda one: PointerHead(one.width)), r"'start' .* shape \(1, 2\)"),
    ],
)
def test_a_head_that_does_not_answer_single_rows_is_refused(tmp_path, task, message):
    made = setup(tmp_path, task=task)
    with pytest.raises(ConfigError, match=message):
        made.row_stream()


def test_a_head_of_future_steps_answers_single_rows(tmp_path):
    future = headed(lambda one: FutureHeads(one.width, 4, {"verb": 3}))
    live = setup(tmp_path, task=future).row_stream()
    assert live.push(torch.zeros(WIDTH)).arrays["verb"].shape == (4, 3)


def test_an_unknown_task_is_refused(tmp_path):
    made = setup(tmp_path)
    with pytest.raises(ConfigError, match=r"has not learned task 'toyy'. Did you mean 'toy'\?"):
        RowStream(made.model, "toyy", made.data, torch.float16)


@pytest.mark.parametrize(
    ("task", "query", "message"),
    [
        (AskingTask(), "", "task toy needs a query, and none is given"),
        (ToyTask(), "the cat", "task toy has no queries; query is 'the cat'"),
    ],
)
def test_a_query_where_there_must_be_one_and_nowhere_else(tmp_path, task, query, message):
    made = setup(tmp_path, task=task)
    with pytest.raises(ConfigError, match=message):
        RowStream(made.model, "toy", made.data, torch.float16, query=query)


@pytest.mark.parametrize("shape", [(WIDTH + 1,), (2, 2, WIDTH), ()])
def test_a_row_of_another_shape_is_refused(tmp_path, shape):
    live = setup(tmp_path, "none").row_stream()
    with pytest.raises(ConfigError, match=r"row 0 has the shape .*, expected \(6,\) or \(tokens"):
        live.push(torch.zeros(shape))


def test_no_gradient_and_evaluation_mode(tmp_path):
    made = setup(tmp_path)
    made.model.train()
    live = made.row_stream()
    assert not made.model.training
    live.push(torch.zeros(WIDTH, requires_grad=True))
    assert all(value.grad is None for value in made.model.parameters())
    assert not any(row.requires_grad for row in live._past)
