"""README.md of a checkpoint: what it is, what it was trained on, how good it is, how to use it."""

from collections.abc import Mapping

from train.checkpoints.record import Checkpoint
from train.config import AUTO_TUNING

__all__ = ["facts_of", "model_card"]


def model_card(checkpoint: Checkpoint) -> str:
    """Return the model card as Markdown."""
    config = checkpoint.config
    tasks = ", ".join(config.task)
    return "\n".join(
        [
            "---",
            "library_name: video-feature-llm",
            f"tags: [video, {', '.join(name.replace('_', '-') for name in config.task)}]",
            "---",
            f"# {tasks}",
            "",
            "A VideoLLM (arXiv 2305.13292): stored video features, a semantic translator, an LLM, "
            "and one head per task.",
            "",
            *_table(facts_of(checkpoint)),
            "",
            *_scores(checkpoint),
            "## Use",
            "",
            "```",
            "vllm-predict RUN VIDEOS... --out answers.jsonl",
            "vllm-predict RUN --features STORE --out answers.jsonl",
            "vllm-predict RUN --features STORE --subset val --out SUBMISSION",
            "```",
            "",
            "Only the submission needs annotations. Features are made, and STORE must hold them, "
            "by the same recipe, and the LLM must be the same; both are checked.",
            "",
        ]
    )


def facts_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Return what a run was trained on and how: name -> value."""
    config, recipe = checkpoint.config, checkpoint.recipe
    llm = checkpoint.pretrained.get("llm")
    return {
        "step": f"{checkpoint.progress.step} (best epoch {checkpoint.progress.best_epoch})",
        "trained on": f"{checkpoint.progress.num_rows:,} rows, that is visual tokens, in "
        f"{checkpoint.progress.seconds:,.0f} s",
        "LLM": f"none ({config.llm.name})"
        if llm is None
        else f"{llm.name}, {llm.num_layers} blocks, {llm.weights}, {llm.dtype}",
        "LLM weights (SHA-256)": "-" if llm is None else llm.weights_sha256,
        "tuning": "-" if llm is None else config.tuning.replace("auto", f"auto ({AUTO_TUNING})"),
        "seed": str(config.seed),
        "features": f"{recipe.encoder.id}, {checkpoint.row_shape} per row",
        "encoder loaded from": checkpoint.encoder_source or "-",
        "encoder weights (SHA-256)": recipe.encoder.weights_sha256,
        "recipe fingerprint": recipe.fingerprint,
        "annotations": ", ".join(config.annotations),
    }


def _table(facts: Mapping[str, str]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]


def _scores(checkpoint: Checkpoint) -> list[str]:
    scores = checkpoint.progress.scores
    if not scores:
        return []
    lines = [f"| {name} | {'-' if v is None else f'{v:.4f}'} |" for name, v in scores.items()]
    return ["## Scores on the validation subset", "", "| metric | |", "|---|---|", *lines, ""]
