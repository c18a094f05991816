"""``vllm-extract VIDEOS... --out STORE``: the command line of stage 1."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from cache_schema.place import Place
from cache_schema.place_option import PLACE

if TYPE_CHECKING:
    from extract.workers.config import ClusterConfig

__all__ = ["extract_command", "main"]


@click.command(name="vllm-extract", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("inputs", nargs=-1, required=True, metavar="VIDEOS...")
@click.option("--out", required=True, type=PLACE, help="Store: .zarr or .h5, or s3://....zarr.")
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    help="Built-in or installed name, hub id, local folder or ./file.py:Name; repeat it to fill "
    "several streams.",
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
@click.option(
    "--runtime", type=click.Choice(["torch", "openvino"]), help="What runs the encoder on a CPU."
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
@click.option("--workers", type=int, help="Processes on this machine; one GPU each.")
@click.option(
    "--cluster",
    metavar="slurm|ADDRESS",
    help="Use workers of SLURM ([cluster] of the settings) or of a dask scheduler, tcp://HOST:PORT.",
)
@click.option(
    "--shard",
    "shard_text",
    metavar="I/N",
    help="Do the I-th of N shares of the videos, from 0; default: a SLURM job array's task.",
)
@click.option(
    "--print-job-script",
    is_flag=True,
    help="Print a script for sbatch that does the same in a job array, and do nothing.",
)
@click.option("--retry-failed", is_flag=True, help="Try videos again that the ledger lists.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.pass_context
def extract_command(
    context: click.Context,
    /,
    inputs: tuple[str, ...],
    out: Place,
    config_path: Path | None,
    overrides: tuple[str, ...],
    cluster: str | None,
    shard_text: str | None,
    print_job_script: bool,
    retry_failed: bool,
    dry_run: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Decode videos once and store their features.

    VIDEOS are files, folders (searched recursively), glob patterns or .txt lists of paths.
    What the store already holds for this recipe is skipped, so the same command resumes. Several
    runs may fill one .zarr store at a time.

    \b
    Example:
      vllm-extract videos/ --out feats.zarr
      vllm-extract videos/ --out feats.zarr --encoder openai/clip-vit-large-patch14 --fps 4
      vllm-extract videos/ --out feats.zarr --workers 4
      vllm-extract videos/ --out feats.zarr --print-job-script > fill.sh && sbatch fill.sh

    Exit codes: 0 all done, 3 some videos failed (see the ledger), 2 wrong usage, 1 failed.
    """  # noqa: D301 - \b is click's mark for a paragraph to leave as it is
    from cache_schema.settings import load_settings
    from extract.config import ExtractConfig
    from extract.sources.shards import parse_shard, shard_of_array
    from extract.workers.config import ClusterConfig

    config = load_settings(
        ExtractConfig,
        "extract",
        config_path=config_path,
        overrides=overrides,
        flags=_dotted(flags),
    )
    cluster_config = load_settings(
        ClusterConfig, "cluster", config_path=config_path, overrides=overrides
    )
    if print_job_script:
        click.echo(_job_script(context, out, cluster_config), nl=False)
        return
    shard = parse_shard(shard_text) if shard_text else shard_of_array(os.environ)
    if shard is not None and shard_text is None:
        click.echo(f"A job array's task: share {shard} of the videos (--shard).", err=True)

    from extract.run import RunOptions, run_extraction

    options = RunOptions(
        inputs=inputs,
        out=out,
        config=config,
        cluster=cluster,
        cluster_config=cluster_config,
        shard=shard,
        retry_failed=retry_failed,
        dry_run=dry_run,
        hides_progress=as_json or not sys.stderr.isatty(),
    )
    report = run_extraction(options, tell=lambda text: click.echo(text, err=True))
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


def _job_script(context: click.Context, out: Place, config: "ClusterConfig") -> str:
    from extract.sources.shards import refuse_shards
    from extract.workers.job_script import job_script

    refuse_shards(out, config.max_jobs)
    arguments = _typed(context, leave_out={"print_job_script", "shard_text", "cluster"})
    if config.gpus > 1 and context.params["workers"] is None:
        arguments = ["--workers", str(config.gpus), *arguments]
    return job_script(arguments, out, config, python=sys.executable, folder=Path.cwd())


def _typed(context: click.Context, *, leave_out: set[str]) -> list[str]:
    """Return the command line as it was typed: every parameter that has no default value."""
    words: list[str] = []
    names: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in leave_out or source is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        if isinstance(parameter, click.Argument):
            names += value
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            for one in value if parameter.multiple else [value]:
                words += [parameter.opts[0], str(one)]
    return [*words, "--", *names]
