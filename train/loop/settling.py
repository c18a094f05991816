"""After the last step: how a task's outputs become answers is chosen by what picked its best epoch.

Trained weights say what is probable in each row; how much what came before should count beside them
is seen on videos that were not trained on, and differs from set to set.
"""

import logging

from cache_schema.parsing import to_mapping
from train.checkpoints.checkpoint import write_knowledge
from train.checkpoints.folder import BEST, LAST
from train.data.samples import SampleRows
from train.loop.trainer import Trainer
from train.loop.validation import Judges, judged_part
from train.prepare import TaskData

__all__ = ["settle"]

logger = logging.getLogger(__name__)


def settle(trainer: Trainer) -> None:
    """Let the tasks that have a choice choose, and keep it in the checkpoints.

    Where the last epoch counts (``data.selection``), nothing was held out, and nothing is chosen.

    Args:
        trainer: Has done all its steps; holds the best checkpoint's weights afterwards.
    """
    tasks = trainer.run.tasks if trainer.config.data.selection != "last" else []
    choosing = {data.task.facts.name: _picking(data) for data in tasks}
    if not any(choosing.values()):
        return
    trainer.load_best()
    is_main = trainer.accelerator.is_main_process
    for data in tasks:
        if samples := choosing[data.task.facts.name]:
            # All processes predict; the main one has what they say.
            outputs = list(trainer.validation.predictor(data.task).predict(samples).outputs)
            if is_main and isinstance(data.task.answers, Judges):
                logger.info("%s: %s", data.task.facts.name, data.task.answers.settle(outputs))
    if is_main:
        known = {data.task.facts.name: to_mapping(data.task.answers.knowledge) for data in tasks}
        for name in (BEST, LAST):
            write_knowledge(trainer.folder / name, known)


def _picking(data: TaskData) -> list[SampleRows]:
    """Return evenly chosen ones of the samples that picked the best epoch, if there is a choice."""
    answers = data.task.answers
    if not (isinstance(answers, Judges) and answers.settles):
        return []
    samples = data.holdout or data.watched[1]
    return judged_part(samples, sum(rows.num_rows for rows in samples))
