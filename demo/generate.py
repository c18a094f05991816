"""The command that makes a demo set: `python -m demo.generate OUT`.

Data in: command-line arguments. Data out: a folder, see `demo.folder`. Exit codes: 0 made, 2 wrong
arguments or folder.
"""

from pathlib import Path

import click


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--train-videos", type=click.IntRange(min=1), help="Default 24; 4 with --small.")
@click.option("--val-videos", type=click.IntRange(min=2), help="Default 8; 2 with --small.")
@click.option(
    "--seconds", type=click.IntRange(min=4), help="Per video. Default 48; 8 with --small."
)
@click.option("--small", is_flag=True, help="A few tiny videos, for tests.")
def main(
    out: Path,
    seed: int,
    train_videos: int | None,
    val_videos: int | None,
    seconds: int | None,
    small: bool,
) -> None:
    """Make videos with exact labels for all eight tasks in the folder OUT."""
    from dataclasses import replace

    from demo.folder import DemoFolderError, write_demo
    from demo.truth import SMALL_SPEC, DemoSpec

    given = {"train_videos": train_videos, "val_videos": val_videos, "seconds": seconds}
    chosen = {name: value for name, value in given.items() if value is not None}
    spec = replace(SMALL_SPEC if small else DemoSpec(), seed=seed, **chosen)
    try:
        video_count = spec.train_videos + spec.val_videos
        with click.progressbar(write_demo(out, spec), length=video_count, label="videos") as videos:
            seconds_made = sum(video.duration_seconds for video in videos)
    except DemoFolderError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"{video_count} videos ({seconds_made:.0f} s) and annotations for 8 tasks in {out}")


if __name__ == "__main__":
    main()
