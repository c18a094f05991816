"""Some of the validation videos: a source of annotations that knows no others in that subset.

For an evaluation during training, which need not look at all of a large set: official metrics are
over what a source holds, so on a part of the videos they are those of the part.
"""

from collections.abc import Callable, Collection
from typing import Any

__all__ = ["PartOfVal"]


class PartOfVal:
    """Does as another source does, but for what its methods say of the subset ``val``."""

    def __init__(self, source: Any, video_ids: Collection[str]) -> None:  # noqa: ANN401
        """Keep some videos.

        Args:
            source: Any of ours (``train.annotations.opening``).
            video_ids: As its records name them.
        """
        self._source = source
        self._video_ids = frozenset(video_ids)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("__"):  # of pickle and copy, which ask before there is a source
            raise AttributeError(name)
        member = getattr(self._source, name)
        return self._filtered(member) if name in OF_SUBSET else member

    def _filtered(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def of_subset(subset: str, *others: object) -> Any:  # noqa: ANN401
            found = method(subset, *others)
            return self._kept(found) if subset == "val" else found

        return of_subset

    def _kept(self, found: Any) -> Any:  # noqa: ANN401
        if isinstance(found, dict):
            return {video: value for video, value in found.items() if video in self._video_ids}
        return [one for one in found if _video_of(one) in self._video_ids]

    def validation_cells(self, cells_per_second: int) -> dict[str, int]:
        """See ``EpicFolder.validation_cells``."""
        cells: dict[str, int] = self._kept(self._source.validation_cells(cells_per_second))
        return cells

    def references(self) -> dict[str, list[str]]:
        """See ``NarrationFiles.references``."""
        own = {one.narration_id for video in self.narrations("val").values() for one in video}
        return {key: texts for key, texts in self._source.references().items() if key in own}


OF_SUBSET = frozenset(("actions", "classified_actions", "clips", "narrations", "queries", "videos"))
"""Methods whose first argument is a subset; they return records, ids, or either by video id."""


def _video_of(record: Any) -> str:  # noqa: ANN401
    """Return the id of the video that a record is about; an id is its own."""
    if isinstance(record, str):
        return record
    clip = getattr(record, "clip", record)
    video_id: str = clip.vid if hasattr(clip, "vid") else clip.video_id
    return video_id
