"""What loading a pretrained network says on the console."""

import logging

import gguf
import pytest
import torch

from cache_schema.errors import ConfigError
from tests.train.model.tiny_gguf import LAYERS, WIDTH, save_tiny_gguf
from tests.train.model.tiny_llms import BUILDERS
from train.config import LlmConfig
from train.model.llm import load_llm
from train.model.pretrained import llm_source, read_lm_head
from train.model.text import load_tokenizer


def load(path):
    return load_llm(LlmConfig(name=str(path), dtype="float32"), torch.device("cpu"), seed=0)


def test_a_gguf_file_is_converted_with_one_line_of_ours(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    gguf = save_tiny_gguf(tmp_path / "tiny.gguf")
    capfd.readouterr()
    with caplog.at_level(logging.INFO, logger="train"):
        llm = load(gguf)
        assert load_tokenizer(str(gguf)).encode("ab") == [5]
    assert capfd.readouterr() == ("", "")
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "converting tiny.gguf once"
    ]
    assert (llm.width_in, llm.identity.num_layers) == (WIDTH, LAYERS)


@pytest.mark.parametrize("has_own_head", [False, True])
def test_every_weight_of_a_gguf_file_is_read(tmp_path, monkeypatch, has_own_head):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = save_tiny_gguf(tmp_path / "tiny.gguf", has_own_head=has_own_head)
    stored = {tensor.name: torch.tensor(tensor.data) for tensor in gguf.GGUFReader(path).tensors}
    llm = load(path)
    block = llm.stack.layers[1]
    torch.testing.assert_close(llm.stack.embed_tokens.weight, stored["token_embd.weight"])
    torch.testing.assert_close(block.mlp.down_proj.weight, stored["blk.1.ffn_down.weight"])
    assert llm.stack.config.tie_word_embeddings is not has_own_head
    if has_own_head:
        head = read_lm_head(llm_source(str(path)), llm.stack.config, torch.float32)
        torch.testing.assert_close(head.weight, stored["output.weight"])


def test_a_gguf_file_without_a_weight_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = save_tiny_gguf(tmp_path / "tiny.gguf", without="blk.0.ffn_up")
    sentence = r"'tiny.gguf': 1 weights are missing .* 'model.layers.0.mlp.up_proj.weight'"
    for _ in range(2):  # nothing is kept that a second run would take
        with pytest.raises(ConfigError, match=sentence):
            load(path)
    assert not list(tmp_path.glob("cache/*/*.partial"))


def test_the_header_of_a_gguf_file_is_read_once_and_nothing_else_is_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, read = save_tiny_gguf(tmp_path / "tiny.gguf"), []

    class Reader(gguf.GGUFReader):
        def __init__(self, path, *more):
            read.append(path)
            super().__init__(path, *more)

    monkeypatch.setattr(gguf, "GGUFReader", Reader)
    load(path)
    assert read == [str(path)]
    assert gguf.GGUFReader is Reader


def test_an_llm_in_several_files_is_read_without_a_word(tmp_path, capfd):
    BUILDERS["llama"]().save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    capfd.readouterr()
    load(tmp_path)
    assert capfd.readouterr() == ("", "")
