import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from cache_schema.errors import ConfigError
from tests.train.model.tiny_llms import save_tiny_llm
from tests.train.outputs import states_of
from train.config import LlmConfig
from train.model.heads import caption as caption_module
from train.model.heads.caption import CaptionHead, CaptionWriter
from train.model.llm import load_llm
from train.model.trained_weights import pretrained_identities
from train.task import IGNORED

END = 1
PREFIX = 3
FAMILIES = ["gpt2", "opt", "opt-projected", "llama with its own head"]


def load(folder, family="gpt2", tuning="basic", **settings):
    path = folder / family
    if family == "llama with its own head":
        save_tiny_llm("llama", path)
        torch.manual_seed(8)
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path)).save_pretrained(path)
    else:
        save_tiny_llm(family, path)
    config = LlmConfig(name=str(path), **{"num_layers": 0, "dtype": "float32"} | settings)
    return load_llm(config, torch.device("cpu"), 0, tuning)


def head(language, *, owns=False, max_tokens=5, width=7):
    torch.manual_seed(0)
    writer = CaptionWriter(language, end_id=END)
    return CaptionHead(
        width, writer, owns_generator=owns, prefix_tokens=PREFIX, max_tokens=max_tokens
    )


TARGETS = {
    "rows": torch.tensor([[1, 3], [2, IGNORED]]),
    "tokens": torch.tensor(
        [[[4, 9, END], [6, END, IGNORED]], [[9, END, IGNORED], [IGNORED, IGNORED, IGNORED]]]
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_likelihood_is_that_of_the_whole_language_model(tmp_path, family):
    language = load(tmp_path, family)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / family).eval()
    prefix = torch.randn(2, PREFIX, language.width_in)
    tokens = torch.tensor([[4, 9, END], [6, END, IGNORED]])
    got = CaptionWriter(language, end_id=END).log_likelihood(prefix, tokens)
    for place, ids in enumerate([[4, 9, END], [6, END]]):
        inputs = torch.cat([prefix[place], language.embed(torch.tensor(ids[:-1]))])[None]
        with torch.no_grad():
            log_p = whole(inputs_embeds=inputs).logits[0, PREFIX - 1 :].log_softmax(-1)
        expected = [float(log_p[step, token]) for step, token in enumerate(ids)]
        assert got[place, : len(ids)].tolist() == pytest.approx(expected, abs=1e-5)
    assert got[1, 2] == 0


@pytest.mark.parametrize("tuning", ["basic", "lora:2", "full"])
def test_what_is_trained_in_a_bfloat16_llm_writes_too(tmp_path, tuning):
    language = load(tmp_path, tuning=tuning, dtype="bfloat16")
    writer = CaptionWriter(language, end_id=END)
    prefix = torch.randn(2, PREFIX, language.width_in)
    tokens = torch.tensor([[4, 9, END], [6, END, IGNORED]])
    exact = CaptionWriter(load(tmp_path), end_id=END).log_likelihood(prefix, tokens)
    torch.testing.assert_close(writer.log_likelihood(prefix, tokens), exact, rtol=0.05, atol=0.05)
    assert writer.generate(prefix, max_tokens=4).shape == (2, 4)


def test_the_gradient_is_the_one_that_autograd_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(caption_module, "TOKENS_AT_ONCE", 2)  # so that there are several parts
    language = load(tmp_path)
    states = torch.randn(5, 32, requires_grad=True)
    weight = language.stack.get_input_embeddings().weight
    ids = torch.tensor([3, 0, 49, 7, 7])
    scale = torch.randn(5)
    log_p = (states @ weight.T).log_softmax(-1)[torch.arange(5), ids]
    (expected,) = torch.autograd.grad((log_p * scale).sum(), states)
    own = caption_module._FrozenLogP.apply(states, weight, ids)
    (got,) = torch.autograd.grad((own * scale).sum(), states)
    torch.testing.assert_close(own, log_p)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_caption_is_the_likeliest_token_each_time_up_to_the_end(tmp_path, family):
    language = load(tmp_path, family)
    writer = CaptionWriter(language, end_id=END)
    torch.manual_seed(3)
    prefix = torch.randn(4, PREFIX, language.width_in)
    with torch.inference_mode():
        captions = writer.generate(prefix, 6)
    assert captions.shape == (4, 6)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / family).eval()
    for start, ids in zip(prefix, captions.tolist(), strict=True):
        inputs = start
        for token in ids:
            with torch.no_grad():
                best = int(whole(inputs_embeds=inputs[None]).logits[0, -1].argmax())
            assert token == (IGNORED if best == END else best)
            if best == END:
                break
            inputs = torch.cat([inputs, language.embed(torch.tensor([best]))])


def test_a_caption_ends_at_its_end_token(tmp_path):
    language = load(tmp_path)
    writer = CaptionWriter(language, end_id=END)
    prefix = torch.randn(1, PREFIX, 32)
    first, second, *_ = writer.generate(prefix, 4)[0].tolist()
    ending = CaptionWriter(language, end_id=second)
    expected = [first] if first != second else []
    captions = ending.generate(prefix, 4)[0].tolist()
    assert captions == expected + [IGNORED] * (4 - len(expected))


def test_each_caption_looks_at_its_own_row_only(tmp_path):
    made = head(load(tmp_path))
    rows = torch.randn(2, 4, 7, requires_grad=True)
    outputs = made.train()(states_of(rows, targets=TARGETS))
    assert outputs.keys() == {"log_likelihood"}
    assert (outputs["log_likelihood"] == 0).tolist() == [
        [[False] * 3, [False, False, True]],
        [[False, False, True], [True] * 3],
    ]
    outputs["log_likelihood"][0, 1].sum().backward()
    assert rows.grad.abs().sum(-1).nonzero().tolist() == [[0, 3]]


def test_in_evaluation_captions_are_generated(tmp_path):
    made = head(load(tmp_path)).eval()
    with torch.inference_mode():
        outputs = made(states_of(torch.randn(2, 4, 7), targets=TARGETS))
    assert outputs["generated"].shape == (2, 2, 5)
    assert (outputs["generated"][1, 1] == IGNORED).all()
    assert (outputs["generated"][0, 0] != IGNORED).any()


def test_a_batch_without_a_caption_has_a_graph_to_everything_trained(tmp_path):
    made = head(load(tmp_path))
    empty = {"rows": torch.zeros(2, 0).long(), "tokens": torch.zeros(2, 0, 0).long()}
    rows = torch.randn(2, 4, 7, requires_grad=True)
    made.train()(states_of(rows, targets=empty))["log_likelihood"].sum().backward()
    assert rows.grad.abs().sum() == made.prefix.weight.grad.abs().sum() == 0
    outputs = made.eval()(states_of(rows, targets=empty))
    assert outputs["generated"].shape == (2, 0, 5)


def test_the_runs_own_llm_is_no_part_of_the_head(tmp_path):
    names = [name for name, _ in head(load(tmp_path)).named_parameters()]
    assert names == ["prefix.weight", "prefix.bias"]
    assert set(head(load(tmp_path)).state_dict()) == set(names)


def test_a_second_llm_is_part_of_it_and_frozen_but_for_its_adapter(tmp_path):
    frozen = head(load(tmp_path), owns=True)
    trained = [name for name, value in frozen.named_parameters() if value.requires_grad]
    assert trained == ["prefix.weight", "prefix.bias"]
    assert frozen.generator.identity.num_layers == 2
    tuned = head(load(tmp_path, tuning="lora:2"), owns=True)
    adapter = {name for name, value in tuned.named_parameters() if value.requires_grad}
    assert {name.rsplit(".", 3)[1] for name in adapter - set(trained)} == {"lora_A", "lora_B"}


def test_moving_the_stack_moves_the_lm_head(tmp_path):
    language = load(tmp_path)
    writer = CaptionWriter(language, end_id=END)
    language.double()
    assert writer._head_VG is language.stack.get_input_embeddings().weight
    assert writer._head_VG.dtype == torch.float64


def test_an_lm_head_of_its_own_moves_with_the_caption_head(tmp_path):
    made = head(load(tmp_path, "llama with its own head", num_layers=1))
    assert made.lm_head.linear.weight is made._writer._head_VG
    made.double()
    assert made._writer._head_VG.dtype == torch.float64


def test_an_lm_head_of_its_own_is_frozen_and_named_but_not_saved(tmp_path):
    language = load(tmp_path, "llama with its own head")
    made = head(language)
    assert {name for name, _ in made.named_parameters()} > {"lm_head.linear.weight"}
    assert not made.lm_head.linear.weight.requires_grad
    identity = made.lm_head.identity
    assert (identity.name, identity.num_layers) == (language.identity.name, 0)
    assert identity.weights_sha256 != language.identity.weights_sha256
    assert pretrained_identities(made) == {"lm_head": identity}


def test_an_lm_head_that_is_nowhere_is_refused(tmp_path):
    # Saved as a stack alone.
    language = load(tmp_path, "llama")
    with pytest.raises(ConfigError, match=r"missing from its files, the first is 'lm_head.weight'"):
        CaptionWriter(language, end_id=END)
    with pytest.raises(ConfigError, match=r"LM head of its own, which random weights do not give"):
        CaptionWriter(load(tmp_path, "llama", weights="random"), end_id=END)


def test_logits_that_are_changed_after_the_lm_head_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(caption_module, "_logits", lambda states, head: 2 * (states @ head.T))
    with pytest.raises(ConfigError, match="changes its logits after the LM head"):
        CaptionWriter(load(tmp_path), end_id=END)


def test_what_was_learned_for_the_rows_does_not_enter_the_captions(tmp_path):
    torch.manual_seed(0)
    prefix = torch.randn(2, PREFIX, 32)
    tokens = torch.tensor([[4, END], [9, END]])
    plain = CaptionWriter(load(tmp_path), end_id=END)
    prompted = CaptionWriter(load(tmp_path, tuning="prompt:3"), end_id=END)
    expected = plain.log_likelihood(prefix, tokens)
    torch.testing.assert_close(prompted.log_likelihood(prefix, tokens), expected)
    assert torch.equal(prompted.generate(prefix, 4), plain.generate(prefix, 4))


def test_a_checkpoint_needs_nothing_of_a_second_llm_but_its_adapter(tmp_path):
    # What is neither trained nor a parameter would have to be saved.
    made = head(load(tmp_path, tuning="lora:2"), owns=True)
    parameters = dict(made.named_parameters(remove_duplicate=False))
    assert set(made.state_dict()) == set(parameters)
    trained = [name for name, value in parameters.items() if value.requires_grad]
    assert all("lora_" in name for name in trained if name.startswith("generator"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lm_head_reads_states_that_lie_side_by_side(tmp_path, family):
    language = load(tmp_path, family)
    writer = CaptionWriter(language, end_id=END)
    seen = []
    writer._model.get_output_embeddings().register_forward_hook(
        lambda _, states, __: seen.append(states[0].is_contiguous())
    )
    writer.generate(torch.randn(4, PREFIX, language.width_in), max_tokens=3)
    assert seen
    assert all(seen)
