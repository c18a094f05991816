import http.server
import re
from functools import partial

import numpy as np
import pytest

from cache_schema.convert.compact import compact_store
from cache_schema.convert.index import write_index
from cache_schema.cost import read_costs
from cache_schema.errors import ConfigError, StoreCorruptError, StoreError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.place import to_place
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows, make_store
from tests.web_server import served


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves files and their ranges, and lists nothing."""

    def do_GET(self):
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if found is None:
            super().do_GET()
            return
        with open(self.translate_path(self.path), "rb") as file:  # noqa: PTH123
            data = file.read()
        start, end = int(found[1]), min(int(found[2]) + 1, len(data))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Last-Modified", self.date_time_string())
        self.end_headers()
        self.wfile.write(data[start:end])

    def list_directory(self, path):
        self.send_error(404)

    def log_message(self, *args):
        pass


@pytest.fixture
def web(tmp_path):
    handler = partial(Ranges, directory=tmp_path)
    with served(handler) as url:
        yield url


def test_a_folder_behind_a_web_server_is_read_by_its_index(web, tmp_path):
    local = make_store(tmp_path / "s.zarr", {"a": 70, "b/c": 3})
    with pytest.raises(StoreError, match=r"index\.json: is not there, .* 'vllm-store index"):
        open_store(f"{web}/s.zarr")
    assert write_index(tmp_path / "s.zarr") == {"tiny": 1}
    assert store_digest(open_store(f"{web}/s.zarr")) == store_digest(local)
    assert verify_store(tmp_path / "s.zarr").problems == []


def test_what_a_web_server_cannot_tell_is_said_or_taken_for_none(web, tmp_path):
    make_store(tmp_path / "s.zarr", {"a": 5})
    write_index(tmp_path / "s.zarr")
    assert read_costs(to_place(f"{web}/s.zarr")) == []
    with pytest.raises(StoreError, match=r"lists no files\. Copy the store with vllm-store export"):
        verify_store(f"{web}/s.zarr")


def test_what_is_written_later_is_seen_once_the_index_is_made_again(web, tmp_path):
    make_store(tmp_path / "s.zarr", {"a": 5})
    write_index(tmp_path / "s.zarr")
    with create_store(tmp_path / "s.zarr") as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        add_video(stream, "b", make_rows(5, seed=1))
        write_index(tmp_path / "s.zarr")
        assert open_store(f"{web}/s.zarr").stream().video_ids == ["a"]  # the other is not sealed
    write_index(tmp_path / "s.zarr")
    stream = open_store(f"{web}/s.zarr").stream()
    np.testing.assert_array_equal(stream.read("b").values, make_rows(5, seed=1))


def test_an_index_that_a_compaction_made_old_is_an_error_and_never_fewer_videos(web, tmp_path):
    for number in range(2):
        with create_store(tmp_path / "s.zarr") as writer:
            add_video(writer.stream("tiny", make_recipe(), (4,)), str(number), make_rows(5))
    write_index(tmp_path / "s.zarr")
    compact_store(tmp_path / "s.zarr")
    with pytest.raises(StoreError, match="is gone since the index was made"):
        open_store(f"{web}/s.zarr")


@pytest.mark.parametrize("text", ['{"streams": 3}', '{"streams": {"tiny": [1]}}', "{}", "nonsense"])
def test_another_file_in_its_place_is_an_error(web, tmp_path, text):
    make_store(tmp_path / "s.zarr")
    (tmp_path / "s.zarr" / "index.json").write_text(text)
    with pytest.raises(StoreCorruptError, match=r"index\.json: (is no index|not valid JSON)"):
        open_store(f"{web}/s.zarr")


def test_a_store_in_a_bucket_gets_an_index_too(address):
    make_store(address, {"a": 5})
    assert write_index(address) == {"tiny": 1}
    assert b'"tiny"' in Bucket(address).get("index.json")
    assert verify_store(address).problems == []


def test_nothing_is_written_to_a_web_server_and_a_file_needs_no_index(web, tmp_path):
    with pytest.raises(ConfigError, match="a web server takes no rows"):
        create_store(f"{web}/s.zarr")
    make_store(tmp_path / "s.h5")
    with pytest.raises(ConfigError, match="is one file and needs no index"):
        write_index(tmp_path / "s.h5")
