"""Names that annotations give videos, beside the ids that they have in a stream."""

from collections.abc import Iterable
from difflib import get_close_matches

from cache_schema.errors import AnnotationError
from cache_schema.stream import Stream
from cache_schema.video_names import without_video_suffix
from train.task import Sample

__all__ = ["refuse_second_names", "what_it_may_mean"]

MOST_MEANT = 3
MOST_COMPARED = 1000
SIMILAR = 0.3
"""From here on a name is worth showing; ids have folders that names leave out."""


def refuse_second_names(samples: Iterable[Sample], stream: Stream) -> None:
    """Refuse two names of one video: what is said of it would be parted, or trained and tested on.

    Args:
        samples: Of all subsets.
        stream: Knows the videos.

    Raises:
        AnnotationError: naming both.
    """
    names: dict[str, str] = {}
    for name in sorted({sample.video_id for sample in samples}):
        found = stream.resolve(name)
        if found is not None and names.setdefault(found, name) != name:
            raise AnnotationError(
                f"'{names[found]}' and '{name}' are one video of stream '{stream.name}', "
                f"'{found}'. Name it one way in the annotations."
            )


def what_it_may_mean(name: str, stream: Stream) -> str:
    """Return a sentence about a name that stands for no video of a stream; empty if it has none."""
    ids, stem = stream.video_ids, _last_part(name.replace("\\", "/"))
    if same := [f"'{one}'" for one in ids if _last_part(one) == stem]:
        return f"'{name}' may be {' or '.join(same[:MOST_MEANT])}."
    near = get_close_matches(name, ids[:MOST_COMPARED], n=1, cutoff=SIMILAR) or ids[:1]
    return "".join(f"The store's ids are such as '{one}'." for one in near)


def _last_part(name: str) -> str:
    return without_video_suffix(name.rpartition("/")[2])
