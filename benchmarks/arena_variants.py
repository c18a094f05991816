"""What may stand between translator and head in the arena, and what is searched for each.

All variants go through the project's own training: samples, noise, losses, heads, decoders and
selection are the same. Of every variant the same number of settings is drawn, at random from the
values below; those that variants have in common are the same draws (``draw``).

Each list of values begins with the one that did best in sketches of `gru` and `llm` on videos of
50Salads that each fold holds out (one seed), and holds its neighbours. Four blocks of the LLM did
there as two do, in twice the time.

`llm` and `random_llm` are read beside the side network, which is the project's default, `llm_alone`
and `transformer_scratch` are not.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from transformers import LlamaConfig, LlamaModel

__all__ = ["VARIANTS", "draw", "flags_of", "overrides_of", "plain", "save_scratch_llm"]

Values = Mapping[str, Sequence[object]]

OF_ALL: Values = {
    "train.optim.lr": (0.004, 0.002, 0.008),
    "train.translator.pool_rows": (3, 2),
    "train.augment.shift_std": (0.5, 0.3, 0.8),
    "train.tasks.action_segmentation.smoothing_weight": (1.0, 0.3),
}
NOISY: Values = {
    "train.augment.noise_std": (0.6, 0.3),
    "train.augment.state_dropout": (0.5, 0.3),
}
CALM: Values = {key: values[::-1] for key, values in NOISY.items()}
OF_LLM: Values = {
    **NOISY,
    "train.llm.num_layers": (2,),
    "train.tuning": ("lora:16", "lora:64"),
    "train.optim.llm_lr": (0.0025, 0.005),
    "train.optim.epochs": (10, 14, 20),
}
BESIDE: Values = {**OF_LLM, "train.optim.epochs": (20, 14, 28)}
"""Where each of two networks learns from a part of the windows."""
OF_SMALL: Values = {
    **CALM,
    "train.llm.width": (128, 64, 256),
    "train.optim.llm_lr": (0.0025, 0.005, 0.01),
    "train.optim.epochs": (16, 10, 24),
}
OF_NONE: Values = {**CALM, "train.optim.epochs": (16, 10, 24)}

FIXED: Mapping[str, Sequence[str]] = {
    "llm": (),
    "llm_alone": ("train.side.width=0",),
    "random_llm": ("train.llm.weights=random",),
    "no_llm": ("train.llm.name=none", "train.tuning=basic"),
    "linear": ("train.llm.name=none", "train.tuning=basic"),
    "gru": ("train.llm.name=gru", "train.tuning=basic", "train.llm.num_layers=auto"),
    "causal_tcn": ("train.llm.name=tcn", "train.tuning=basic", "train.llm.num_layers=auto"),
    "transformer_scratch": (
        "train.llm.weights=random",
        "train.tuning=full",
        "train.side.width=0",
    ),
}
OWN: Mapping[str, Values] = {
    "llm": BESIDE,
    "random_llm": BESIDE,
    "llm_alone": OF_LLM,
    "no_llm": OF_NONE,
    "linear": {**OF_NONE, "train.translator.pool_rows": (1,)},
    "gru": {**OF_SMALL, "train.llm.num_layers": (1, 2)},
    "causal_tcn": {**OF_SMALL, "train.llm.num_layers": (8, 6, 9)},
    "transformer_scratch": {
        **NOISY,
        "train.llm.num_layers": (2, 1),
        "train.optim.llm_lr": (0.001, 0.0005, 0.0025),
        "train.optim.epochs": (10, 6, 16),
    },
}
VARIANTS = tuple(FIXED)

SCRATCH_WIDTH = 128
SCRATCH = "scratch"
"""Folder of the network whose weights ``transformer_scratch`` does not use, but its sizes."""


def draw(variant: str, number: int) -> dict[str, object]:
    """Return the settings that are tried as this number, the same in every fold.

    Number 0 is the first value of everything, the others are drawn.

    Args:
        variant: One of ``VARIANTS``.
        number: From 0.
    """
    chosen: dict[str, object] = {}
    for key, values in {**OF_ALL, **OWN[variant]}.items():
        # A generator of its own for each key: what variants share does not depend on the others.
        rng = np.random.default_rng((zlib.crc32(key.encode()), number))
        chosen[key] = values[int(rng.integers(len(values))) if number else 0]
    return chosen


def plain(variant: str) -> dict[str, object]:
    """Return what differs from the defaults of vllm-train: an LLM has 4 blocks, which is quick."""
    is_llm = not any(flag.startswith("train.llm.name=") for flag in FIXED[variant])
    return {"train.llm.num_layers": 4} if is_llm else {}


def overrides_of(variant: str, out: Path, settings: Mapping[str, object]) -> list[str]:
    """Return what a variant and its settings are as overrides of vllm-train's settings."""
    own = [f"train.llm.name={out / SCRATCH}"] if variant == "transformer_scratch" else []
    return [*FIXED[variant], *own, *(f"{key}={value}" for key, value in settings.items())]


def flags_of(variant: str, out: Path, settings: Mapping[str, object]) -> list[str]:
    """Return the same as flags of vllm-train."""
    overrides = overrides_of(variant, out, settings)
    return [word for override in overrides for word in ("--set", override)]


def save_scratch_llm(out: Path) -> None:
    """Save a small Llama; its sizes are read, and its first blocks, but no weight of it."""
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=SCRATCH_WIDTH,
        intermediate_size=4 * SCRATCH_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
    )
    LlamaModel(config).save_pretrained(out / SCRATCH)
    (out / SCRATCH / "ours.json").write_text(json.dumps({"weights": "never used"}))
