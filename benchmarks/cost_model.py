"""What a number of video-hours costs, from measured constants: a table for docs/performance.md.

    python -m benchmarks.cost_model [--video-minutes 10] [--rows-per-second 2] [--dim 1280]

No measurement: arithmetic, so that it can be redone with other constants. Where each comes from is
said beside it.
"""

from dataclasses import dataclass

import click

from cache_schema.layout import PART_BYTES

SIZES = (1_000, 100_000, 10_000_000)
"""Video-hours."""

LINE_BYTES = 412
"""Of a journal (``make bench-scale``, files of the largest store); a sealed part holds it twice."""
FILES_OF_PART = 7
TIME_BYTES = 16
"""Of a row."""
OPEN_SECONDS = 1.8e-6, 60e-6
"""CPU time to open a stream, per video (``make bench-scale``) and per part (20,000 parts of one
video)."""
OPEN_BYTES = 215, 2700
"""Of memory, per video and per part, measured alike."""
DECODE_SECONDS = 61.0
"""CPU time for an hour of 720p H.264 at 30 frames/s, 2 of them wanted (``make bench-extract``)."""
FRAMES_PER_CPU_SECOND = {
    "EfficientNet-Lite0, float32, torch": 61.7,
    "the same, OpenVINO": 180.0,
    "ViT-B/16, bfloat16, OpenVINO": 12.2,
}
"""Batches of 8, avx512_bf16 (``make bench-extract``)."""
COLD_BYTES_PER_SECOND = 553e6
"""Random windows that are not in the page cache: 5,625 a second of 64 x 768 float16."""
WINDOW_ROWS = 64
FRAMES_PER_GPU_SECOND = 2280
"""CLIP ViT-L/14 in bfloat16, a run of 8 processes on one H200 (``make bench-gpu``)."""
TOKENS_PER_GPU_SECOND = 65_500
"""All of an LLM of 1.3 billion parameters trained, compiled, on one H200 (``make bench-gpu``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """Of one stream of so many video-hours."""

    videos: float
    rows: float
    row_bytes: int

    @property
    def bytes(self) -> float:
        """Of all its files."""
        return self.rows * (self.row_bytes + TIME_BYTES) + 2 * LINE_BYTES * self.videos

    @property
    def parts(self) -> float:
        """Of a Zarr store, if each is filled."""
        return max(1.0, self.rows * self.row_bytes / PART_BYTES)

    @property
    def open_seconds(self) -> float:
        """CPU time in each process that opens it."""
        return self.videos * OPEN_SECONDS[0] + self.parts * OPEN_SECONDS[1]

    @property
    def open_bytes(self) -> float:
        """Memory in each process that has it open."""
        return self.videos * OPEN_BYTES[0] + self.parts * OPEN_BYTES[1]


def costs(hours: int, video_minutes: float, rows_per_second: float, dim: int) -> Costs:
    videos, rows = hours * 60 / video_minutes, hours * 3600 * rows_per_second
    return Costs(videos=videos, rows=rows, row_bytes=2 * dim)


def lines(hours: int, one: Costs) -> dict[str, str]:
    """Return the table's column of one size."""
    frames = one.rows
    encode = {
        f"encode, {name}": f"{frames / speed / 3600:,.0f} CPU-hours"
        for name, speed in FRAMES_PER_CPU_SECOND.items()
    }
    return {
        "videos": f"{one.videos:,.0f}",
        "bytes of a stream": f"{one.bytes / 1e9:,.1f} GB",
        "files": f"{one.parts * FILES_OF_PART:,.0f}",
        "decode": f"{hours * DECODE_SECONDS / 3600:,.0f} CPU-hours",
        **encode,
        "encode, CLIP ViT-L/14, bfloat16, an H200": (
            f"{frames / FRAMES_PER_GPU_SECOND / 3600:,.0f} GPU-hours"
        ),
        "open, each process": f"{one.open_seconds:,.2f} s",
        "memory, each process": f"{one.open_bytes / 1e6:,.1f} MB",
        "an epoch from a cold disk": f"{one.bytes / COLD_BYTES_PER_SECOND / 3600:,.2f} hours",
    }


@click.command()
@click.option("--video-minutes", default=10.0, help="Of a video on average.")
@click.option("--rows-per-second", default=2.0)
@click.option("--dim", default=1280, help="Of a float16 feature.")
def main(video_minutes: float, rows_per_second: float, dim: int) -> None:
    """Print the table, and what a GPU that trains would read."""
    columns = [lines(hours, costs(hours, video_minutes, rows_per_second, dim)) for hours in SIZES]
    click.echo("| | " + " | ".join(f"{hours:,} h" for hours in SIZES) + " |")
    click.echo("|---" * (len(SIZES) + 1) + "|")
    for name in columns[0]:
        click.echo(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    hour = costs(1, video_minutes, rows_per_second, dim)
    tokens = TOKENS_PER_GPU_SECOND
    click.echo(
        f"\n{hour.bytes / 1e6:.1f} MB per video-hour and stream. A GPU that trains all of "
        f"1.3 billion parameters takes {tokens:,} tokens/s, which are "
        f"{tokens / WINDOW_ROWS:,.0f} windows/s of {WINDOW_ROWS} rows or "
        f"{tokens * hour.row_bytes / 1e6:,.0f} MB/s."
    )


if __name__ == "__main__":
    main()
