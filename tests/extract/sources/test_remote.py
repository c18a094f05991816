import http.server
import random
import threading
from functools import partial

import pytest

from cache_schema.errors import SourceError, StoreError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.place import Address
from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from extract.sources import videos as sources
from extract.sources.videos import content_digest, find_videos
from extract.tools.recompute import recompute_rows
from tests.extract.running import run
from tests.extract.videos import constant_pts, write_video
from tests.faulty_server import faulty_server
from tests.object_servers import BUCKET, s3_client


@pytest.fixture
def folder(tmp_path):
    write_video(tmp_path / "videos" / "a.mp4", constant_pts(40))
    write_video(tmp_path / "videos" / "deep" / "b.mkv", constant_pts(30))
    (tmp_path / "videos" / "notes.md").write_text("no video")
    return tmp_path / "videos"


@pytest.fixture
def prefix(folder, address):
    """Where the same files are objects."""
    bucket = Bucket(address.with_name("videos"))
    for path in filter(lambda path: path.is_file(), folder.rglob("*")):
        bucket.put(path.relative_to(folder).as_posix(), path.read_bytes())
    return bucket.address


def test_videos_below_an_address_are_those_of_the_folder(folder, prefix):
    there, here = find_videos([f"{prefix}/"]), find_videos([str(folder)])
    assert [(v.id, v.size_bytes) for v in there] == [(v.id, v.size_bytes) for v in here]
    assert [str(video.path) for video in there] == [f"{prefix}/a.mp4", f"{prefix}/deep/b.mkv"]
    digests = [[content_digest(video.path) for video in videos] for videos in (there, here)]
    assert digests[0] == digests[1]


def test_features_of_objects_are_those_of_the_files(folder, prefix, tmp_path):
    assert run(folder, tmp_path / "here.zarr").num_done == 2
    assert run(prefix, tmp_path / "there.zarr").num_done == 2
    here, there = (open_store(tmp_path / f"{name}.zarr") for name in ("here", "there"))
    assert store_digest(there) == store_digest(here)
    assert there.stream().commit("a").video.path == f"{prefix}/a.mp4"
    assert run(prefix, tmp_path / "there.zarr").num_skipped == 2


def test_an_object_may_be_named_and_one_named_twice_is_one(prefix):
    videos = find_videos([f"{prefix}/a.mp4", str(prefix)])
    assert [video.id for video in videos] == ["a", "deep/b"]


def test_where_nothing_is_a_sentence_says_so(prefix):
    with pytest.raises(SourceError, match=r"/nothing: no video there\. Looked for"):
        find_videos([f"{prefix}/nothing"])


def test_an_object_that_is_gone_or_was_replaced_is_a_failure_and_the_others_are_done(
    prefix, folder, tmp_path, monkeypatch
):
    listing = tmp_path / "list.txt"
    listing.write_text(f"{prefix}/a.mp4\n{prefix}/gone.mp4\n{prefix}/deep/b.mkv\n")
    bucket = Bucket(prefix)
    facts = Bucket.facts

    def replaced(self, key):
        """Another upload comes behind the first look at it."""
        found = facts(self, key)
        if key == "b.mkv":
            monkeypatch.setattr(Bucket, "facts", facts)
            bucket.put("deep/b.mkv", (folder / "a.mp4").read_bytes())
        return found

    monkeypatch.setattr(Bucket, "facts", replaced)
    report = run(listing, tmp_path / "f.zarr")
    assert (report.num_done, report.exit_code) == (1, 3)
    errors = {failure.video_id: failure.error for failure in report.failures}
    assert "gone.mp4: is not there (any more)" in errors["gone"]
    assert "was replaced since it was found" in errors["b"]


def test_an_object_of_a_list_that_cannot_be_asked_for_ends_the_search(
    prefix, moto, tmp_path, monkeypatch
):
    """With 0 for its size, this task of a job array would split the videos unlike the others."""
    with faulty_server(moto) as faulty:
        faulty.always("AccessDenied", on=lambda method, path: path.endswith("a.mp4"))
        place = str(prefix).replace(moto, faulty.endpoint)
        (tmp_path / "list.txt").write_text(f"{place}/a.mp4\n{place}/deep/b.mkv\n")
        with pytest.raises(StoreError, match=r"a\.mp4: cannot be read \(403 Forbidden\)"):
            find_videos([str(tmp_path / "list.txt")])
        faulty.at_random(0)
        assert [video.size_bytes > 0 for video in find_videos([str(tmp_path / "list.txt")])] == [
            True,
            True,
        ]


def test_an_empty_object_is_a_failure_and_the_mark_of_a_folder_is_not(prefix, moto, tmp_path):
    below = str(prefix).partition(f"/{BUCKET}/")[2]
    client = s3_client(moto)
    for name in ("upload_failed.mp4", "deep/", "marked.mp4/"):
        client.put_object(Bucket=BUCKET, Key=f"{below}/{name}", Body=b"")
    client.close()
    report = run(prefix, tmp_path / "f.zarr")
    assert report.num_done == 2
    assert [failure.video_id for failure in report.failures] == ["upload_failed"]


@pytest.mark.parametrize(("data", "plain"), [(b"1", ["videos"]), (b"", ["a", "deep/b"])])
def test_a_slash_at_the_end_means_what_lies_below(prefix, data, plain):
    Bucket(Address(str(prefix).rpartition("/")[0])).put(
        "videos", data
    )  # an object of the folder's own name
    assert [video.id for video in find_videos([f"{prefix}/"])] == ["a", "deep/b"]
    assert [video.id for video in find_videos([str(prefix)])] == plain


def test_for_a_digest_no_more_is_fetched_than_it_is_made_of(address, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "DIGEST_BLOCK_BYTES", 1000)
    data = random.Random(0).randbytes(3 * 2**20)
    (tmp_path / "x.mp4").write_bytes(data)
    Bucket(address).put("x.mp4", data)
    fetched, get_range = [], Bucket.get_range

    def counted(self, key, start, end):
        fetched.append(end - start)
        return get_range(self, key, start, end)

    monkeypatch.setattr(Bucket, "get_range", counted)
    assert content_digest(address / "x.mp4") == content_digest(tmp_path / "x.mp4")
    assert fetched == [1000] * 16


class NoRanges(http.server.SimpleHTTPRequestHandler):
    """Answers a request for a range with all there is."""

    def log_message(self, *args):
        pass


class Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Clients that ask for a range and get all of it go away."""


@pytest.fixture
def web(folder):
    server = Quiet(("127.0.0.1", 0), partial(NoRanges, directory=folder))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_files_of_a_web_server_come_by_ranges(prefix, moto, tmp_path):
    public = str(prefix).replace(f"s3+{moto}", moto)
    _, _, folder = public.partition(f"/{BUCKET}/")
    client = s3_client(moto)
    client.put_object_acl(Bucket=BUCKET, Key=f"{folder}/a.mp4", ACL="public-read")
    client.close()
    (tmp_path / "list.txt").write_text(f"{public}/a.mp4\n{public}/none.mp4\n")
    report = run(tmp_path / "list.txt", tmp_path / "f.zarr")
    assert (report.num_done, [one.video_id for one in report.failures]) == (1, ["none"])


def test_of_a_web_server_without_ranges_a_file_comes_as_a_whole(web, folder, tmp_path):
    (tmp_path / "list.txt").write_text(f"{web}/a.mp4\n")
    assert run(tmp_path / "list.txt", tmp_path / "there.zarr").num_done == 1
    assert run(folder / "a.mp4", tmp_path / "here.zarr").num_done == 1
    digests = {store_digest(open_store(tmp_path / f"{name}.zarr")) for name in ("here", "there")}
    assert len(digests) == 1


def test_an_address_on_a_web_server_may_spell_out_what_is_no_letter(web, folder):
    (folder / "a.mp4").rename(folder / "ä b%c#.mp4")
    (video,) = find_videos([f"{web}/%C3%A4%20b%25c%23.mp4"])
    assert video.id == "ä b%c#"
    assert content_digest(video.path) == content_digest(folder / "ä b%c#.mp4")


@pytest.mark.parametrize("name", ["what?.mp4", "a#b.mp4", "ä b%20c.mp4"])
def test_an_object_may_have_any_name(folder, address, tmp_path, name):
    bucket = Bucket(address.with_name("odd"))
    bucket.put(name, (folder / "a.mp4").read_bytes())
    assert run(bucket.address, tmp_path / "f.zarr").num_done == 1
    stream = open_store(tmp_path / "f.zarr").stream()
    assert stream.video_ids == [name.removesuffix(".mp4")]
    assert recompute_rows(stream, 1).problems == []


def test_an_object_may_lie_right_in_its_bucket(folder, moto, credentials, tmp_path):
    client = s3_client(moto)
    client.put_object(Bucket=BUCKET, Key="top.mp4", Body=(folder / "a.mp4").read_bytes())
    client.close()
    assert run(f"s3+{moto}/{BUCKET}/top.mp4", tmp_path / "f.zarr").num_done == 1


def test_a_web_server_is_not_searched(web):
    with pytest.raises(SourceError, match=r"no such file\. Check the address"):
        find_videos([f"{web}/deep/none"])


def test_a_place_of_an_object_is_its_address(prefix):
    assert all(isinstance(video.path, Address) for video in find_videos([str(prefix)]))
