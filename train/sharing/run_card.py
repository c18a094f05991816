"""The card of a run on a hub: what the run knows of itself, and room for what people know."""

import json
from typing import Any

from cache_schema.hub.address import HubAddress
from cache_schema.parsing import to_mapping
from cache_schema.sharing.card import filled_in, render_card
from train.checkpoints.model_card import facts_of
from train.checkpoints.record import Checkpoint
from train.checkpoints.result import RunResult

__all__ = ["run_card"]


def run_card(
    checkpoint: Checkpoint,
    result: RunResult | None,
    address: HubAddress,
    *,
    base_model: str,
    has_adapter: bool,
    old: str | None,
) -> str:
    """Return the card of a run.

    Args:
        checkpoint: As it is shared.
        result: What the run has measured; None if it did not end.
        address: Where it is.
        base_model: The LLM's name on the hub; empty if it has none.
        has_adapter: Whether files of peft are there.
        old: The card that is there, whose text outside the marks is kept.
    """
    llm = checkpoint.pretrained.get("llm")
    values: dict[str, Any] = {
        "address": address,
        "base_model": base_model,
        "num_layers": llm.num_layers if llm else 0,
        "has_adapter": has_adapter,
        "tags": [task.replace("_", "-") for task in checkpoint.config.task],
        "tasks": ", ".join(checkpoint.config.task),
        "facts": facts_of(checkpoint),
        "scores": _scores(checkpoint, result),
        "settings": json.dumps(to_mapping(checkpoint.config), indent=1, ensure_ascii=False),
    }
    return filled_in(render_card("train.sharing", "model_card.md.j2", values), old)


def _scores(checkpoint: Checkpoint, result: RunResult | None) -> list[list[str]]:
    """Return lines of a table: its head, then a metric each."""
    scores = result.metrics if result else checkpoint.progress.scores
    baselines = result.baselines if result else {}
    head = ["metric", "this run", *baselines]
    columns = [scores, *baselines.values()]
    lines = [[name, *(_shown(one.get(name)) for one in columns)] for name in scores]
    return [head, *lines] if lines else []


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
