"""What was measured in a store -> its page."""

import base64
from collections import Counter
from collections.abc import Iterator, Sequence

from cache_schema.page.document import Page, duration
from cache_schema.parsing import to_mapping
from extract.store_page.charts import (
    deviations_chart,
    dimensions_chart,
    map_chart,
    similarity_chart,
    stages_chart,
)
from extract.store_page.dimensions import NEARLY, DimensionFacts
from extract.store_page.duplicates import ALIKE, MOST_PAIRS, Duplicates
from extract.store_page.measure import Measured, StreamFacts, VideoFacts
from extract.store_page.repeats import BLACK
from extract.store_page.rows import SAME
from extract.store_page.video_files import Shot

__all__ = ["store_page"]

MOST_LISTED = 2000
"""Videos of the table: a browser sorts that many in a moment."""
MOST_NAMED = 12
"""Numbers of dimensions that are written out."""

VIDEO_COLUMNS = (
    ("video", "text"),
    ("seconds", "number"),
    ("rows", "number"),
    ("looked at", "number"),
    ("still", "number"),
    ("black", "number"),
    ("fps", "number"),
    ("size", "text"),
    ("decoder", "text"),
    ("file", "text"),
    ("nearest video", "text"),
    ("cosine", "number"),
)
FAILURE_COLUMNS = (("video", "text"), ("stage", "text"), ("error", "text"), ("time", "text"))
DUPLICATE_COLUMNS = (
    ("what is the same", "text"),
    ("videos", "text"),
    ("how many", "number"),
    ("lowest likeness", "number"),
)

Facts = list[tuple[str, object]]


def store_page(found: Measured) -> Page:
    """Return the page of what was measured."""
    stream = next(one for one in found.streams if one.name == found.stream)
    similarities = [one.similarity for one in found.videos if one.similarity is not None]
    return Page(
        title=f"{found.store}, stream {found.stream}",
        package="extract.store_page",
        template="store.html.j2",
        values={
            "found": found,
            "stream": stream,
            "findings": list(_findings(found)),
            "about": _about(stream, found),
            "streams": [(one, _recipe(one)) for one in found.streams],
            "costs": _costs(found),
            "stages_chart": _stages(found),
            "failure_columns": FAILURE_COLUMNS,
            "failures": [(f.video_id, f.stage, f.error, f.time) for f in found.failures],
            "video_columns": VIDEO_COLUMNS,
            "videos": map(_video_row, _listed(found.videos)),
            "video_caption": _video_caption(len(found.videos)),
            "map_charts": _maps(found),
            "dimension_facts": _dimensions(found.dimensions),
            "dimensions_chart": dimensions_chart(found.dimensions),
            "deviations_chart": deviations_chart(found.dimensions),
            "duplicate_columns": DUPLICATE_COLUMNS,
            "duplicates": list(_duplicate_rows(found.duplicates)),
            "similarity_chart": similarity_chart(similarities) if similarities else "",
            "shots": [(shot, _source(shot)) for shot in found.shots],
            "repeats": [(repeat, _source(repeat.shot)) for repeat in found.repeats],
            "is_unchecked": any(one.num_black is None for one in found.videos),
            "alike": ALIKE,
            "most_pairs": MOST_PAIRS,
            "same": SAME,
            "black": BLACK,
        },
        styles=("store.css",),
        has_charts=True,
    )


def _about(stream: StreamFacts, found: Measured) -> Facts:
    rate = stream.num_rows / stream.video_seconds if stream.video_seconds else 0.0
    return [
        ("videos", f"{stream.num_videos:,}"),
        ("video time", duration(stream.video_seconds)),
        ("rows", f"{stream.num_rows:,} of {' x '.join(map(str, stream.row_shape))} numbers"),
        ("rows per second of video", f"{rate:.3g}"),
        ("features", _bytes(stream.feature_bytes)),
        ("store on disk", _bytes(found.disk_bytes)),
        ("rows looked at here", f"{found.num_rows_seen:,} of {len(found.videos):,} videos"),
    ]


def _recipe(stream: StreamFacts) -> Facts:
    facts: Facts = [
        ("fingerprint", stream.recipe.fingerprint),
        ("encoder loaded from", stream.encoder_source or "not noted"),
    ]
    for key, value in to_mapping(stream.recipe).items():
        if isinstance(value, dict):
            facts += [(f"{key}.{name}", _shown(inner)) for name, inner in value.items()]
        else:
            facts.append((key, _shown(value)))
    return facts


def _shown(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(f"{one:.6g}" for one in value)
    return "none" if value is None else value


def _costs(found: Measured) -> Facts:
    """Return what the noted runs cost together; nothing if none is noted."""
    costs = found.costs
    if not costs:
        return []
    num_rows = sum(one.num_rows for one in found.streams)
    noted = sum(cost.num_rows for cost in costs)
    joules = [cost.energy_joules for cost in costs if cost.energy_joules is not None]
    devices = sorted({name for cost in costs for name in cost.device.split(", ")})
    energy = f"{sum(joules) / 3.6e6:.3g} kWh in {len(joules)} of {len(costs)} runs"
    return [
        ("runs noted", f"{len(costs):,}, the last {max(cost.time for cost in costs)}"),
        ("rows they brought", f"{noted:,}; the store holds {num_rows:,} in all streams"),
        ("video decoded", f"{sum(cost.video_seconds for cost in costs) / 3600:,.3g} hours"),
        ("time taken", duration(sum(cost.wall_seconds for cost in costs))),
        ("on", ", ".join(devices)),
        ("energy", energy if joules else "not known"),
    ]


def _stages(found: Measured) -> str:
    seconds: Counter[str] = Counter()
    for cost in found.costs:
        seconds.update(cost.busy_seconds)
    return stages_chart(seconds) if seconds else ""


def _findings(found: Measured) -> Iterator[tuple[str, str]]:
    """Yield what deserves a look: a sentence, and the section that tells more."""
    if found.failures:
        yield f"Could not be used: {_count(len(found.failures), 'video')}.", "failures"
    dimensions = found.dimensions
    for dims, what in (
        (dimensions.constant, "with the same value in every row looked at"),
        (dimensions.nearly_constant, "that hardly vary"),
        (dimensions.not_finite, "with values that are no number"),
        (dimensions.at_largest, "with values at the dtype's limit"),
    ):
        if dims:
            yield f"{_count(len(dims), 'dimension')} {what}: {_numbers(dims)}.", "dimensions"
    if num_black := sum(one.num_black or 0 for one in found.videos):
        yield f"{_count(num_black, 'row')} with a black frame.", "repeats"
    if num_still := sum(2 * one.num_still > one.num_rows_seen for one in found.videos):
        yield f"{_count(num_still, 'video')} with more still rows than others.", "videos"
    duplicates = found.duplicates
    for groups, what in (
        ([group for group, _ in duplicates.near], "that run alike"),
        (duplicates.same_file, "of the same file"),
        (duplicates.same_rows, "with the same rows"),
    ):
        if groups:
            videos = _count(sum(map(len, groups)), "video")
            yield f"{videos} {what}, in {_count(len(groups), 'group')}.", "duplicates"
    if num_lost := sum(not one.has_file for one in found.videos):
        yield f"{_count(num_lost, 'video')} whose file was not found.", "videos"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _listed(videos: Sequence[VideoFacts]) -> list[VideoFacts]:
    """Return the videos of the table; of very many those that deserve a look."""

    def oddness(one: VideoFacts) -> tuple[float, float]:
        odd_rows = one.num_still + (one.num_black or 0)
        return odd_rows / one.num_rows_seen, one.similarity or 0.0

    chosen = sorted(videos, key=oddness, reverse=True)[:MOST_LISTED]
    return sorted(chosen, key=lambda one: one.id)


def _video_caption(num_videos: int) -> str:
    if num_videos <= MOST_LISTED:
        return "Videos that were looked at"
    return (
        f"{MOST_LISTED:,} of the {num_videos:,} videos that were looked at: those of most still or "
        "black rows, then those with the nearest neighbours; --json tells of all"
    )


def _video_row(one: VideoFacts) -> tuple[object, ...]:
    return (
        one.id,
        round(one.duration_seconds, 2),
        one.num_rows,
        one.num_rows_seen,
        one.num_still,
        one.num_black,
        round(one.fps, 3),
        f"{one.width} x {one.height}" if one.width else None,
        one.decoder,
        "found" if one.has_file else "not found",
        one.nearest,
        None if one.similarity is None else round(one.similarity, 3),
    )


def _duplicate_rows(found: Duplicates) -> Iterator[tuple[object, ...]]:
    for group, likeness in found.near:
        yield "rows run alike", ", ".join(group), len(group), round(likeness, 3)
    for group in found.same_file:
        yield "file", ", ".join(group), len(group), None
    for group in found.same_rows:
        yield "rows, bit for bit", ", ".join(group), len(group), None


def _maps(found: Measured) -> list[tuple[str, str]]:
    """Return the maps and their captions."""
    has_labels = any(point.label is not None for point in found.map.points)
    colours = [("group", "by video or top folder"), ("share", "by time in the video")]
    colours += [("label", "by label")] if has_labels else []
    return [
        (map_chart(found.map, colour), f"{len(found.map.points):,} random rows, coloured {how}")
        for colour, how in colours
    ]


def _dimensions(facts: DimensionFacts) -> Facts:
    return [
        ("dimensions", f"{len(facts.mean_D):,}"),
        ("values of each looked at", f"{facts.num_values:,}"),
        ("constant", _numbers(facts.constant)),
        (f"deviation below {NEARLY:.0%} of the median", _numbers(facts.nearly_constant)),
        ("with values that are no number", _numbers(facts.not_finite)),
        ("with values at the dtype's limit", _numbers(facts.at_largest)),
    ]


def _numbers(dims: list[int]) -> str:
    """Return the first of some dimensions' numbers."""
    more = f" and {len(dims) - MOST_NAMED} more" if len(dims) > MOST_NAMED else ""
    return (", ".join(map(str, dims[:MOST_NAMED])) or "none") + more


def _source(shot: Shot) -> str:
    """Return the picture as an address that holds it; empty if there is none."""
    if shot.jpeg is None:
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(shot.jpeg).decode()}"


def _bytes(count: int) -> str:
    """Return bytes for a reader.

    >>> _bytes(999), _bytes(5_975_014), _bytes(40_000_000_000_000)
    ('999 B', '6.0 MB', '40.0 TB')
    """
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.1f} {unit}" if unit != "B" else f"{count} B"
        value /= 1000
    return f"{value:.1f} TB"
