"""``vllm-store verify`` and ``repair``: prove what a store holds, put back what it lost."""

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from cache_schema.place import Place
from cache_schema.place_option import PLACE
from extract.tools.cli_options import JSON, QUIET, STORE, STREAM, row_bar

if TYPE_CHECKING:
    from cache_schema.proof.report import Problem
    from extract.tools.recompute import RowDifference

__all__ = ["repair", "verify"]


@click.command()
@STORE
@click.option("--recompute", type=click.IntRange(min=1), help="Decode and encode N rows again.")
@click.option("--seed", default=0, show_default=True, help="Which rows --recompute draws.")
@click.option(
    "--encoder",
    help="Where to load the encoder from (a folder, ./file.py:Name), if not by its name.",
)
@click.option(
    "--videos",
    type=PLACE,
    metavar="FOLDER",
    help="Where some of the videos are, if not where they were: --recompute draws from those.",
)
@STREAM
@JSON
@click.pass_context
def verify(
    context: click.Context,
    /,
    path: Place,
    recompute: int | None,
    seed: int,
    encoder: str | None,
    videos: Place | None,
    stream_name: str | None,
    as_json: bool,
) -> None:
    """Recompute every checksum and check times, values and files.

    With --recompute N, N random rows of the stream (--stream, if there are several) are decoded
    and encoded again from the videos and compared. Whoever got the store from others names a folder
    with those videos that they have (--videos).

    Exit codes: 0 nothing wrong, 1 problems were found.
    """
    from cache_schema.proof.verify import verify_store
    from cache_schema.store import open_store

    with row_bar("verify", path, hidden=as_json) as advance:
        report = verify_store(path, advance)
    problems, rows = report.problems, list["RowDifference"]()
    if recompute:
        from extract.tools.recompute import recompute_rows

        stream = open_store(path, lambda damage: None).stream(stream_name)
        again = recompute_rows(stream, recompute, seed, encoder, videos)
        problems, rows = [*problems, *again.problems], again.rows
    different = [row for row in rows if not row.ok]
    if as_json:
        found = {
            **asdict(replace(report, problems=problems)),
            "recomputed": [asdict(row) for row in rows],
        }
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        _show_verification(problems, report.notes, rows)
        click.echo(
            f"{report.num_videos} videos, {report.num_rows} rows checked; {len(rows)} rows made "
            f"again: {len(problems) + len(different)} problems."
        )
    context.exit(1 if problems or different else 0)


@click.command()
@STORE
@click.option("--dry-run", is_flag=True, help="Change nothing, and say what would be put back.")
@QUIET
@JSON
@click.pass_context
def repair(
    context: click.Context, /, path: Place, dry_run: bool, quiet_hours: float, as_json: bool
) -> None:
    """Put back the files a .zarr store lost, as far as what is left proves what they were.

    Headers, the journal and the end of the shard files of sealed parts, and nothing else: no row
    is ever written, no part is touched whose writer lives. Then the store is verified, which names
    what stays lost. An .h5 file and a store in a bucket are only verified.

    Exit codes: 0 nothing is wrong (any more), 1 problems are left.
    """
    from cache_schema.repair.store import repair_store

    with row_bar("verify", path, hidden=as_json) as advance:
        done = repair_store(
            path, quiet_seconds=quiet_hours * 3600, dry_run=dry_run, progress=advance
        )
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1, ensure_ascii=False))
    else:
        for sentence in done.mended:
            click.echo(f"{'would put back' if dry_run else 'put back'}: {sentence}")
        for place, reason in done.left_alone.items():
            click.echo(f"left alone: {place}: {reason}.")
        _show_verification(done.report.problems, [], [])
        click.echo(
            f"{len(done.mended)} files {'to put' if dry_run else 'put'} back; "
            f"{len(done.report.problems)} problems left."
        )
    context.exit(1 if done.report.problems else 0)


def _show_verification(
    problems: list["Problem"], notes: list["Problem"], rows: list["RowDifference"]
) -> None:
    for label, found in (("PROBLEM", problems), ("note", notes)):
        for problem in found:
            places = (problem.stream, problem.part, problem.video)
            where = " / ".join(place for place in places if place is not None)
            click.echo(f"{label}: {where}{': ' if where else ''}{problem.what}")
    for row in rows:
        label = "same" if row.ok else "PROBLEM"
        click.echo(
            f"{label}: {row.video_id} row {row.row}: differs by {row.max_abs:.2g} (at most "
            f"{row.tolerance:.2g}), cosine {row.cosine:.6f}"
        )
