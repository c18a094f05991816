"""What a run cost: measured around it, written beside the store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from cache_schema.cost import ExtractionCost, append_cost
from cache_schema.energy import EnergyMeter
from cache_schema.errors import StoreError
from cache_schema.place import to_place
from extract.report.run_report import RunReport

__all__ = ["cost_written"]


@contextmanager
def cost_written(
    report: RunReport, meter: EnergyMeter, *, tell: Callable[[str], object]
) -> Iterator[None]:
    """Run the block and write what it cost, whether it ends or is interrupted.

    Args:
        report: Of the run; one that brought no row writes nothing.
        meter: Measures the block's energy.
        tell: Told why it could not be written: rows count for more than what they cost.
    """
    try:
        with meter:
            yield
    finally:
        if report.num_rows:
            try:
                append_cost(to_place(report.store), _cost(report, meter.joules))
            except StoreError as error:
                tell(f"What this run cost is not noted. {error}")


def _cost(report: RunReport, joules: float | None) -> ExtractionCost:
    return ExtractionCost(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        streams=tuple(report.streams),
        num_videos=report.num_done,
        num_rows=report.num_rows,
        video_seconds=report.video_seconds,
        wall_seconds=round(report.wall_seconds, 3),
        busy_seconds={stage: round(value, 3) for stage, value in report.busy_seconds.items()},
        num_workers=report.num_workers,
        device=", ".join(sorted(report.devices)),
        energy_joules=joules,
    )
