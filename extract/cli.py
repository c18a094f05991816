"""``vllm-extract VIDEOS... --out STORE``: the command line of stage 1."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from extract.config import ExtractConfig
    from extract.plan import Plan
    from extract.report import RunReport

__all__ = ["extract_command", "main"]


@click.command(name="vllm-extract")
@click.argument("inputs", nargs=-1, required=True, metavar="VIDEOS...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Store: .zarr or .h5.")
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    help="Built-in name, hub id or local folder; repeat it to fill several streams.",
)
@click.option("--fps", help="Sampled frames per second, e.g. 2 or 30000/1001; 0 = every frame.")
@click.option("--stride", type=int, help="Sampled frames between rows; 0 = the encoder's window.")
@click.option(
    "--pooling",
    type=click.Choice(["default", "cls", "mean", "grid"]),
    help="How a window's tokens become a row.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "bfloat16", "float32"]),
    help="Dtype of stored features.",
)
@click.option(
    "--compute-dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    help="Dtype the encoder runs in.",
)
@click.option("--device", help="auto, cpu, cuda or cuda:N.")
@click.option("--batch-size", type=int, help="Windows per forward pass.")
@click.option("--decoder", type=click.Choice(["pyav", "decord"]), help="Video decoder.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, exists=True),
    help="Settings file; default: pipeline.toml of this folder, if there is one.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Override one setting, e.g. --set extract.fps=4.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.pass_context
def extract_command(
    context: click.Context,
    /,
    inputs: tuple[str, ...],
    out: Path,
    config_path: Path | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Decode videos once and store their features.

    VIDEOS are files, folders (searched recursively), glob patterns or .txt lists of paths.
    What the store already holds for this recipe is skipped, so the same command resumes.

    \b
    Example:
      vllm-extract videos/ --out feats.zarr
      vllm-extract videos/ --out feats.zarr --encoder openai/clip-vit-large-patch14 --fps 4

    Exit codes: 0 all done, 3 some videos failed (see the ledger), 2 wrong usage, 1 failed.
    """  # noqa: D301 - \b is click's mark for a paragraph to leave as it is
    from cache_schema.settings import load_settings
    from extract.config import ExtractConfig

    config = load_settings(
        ExtractConfig,
        "extract",
        config_path=config_path,
        overrides=overrides,
        flags=_dotted(flags),
    )
    report = _run(inputs, out, config, dry_run=dry_run, quiet=as_json)
    click.echo(json.dumps(report.summary(), indent=1) if as_json else report.text())
    context.exit(report.exit_code)


def main() -> None:
    """Run the command; errors become one sentence and an exit code."""
    from cache_schema.cli_edge import run

    run(extract_command)


def _dotted(flags: dict[str, object]) -> dict[str, object]:
    """Return the flags under their settings' names; flags not given are None."""
    names = {"stride": "stride_frames", "dtype": "store_dtype"}
    values = {names.get(key, key): value for key, value in flags.items()}
    values["encoders"] = list(flags["encoders"]) or None  # type: ignore[call-overload]
    return values


def _run(
    inputs: tuple[str, ...], out: Path, config: "ExtractConfig", *, dry_run: bool, quiet: bool
) -> "RunReport":
    from tqdm import tqdm

    from cache_schema.store import create_store, open_store
    from extract.extractor import extract_videos
    from extract.plan import plan_jobs
    from extract.report import RunReport, append_failures
    from extract.sources import find_videos
    from extract.targets import build_targets, streams_of

    videos = find_videos(inputs)
    store = open_store(out) if out.exists() else None
    targets = build_targets(config, store)
    streams = streams_of(targets)
    hidden = not sys.stderr.isatty() or quiet
    plan = plan_jobs(
        videos,
        streams,
        store,
        lambda items: tqdm(items, "looking", total=len(videos), unit=" video", disable=hidden),
    )
    report = RunReport(store=str(out), streams=streams, num_skipped=plan.num_complete)
    report.failures.extend(plan.failures)
    if dry_run:
        click.echo(_describe(plan, streams), err=True)
        return report
    for wanted, stored in plan.moved:
        click.echo(f"{wanted}: is stored as '{stored}' (same content, moved).", err=True)
    writer = create_store(out)
    bar = tqdm(
        total=round(sum(job.declared_seconds for job in plan.jobs), 1),
        desc="extract",
        unit=" video-s",
        disable=hidden or not plan.jobs,
    )
    try:
        with bar:
            extract_videos(plan.jobs, targets, writer, config, report, advance=bar.update)
    finally:
        writer.close()
        append_failures(out, report.failures)
    return report


def _describe(plan: "Plan", streams: list[str]) -> str:
    lines = [f"would extract {job.video.id} ({job.declared_seconds:.1f} s)" for job in plan.jobs]
    lines.append(
        f"{len(plan.jobs)} videos, {sum(job.declared_seconds for job in plan.jobs) / 3600:.3f} "
        f"video-hours to extract into {', '.join(streams)}; {plan.num_complete} already there."
    )
    return "\n".join(lines)
