"""Videos -> features of the runs' own recipes, by the code of stage 1.

Stage 2 calls stage 1 through its front door, here and for live sources (docs/decisions/0010).
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cache_schema.derived.find import derive_like
from cache_schema.errors import ConfigError
from cache_schema.place import Place
from cache_schema.recipe import Recipe
from cache_schema.store import Store, open_store
from cache_schema.stream import Stream
from extract import Failure, KeptEncoders, RunReport, extract_like, find_videos
from train.predict.ensemble import Ensemble
from train.predict.trained_run import Trained

__all__ = ["MadeFeatures", "features_of"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeFeatures:
    """Features of some videos, and the videos of which there are none."""

    streams: list[Stream]
    """Of each run; none where there is no row at all."""
    video_ids: list[str]
    """Of the videos that can be answered for, as the streams name them."""
    failures: list[Failure]


@contextmanager
def features_of(
    ensemble: Ensemble,
    videos: Sequence[str],
    *,
    features: Place | None,
    encoder: str | None,
    device: str,
    workers: int,
    hides_progress: bool,
    kept: KeptEncoders | None = None,
) -> Iterator[MadeFeatures]:
    """Make what the store does not hold yet; a temporary store goes away with the block.

    Args:
        ensemble: One run or several.
        videos: Files, folders, glob patterns or .txt lists, as ``vllm-extract`` takes them.
        features: Where features are kept; None keeps none.
        encoder: Where to load the encoder from; None takes what the checkpoint says.
        device: Where the encoder runs.
        workers: Processes.
        hides_progress: Whether no bar is shown.
        kept: Encoders that are loaded already; the runs' own stay there.

    Raises:
        CheckpointError: if a run was trained on features that nobody knows how to make.
        PipelineError: if its encoder cannot be had, or would make other features here.
    """
    with tempfile.TemporaryDirectory(prefix="vllm-predict-") as folder:
        store: Place = features or Path(folder) / "features.zarr"
        wanted = {
            recipe.fingerprint: (run, recipe)
            for run in ensemble.runs
            for recipe in run.extracted_recipes()
        }
        if encoder is not None and len(wanted) > 1:
            raise ConfigError(
                f"--encoder names one encoder, and the features are made by {len(wanted)}. Leave "
                "it out; each is looked for by the name under which it was loaded before."
            )
        reports = {
            fingerprint: _extract(
                *one, videos, store, encoder, device, workers, hides_progress, kept
            )
            for fingerprint, one in wanted.items()
        }
        yield _made(open_store(store), videos, ensemble, reports)


def _made(
    store: Store, videos: Sequence[str], ensemble: Ensemble, reports: Mapping[str, RunReport]
) -> MadeFeatures:
    """Return what there is after one report for each recipe, by its fingerprint."""
    failures = [
        failure
        for report in reports.values()
        for failure in (*report.failures, *report.failed_before)
    ]
    # By name: a stream of the checkpoint's own recipe may lie beside that of this decoder.
    names = {fingerprint: report.streams[0] for fingerprint, report in reports.items()}
    if not all(name in store.streams for name in names.values()):  # nothing could be read
        return MadeFeatures(streams=[], video_ids=[], failures=failures)
    streams = [
        derive_like(run.checkpoint.recipe, lambda one: store.streams[names[one.fingerprint]])
        for run in ensemble.runs
    ]
    failed = {failure.video_id for failure in failures}  # of one that changed old rows are there
    stored = _stored(videos, next(iter(reports.values())), streams)
    ids = [one for one in stored if one not in failed]
    return MadeFeatures(streams=streams, video_ids=ids, failures=failures)


def _extract(
    run: Trained,
    recipe: Recipe,
    videos: Sequence[str],
    store: Place,
    encoder: str | None,
    device: str,
    workers: int,
    hides_progress: bool,
    kept: KeptEncoders | None,
) -> RunReport:
    report = extract_like(
        recipe,
        list(videos),
        store,
        encoder=encoder,
        encoder_source=run.checkpoint.source_of(recipe),
        device=device,
        workers=workers,
        hides_progress=hides_progress,
        kept=kept,
    )
    logger.info(
        "%d videos encoded, %d were there, %d cannot be used",
        report.num_done,
        report.num_skipped,
        len(report.failures) + len(report.failed_before),
    )
    return report


def _stored(videos: Sequence[str], report: RunReport, streams: Sequence[Stream]) -> list[str]:
    """Return the ids of the videos that all streams hold; a moved file has its first id."""
    moved = dict(report.moved)
    ids = [moved.get(video.id, video.id) for video in find_videos(list(videos))]
    return [one for one in dict.fromkeys(ids) if all(one in stream for stream in streams)]
