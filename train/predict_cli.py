"""``vllm-predict``: a run + videos or features -> what it says about them.

vllm-predict RUN VIDEOS... --out answers.jsonl              any videos, no annotations
vllm-predict RUN --features STORE --out answers.jsonl       videos of a store
vllm-predict RUN --features STORE --subset val --out FILE   a subset (val, test): the submission
vllm-predict RUN --stream SOURCE                            live, a line for every row

``--html PAGE`` beside the first three writes a page to look at.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cache_schema.place_option import PLACE

if TYPE_CHECKING:  # torch must not be imported before the command runs: --help answers at once.
    from train.predict.command import Report
    from train.task import Subset

__all__ = ["main", "predict"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("places", nargs=-1, required=True, metavar="RUN... [VIDEOS...]")
@click.option(
    "--out",
    default="-",
    metavar="PATH",
    help="Answers or submission; without it answers are printed.",
)
@click.option(
    "--features",
    metavar="STORE",
    type=PLACE,
    help="Predict from this store; with VIDEOS, keep their features there.",
)
@click.option(
    "--videos",
    "video_ids",
    multiple=True,
    metavar="ID",
    help="A video of --features; repeat it; default: all.",
)
@click.option(
    "--query",
    "queries",
    multiple=True,
    metavar="TEXT",
    help="A question or description; repeat it.",
)
@click.option(
    "--queries",
    "query_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of queries, one a line.",
)
@click.option(
    "--format",
    "format_name",
    show_default="by the suffix of --out, else jsonl",
    help="jsonl, csv, vtt or eaf (docs/predictions.md).",
)
@click.option(
    "--scores",
    metavar="FILE.npz",
    type=click.Path(path_type=Path),
    help="Also write the scores of the head, before decoding.",
)
@click.option(
    "--html",
    metavar="FILE.html",
    type=click.Path(path_type=Path),
    help="Also write a page to look at, with the videos.",
)
@click.option(
    "--stream",
    "source",
    metavar="SOURCE",
    help="Answer every row as it comes: of a file, - (standard input), rtsp://..., /dev/video0.",
)
@click.option("--realtime", is_flag=True, help="Play the file of --stream at its own speed.")
@click.option(
    "--subset",
    "subsets",
    multiple=True,
    type=click.Choice(["train", "val", "test"]),
    help="Write its submission instead; repeat it for an archive of several (docs/tasks.md).",
)
@click.option(
    "--annotations",
    default="",
    metavar="PATH",
    help="Labels of --subset (default: the run's), or what --html compares with.",
)
@click.option(
    "--text-features",
    default="",
    metavar="PATH",
    help="Where features of the queries are now (default: the run's text.features).",
)
@click.option(
    "--allow-missing",
    default=0,
    metavar="N",
    help="How many videos of --subset the store may lack.",
)
@click.option("--task", default="", metavar="NAME", help="Which task, if the run learned several.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a task option of the run, e.g. decoder=causal_filter.",
)
@click.option(
    "--features-stream",
    "stream_names",
    multiple=True,
    metavar="NAME",
    help="Stream of the store, repeated for several; default: those of the run's recipe.",
)
@click.option("--encoder", metavar="NAME", help="Where the run's encoder is now.")
@click.option("--workers", default=1, show_default=True, help="Processes that encode videos.")
@click.option(
    "--device",
    default="auto",
    type=click.Choice(["auto", "cpu", "cuda"]),
    show_default=True,
    help="Where to run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.pass_context
def predict(
    context: click.Context,
    /,
    *,
    options: tuple[str, ...],
    query_file: Path | None,
    queries: tuple[str, ...],
    subsets: "tuple[Subset, ...]",
    source: str | None,
    realtime: bool,
    as_json: bool,
    **asked: object,
) -> None:
    """Say what happens in videos, with the best checkpoint of RUN.

    VIDEOS are files, folders, glob patterns or .txt lists; nothing needs to be annotated. Without
    them, all videos of --features are predicted, or those of --videos. A folder of numbered runs
    stands for its newest one, hf://USER/NAME is a run on a hub; several runs of one task, such as
    seeds, decide together.

    \b
    Example:
      vllm-predict runs/action_segmentation holiday/ --out answers.jsonl
      vllm-predict runs/action_segmentation holiday/ --out answers.jsonl --html answers.html
      vllm-predict runs/natural_language_query tour.mp4 --query "where is the cat?" --out a.jsonl
      vllm-predict runs/action_segmentation --features feats.zarr --subset val --out predictions
      vllm-predict runs/moment_query --features feats.zarr --subset test --out submission.json
      vllm-predict runs/online_action_detection --stream rtsp://camera/1

    Exit codes: 0 all done, 3 some videos cannot be used, 2 wrong usage, 1 failed.
    """  # noqa: D301 - \b is click's mark for a paragraph to leave as it is
    from train.loop.logs import show_progress
    from train.predict.command import Asked, answer, follow, submit

    show_progress(True)
    made = Asked(
        options=_task_options(options),
        queries=(*queries, *_read_queries(query_file)),
        hides_progress=as_json or not sys.stderr.isatty(),
        **asked,  # type: ignore[arg-type]  # click's own names and types
    )
    report: Report
    if realtime and source is None:
        raise click.UsageError("--realtime is for --stream.")
    if source is not None:
        report = follow(made, source, realtime=realtime, subsets=subsets)
    else:
        chosen = tuple(dict.fromkeys(subsets))
        report = submit(made, chosen) if chosen else answer(made)
    # Standard output may hold the answers.
    click.echo(report.to_json() if as_json else report.text(), err=made.out == "-")
    context.exit(report.exit_code)


def _read_queries(path: Path | None) -> list[str]:
    from cache_schema.errors import ConfigError

    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--queries {path}: cannot be read: {error}.") from error
    if not any(line.strip() for line in lines):
        raise ConfigError(f"--queries {path}: holds no query, expected one a line.")
    return [line.strip() for line in lines if line.strip()]


def _task_options(texts: tuple[str, ...]) -> dict[str, object]:
    from cache_schema.errors import ConfigError
    from cache_schema.settings import parse_value

    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--option {text}: expected KEY=VALUE, such as decoder=argmax.")
        options[key.strip()] = parse_value(value)
    return options


def main() -> None:
    """Entry point of the console script."""
    from cache_schema.cli_edge import run

    run(predict)
