"""Send a run to a hub: its best checkpoint, as a model repository that ``hf://`` names as a run.

    model.safetensors    as in the checkpoint: translator and heads
    adapter_model.safetensors, adapter_config.json    peft's own, where there is an adapter
    labels.json, knowledge.json    as in the checkpoint
    run.json             the same, but that it names no folder of the machine that trained
    metrics.jsonl, report/result.json    what the run has measured
    README.md            the card

All files change at one instant. The optimizer's state stays here: it is larger than all the rest,
and only ``--resume`` needs it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from cache_schema.hub.address import NEW_REPOSITORY, HubAddress
from cache_schema.hub.repository import HubRepository, open_repository
from cache_schema.parsing import to_json
from cache_schema.progress_bars import no_progress_bars
from cache_schema.sharing.card import CARD
from train.checkpoints.checkpoint import (
    ADAPTER,
    ADAPTER_CONFIG,
    KNOWLEDGE,
    LABELS,
    MODEL,
    read_checkpoint,
)
from train.checkpoints.folder import RUN, checkpoint_folder
from train.checkpoints.record import Checkpoint
from train.checkpoints.result import METRICS, REPORT, RESULT, read_result
from train.config import JobConfig
from train.model.pretrained import hub_name
from train.sharing.run_card import run_card

__all__ = ["SharedRun", "push_run"]

BASE = "base_model_name_or_path"
"""Of an adapter's settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedRun:
    """What became of it."""

    target: str
    num_files: int
    """That were sent; the others were there."""
    commit: str | None
    """The hub's name of the new state; None if nothing was to be sent."""
    is_new: bool
    """Whether the repository was made."""

    def text(self) -> str:
        """Return it for a reader."""
        lines = [f"{self.target}: {self.num_files} files sent."]
        if self.is_new:
            lines.append(NEW_REPOSITORY)
        return "\n".join(lines)


def push_run(run: Path, address: HubAddress) -> SharedRun:
    """Send the best checkpoint of a run to a hub, as far as it is not there.

    Args:
        run: Folder of the run, or of one checkpoint.
        address: Of a model repository, which is made, private, if it is not there.

    Raises:
        CheckpointError: if there is no whole checkpoint.
        HubError: if the hub does not take it.
    """
    folder = checkpoint_folder(run)
    checkpoint, _ = read_checkpoint(folder)  # nothing is sent of one that is not whole
    repository = open_repository(address, may_be_missing=True)
    with TemporaryDirectory(prefix="vllm-push-") as scratch:
        files = dict(_files(run, folder, _without_places(checkpoint), repository, Path(scratch)))
        new = {path: file for path, file in files.items() if not repository.has(path, file)}
        old = [path for path in _all_paths() if path in repository.files and path not in files]
        is_new, commit = repository.make(), None
        if new or old:
            operations: list[CommitOperationAdd | CommitOperationDelete] = [
                *(CommitOperationAdd(path, file) for path, file in new.items()),
                *(CommitOperationDelete(path) for path in old),
            ]
            with no_progress_bars():
                commit = repository.commit_files(operations, "Share a trained run")
    return SharedRun(target=str(address), num_files=len(new), commit=commit, is_new=is_new)


def _all_paths() -> tuple[str, ...]:
    own = (MODEL, ADAPTER, ADAPTER_CONFIG, LABELS, KNOWLEDGE, RUN)
    return (*own, METRICS, f"{REPORT}/{RESULT}", CARD)


def _files(
    run: Path, folder: Path, checkpoint: Checkpoint, repository: HubRepository, scratch: Path
) -> Iterator[tuple[str, Path]]:
    """Yield path in the repository and file; those that differ from the run's are made."""
    for name in (MODEL, ADAPTER, LABELS, KNOWLEDGE):
        if (folder / name).exists():
            yield name, folder / name
    for name in (METRICS, f"{REPORT}/{RESULT}"):
        if (run / name).exists():
            yield name, run / name
    llm = checkpoint.pretrained.get("llm")
    base_model = hub_name(llm.name) if llm else ""
    texts = {RUN: to_json(checkpoint) + "\n"}
    if (folder / ADAPTER_CONFIG).exists():
        settings = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        settings[BASE] = base_model or _shown(settings[BASE])
        texts[ADAPTER_CONFIG] = json.dumps(settings, indent=2, sort_keys=True)
    texts[CARD] = run_card(
        checkpoint,
        read_result(run),
        repository.address,
        base_model=base_model,
        has_adapter=ADAPTER_CONFIG in texts,
        old=repository.fetch_text(CARD, scratch / "there"),
    )
    for name, text in texts.items():
        (scratch / name).write_text(text, encoding="utf-8")
        yield name, scratch / name


def _without_places(checkpoint: Checkpoint) -> Checkpoint:
    """Return run.json without the folders of this machine, which tell others nothing but names."""
    config = checkpoint.config
    config = replace(
        config,
        features=_shown(config.features),
        annotations=tuple(map(_shown, config.annotations)),
        out="",
        text=replace(config.text, features=_shown(config.text.features)),
        job=JobConfig(),
    )
    sources = checkpoint.encoder_sources.items()
    return replace(
        checkpoint,
        config=config,
        encoder_source=_shown(checkpoint.encoder_source),
        encoder_sources={recipe: _shown(source) for recipe, source in sources},
    )


def _shown(place: str) -> str:
    """Return the last name of a path from the root; what is typed otherwise stays."""
    return PurePath(place).name if PurePath(place).is_absolute() else place
