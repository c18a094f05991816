"""One video predicted while it comes: stored rows in, what evaluation says of each row out.

The rule is evaluation's (``train.data.windows.evaluation_windows``): a row is predicted in the
window in which it is new, from that window's rows up to it. When a window ends, everything read is
forgotten and the last ``context_rows`` rows are read again, as the front of the next window.

Shapes: D feature width, N tokens of a grid row, T rows read at once, L tokens of the query, E LLM
width.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from numpy.typing import NDArray
from torch import Tensor

from cache_schema.errors import ConfigError
from cache_schema.parsing import nearest
from train.config import DataConfig
from train.data.windows import window_start
from train.model.small import SmallNetwork
from train.model.video_llm import Reasoner, VideoLLM
from train.stream.cached_llm import CachedLlm
from train.stream.read_again import ReadAgain
from train.task import States

__all__ = ["RowOutput", "RowStream"]

Times = tuple[float, float]
"""Start and end second."""

RowInputs = Callable[[float, float], Mapping[str, NDArray[Any]]]
"""``Answers.row_inputs``: what a head must be told of a row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowOutput:
    """What a task's head says of one row."""

    row: int
    """Counted from the start of the video, in rows of ``rows_per_token`` stored ones."""
    times: Times | None
    """From the start of the first stored row to the end of the last; None if those had none."""
    arrays: Mapping[str, NDArray[Any]]
    """Output of the head -> array of this row, without the dimensions of batch and rows; none if
    the head has nothing to say of it."""


class RowStream:
    """Answers stored rows as they come. One row costs attention over its window, not more."""

    def __init__(
        self,
        model: VideoLLM,
        task: str,
        data: DataConfig,
        row_dtype: torch.dtype,
        *,
        query: str = "",
        inputs: RowInputs = lambda end, next_end: {},
        row_seconds: float = math.nan,
    ) -> None:
        """Begin at the start of a video; the model is set to evaluation mode.

        Args:
            model: Where it will run.
            task: Name of the head to use.
            data: Windows, context and rows per token of the run.
            row_dtype: Of the store the model was trained on; rows are rounded to it.
            query: What to look for, for a task with queries.
            inputs: Of the task's answers, for heads that must be told something; their rows need
                times.
            row_seconds: From the end of one stored row to the end of the next, for ``inputs``.

        Raises:
            ConfigError: if what the task says of a row depends on rows that come later, or the LLM
                cannot be read row by row.
            AnnotationError: if the query is too long.
        """
        _check_task(model, task, query)
        self._model = model.eval()
        self._task = task
        self._data = data
        self._row_dtype = row_dtype
        self._device = model.translator.mean_D.device
        self._inputs = inputs
        self._row_seconds = row_seconds * data.rows_per_token
        self._unsaid: tuple[Tensor, RowOutput] | None = None
        """State and output of the last row, if the head had nothing to say of it."""
        self._query_1LE = _query_tokens(model, task, query, self._device)
        self._check_head()
        self._pool_rows = model.translator.config.pool_rows
        max_tokens = data.window_rows + self._query_1LE.shape[1]
        self._llm = _reader(model.llm, max_tokens)
        self._side = model.side_of(task)
        self._side_past: Tensor | None = None
        """What the side network keeps of the window's rows."""
        kept_rows = max(data.context_rows, self._pool_rows - 1)
        self._past: deque[Tensor] = deque(maxlen=kept_rows)
        self._group: list[Tensor] = []
        self._group_times: list[Times | None] = []
        self._row = 0
        self._start: int | None = None
        """First row of the window that has been primed."""

    @property
    def num_kept_rows(self) -> int:
        """Rows that are kept, those of an unfinished group included."""
        return len(self._past) + len(self._group)

    @property
    def num_cached_tokens(self) -> int:
        """Tokens of the LLM whose keys and values are kept."""
        return 0 if self._llm is None else self._llm.num_cached

    @torch.inference_mode()
    def push(self, stored_row: Tensor, times: Times | None = None) -> RowOutput | None:
        """Take the video's next stored row; return what it completes, None inside a group.

        Args:
            stored_row: (D,) or (N, D), any float dtype.
            times: Of the row.

        Raises:
            ConfigError: if the row's width is not the model's.
        """
        self._check_row(stored_row)
        rounded = stored_row.detach().to(self._row_dtype).to(self._device, torch.float32)
        self._group.append(rounded)
        self._group_times.append(times)
        return self._answer() if len(self._group) == self._data.rows_per_token else None

    @torch.inference_mode()
    def finish(self) -> RowOutput | None:
        """End the video; return what is said only then, None if nothing is.

        That is what its last, shorter group says, or what a head says of a last row that it would
        have left out if the video had gone on. The next row that is pushed is the first of another
        video.
        """
        output = self._answer(is_last=True) if self._group else self._last_word()
        self._begin()
        return output

    @torch.inference_mode()
    def prime(self) -> None:
        """Read the past of the next row's window, if its window has changed.

        ``push`` does it where it was not done. Called between two rows, it takes its time there
        and not from the answer.
        """
        start = window_start(self._row, self._data.window_rows, self._data.context_rows)
        if start == self._start:
            return
        self._start = start
        num_context = self._row - start
        context = list(self._past)[len(self._past) - num_context :]
        tokens = [self._query_1LE]
        self._side_past = None
        if context:
            standard_1TD = self._standardised(context)
            tokens.append(self._model.translator.tokens(standard_1TD))
            self._read_beside(standard_1TD)
        if self._llm is not None:
            self._llm.forget()
            tokens_1NE = torch.cat(tokens, dim=1)
            if tokens_1NE.shape[1]:
                self._llm.read(tokens_1NE)

    def _begin(self) -> None:
        self._past.clear()
        self._group.clear()
        self._group_times.clear()
        self._row = 0
        self._start = None
        self._unsaid = None

    def _answer(self, *, is_last: bool = False) -> RowOutput:
        """Predict the row that the group makes, and let it become past."""
        features = self._group[0] if len(self._group) == 1 else torch.stack(self._group).mean(dim=0)
        self.prime()
        times = _span(self._group_times)
        state_11E = self._state(features)
        output = self._output(state_11E, self._row, times, is_last=is_last)
        self._unsaid = None if output.arrays else (state_11E, output)
        self._past.append(features)
        self._group.clear()
        self._group_times.clear()
        self._row += 1
        return output

    def _last_word(self) -> RowOutput | None:
        if self._unsaid is None:
            return None
        state_11E, output = self._unsaid
        return self._output(state_11E, output.row, output.times, is_last=True)

    def _state(self, features: Tensor) -> Tensor:
        assert self._start is not None, "a window is primed before its rows are predicted"
        # Pooling looks at rows of the window only, as it does where the window is whole.
        pooled = min(self._pool_rows, self._row - self._start + 1)
        standard_11D = self._standardised([*self._past, features][-pooled:])[:, -1:]
        token_11E = self._model.translator.tokens(standard_11D)
        state_11E = token_11E if self._llm is None else self._llm.read(token_11E)
        own_11E = self._read_beside(standard_11D)
        return state_11E if own_11E is None else (state_11E + own_11E) / 2

    def _read_beside(self, standard_1TD: Tensor) -> Tensor | None:
        """Return the side network's states of the rows that come next, if there is one."""
        if self._side is None:
            return None
        own_1TE, self._side_past = self._side.read(standard_1TD, self._side_past)
        return own_1TE

    def _output(
        self, state_11E: Tensor, row: int, times: Times | None, *, is_last: bool
    ) -> RowOutput:
        inputs: Mapping[str, NDArray[Any]] = {}
        if times is not None:
            end = times[1]
            inputs = self._inputs(end, math.inf if is_last else end + self._row_seconds)
        outputs = self._head(state_11E, inputs, final_11E=state_11E)
        arrays = {name: _array(values[0, 0]) for name, values in outputs.items() if values.shape[1]}
        return RowOutput(row=row, times=times, arrays=arrays)

    def _head(
        self, state_11E: Tensor, inputs: Mapping[str, NDArray[Any]], *, final_11E: Tensor
    ) -> dict[str, Tensor]:
        told = {name: torch.from_numpy(one)[None].to(self._device) for name, one in inputs.items()}
        outputs: dict[str, Tensor] = self._model.heads[self._task](
            States(
                rows_BTE=state_11E,
                valid_BT=torch.ones(1, 1, dtype=torch.bool, device=self._device),
                final_BSE=final_11E,
                targets=_Told(self._task, told),
            )
        )
        return outputs

    @torch.inference_mode()
    def _check_head(self) -> None:
        """Check that the head speaks of single rows: that is known before the first one comes."""
        llm = self._model.llm
        width = self._model.translator.linear.out_features if llm is None else llm.width_out
        state_11E = torch.linspace(-1, 1, width, device=self._device)[None, None]
        # The last state of a window is not there yet: whatever reads it shows it.
        unknown_11E = torch.full_like(state_11E, torch.nan)
        outputs = self._head(state_11E, self._inputs(0.0, math.inf), final_11E=unknown_11E)
        for name, values in outputs.items():
            if values.shape[:2] != (1, 1) or bool(values.isnan().any()):
                raise ConfigError(
                    f"task {self._task}: output '{name}' of its head does not speak of single rows "
                    f"(one row gives the shape {tuple(values.shape)}), or it needs the last row of "
                    "a window. Predict whole videos with vllm-predict."
                )

    def _standardised(self, rows: Sequence[Tensor]) -> Tensor:
        return self._model.translator.standardised(torch.stack(list(rows))[None])

    def _check_row(self, stored_row: Tensor) -> None:
        width = self._model.translator.mean_D.shape[0]
        if stored_row.dim() not in (1, 2) or stored_row.shape[-1] != width:
            raise ConfigError(
                f"row {self._row} has the shape {tuple(stored_row.shape)}, expected ({width},) or "
                f"(tokens, {width}): the model was trained on such features. Make rows with the "
                "recipe of its training features."
            )


def _reader(llm: Reasoner | None, max_tokens: int) -> CachedLlm | ReadAgain | None:
    if isinstance(llm, SmallNetwork):
        return ReadAgain(llm)
    return None if llm is None else CachedLlm(llm, max_tokens)


class _Told(dict[str, Tensor]):
    """What a head is told of a row nobody has labelled."""

    def __init__(self, task: str, told: Mapping[str, Tensor]) -> None:
        super().__init__(told)
        self._task = task

    def __missing__(self, name: str) -> NoReturn:
        raise ConfigError(
            f"task {self._task}: its head asks for '{name}' of the annotations, which a row that "
            "has just come does not have. Predict whole videos with vllm-predict."
        )


def _check_task(model: VideoLLM, task: str, query: str) -> None:
    """Check that rows of a task can be answered before the next one comes."""
    if task not in model.heads:
        raise ConfigError(
            f"The run has not learned task '{task}'. {nearest(task, list(model.heads))}"
        )
    place = model.query_place(task)
    if place == "after" or task in model.appended:
        behind = "its query" if place == "after" else "learned tokens"
        raise ConfigError(
            f"task {task} reads {behind} behind the last row of a window, so it says nothing "
            "before the window ends. Predict whole videos with vllm-predict."
        )
    if (place == "before") != bool(query):
        has = "needs a query, and none is given" if place == "before" else "has no queries"
        raise ConfigError(f"task {task} {has}; query is '{query}', change it.")


def _query_tokens(model: VideoLLM, task: str, query: str, device: torch.device) -> Tensor:
    """Return what stands before the rows (1, L, E), L = 0 for a task without queries."""
    if model.query_place(task) == "none":
        return torch.empty(1, 0, model.translator.linear.out_features, device=device)
    assert model.text is not None, "a task with queries was built without text"
    with torch.inference_mode():
        tokens_1LE: Tensor = model.text([query], device)[0]
    return tokens_1LE


def _array(values: Tensor) -> NDArray[Any]:
    # As in evaluation: half precision goes to float32.
    array: NDArray[Any] = (values.float() if values.is_floating_point() else values).cpu().numpy()
    return array


def _span(times: Sequence[Times | None]) -> Times | None:
    first, last = times[0], times[-1]
    return None if first is None or last is None else (first[0], last[1])
