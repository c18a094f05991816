"""Learning curves of runs, one colour each: loss, learning rate, and what epochs were worth.

Shapes: S steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from cache_schema.page.charts import chart_json
from train.pages.run_facts import RunFacts

__all__ = ["Curve", "learning_curves", "shown_steps", "smoothed"]

MOST_POINTS = 500
"""Of a run in a plot: more are not seen, and the page would grow with the run."""
SMOOTHED_SHARE = 0.04
"""Of a run's steps that a point of the smoothed curve looks back at, roughly."""
HEIGHT = 280

Points = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One plot."""

    specification: str
    """Vega-Lite as JSON text."""
    caption: str


def learning_curves(runs: Sequence[RunFacts]) -> list[Curve]:
    """Return the plots for which the runs have numbers."""
    return [
        curve
        for curve in (
            _loss_curve(runs),
            _metric_curve(runs),
            _evaluation_loss_curve(runs),
            _rate_curve(runs),
        )
        if curve is not None
    ]


def smoothed(values_S: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the exponential moving average, without its pull towards zero at the start."""
    decay = 1 - 2 / (max(1.0, SMOOTHED_SHARE * len(values_S)) + 1)
    # Not scipy.signal.lfilter: importing it takes a third of the time of a page.
    sums = accumulate(values_S, lambda last, value: decay * last + (1 - decay) * value, initial=0.0)
    sums_S = np.fromiter(sums, np.float64)[1:]
    return sums_S / (1 - decay ** np.arange(1, len(values_S) + 1))


def shown_steps(
    values_S: NDArray[np.float64], smooth_S: NDArray[np.float64], most: int = MOST_POINTS
) -> NDArray[np.int64]:
    """Return at most so many places: of equal stretches the value that stands out most."""
    places_S = np.arange(len(values_S))
    stretches = np.array_split(places_S, min(most, len(values_S)) or 1)
    distances_S = np.abs(values_S - smooth_S)
    return np.array([own[distances_S[own].argmax()] for own in stretches if len(own)], np.int64)


def _loss_curve(runs: Sequence[RunFacts]) -> Curve | None:
    points: Points = []
    best: Points = []
    for run in runs:
        smooth_S = smoothed(run.log.losses_S)
        for place in shown_steps(run.log.losses_S, smooth_S).tolist():
            raw, smooth = _short(run.log.losses_S[place]), _short(smooth_S[place])
            step = int(run.log.steps_S[place])
            points.append({"run": run.name, "step": step, "loss": raw, "smoothed": smooth})
        if run.best_step is not None:
            at = int(np.searchsorted(run.log.steps_S, run.best_step))
            if at < len(smooth_S):
                value = _short(smooth_S[at])
                best.append({"run": run.name, "step": run.best_step, "smoothed": value})
    if not points:
        return None
    base = alt.Chart(alt.InlineData(values=points)).encode(**_shared(runs))
    faint = base.mark_line(strokeWidth=1, opacity=0.3).encode(y=_y("loss", "training loss"))
    line = base.mark_line(strokeWidth=2).encode(
        y=_y("smoothed", "training loss"), tooltip=_tooltips("step", "loss", "smoothed")
    )
    return _curve(
        [faint, line, *_best_marks(best, runs, "smoothed")],
        "Training loss by step: faint as it was, strong smoothed. A dashed line and a point mark "
        "the step after which the best epoch was evaluated.",
    )


def _evaluation_loss_curve(runs: Sequence[RunFacts]) -> Curve | None:
    points = [
        {"run": run.name, "step": one.step, "epoch": one.epoch, "loss": _short(one.loss)}
        for run in runs
        for one in run.log.evaluations
        if one.loss is not None
    ]
    if not points:
        return None
    return _curve(
        [
            _epoch_lines(points, runs, "loss", "evaluation loss"),
            *_best_marks(_best(points, runs), runs, "loss"),
        ],
        "Loss on what the best state is chosen by, each time it was evaluated: the validation "
        "subset or a part of it, or training videos that were held out.",
    )


def _metric_curve(runs: Sequence[RunFacts]) -> Curve | None:
    points = [point for run in runs for point in _metric_points(run, runs)]
    if not points:
        return None
    metrics = list(dict.fromkeys(point["metric"] for point in points))
    picked = alt.param(
        name="metric",
        value=_first_shown(runs, metrics),
        bind=alt.binding_select(options=metrics, name="Metric "),
    )
    baselines = [one for run in runs for one in _baseline_values(run, runs)]
    layers = [
        _epoch_lines(points, runs, "value", "official metric"),
        *_best_marks(_best(points, runs), runs, "value"),
        *_baseline_marks(baselines),
    ]
    shown = [layer.transform_filter(alt.datum.metric == picked) for layer in layers]
    return _curve(
        shown,
        "Official metric on the validation subset, or on the part of it that is evaluated while a "
        "run trains; dotted: baselines that see no video. Choose the metric below the plot.",
        picked,
    )


def _metric_points(run: RunFacts, runs: Sequence[RunFacts]) -> Points:
    return [
        {
            "run": run.name,
            "step": entry.step,
            "epoch": entry.epoch,
            "metric": _named(task, metric, runs),
            "value": _short(value),
        }
        for entry in run.log.evaluations
        for task, scores in run.by_task(entry.scores).items()
        for metric, value in scores.items()
        if value is not None
    ]


def _baseline_values(run: RunFacts, runs: Sequence[RunFacts]) -> Points:
    return [
        {"baseline": name, "metric": _named(task, metric, runs), "value": _short(value)}
        for task, by_name in run.baselines.items()
        for name, scores in by_name.items()
        for metric, value in scores.items()
        if value is not None
    ]


def _rate_curve(runs: Sequence[RunFacts]) -> Curve | None:
    points = [
        {
            "run": run.name,
            "step": int(run.log.steps_S[place]),
            "rate": _short(run.log.rates_S[place]),
        }
        for run in runs
        for place in np.unique(
            np.linspace(0, run.log.num_steps - 1, min(MOST_POINTS, run.log.num_steps)).astype(int)
        ).tolist()
    ]
    if not points:
        return None
    line = (
        alt.Chart(alt.InlineData(values=points))
        .mark_line(strokeWidth=2)
        .encode(**_shared(runs), y=_y("rate", "learning rate"), tooltip=_tooltips("step", "rate"))
    )
    return _curve([line], "Learning rate of translator and heads by step.")


def _epoch_lines(points: Points, runs: Sequence[RunFacts], field: str, title: str) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=points))
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=20))
        .encode(**_shared(runs), y=_y(field, title), tooltip=_tooltips("step", "epoch", field))
    )
    return chart


def _best(points: Points, runs: Sequence[RunFacts]) -> Points:
    steps = {run.name: run.best_step for run in runs}
    return [point for point in points if point["step"] == steps[point["run"]]]


def _best_marks(best: Points, runs: Sequence[RunFacts], field: str) -> list[alt.Chart]:
    """Return a rule and a point at the step of each run's best epoch, none without one."""
    if not best:
        return []
    base = alt.Chart(alt.InlineData(values=best)).encode(**_shared(runs))
    return [
        base.mark_rule(strokeDash=[5, 4]),
        base.mark_point(filled=True, size=110, opacity=1).encode(
            y=f"{field}:Q", tooltip=_tooltips("step", field)
        ),
    ]


def _baseline_marks(baselines: Points) -> list[alt.Chart]:
    """Return a dotted line with a name for each baseline, once if runs share it."""
    if not baselines:
        return []
    values = [dict(one) for one in dict.fromkeys(tuple(one.items()) for one in baselines)]
    base = alt.Chart(alt.InlineData(values=values)).encode(y="value:Q")
    grey = "#8a939c"  # between the ink of light and dark pages
    names = [
        # Side by side: chance and majority are often all but the same.
        base.mark_text(align="left", baseline="bottom", dx=4 + 70 * place, dy=-2, color=grey)
        .encode(x=alt.value(0), text="baseline:N")
        .transform_filter(alt.datum.baseline == name)
        for place, name in enumerate(dict.fromkeys(one["baseline"] for one in values))
    ]
    return [base.mark_rule(strokeDash=[1, 3], color=grey, strokeWidth=1.5), *names]


def _curve(layers: Sequence[alt.Chart], caption: str, picked: alt.Parameter | None = None) -> Curve:
    chart = alt.layer(*layers).properties(width="container", height=HEIGHT)
    if picked is not None:
        chart = chart.add_params(picked)
    return Curve(specification=chart_json(chart), caption=caption)


def _shared(runs: Sequence[RunFacts]) -> dict[str, Any]:
    names = [run.name for run in runs]
    scale = alt.Scale(domain=names, scheme="tableau10" if len(names) <= 10 else "tableau20")
    # A name may be as long as a path: one below the other fit a phone, too.
    legend = alt.Legend(
        orient="top", title=None, columns=1, labelLimit=300, symbolType="stroke", symbolOpacity=1
    )
    return {
        "x": alt.X("step:Q", title="step"),
        "color": alt.Color("run:N", scale=scale, legend=legend if len(names) > 1 else None),
    }


def _y(field: str, title: str) -> alt.Y:
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=False))


def _tooltips(*fields: str) -> list[alt.Tooltip]:
    return [alt.Tooltip("run:N"), *(alt.Tooltip(f"{one}:Q") for one in fields)]


def _named(task: str, metric: str, runs: Sequence[RunFacts]) -> str:
    """Return a metric with its task where there are several tasks."""
    tasks = {task for run in runs for task in run.tasks}
    return f"{task}: {metric}" if len(tasks) > 1 else metric


def _first_shown(runs: Sequence[RunFacts], metrics: Sequence[str]) -> str:
    for run in runs:
        for task in run.tasks:
            main = run.main_metric(task)
            if main is not None and (name := _named(task, main, runs)) in metrics:
                return name
    return metrics[0]


def _short(value: Any) -> float:  # noqa: ANN401 - of NumPy or of Python
    """Return a number with five digits: no plot shows more, and the page stays small."""
    return float(f"{float(value):.5g}")
