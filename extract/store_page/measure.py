"""All that the page of a store shows, measured."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from cache_schema.cost import ExtractionCost, read_costs
from cache_schema.errors import StoreError
from cache_schema.parsing import to_mapping
from cache_schema.place import Place
from cache_schema.recipe import Recipe
from cache_schema.store import Store, stored_bytes
from cache_schema.stream import Stream
from cache_schema.video_path import found_video
from extract.report.ledger import Failure, Ledger
from extract.store_page.contact_sheet import NUM_SHOTS, contact_sheet
from extract.store_page.dimensions import DimensionFacts
from extract.store_page.duplicates import Duplicates, find_duplicates
from extract.store_page.labels import Labels
from extract.store_page.repeats import Repeat, find_repeats, num_black
from extract.store_page.row_map import RowMap, map_rows
from extract.store_page.rows import LookedAt, look_at, plan_spans
from extract.store_page.video_files import Shot, VideoFiles

__all__ = ["Measured", "StreamFacts", "VideoFacts", "measure"]


@dataclass(frozen=True, kw_only=True)
class StreamFacts:
    """One stream of the store."""

    name: str
    recipe: Recipe
    encoder_source: str
    num_videos: int
    num_rows: int
    video_seconds: float
    row_shape: tuple[int, ...]
    feature_bytes: int
    num_parts: int


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """One video that was looked at."""

    id: str
    duration_seconds: float
    num_rows: int
    num_rows_seen: int
    """The three numbers of rows below are of these."""
    num_still: int
    """Rows that are the same as the row before."""
    num_black: int | None
    """Rows that show a black frame; None if that cannot be told."""
    fps: float
    width: int
    height: int
    decoder: str
    has_file: bool
    """Whether the file that the rows were made from was found."""
    nearest: str | None
    """The video with the nearest mean row."""
    similarity: float | None
    """Cosine of the mean rows, the mean of all rows subtracted."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was found in a store."""

    store: str
    disk_bytes: int
    streams: list[StreamFacts]
    stream: str
    """The stream that the rest is about."""
    num_rows_seen: int
    costs: list[ExtractionCost]
    failures: list[Failure]
    """Of the ledger: of videos that the stream does not hold."""
    videos: list[VideoFacts]
    dimensions: DimensionFacts
    repeats: list[Repeat]
    duplicates: Duplicates
    shots: list[Shot]
    map: RowMap

    def summary(self) -> dict[str, object]:
        """Return what was measured as one JSON object: without pictures and points of the map."""
        return {
            "store": self.store,
            "disk_bytes": self.disk_bytes,
            "streams": [
                asdict(one)
                | {"recipe": to_mapping(one.recipe), "fingerprint": one.recipe.fingerprint}
                for one in self.streams
            ],
            "stream": self.stream,
            "rows_seen": self.num_rows_seen,
            "costs": [to_mapping(cost) for cost in self.costs],
            "failures": [asdict(failure) for failure in self.failures],
            "videos": [asdict(video) for video in self.videos],
            "dimensions": self.dimensions.summary(),
            "repeats": [_repeat_summary(repeat) for repeat in self.repeats],
            "near_duplicates": [
                {"videos": videos, "likeness": round(likeness, 4)}
                for videos, likeness in self.duplicates.near
            ],
            "same_file": self.duplicates.same_file,
            "same_rows": self.duplicates.same_rows,
            "map_variance": list(self.map.shares),
        }


def measure(
    store: Store,
    stream: Stream,
    *,
    labels: Labels | None,
    seed: int,
    bar: Callable[[str, int | None, str], Callable[[int], object]],
) -> Measured:
    """Measure a store; most of it is about one stream.

    Args:
        store: Open.
        stream: One of its streams.
        labels: What rows are coloured by in the map, beside their videos.
        seed: Of what is sampled.
        bar: Begins a progress bar: name, total and unit -> what is called with each advance.

    Raises:
        StoreError: if the stream has no video, or its rows are damaged.
    """
    if not stream.video_ids:
        raise StoreError(f"{store.path}: stream '{stream.name}' has no video yet.")
    files = VideoFiles(store.path, stream)
    spans = plan_spans(stream, seed)
    num_rows = sum(span.num_rows for span in spans)
    looked = look_at(stream, spans, seed, bar("rows", num_rows, " row"))
    repeats = find_repeats(looked, files)
    duplicates = find_duplicates(stream, looked, bar("compare", None, " pair"))
    failures = {
        (failure.video_id, failure.error): failure
        for (video_id, name), failure in Ledger(store.path).latest().items()
        if name == stream.name and video_id not in stream
    }
    return Measured(
        store=str(store.path),
        disk_bytes=stored_bytes(store.path),
        streams=[_stream_facts(one) for one in store.streams.values()],
        stream=stream.name,
        num_rows_seen=looked.num_rows,
        costs=read_costs(store.path),
        failures=list(failures.values()),
        videos=_video_facts(store.path, stream, looked, repeats, duplicates),
        dimensions=looked.dimensions,
        repeats=repeats,
        duplicates=duplicates,
        shots=contact_sheet(stream, files, seed, bar("pictures", NUM_SHOTS, " frame")),
        map=map_rows(stream, looked, labels),
    )


def _stream_facts(stream: Stream) -> StreamFacts:
    return StreamFacts(
        name=stream.name,
        recipe=stream.recipe,
        encoder_source=stream.encoder_source,
        num_videos=len(stream.video_ids),
        num_rows=stream.num_rows,
        video_seconds=math.fsum(video.duration_seconds for video in stream.listing()),
        row_shape=stream.row_shape,
        feature_bytes=stream.num_rows * stream.row_bytes,
        num_parts=len(stream.parts),
    )


def _video_facts(
    store: Place,
    stream: Stream,
    looked: LookedAt,
    repeats: list[Repeat],
    duplicates: Duplicates,
) -> list[VideoFacts]:
    black_V = num_black(repeats, looked)
    found = []
    for place, video_id in enumerate(looked.video_ids):
        commit = stream.commit(video_id)
        nearest = int(duplicates.nearest_V[place])
        similarity = float(duplicates.similarity_V[place])
        found.append(
            VideoFacts(
                id=video_id,
                duration_seconds=commit.video.duration_seconds,
                num_rows=commit.num_rows,
                num_rows_seen=int(looked.num_rows_V[place]),
                num_still=int(looked.num_still_V[place]),
                num_black=None if black_V is None else int(black_V[place]),
                fps=float(commit.video.fps),
                width=commit.video.width,
                height=commit.video.height,
                decoder=commit.video.decoder,
                has_file=found_video(commit.video, store) is not None,
                nearest=None if nearest < 0 else looked.video_ids[nearest],
                similarity=None if np.isnan(similarity) else similarity,
            )
        )
    return found


def _repeat_summary(repeat: Repeat) -> dict[str, object]:
    return {
        "num_rows": len(repeat.rows_C),
        "num_videos": repeat.num_videos,
        "luma": repeat.luma,
        "is_black": repeat.is_black,
        "example": {
            key: value
            for key, value in asdict(replace(repeat.shot, jpeg=None)).items()
            if key != "jpeg"
        },
    }
