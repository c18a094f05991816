"""The language model: a stack that turns input embeddings into hidden states.

Owns keeping the first blocks, how they are run, and what of them is trained. The LM head is never
built. tokens_BTE -> hidden_BTE.

Shapes: B batch, T tokens, E width of the LLM's embeddings.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig

from cache_schema.errors import ConfigError
from cache_schema.parsing import nearest
from train.config import LlmConfig
from train.model.attention import causal_attention, eager_attention, most_eager_tokens
from train.model.branches import BranchLayout
from train.model.identity import LlmIdentity
from train.model.pretrained import llm_source, read_weights, weights_sha256
from train.model.quiet_loading import quiet_loading
from train.model.small import SMALL
from train.model.tuning import SIZED, blocks_of, multiply_in_autocast, parse_tuning, tune

__all__ = ["LanguageModel", "load_llm", "native_dtype"]

if TYPE_CHECKING:  # slow to import, and not every run has an adapter
    from peft import PeftConfig

BRANCHING_FAMILIES = ("llama", "qwen2", "qwen3", "gpt2", "opt", "gpt_neox")
"""Whose positions and masks can be told. Others find them in the input alone (BLOOM), or have
blocks that see a part of it (Gemma 3, Mistral)."""

SHORT_NAMES = ("smollm2", *SMALL, "none")
"""What may stand where an LLM is named, and is neither on a hub nor on this machine's disk."""

BLOCKS_OF_SMOLLM2 = 8
"""Kept by default: on 2 cores all 30 take minutes where 8 take one."""


class LanguageModel(nn.Module):
    """A stack of blocks on input embeddings, frozen but for what its tuning trains.

    Its dropout is off, and gradients flow through it to the translator.
    """

    def __init__(
        self,
        stack: nn.Module,
        identity: LlmIdentity,
        tuning: str = "basic",
        *,
        seed: int = 0,
        eager_tokens: int = 0,
    ) -> None:
        """Put what is trained into or around a stack.

        Args:
            stack: The blocks, with the weights that ``identity`` names.
            identity: Of the stack before it is tuned.
            tuning: See ``train.model.tuning``.
            seed: Of an adapter's weights.
            eager_tokens: Up to so many tokens training computes attention without a fused kernel.
        """
        super().__init__()
        self._eager_tokens = eager_tokens
        settings: Any = stack.config
        self.identity = identity
        self.tuning = parse_tuning(tuning)
        self.embedding_rms: float = _embedding_rms(stack)
        """Root mean square of its token embeddings: the scale of input it was trained on."""
        self.network = tune(stack, tuning, seed=seed)
        """The stack, or peft's model around it."""
        has_lora = self.tuning.kind == "lora"
        has_float32 = has_lora or self.tuning.trains_own_weights
        self._is_mixed = identity.dtype == "bfloat16" and has_float32
        if self._is_mixed and has_lora:
            multiply_in_autocast(self.network)
        if self.adapter_config is not None:
            self.adapter_config.base_model_name_or_path = identity.name
        self._embedding = [_embedding(stack)]  # in a list: not registered a second time
        self.width_in: int = self._embedding[0].weight.shape[1]
        # OPT-350m projects from its embedding width to its hidden width and back again.
        self.width_out: int = getattr(settings, "word_embed_proj_dim", settings.hidden_size)
        positions: int | None = getattr(settings, "max_position_embeddings", None)
        self.max_positions = positions and positions - self.tuning.num_virtual_tokens
        """Longest input the LLM has positions for; None if it says nothing."""

    @property
    def is_causal(self) -> bool:
        """Whether a token sees those before it only."""
        return self.identity.stack == "decoder"

    @property
    def stack(self) -> nn.Module:
        """The blocks themselves, without peft's model around them."""
        if self.tuning.kind not in SIZED:
            return self.network
        base: nn.Module = self.network.get_base_model()  # type: ignore[operator]
        return base

    def embed(self, ids_BL: Tensor) -> Tensor:
        """Return the embeddings (B, L, E) of token ids, as the LLM itself would feed them."""
        embeddings_BLE: Tensor = self._embedding[0](ids_BL)
        return embeddings_BLE

    @property
    def adapter_config(self) -> "PeftConfig | None":
        """What peft needs to know of the adapter; None without one."""
        configs: dict[str, PeftConfig] = getattr(self.network, "peft_config", {})
        return configs.get("default")

    def adapter_tensors(self) -> dict[str, Tensor]:
        """Return the adapter's weights under peft's own names; empty without one."""
        if self.adapter_config is None:
            return {}
        if self.tuning.num_virtual_tokens:
            # peft would call the embedding for its weight, which FSDP has only in parts just now.
            encoder: Any = self.network.prompt_encoder
            return {"prompt_embeddings": encoder["default"].embedding.weight}
        from peft import get_peft_model_state_dict

        # Else it asks a hub whether token embeddings were added; none ever are.
        tensors: dict[str, Tensor] = get_peft_model_state_dict(
            self.network, save_embedding_layers=False
        )
        return tensors

    def load_adapter(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill the adapter with what ``adapter_tensors`` returned."""
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.network, dict(tensors))

    def forward(self, tokens_BTE: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the last hidden states in float32, after the stack's final norm.

        Args:
            tokens_BTE: Input embeddings, any float dtype.
            valid_BT: True for tokens, False for padding, which lies behind them and must be finite.
                States of padding may be anything.
        """
        # A causal token never sees what lies behind it, so padding needs no mask. With one, SDPA
        # could not take its causal kernel, and blocks would read B x T x T values.
        mask_BT = None if self.is_causal else valid_BT.long()
        with self._attention(tokens_BTE.shape[1]):
            hidden_BTE = self.run(self.network, tokens_BTE, attention_mask=mask_BT, use_cache=False)
        return hidden_BTE[:, self.tuning.num_prompt_tokens :]

    def _attention(self, num_tokens: int) -> AbstractContextManager[None]:
        """Return how attention is computed, where no mask is given."""
        if torch.is_grad_enabled() and num_tokens <= self._eager_tokens:
            return eager_attention(self.stack)
        # Where positions and masks can be told, none is needed for a plain past.
        return causal_attention(self.stack) if self.reads_branches else nullcontext()

    @property
    def reads_branches(self) -> bool:
        """Whether ``forward_branches`` gives what ``forward`` gives of each branch by itself."""
        settings: Any = self.stack.config
        return (
            self.is_causal
            and settings.model_type in BRANCHING_FAMILIES
            and not getattr(settings, "use_sliding_window", False)  # as some Qwen
            and settings._attn_implementation in {"sdpa", "eager"}
            and not self.tuning.num_virtual_tokens
        )

    def forward_branches(self, tokens_BNE: Tensor, layout: BranchLayout) -> Tensor:
        """Return the last hidden states (B, N, E) of rows that several branches continue.

        Args:
            tokens_BNE: Rows and branches, joined by the layout.
            layout: Who sees whom.
        """
        seen = layout.may_see()
        settings: Any = self.stack.config
        if settings._attn_implementation == "eager":  # adds what SDPA takes for a choice
            lowest = torch.finfo(self._embedding[0].weight.dtype).min
            seen = torch.zeros_like(seen, dtype=self._embedding[0].weight.dtype).where(seen, lowest)
        return self.run(
            self.network,
            tokens_BNE,
            attention_mask=seen,
            position_ids=layout.positions_BN,
            use_cache=False,
        )

    def run(self, network: nn.Module, tokens_BTE: Tensor, **inputs: object) -> Tensor:
        """Return a network's last hidden states (B, N, E) in float32, in the LLM's arithmetic.

        Args:
            network: ``network`` or ``stack``.
            tokens_BTE: Input embeddings, any float dtype.
            inputs: What else the network is called with.
        """
        dtype = self._embedding[0].weight.dtype
        with self.arithmetic():
            output = network(inputs_embeds=tokens_BTE.to(dtype), **inputs)
        hidden_BNE: Tensor = output.last_hidden_state
        return hidden_BNE.float()

    def arithmetic(self) -> torch.autocast:
        """Return the context in which ``network`` and ``stack`` have to be called.

        Weights that are trained are float32. In it they are multiplied as the frozen ones are.
        """
        device = self._embedding[0].weight.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self._is_mixed)


def load_llm(
    config: LlmConfig, device: torch.device, seed: int, tuning: str = "basic"
) -> LanguageModel:
    """Load the LLM of a run, on the CPU.

    Args:
        config: ``name`` must not be ``none``.
        device: Where it will run; decides what dtype ``auto`` is.
        seed: Of random weights and of the adapter.
        tuning: What of it will be trained.

    Raises:
        ConfigError: if the name is unknown, the package is missing, or weights are.
    """
    source = llm_source(config.name)
    dtype = native_dtype(device) if config.dtype == "auto" else getattr(torch, config.dtype)
    # Small updates vanish in bfloat16 weights.
    kept_dtype = torch.float32 if parse_tuning(tuning).trains_own_weights else dtype
    with quiet_loading():
        settings = _read_settings(config, source)
        if config.weights == "random":
            torch.manual_seed(seed)
            whole = AutoModel.from_config(settings, dtype=kept_dtype)  # type: ignore[no-untyped-call]
        else:
            whole = read_weights(source, settings, kept_dtype)
    stack = _half(whole, config.stack) if settings.is_encoder_decoder else whole
    _set_running(stack, config, tuning)
    identity = LlmIdentity(
        name=config.name,
        stack=config.stack,
        num_layers=settings.num_hidden_layers,
        weights=config.weights,
        dtype="bfloat16" if dtype == torch.bfloat16 else "float32",
        weights_sha256=weights_sha256(stack),
    )
    eager_tokens = most_eager_tokens(config, device, dtype)
    return LanguageModel(stack, identity, tuning, seed=seed, eager_tokens=eager_tokens)


def _set_running(stack: Any, config: LlmConfig, tuning: str) -> None:  # noqa: ANN401
    """Set how the stack is run; none of it changes a result beyond rounding."""
    if config.gradient_checkpointing:
        if parse_tuning(tuning).kind == "prefix":
            raise ConfigError(
                "llm.gradient_checkpointing does not go with tuning 'prefix:N': the learned keys "
                "and values would be dropped. Choose lora:R, or switch it off."
            )
        # transformers has renamed it within version 5.
        new_name = getattr(stack, "activation_checkpointing_enable", None)
        enable = new_name or stack.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    if config.compile:
        # Each block, not the stack: they are alike, so that one is compiled for all of them.
        for block in blocks_of(stack):
            block.compile(dynamic=True)


def native_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device computes in it natively, else float32.

    Elsewhere bfloat16 is emulated and slower than float32.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def _read_settings(config: LlmConfig, source: str) -> PretrainedConfig:
    """Read the LLM's own settings and cut them to the blocks that are kept."""
    try:
        settings: PretrainedConfig = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"llm '{config.name}': no local folder or hub id that can be read. "
            f"{nearest(config.name, SHORT_NAMES)} Or give a folder with config.json and "
            f"safetensors, a .gguf file, or a hub id. {str(error).splitlines()[0]}"
        ) from error
    if config.stack == "encoder" and not settings.is_encoder_decoder:
        raise ConfigError(
            f"llm '{config.name}' ({settings.model_type}) is a decoder only; llm.stack = "
            "'encoder' needs an encoder-decoder such as t5-base."
        )
    available = settings.num_hidden_layers
    wanted = _wanted_blocks(config)
    if wanted > available:
        raise ConfigError(
            f"llm '{config.name}' has {available} blocks, llm.num_layers asks for "
            f"{wanted}. Set it to {available} at most; 0 keeps all."
        )
    _without_dropout(settings)
    if config.attention != "auto":
        settings._attn_implementation = config.attention
    # Set before the stack is built, so that the other blocks are never made.
    settings.num_hidden_layers = wanted or available
    if settings.is_encoder_decoder:
        _set_half_sizes(settings, wanted or available)
    return settings


def _wanted_blocks(config: LlmConfig) -> int:
    """Return how many blocks to keep; 0 for all."""
    if config.num_layers == "auto":
        return BLOCKS_OF_SMOLLM2 if config.name == "smollm2" else 0
    return config.num_layers


def _without_dropout(settings: PretrainedConfig) -> None:
    """Switch dropout off by its rates, so that training mode changes nothing of a frozen LLM."""
    for name, value in vars(settings).items():
        is_rate = isinstance(value, float) and ("drop" in name or name.endswith("_pdrop"))
        if is_rate:
            setattr(settings, name, 0.0)


def _set_half_sizes(settings: PretrainedConfig, num_layers: int) -> None:
    # Names differ between families: T5 counts num_decoder_layers, BART decoder_layers.
    for name in ("num_decoder_layers", "decoder_layers", "encoder_layers"):
        if hasattr(settings, name):
            setattr(settings, name, num_layers)


def _half(whole: Any, stack: str) -> nn.Module:  # noqa: ANN401 - transformers has no types
    """Return one half of an encoder-decoder; a decoder without encoder states skips those."""
    half: nn.Module = whole.get_encoder() if stack == "encoder" else whole.get_decoder()
    return half


def _embedding(stack: nn.Module) -> nn.Embedding:
    embedding: nn.Embedding = stack.get_input_embeddings()  # type: ignore[operator]
    return embedding


def _embedding_rms(stack: nn.Module, sample_size: int = 4096) -> float:
    """Measure token embeddings as the LLM itself would feed them (some families scale them)."""
    embedding = _embedding(stack)
    ids = torch.linspace(0, embedding.num_embeddings - 1, sample_size).long()
    with torch.no_grad():
        return float(embedding(ids).float().square().mean().sqrt())
