"""What a task gets and gives when a sample is one window: for tests of tasks."""

import numpy as np
import torch

from train.task import HeadContext, SampleOutput, States, Window, WindowOutput


def whole_window(times, num_context=0):
    return Window(sample=0, start=0, stop=len(times), num_context=num_context)


def targets_of(task, sample, times, num_context=0):
    """Targets of all rows at once."""
    return task.targets(sample, times, whole_window(times, num_context))


def output_of(sample, times, **arrays):
    """A head's outputs for all rows at once."""
    windows = [WindowOutput(window=whole_window(times), arrays=arrays)]
    return SampleOutput(sample=sample, times_R2=times, windows=windows)


def head_context(width, llm=None):
    return HeadContext(width=width, llm=llm, device=torch.device("cpu"), seed=0)


def states_of(rows, final=None, targets=None, valid=None):
    """States of a batch; without ``final`` the last row's state is the final one."""
    return States(
        rows_BTE=rows,
        valid_BT=torch.ones(rows.shape[:2], dtype=torch.bool) if valid is None else valid,
        final_BSE=rows[:, -1:] if final is None else final,
        targets=targets or {},
    )


def output_of_windows(sample, times, *windows):
    """A head's outputs window by window: (start, stop, context rows, arrays) of each."""
    return SampleOutput(
        sample=sample,
        times_R2=times,
        windows=[
            WindowOutput(
                window=Window(sample=0, start=start, stop=stop, num_context=context), arrays=arrays
            )
            for start, stop, context, arrays in windows
        ],
    )


def rows_of(num_rows, seconds=1.0):
    """Times of rows side by side."""
    starts = np.arange(num_rows) * seconds
    return np.stack([starts, starts + seconds], axis=1)


def logits_of(probabilities):
    """Scores of which softmax makes these."""
    with np.errstate(divide="ignore"):  # what cannot be has -inf
        return np.log(np.array(probabilities, np.float32))
