"""What no backend's writer takes: refused with a sentence, and the next video is written."""

from dataclasses import replace

import numpy as np
import pytest

from cache_schema.errors import StoreError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows, make_times, make_video


@pytest.fixture(params=[".zarr", ".h5", "bucket"])
def path(request, tmp_path):
    if request.param == "bucket":
        return request.getfixturevalue("address")
    return tmp_path / f"s{request.param}"


@pytest.fixture
def writer(path):
    return create_store(path)


@pytest.fixture
def stream(writer):
    return writer.stream("tiny", make_recipe(), (4,))


def check_next(path, writer, stream):
    """Write a video after the refusal: the store holds it and nothing else."""
    stream.abandon()
    add_video(stream, "c", make_rows(2, seed=2))
    writer.close()
    found = open_store(path).stream()
    assert found.video_ids == ["c"]
    np.testing.assert_array_equal(found.read("c").values, make_rows(2, seed=2))
    assert verify_store(path).problems == []


@pytest.mark.parametrize("field", ["id", "path", "decoder"])
def test_a_record_that_is_no_utf8_is_refused(path, writer, stream, field):
    stream.append(make_rows(3))
    video = replace(make_video("b"), **{field: "caf\udce9"})
    with pytest.raises(StoreError, match=rf"its {field} is .caf.*not valid UTF-8.*Rename the file"):
        stream.commit(video, make_times(3))
    check_next(path, writer, stream)


@pytest.mark.parametrize("call", ["put", "put_new"])
def test_a_commit_to_a_bucket_that_is_interrupted_is_none(address, monkeypatch, call):
    def interrupted(*_):
        raise KeyboardInterrupt

    writer = create_store(address)
    stream = writer.stream("tiny", make_recipe(), (4,))
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            add_video(stream, "b", make_rows(3))
    check_next(address, writer, stream)
