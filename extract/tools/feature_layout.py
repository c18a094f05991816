"""Which dimension of foreign features is time, where the files themselves tell.

All videos have one feature dimension and few have the same number of rows. So files that agree in
one dimension and differ in the other tell which is which; one file, or files of one shape, do not.

Shapes: T rows of one video, D feature dim.
"""

from collections.abc import Iterator, Sequence

from cache_schema.errors import SourceError
from extract.tools.feature_files import FeatureFile, has_cheap_shape, read_shape

__all__ = ["known_shapes", "refuse_other_layout"]

MOST_FILES_OPENED = 16
"""Of formats whose headers are no cheap read: whole files of any size, or archives of thousands."""


def refuse_other_layout(files: Sequence[FeatureFile], *, transpose: bool) -> None:
    """Raise if files hold (D, T) by their shapes but are to be read as (T, D), or the other way.

    Args:
        files: All that are to be imported, one video each.
        transpose: Whether they are said to hold (D, T).

    Raises:
        SourceError: naming two files that show it.
    """
    time = int(transpose)
    first: tuple[FeatureFile, tuple[int, ...]] | None = None
    other: tuple[FeatureFile, tuple[int, ...]] | None = None
    for file, shape in known_shapes(files):
        first = first or (file, shape)
        if len(shape) != 2 or shape[time] != first[1][time]:
            return  # grids, as they should be, or neither: then the import says what it meets
        if shape != first[1]:
            other = (file, shape)
    if first is not None and other is not None:
        raise SourceError(_sentence(first, other, transpose))


def known_shapes(files: Sequence[FeatureFile]) -> Iterator[tuple[FeatureFile, tuple[int, ...]]]:
    """Yield the shapes of the files that can be read; the import says what is wrong with others."""
    num_opened = 0
    for file in files:
        num_opened += not has_cheap_shape(file)
        if has_cheap_shape(file) or num_opened <= MOST_FILES_OPENED:
            try:
                yield file, read_shape(file)
            except SourceError:
                continue


def _sentence(
    first: tuple[FeatureFile, tuple[int, ...]],
    other: tuple[FeatureFile, tuple[int, ...]],
    transpose: bool,
) -> str:
    got, expected, flag = ("T, D", "D, T", "no-") if transpose else ("D, T", "T, D", "")
    shapes = " and ".join(f"{file} has shape {shape}" for file, shape in (first, other))
    return (
        f"{shapes}: they look like ({got}), expected ({expected}), where D is the same in all "
        f"files. Nothing was written. Give --{flag}transpose, or import files of each D by "
        "themselves, into streams of their own."
    )
