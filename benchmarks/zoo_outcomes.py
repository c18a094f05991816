"""Extract a folder of awkward videos with both decoders and write what became of each as a table.

What the page says above the table is kept.

    python benchmarks/zoo_outcomes.py ZOO --out docs/zoo.md

ZOO holds the videos and a manifest.csv with the columns ``file`` and ``awkward``.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache_schema.store import open_store
from cache_schema.stream import Stream

DECODERS = ("pyav", "decord")

MARK = "<!-- from here on made by benchmarks/zoo_outcomes.py -->\n"

HEADER = """
{num_files} files, two runs (exit codes {codes}): {num_read} read, {num_refused} refused,
{num_ignored} ignored, {num_unequal} with rows that differ between the decoders.

| file | what is awkward | outcome | read by, with decord | rows equal |
|---|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One extraction of the whole folder."""

    exit_code: int
    stream: Stream
    sentences: dict[str, str]
    """File name -> why it was refused."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: extract(arguments.zoo, Path(folder), name) for name in DECODERS}
        text = table(arguments.zoo, runs)
    page = arguments.out.read_text(encoding="utf-8") if arguments.out.exists() else ""
    arguments.out.write_text(page.partition(MARK)[0] + MARK + text, encoding="utf-8")


def extract(zoo: Path, folder: Path, decoder: str) -> Run:
    """Extract the folder into a new store."""
    store = folder / f"{decoder}.zarr"
    command = [sys.executable, "-c", "from extract.cli import main; main()"]
    options = ["--encoder", "fake", "--fps", "2", "--decoder", decoder, "--json"]
    done = subprocess.run(
        [*command, str(zoo), "--out", str(store), *options], stdout=subprocess.PIPE, text=True
    )
    failures = json.loads(done.stdout)["failures"]
    sentences = {Path(one["path"]).relative_to(zoo).as_posix(): one["error"] for one in failures}
    return Run(
        exit_code=done.returncode, stream=open_store(store).stream("fake"), sentences=sentences
    )


def table(zoo: Path, runs: dict[str, Run]) -> str:
    """Return the table and what it adds up to."""
    with (zoo / "manifest.csv").open(encoding="utf-8", newline="") as file:
        entries = list(csv.DictReader(file))
    lines = [line(zoo, entry, runs) for entry in entries]
    header = HEADER.format(
        num_files=len(entries),
        num_read=sum("rows: " in text for text in lines),
        num_refused=sum("refused: " in text for text in lines),
        num_ignored=sum("| ignored" in text for text in lines),
        num_unequal=sum("| NO |" in text for text in lines),
        codes=" and ".join(str(run.exit_code) for run in runs.values()),
    )
    return header + "".join(lines)


def line(zoo: Path, entry: dict[str, str], runs: dict[str, Run]) -> str:
    """Return a file's line."""
    name = entry["file"]
    outcomes = [outcome(zoo, name, run) for run in runs.values()]
    if outcomes[0] != outcomes[1]:
        return f"| {name} | {entry['awkward']} | {' / '.join(outcomes)} | | NO |\n"
    reader, equal = "", ""
    if "rows: " in outcomes[0]:
        video_id = id_of(zoo, name, runs["decord"].stream)
        pyav, decord = (run.stream.read(video_id).values for run in runs.values())
        reader = runs["decord"].stream.commit(video_id).video.decoder
        equal = "yes" if np.array_equal(pyav, decord) else "NO"
    return f"| {name} | {entry['awkward']} | {outcomes[0]} | {reader} | {equal} |\n"


def outcome(zoo: Path, name: str, run: Run) -> str:
    """Return what became of a file in one run."""
    if name in run.sentences:
        return f"refused: {run.sentences[name]}"
    video_id = id_of(zoo, name, run.stream)
    if video_id is None:
        return "ignored: its suffix is no video's"
    commit = run.stream.commit(video_id)
    facts = commit.video
    fps = f"{float(facts.fps):.4g}"
    size = f"{facts.width}x{facts.height}"
    return f"{commit.num_rows} rows: {size}, {fps} fps, {facts.duration_seconds:.2f} s"


def id_of(zoo: Path, name: str, stream: Stream) -> str | None:
    """Return the id of a file in the store."""
    paths = {video.path: video.id for video in stream.videos()}
    return paths.get(str(zoo / name))


if __name__ == "__main__":
    main()
