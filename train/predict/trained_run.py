"""A trained run, put together again from its folder alone: model and answers, no annotations.

The annotated half of its tasks is made where a subset is to be predicted and scored.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from cache_schema.errors import CheckpointError, ConfigError
from cache_schema.parsing import nearest
from cache_schema.place import Place
from cache_schema.recipe import Recipe
from cache_schema.store import Store, open_store
from cache_schema.stream import Stream
from train.checkpoints.checkpoint import State, read_checkpoint, require_stream
from train.checkpoints.folder import checkpoint_folder
from train.checkpoints.record import Checkpoint
from train.config import TextConfig, TrainConfig
from train.data.batches import Ask
from train.model.trained_weights import load_trained
from train.model.video_llm import VideoLLM
from train.predict.predictor import Loss, Predictor
from train.prepare import build
from train.task import TaskFacts
from train.tasks import AnyAnswers, AnyTask, load_answers, load_task, task_class

__all__ = ["Trained", "load_trained_run", "the_task"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A model as a run's best epoch left it, for one of its tasks."""

    where: Path
    """Folder of the checkpoint."""
    checkpoint: Checkpoint
    state: State
    name: str
    """Of the task."""
    options: Mapping[str, Any]
    """Of the task: the run's, or as changed for this prediction."""
    device: torch.device
    text_features: str = ""
    """Where the features of queries lie now; empty where the run found them."""

    @property
    def facts(self) -> TaskFacts:
        """What is true of the task in any case."""
        return task_class(self.name).answers_type.facts

    @cached_property
    def answers(self) -> AnyAnswers:
        """What the head of the task says.

        Raises:
            CheckpointError: if the checkpoint was written before it held what that takes.
        """
        return _answers(self.state, self.name, self.options, self.where)

    @cached_property
    def model(self) -> VideoLLM:
        """The model on its device, built when it is first asked for."""
        config = self.checkpoint.config
        config = replace(config, text=self._text(config.text))
        answers = {
            name: _answers(self.state, name, config.tasks.get(name, {}), self.where)
            for name in config.task
        }
        # The task's own: a head may tell its answers what it was built with.
        answers[self.name] = self.answers
        model = build(config, self.checkpoint.row_shape, answers, self.device, self.checkpoint)
        load_trained(model, self.state.weights, where=str(self.where))
        return model.to(self.device)

    def _text(self, config: TextConfig) -> TextConfig:
        """Return how queries are read here: a copied run may have its text encoder only."""
        place = self.text_features or config.features
        if config.encoder and place and not Path(place).exists():
            logger.warning(
                "warning: text.features '%s' is not there; text.encoder '%s' reads all queries.",
                place,
                config.encoder,
            )
            place = ""
        return replace(config, features=place)

    def task(self, annotations: str = "") -> AnyTask:
        """Return the annotated half of the task.

        Args:
            annotations: Where they lie now; empty takes the run's.

        Raises:
            CheckpointError: if they number the classes otherwise than the training run's.
        """
        places = dict(
            zip(self.checkpoint.config.task, self.checkpoint.config.annotations, strict=True)
        )
        task = load_task(self.name, Path(annotations or places[self.name]), self.options)
        _check_labels(
            self.name,
            task.answers.labels(),
            self.state.labels[self.name],
            where=str(self.where),
        )
        assert self.model is not None  # from here on its head is built
        task.answers.adopt(self.answers)
        return task

    def extracted_recipes(self) -> list[Recipe]:
        """Return the recipes of the features, which say how to make them of videos.

        Raises:
            CheckpointError: if any were imported.
        """
        recipes = list(self.checkpoint.recipe.stored)
        for recipe in recipes:
            if recipe.origin != "extracted":
                raise CheckpointError(
                    f"{self.where}: was trained on imported features ('{recipe.encoder.id}'); "
                    "nothing says how to make them of videos. Import the features of these videos "
                    "too, and predict with --features."
                )
        return recipes

    def stream(self, features: Place, names: Sequence[str] = ()) -> Stream:
        """Return the stream of a store that has features of the run's recipe."""
        return self.choose_stream(open_store(features), names)

    def choose_stream(self, store: Store, names: Sequence[str] = ()) -> Stream:
        """Return the same of a store that is open.

        Raises:
            RecipeMismatchError: naming every field that differs.
        """
        return require_stream(store, self.checkpoint, names)

    def predictor(self, stream: Stream, ask: Ask, loss: Loss | None = None) -> Predictor:
        """Return what predicts samples of a stream, with the batches of training.

        Args:
            stream: Where the features are.
            ask: A task's targets, or the answers' inputs.
            loss: Of the task, where there are annotations.
        """
        config = self.checkpoint.config
        return Predictor(
            model=self.model,
            name=self.name,
            ask=ask,
            loss=loss,
            stream=stream,
            data=config.data,
            # In bfloat16 the last digits depend on the shape of a batch.
            batch_size=config.optim.evaluation_batch,
            device=self.device,
        )


def load_trained_run(
    run: Path,
    device: torch.device,
    *,
    task_name: str = "",
    options: Mapping[str, object] | None = None,
    text_features: str = "",
) -> Trained:
    """Read the best checkpoint of a run.

    Args:
        run: Folder of the run, or of one checkpoint.
        device: Where the model will run.
        task_name: Which of its tasks; may be empty if the run has one.
        options: The task's options that differ from the run's, such as the decoder.
        text_features: Where the features of queries lie now; empty where the run found them.

    Raises:
        CheckpointError: if there is no checkpoint.
        ConfigError: if the run has not learned the task, or several and none is named.
    """
    folder = checkpoint_folder(run)
    checkpoint, state = read_checkpoint(folder)
    name = the_task(checkpoint.config, task_name)
    own = {**checkpoint.config.tasks.get(name, {}), **(options or {})}
    return Trained(folder, checkpoint, state, name, own, device, text_features)


def _answers(state: State, name: str, options: Mapping[str, Any], where: Path) -> AnyAnswers:
    if name not in state.knowledge:
        raise CheckpointError(
            f"{where}: was written by an earlier version and does not hold the class names in the "
            "form that predictions need. Resume the run with --resume for one more epoch, or train "
            "again."
        )
    return load_answers(name, state.knowledge[name], options, where=str(where))


def _check_labels(
    task: str,
    own: Mapping[str, Sequence[str]],
    saved: Mapping[str, Sequence[str]],
    *,
    where: str,
) -> None:
    """Check that class numbers still mean what they did in training."""
    for output, names in saved.items():
        got = list(own.get(output, ()))
        if got != list(names):
            place = next(
                (i for i, pair in enumerate(zip(got, names)) if pair[0] != pair[1]),  # noqa: B905
                min(len(got), len(names)),
            )
            raise CheckpointError(
                f"{where}: the annotations of {task} number the classes of '{output}' "
                f"otherwise than those of the training run: {len(got)} classes, not "
                f"{len(names)}; the first that differs is number {place}. Predict with "
                "annotations that list the same classes."
            )


def the_task(config: TrainConfig, name: str) -> str:
    """Return the task to predict: the named one, or the only one.

    Raises:
        ConfigError: if the run has not learned it, or has several and none is named.
    """
    if name in config.task:
        return name
    if name:
        raise ConfigError(f"The run has not learned task '{name}'. {nearest(name, config.task)}")
    if len(config.task) > 1:
        raise ConfigError(f"The run has learned {', '.join(config.task)}. Choose with --task.")
    return config.task[0]
