"""The loop: batches -> loss -> step, and at the end of each epoch evaluation and checkpoint.

Losses are summed and divided by the number of valid targets of the whole batch, over all
micro-batches and processes, so how a batch is split does not change the gradient. Everything
random is a function of the seed and of the window it happens to, so neither does the number of
processes, and a run that was cut off goes on exactly.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor

from cache_schema.errors import StoppedError
from cache_schema.parsing import to_mapping
from train.checkpoints.checkpoint import State, read_checkpoint, samples_sha256, write_checkpoint
from train.checkpoints.folder import BEST, LAST, has_checkpoint
from train.checkpoints.record import Checkpoint, Progress
from train.config import steps_between
from train.data.batches import Batch, BatchReader
from train.data.feature_statistics import feature_statistics
from train.data.fetched_ahead import fetched_ahead
from train.data.prefetch import Prefetch
from train.data.window_draws import WindowDraws
from train.data.windows import TaskWindows, count_batches, epoch_batches, split
from train.loop.logs import RunLog
from train.loop.numbers import ComingNumbers, StepNumbers
from train.loop.optim import (
    clip_factor,
    learning_rate_factor,
    make_optimizer,
    set_learning_rate,
)
from train.loop.parallel import ParallelModel
from train.loop.stopping import StopRequest
from train.loop.validation import EpochResult, Validation, Watch, main_metrics
from train.model.trained_weights import pretrained_identities
from train.predict.predictor import Scores
from train.prepare import Prepared, labels_of
from train.task import Window
from train.tasks import AnyTask

__all__ = ["Trainer"]


class Trainer:
    """One run in one process (of several)."""

    def __init__(self, run: Prepared, accelerator: Accelerator, folder: Path) -> None:
        """Place the model on the device.

        Args:
            run: What to train on what.
            accelerator: This process's device and its fellows.
            folder: Of the run; nothing is written before ``train``.
        """
        self.run = run
        self.config = run.config
        self.folder = folder
        self.accelerator = accelerator
        self.model = run.model
        self.parallel = ParallelModel(run.model, accelerator, self.config.parallel)
        self.optimizer = make_optimizer(self.config.optim, self.model)
        self.parameters = [value for value in self.model.parameters() if value.requires_grad]
        self.windows = [
            TaskWindows(
                lengths=[rows.num_rows for rows in data.train],
                query_words=[rows.query_words for rows in data.train],
                weight=data.weight,
            )
            for data in run.tasks
        ]
        window_rows = self.config.data.window_rows
        num_windows = sum(one.num_windows(window_rows) for one in self.windows)
        self.batch_size = self.config.optim.training_batch(num_windows)
        self.steps_per_epoch = count_batches(self.windows, window_rows, self.batch_size)
        self.num_steps = self.steps_per_epoch * self.config.optim.epochs
        self.validation = Validation(
            run=run, accelerator=accelerator, folder=folder, together=self.parallel.is_sharded
        )
        self.labels = labels_of(data.task.answers for data in run.tasks)
        self.knowledge = {
            data.task.facts.name: to_mapping(data.task.answers.knowledge) for data in run.tasks
        }
        self.progress = Progress()
        self._stop = StopRequest()

    def restore(self) -> None:
        """Go on from the last checkpoint of the folder."""
        checkpoint, state = read_checkpoint(self.folder / LAST)
        self.parallel.load(state.weights, where=str(self.folder / LAST))
        self.parallel.load_optimizer(self.optimizer, state.optimizer)
        self.progress = checkpoint.progress

    def train(self) -> None:
        """Run all steps that are left; the last and the best epoch are checkpoints then.

        Raises:
            StoppedError: after SIGTERM, once the step in progress is done and saved.
            PipelineError: if the loss or its gradient is not finite.
        """
        log = RunLog(
            self.folder,
            first_step=self.progress.step,
            num_steps=self.num_steps,
            enabled=self.accelerator.is_main_process,
            config=self.config,
            shown={"evaluation_loss", *main_metrics(data.task for data in self.run.tasks)},
        )
        with log, self._stop:
            if self.progress.step == 0 and not self.config.start_from:
                self._standardise()
            self.parallel.connect()
            while (epoch := self.progress.num_epochs + 1) <= self.config.optim.epochs:
                if self.progress.step < epoch * self.steps_per_epoch:
                    self._epoch(log)
                self._finish_epoch(epoch, log)

    def score_best(self, watch: Watch | None = None) -> Scores:
        """Return the official scores of the best checkpoint, read back from its file.

        Args:
            watch: Looks at the outputs that are scored, on the main process.
        """
        self.load_best()
        return self.validation.scores("val", watch)

    def load_best(self) -> None:
        """Become the best checkpoint, as its file has it."""
        self.accelerator.wait_for_everyone()  # the main process may still be writing it
        folder = self.folder / (BEST if has_checkpoint(self.folder / BEST) else LAST)
        self.parallel.load(read_checkpoint(folder)[1].weights, where=str(folder))

    def _standardise(self) -> None:
        """Measure the training rows once; other processes get the main one's numbers."""
        width = self.run.stream.row_shape[-1]
        statistics_2D = torch.zeros(2, width, device=self.accelerator.device)
        if self.accelerator.is_main_process:
            rows = [rows for data in self.run.tasks for rows in data.train]
            measured = np.stack(feature_statistics(self.run.stream, rows))
            statistics_2D = torch.from_numpy(measured).float().to(self.accelerator.device)
        mean_D, std_D = broadcast(statistics_2D)
        self.model.translator.set_statistics(mean_D, std_D)

    def _epoch(self, log: RunLog) -> None:
        epoch, first_step = divmod(self.progress.step, self.steps_per_epoch)
        started = time.perf_counter()
        with Prefetch(self._batches(epoch, first_step)) as batches:
            for task, micro_batches in batches:
                waited = time.perf_counter() - started
                values = self._step(task, micro_batches)
                seconds = time.perf_counter() - started
                self._count(values, seconds)
                timing = {"seconds": seconds, "wait_seconds": waited}
                log.step(self.progress.step, {"epoch": epoch + 1, **values, **timing})
                self._pause_inside_epoch(log)
                if self._everyone_stops():
                    self._leave()
                started = time.perf_counter()

    def _count(self, values: Mapping[str, float], seconds: float) -> None:
        self.progress = replace(
            self.progress,
            step=self.progress.step + 1,
            num_rows=self.progress.num_rows + int(values["rows"]),
            seconds=self.progress.seconds + seconds,
        )

    def _everyone_stops(self) -> bool:
        """Tell whether any process was asked to stop: all must leave after the same step."""
        if self.accelerator.num_processes == 1:
            return self._stop.is_set  # asking the device would wait for the optimizer
        flag = torch.tensor([float(self._stop.is_set)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum").item())

    def _leave(self) -> None:
        self._save(LAST)
        # Who leaves first makes torchrun end the others, and one of them may still be writing.
        self.accelerator.wait_for_everyone()
        raise StoppedError(
            f"by SIGTERM after step {self.progress.step} of {self.num_steps}, which is saved in "
            f"{self.folder / LAST}. Go on with --resume."
        )

    def _pause_inside_epoch(self, log: RunLog) -> None:
        """Evaluate or save, if it is due."""
        # At the end of an epoch the checkpoint waits for the evaluation, which resuming would skip.
        step = self.progress.step
        if step % self.steps_per_epoch == 0:
            return
        if self._evaluation_is_due:
            self._evaluate(log)
        elif step % self.config.checkpoint_steps:
            return
        self._save(LAST)

    def _batches(self, epoch: int, first_step: int) -> Iterator[tuple[AnyTask, list[Batch]]]:
        """Yield this process's share of every batch of the epoch that is left."""
        device = self.accelerator.device
        readers = [
            BatchReader(data.task.targets, self.run.stream, data.train, device)
            for data in self.run.tasks
        ]
        batches = epoch_batches(
            self.windows,
            self.config.data.window_rows,
            self.batch_size,
            seed=self.config.seed,
            epoch=epoch,
        )
        shares = ((index, self._share(batch)) for index, batch in batches[first_step:])

        def spans(share: tuple[int, list[Sequence[Window]]]) -> list[tuple[str, int, int]]:
            index, parts = share
            return [span for part in parts for span in readers[index].spans(part)]

        for index, parts in fetched_ahead(self.run.stream, shares, spans):
            yield self.run.tasks[index].task, [readers[index].read(part) for part in parts]

    def _share(self, batch: Sequence[Window]) -> list[Sequence[Window]]:
        rank, num_processes = self.accelerator.process_index, self.accelerator.num_processes
        return _share(batch, rank, num_processes, self.config.optim.micro_batch_size)

    def _step(self, task: AnyTask, micro_batches: Sequence[Batch]) -> dict[str, float]:
        """Do one optimizer step and return its numbers."""
        step = self.progress.step
        factor = learning_rate_factor(self.config.optim, step, self.num_steps)
        set_learning_rate(self.optimizer, factor)
        sums_3 = self._backward(task, micro_batches)
        gradients = [value.grad for value in self.parameters if value.grad is not None]
        # Processes average their gradients; undo that and divide by all valid targets instead.
        share = self.accelerator.num_processes / sums_3[1].clamp(min=1.0)
        norm = share * self.parallel.whole(torch.nn.utils.get_total_norm(gradients))
        coming = ComingNumbers(torch.cat([sums_3, norm[None]]))
        if sums_3.device.type == "cpu":  # before anything is changed, where looking costs nothing
            self._check(coming.read(), micro_batches)
        # Divided and clipped in one pass over the gradients.
        parts = self.parallel.own(gradients)
        torch._foreach_mul_(parts, share * clip_factor(self.config.optim, norm))
        self.optimizer.step()
        self.optimizer.zero_grad()
        numbers = coming.read()
        self._check(numbers, micro_batches)
        return {
            "loss": numbers.loss,
            "lr": self.config.optim.lr * factor,
            "grad_norm": numbers.norm,
            "targets": numbers.targets,
            "rows": numbers.rows,
        }

    def _check(self, numbers: StepNumbers, micro_batches: Sequence[Batch]) -> None:
        videos = (rows.video_id for batch in micro_batches for rows in batch.rows)
        numbers.refuse_if_not_finite(self.progress.step + 1, videos)

    def _backward(self, task: AnyTask, micro_batches: Sequence[Batch]) -> Tensor:
        """Add up gradients of summed losses; return loss, targets and rows of all processes (3)."""
        sums_3 = torch.zeros(3, device=self.accelerator.device)
        for number, batch in enumerate(micro_batches, start=1):
            is_last = number == len(micro_batches)
            with nullcontext() if is_last else self.parallel.adding_up():
                outputs = self.parallel(
                    batch.features_BTD,
                    batch.valid_BT,
                    task.facts.name,
                    batch.queries,
                    batch.targets,
                    WindowDraws(batch.windows, self.accelerator.device),
                    batch.window_of_Q,
                )
                loss = task.loss(outputs, batch.targets)
                self.accelerator.backward(loss.total)
            sums_3[0] += loss.total.detach()
            sums_3[1] += loss.num_targets
            sums_3[2] += sum(window.num_rows - window.num_context for window in batch.windows)
        summed_3: Tensor = self.accelerator.reduce(sums_3, "sum")
        return summed_3

    @property
    def _evaluation_is_due(self) -> bool:
        step = self.progress.step
        between = steps_between(self.config.evaluate_every, self.steps_per_epoch)
        is_time = step % between == 0 or step == self.num_steps
        return is_time and self.config.data.selection != "last"

    def _finish_epoch(self, epoch: int, log: RunLog) -> None:
        """Evaluate, if it is due, and make this the last checkpoint."""
        self.progress = replace(self.progress, num_epochs=epoch)
        if self._evaluation_is_due:
            self._evaluate(log)
        else:
            log.epoch(self.progress.step, epoch, {}, self._cost())
            if self.config.data.selection == "last" and epoch == self.config.optim.epochs:
                self.progress = replace(self.progress, best_epoch=epoch)
                self._save(BEST)
        self._save(LAST)

    def _evaluate(self, log: RunLog) -> None:
        """Measure how good the model is, and keep its checkpoint if it is the best one."""
        step = self.progress.step
        epochs, within = divmod(step, self.steps_per_epoch)
        epoch = epochs if within == 0 else step / self.steps_per_epoch
        started = time.perf_counter()
        result = self.validation.epoch()
        cost = {**self._cost(), "evaluation_seconds": time.perf_counter() - started}
        log.epoch(step, epoch, {"evaluation_loss": result.loss, **result.scores}, cost)
        self.progress = replace(self.progress, scores=result.scores)
        if self._is_best(result):
            self.progress = replace(
                self.progress, best_value=result.value, best_loss=result.loss, best_epoch=epoch
            )
            self._save(BEST)

    def _is_best(self, result: EpochResult) -> bool:
        """Return whether a state is better than the best so far; of equal ones, the surer."""
        best, best_loss = self.progress.best_value, self.progress.best_loss
        if self.progress.best_epoch is None:
            return True
        if result.value is None:
            return False
        is_surer = best_loss is not None and result.loss < best_loss
        return best is None or result.value > best or (result.value == best and is_surer)

    def _cost(self) -> dict[str, float]:
        """Return what the run has cost so far, and how much of its rows the cache held."""
        cache = self.run.cache
        rate = None if cache is None else cache.counts.hit_rate
        return self.progress.cost | ({} if rate is None else {"cache_hit_rate": rate})

    def _save(self, name: str) -> None:
        weights = self.parallel.trained_weights()
        optimizer = self.parallel.optimizer_tensors(self.optimizer)
        if not self.accelerator.is_main_process:
            return
        checkpoint = Checkpoint(
            config=self.config,
            stream=self.run.stream.name,
            recipe=self.run.stream.recipe,
            row_shape=self.run.stream.row_shape,
            pretrained=pretrained_identities(self.model),
            samples_sha256=samples_sha256([rows for data in self.run.tasks for rows in data.train]),
            progress=self.progress,
            encoder_source=self.run.stream.encoder_source,
            encoder_sources={
                one.recipe.fingerprint: one.encoder_source
                for one in self.run.stream.stored
                if self.run.stream.recipe.parents
            },
        )
        state = State(
            weights=weights,
            labels=self.labels,
            knowledge=self.knowledge,
            optimizer=optimizer,
            adapter_config=getattr(self.model.llm, "adapter_config", None),
        )
        write_checkpoint(self.folder / name, checkpoint, state)


def _share(
    batch: Sequence[Window], rank: int, num_processes: int, micro_batch_size: int
) -> list[Sequence[Window]]:
    """Return a process's windows of a batch, every ``num_processes``-th, in micro-batches.

    All processes get as many micro-batches as the first one, since all must take part in each
    exchange. What a process lacks is a window in which no row counts.
    """
    shares = [split(batch[first::num_processes], micro_batch_size) for first in (0, rank)]
    padding = [replace(batch[0], num_context=batch[0].num_rows)]
    return shares[1] + [padding] * (len(shares[0]) - len(shares[1]))
