"""The real weights of the default LLM, as the package ships them."""

import pytest
import torch
from gguf import GGUFReader
from transformers import AutoTokenizer

from train.config import LlmConfig
from train.model.gguf_file import smollm2_gguf
from train.model.llm import load_llm


@pytest.fixture(scope="module")
def llm():
    config = LlmConfig(name="smollm2", num_layers=0, dtype="float32")
    return load_llm(config, torch.device("cpu"), seed=0)


def test_the_file_itself_is_an_llm(llm):
    config = LlmConfig(name=str(smollm2_gguf()), num_layers=0, dtype="float32")
    named = load_llm(config, torch.device("cpu"), seed=0)
    assert named.identity.weights_sha256 == llm.identity.weights_sha256


def test_it_is_the_whole_network(llm):
    assert (llm.width_in, llm.width_out, llm.identity.num_layers) == (576, 576, 30)
    assert llm.max_positions == 8192


@pytest.fixture(scope="module")
def tokenizer():
    gguf = smollm2_gguf()
    return AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)


@pytest.mark.parametrize(
    ("text", "word"),
    [("The capital of France is", " Paris"), ("The opposite of hot is", " cold")],
)
def test_it_still_knows_what_it_learned(llm, tokenizer, text, word):
    ids = torch.tensor([tokenizer.encode(text)])
    embedding = llm.stack.get_input_embeddings()
    with torch.inference_mode():
        hidden_BTE = llm(embedding(ids), torch.ones_like(ids, dtype=torch.bool))
        # SmolLM2 ties its output layer to the token embeddings.
        logits = hidden_BTE[0, -1] @ embedding.weight.T
    assert word in [tokenizer.decode([token]) for token in logits.topk(5).indices.tolist()]


def test_converted_weights_are_those_of_the_file(llm):
    tensors = {tensor.name: tensor for tensor in GGUFReader(smollm2_gguf()).tensors}
    stored = torch.from_numpy(tensors["output_norm.weight"].data.copy())
    torch.testing.assert_close(llm.stack.norm.weight.detach(), stored)
