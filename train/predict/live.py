"""What one call of ``vllm-predict --stream`` does: a line for every row, as soon as it is there."""

import json
import logging
import math
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from numpy.typing import NDArray

from cache_schema.errors import ConfigError, VideoError
from cache_schema.writing.durable import make_folders
from extract import LiveCounts, LiveFeed, open_live, without_password
from train.answer import StreamedRow
from train.formats.json_lines import json_line
from train.formats.scores import ScoreWriter
from train.formats.writer import to_standard_output
from train.predict.ensemble import Ensemble
from train.stream.live import live_answers
from train.stream.row_stream import RowStream
from train.stream.spool import RowSpool

__all__ = [
    "Source",
    "StreamReport",
    "check_streamed",
    "feed_of",
    "name_of",
    "row_stream_of",
    "stream",
]

Image = NDArray[np.uint8]
Source = str | Path | Iterable[Image | tuple[float, Image]]
"""A file, an address or a camera; or frames in memory, with or without times."""

logger = logging.getLogger(__name__)

LATENCIES_KEPT = 100_000
"""The last so many are told of in the report; memory stays flat."""

PERCENTILES = (50, 95, 99)
"""Of the latencies."""


@dataclass(kw_only=True)
class StreamReport:
    """What became of a stream."""

    source: str
    out: str
    num_rows: int = 0
    seconds: float = 0.0
    """Of video that was answered."""
    counts: LiveCounts = field(default_factory=LiveCounts)
    error: str = ""
    """Why it broke off."""
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))

    @property
    def exit_code(self) -> int:
        """3 if the source could not be read to its end."""
        return 3 if self.error else 0

    def add(self, row: StreamedRow) -> None:
        """Count a row."""
        self.num_rows += 1
        self.seconds = row.end
        self.latencies_ms.append(row.latency_ms)

    @property
    def latency_ms(self) -> dict[str, float]:
        """Percentiles; none without rows."""
        if not self.latencies_ms:
            return {}
        values = np.percentile(self.latencies_ms, PERCENTILES).tolist()
        return {f"p{n}": round(one, 3) for n, one in zip(PERCENTILES, values, strict=True)}

    def to_json(self) -> str:
        """Return it as one JSON object."""
        plain = {"source": self.source, "out": self.out, "num_rows": self.num_rows}
        told = {"seconds": self.seconds, "latency_ms": self.latency_ms, "error": self.error}
        return json.dumps(plain | told | asdict(self.counts))

    def text(self) -> str:
        """Return it for a reader."""
        counts = self.counts
        latency = ", ".join(f"{name} {value:.0f} ms" for name, value in self.latency_ms.items())
        lines = [
            f"{self.source}: {self.num_rows} rows, {self.seconds:.1f} s; latency {latency or '-'}.",
            f"{counts.dropped_rows} rows dropped, {counts.late_frames} frames late, "
            f"{counts.damaged_frames} damaged, {counts.reconnects} reconnects.",
        ]
        return "\n".join(lines + [f"failed: {self.error}"] * bool(self.error))


def stream(
    ensemble: Ensemble,
    source: str,
    out: str,
    *,
    scores: Path | None,
    encoder: str | None,
    realtime: bool,
) -> StreamReport:
    """Answer a source until it ends or somebody ends it, by Ctrl-C or SIGTERM.

    Args:
        ensemble: One run of an online task.
        source: File, ``-``, address or camera.
        out: File of the lines, ``-`` for standard output.
        scores: File of what the head said, for comparing with a whole video.
        encoder: Where to load the encoder from; None takes what the checkpoint says.
        realtime: Whether a file is played at its own speed.
    """
    rows, video = row_stream_of(ensemble), name_of(source)
    report = StreamReport(source=without_password(source), out=out)
    with ExitStack() as stack:
        spool = stack.enter_context(RowSpool(scores.parent if scores else None))
        written = scores and stack.enter_context(ScoreWriter(scores, ensemble.facts))
        feed = stack.enter_context(feed_of(ensemble, source, encoder=encoder, realtime=realtime))
        put = stack.enter_context(_lines(out))
        report.counts = feed.counts
        said = live_answers(
            rows,
            ensemble.answers,
            feed,
            video=video,
            on_output=spool.add if written else lambda output: None,
        )
        try:
            with _ended_by_signals(feed):
                for row in said:
                    put(json_line(row))
                    report.add(row)
        except VideoError as error:
            report.error = str(error)
        output = spool.output(video, feed.end_seconds)
        if written and output is not None:
            written.write([output], ())
    return report


def row_stream_of(ensemble: Ensemble) -> RowStream:
    """Return what answers the rows of a source, one by one.

    Raises:
        ConfigError: if the task answers for whole videos, or there are several runs.
    """
    check_streamed(ensemble)
    (run,) = ensemble.runs
    sampling = run.checkpoint.recipe.sampling
    return RowStream(
        run.model,
        run.name,
        run.checkpoint.config.data,
        getattr(torch, run.checkpoint.recipe.store_dtype),
        inputs=run.answers.row_inputs,
        row_seconds=float(sampling.stride_frames / sampling.fps) if sampling.fps else math.nan,
    )


def check_streamed(ensemble: Ensemble) -> None:
    """Check that rows of a source can be answered at all.

    Raises:
        ConfigError: if the task answers for whole videos, or there are several runs.
    """
    facts = ensemble.facts
    if not facts.online:
        raise ConfigError(
            f"{facts.name} answers for whole videos, not row by row, so it cannot be streamed. "
            "Predict the file with vllm-predict RUN VIDEO, or train online_action_detection, which "
            "names what goes on in each row."
        )
    if len(ensemble.runs) > 1:
        raise ConfigError("A stream is answered by one run; leave the others out.")


def feed_of(
    ensemble: Ensemble, source: Source, *, encoder: str | None = None, realtime: bool = False
) -> LiveFeed:
    """Return the rows of a source, made by the recipe of a run; see ``extract.open_live``.

    Raises:
        CheckpointError: if the run was trained on features that nobody knows how to make.
        ConfigError: if they are made of several streams, or of their motion.
    """
    run = ensemble.runs[0]
    recipe = run.checkpoint.recipe
    if recipe.derivation is not None:
        raise ConfigError(
            f"the run was trained on rows made of others ('{run.checkpoint.stream}'), which are "
            "not made of live sources. Record the source, and predict the file."
        )
    run.extracted_recipes()
    return open_live(
        recipe,
        source,
        encoder=encoder,
        encoder_source=run.checkpoint.encoder_source,
        device=run.device.type,
        realtime=realtime,
    )


def name_of(source: Source) -> str:
    """Return what answers call a source: a file by its name without suffix, as stores do.

    Name and password of an address are left out: answers are passed on.
    """
    if not isinstance(source, str | Path):
        return "frames"
    if Path(source).is_file():
        return Path(source).stem
    return without_password(str(source))


@contextmanager
def _lines(out: str) -> Iterator[Callable[[str], object]]:
    """Give what writes a line where it can be read at once."""
    if out == "-":
        yield to_standard_output
        return
    make_folders(Path(out).parent)
    # Not under another name first: whoever follows it wants the rows while they come.
    with Path(out).open("w", encoding="utf-8", buffering=1) as file:
        yield file.write


@contextmanager
def _ended_by_signals(feed: LiveFeed) -> Iterator[None]:
    """Let Ctrl-C or SIGTERM end the feed between two rows; a second one ends the program.

    Who watches a camera ends it so. Raising an error where the program just is would lose count of
    the row that was being said.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(number: int, frame: FrameType | None) -> None:
        restore()
        feed.end()

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        restore()
