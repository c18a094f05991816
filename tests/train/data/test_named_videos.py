"""Names that annotations give videos."""

import pytest

from cache_schema.errors import AnnotationError
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows
from train.data.named_videos import refuse_second_names, what_it_may_mean
from train.task import whole_video

IDS = ("kitchen/0007", "lab/0007", "clip.mp4", "clip.mkv", "long")


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    place = tmp_path_factory.mktemp("named") / "f.zarr"
    with create_store(place) as writer:
        made = writer.stream("tiny", make_recipe(), (4,))
        for name in IDS:
            add_video(made, name, make_rows(1))
    return open_store(place).stream()


def samples(*names):
    return [whole_video(name) for name in names]


def test_a_video_has_one_name_in_the_annotations(stream):
    refuse_second_names(samples("kitchen/0007", "kitchen/0007", "lab/0007.mp4", "none"), stream)
    said = "'kitchen/0007' and 'kitchen/0007.mp4' are one video of stream 'tiny', 'kitchen/0007'"
    with pytest.raises(AnnotationError, match=said):
        refuse_second_names(samples("kitchen/0007.mp4", "kitchen/0007"), stream)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0007", "'0007' may be 'kitchen/0007' or 'lab/0007'."),
        ("videos/kitchen/0007.mp4", "may be 'kitchen/0007' or 'lab/0007'."),
        ("videos\\long.mp4", "may be 'long'."),
        ("garden/clip", "may be 'clip.mkv' or 'clip.mp4'."),
        ("Kitchen/007", "The store's ids are such as 'kitchen/0007'."),
        ("xyz", "The store's ids are such as 'clip.mkv'."),
    ],
)
def test_a_name_of_no_video_is_told_what_it_may_mean(stream, name, said):
    assert what_it_may_mean(name, stream).endswith(said)


def test_where_there_is_no_video_nothing_is_meant(tmp_path):
    with create_store(tmp_path / "f.zarr") as writer:
        writer.stream("tiny", make_recipe(), (4,))
    assert what_it_may_mean("a", open_store(tmp_path / "f.zarr").stream()) == ""
