"""A checkpoint: one folder with everything a run needs to go on, or a prediction to start.

    model.safetensors       translator and heads (pretrained networks are named, with a digest)
    adapter_model.safetensors, adapter_config.json    the LLM's adapter in peft's own form
    optimizer.safetensors   AdamW's moments, ``<parameter>/<state>``
    run.json                settings, recipe and stream, samples, position, scores
    labels.json             task -> output -> name of each class, by its number
    knowledge.json          task -> what its head must know of the annotations
    README.md               model card

Nothing is pickled. The sampler's position and the random state are functions of the seed and the
step, so the step is all there is to keep of them.
"""

import hashlib
import json
import logging
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from cache_schema.derived.find import derive_like
from cache_schema.derived.motion import MOTION
from cache_schema.errors import CheckpointError, RecipeMismatchError
from cache_schema.parsing import differences, to_json
from cache_schema.recipe import Recipe
from cache_schema.store import Store
from cache_schema.stream import Stream
from cache_schema.writing.durable import partials, replaced_file, sync_path
from train.checkpoints.folder import RUN, place_of, previous_of, read_record
from train.checkpoints.model_card import model_card
from train.checkpoints.record import Checkpoint
from train.data.samples import SampleRows
from train.model.trained_weights import TrainedWeights

if TYPE_CHECKING:  # slow to import, and not every run has an adapter
    from peft import PeftConfig

__all__ = [
    "ADAPTER",
    "ADAPTER_CONFIG",
    "KNOWLEDGE",
    "LABELS",
    "MODEL",
    "Knowledge",
    "Labels",
    "State",
    "check_stream",
    "load_optimizer",
    "optimizer_tensors",
    "read_checkpoint",
    "require_stream",
    "samples_sha256",
    "write_checkpoint",
    "write_knowledge",
]

logger = logging.getLogger(__name__)

Labels = Mapping[str, Mapping[str, Sequence[str]]]
"""Task -> output of its head -> name of each class."""

Knowledge = Mapping[str, Mapping[str, Any]]
"""Task -> plain values of the record of its ``Answers.knowledge``."""

MODEL = "model.safetensors"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
LABELS = "labels.json"
KNOWLEDGE = "knowledge.json"
CARD = "README.md"
OPTIMIZER = "optimizer.safetensors"


def samples_sha256(samples: Sequence[SampleRows]) -> str:
    """Return the SHA-256 over video, first row and number of rows of every sample, in order."""
    lines = [
        f"{rows.video_id}\t{rows.first_row}\t{rows.num_rows}\n"
        for rows in samples
        for _ in rows.samples
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """The tensors and names of a checkpoint."""

    weights: TrainedWeights
    labels: Labels
    knowledge: Knowledge
    """Empty in checkpoints of an earlier version."""
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    """See ``optimizer_tensors``."""
    adapter_config: "PeftConfig | None" = None
    """Only needed for writing."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint, state: State) -> None:
    """Write a checkpoint so that ``folder`` always holds a whole one.

    It is written beside, synced, and swapped in by renaming; if the machine stops between the two
    renames, the previous checkpoint lies at ``<folder>.previous``, where reading finds it. Of one
    that cannot be written nothing stays.
    """
    for left in partials(folder):  # by a killed process; a run folder has one trainer at a time
        shutil.rmtree(left, ignore_errors=True)
    previous = previous_of(folder)
    partial = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        _write_files(partial, checkpoint, state)
        if folder.exists():
            shutil.rmtree(previous, ignore_errors=True)
            folder.rename(previous)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_path(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _write_files(folder: Path, checkpoint: Checkpoint, state: State) -> None:
    """Write the files of a checkpoint into a new folder, and wait until they are on disk."""
    folder.mkdir(parents=True)
    save_file(_on_cpu(state.weights.model), folder / MODEL)
    save_file(_on_cpu(state.optimizer), folder / OPTIMIZER)
    if state.adapter_config is not None:
        save_file(_on_cpu(state.weights.adapter), folder / ADAPTER, metadata={"format": "pt"})
        state.adapter_config.save_pretrained(str(folder))
    texts = {
        RUN: to_json(checkpoint) + "\n",
        LABELS: json.dumps(state.labels, indent=1, ensure_ascii=False) + "\n",
        KNOWLEDGE: _knowledge_text(state.knowledge),
        CARD: model_card(checkpoint),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        sync_path(path)


def write_knowledge(folder: Path, knowledge: Knowledge) -> None:
    """Replace what a checkpoint's heads know, whole or not at all."""
    with replaced_file(folder / KNOWLEDGE) as partial:
        partial.write_text(_knowledge_text(knowledge), encoding="utf-8")


def read_checkpoint(folder: Path) -> tuple[Checkpoint, State]:
    """Return run.json, and the tensors and names.

    Raises:
        CheckpointError: if there is none, or a file of it is missing or damaged.
    """
    place = place_of(folder)
    try:
        checkpoint = read_record(folder)
        state = State(
            weights=TrainedWeights(
                model=load_file(place / MODEL),
                adapter=load_file(place / ADAPTER) if (place / ADAPTER).exists() else {},
            ),
            labels=json.loads((place / LABELS).read_text(encoding="utf-8")),
            knowledge=_read_knowledge(place / KNOWLEDGE),
            optimizer=load_file(place / OPTIMIZER) if (place / OPTIMIZER).exists() else {},
        )
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder}: no whole checkpoint here ({error.filename or error} is missing). Give the "
            "folder of a run that vllm-train has written."
        ) from error
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: a file is damaged ({error}). Use another checkpoint of the run."
        ) from error
    return checkpoint, state


def _knowledge_text(knowledge: Knowledge) -> str:
    return json.dumps(knowledge, ensure_ascii=False) + "\n"


def _read_knowledge(path: Path) -> Knowledge:
    if not path.exists():
        return {}
    known = json.loads(path.read_text(encoding="utf-8"))
    if not (isinstance(known, dict) and all(isinstance(one, dict) for one in known.values())):
        raise ValueError(f"{path.name} holds no object for each task")
    return known


def optimizer_tensors(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Return the optimizer's state under ``<parameter name>/<state name>``."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(optimizer: Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill the optimizer with what ``optimizer_tensors`` returned.

    Raises:
        CheckpointError: if a tensor belongs to no parameter.
    """
    parameters = dict(model.named_parameters())
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition("/")
        if name not in parameters:
            raise CheckpointError(f"{OPTIMIZER}: '{name}' is no parameter of the model.")
        # Step counters too: the fused AdamW keeps them where the parameter lies.
        optimizer.state[parameters[name]][key] = value.to(parameters[name].device)


def require_stream(store: Store, checkpoint: Checkpoint, names: Sequence[str] = ()) -> Stream:
    """Return the stream a checkpoint can be used with: same recipe, same shape.

    One whose recipe differs in the version of the decoder alone will do, and is said to.

    Args:
        store: Where to look.
        checkpoint: Was trained on the recipe that is needed.
        names: Stream to take, or those to join; empty looks for the recipe.

    Raises:
        RecipeMismatchError: naming every field that differs.
        ConfigError: if there is no stream of this name.
    """
    recipe = checkpoint.recipe
    if recipe.derivation is None:
        if len(names) > 1:
            raise RecipeMismatchError(
                f"the run was trained on one stream ('{checkpoint.stream}'), not on "
                f"{' and '.join(names)} together."
            )
        stream = _of_the_recipe(store, recipe, checkpoint.stream, "".join(names))
    else:
        chosen = iter(names)
        stream = derive_like(
            recipe, lambda parent: _of_the_recipe(store, parent, "", _plain(next(chosen, "")))
        )
    _check_shape(stream, checkpoint)
    return stream


def check_stream(stream: Stream, checkpoint: Checkpoint) -> None:
    """Raise unless a stream, wherever its rows lie, can be used with a checkpoint.

    The version of the decoder may differ, and what rows are stored as: in memory it is float32.

    Raises:
        RecipeMismatchError: naming every field that differs.
    """
    ignore = {"decoder.version", "store_dtype"}
    if fields := differences(stream.recipe, checkpoint.recipe, ignore=ignore):
        raise RecipeMismatchError(
            f"stream '{stream.name}' was made another way than needed: {'; '.join(fields)}."
        )
    _check_shape(stream, checkpoint)


def _check_shape(stream: Stream, checkpoint: Checkpoint) -> None:
    """Imported features of one recipe may still differ in this."""
    if stream.row_shape != checkpoint.row_shape:
        raise RecipeMismatchError(
            f"stream '{stream.name}' has rows of shape {stream.row_shape}, the run was trained on "
            f"rows of shape {checkpoint.row_shape}. Use the features that it was trained on."
        )


def _plain(name: str) -> str:
    return name.removesuffix(MOTION)


def _of_the_recipe(store: Store, recipe: Recipe, usual_name: str, name: str) -> Stream:
    if not name and (found := store.find(recipe)) is not None:
        return found
    chosen = [store.stream(name)] if name else list(store.streams.values())
    for stream in chosen:
        fields = differences(recipe, stream.recipe)
        if fields and not differences(recipe, stream.recipe, ignore={"decoder.version"}):
            logger.warning("%s: stream '%s': %s", store.path, stream.name, "; ".join(fields))
            return stream
    if not name and len(store.streams) != 1 and usual_name not in store.streams:
        raise _none_of_the_recipe(store, recipe)
    same_name = usual_name if usual_name in store.streams else None
    return store.require(store.stream(name or same_name).name, recipe)


def _none_of_the_recipe(store: Store, recipe: Recipe) -> RecipeMismatchError:
    said = [
        f"{stream.name}: {', '.join(differences(stream.recipe, recipe))}"
        for stream in store.streams.values()
    ]
    return RecipeMismatchError(
        f"{store.path}: no stream was made as the run needs it: {'; '.join(said) or 'it has none'}."
        " Extract with the same settings."
    )


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
