"""Stores on Ceph's gateway, on good and bad days, and on the emulators: ``make test-remote``.

The name of this file keeps ``make test`` from collecting it.
"""

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from cache_schema.convert.compact import compact_store
from cache_schema.convert.transfer import copy_store
from cache_schema.errors import PipelineError, StoreCorruptError, StoreError, StoreNotFoundError
from cache_schema.object_backend import open_bucket
from cache_schema.object_backend.bucket import Bucket
from cache_schema.place import to_place
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import StoreContract, add_video, make_recipe, make_rows, make_store
from tests.cache_schema.killing import check_kills
from tests.object_servers import BUCKET, CREDENTIALS

SECRET = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]


class TestStoreInABucket(StoreContract):
    @pytest.fixture
    def path(self, address):
        return address


def test_killed_writers_lose_nothing_and_show_nothing_unfinished(address):
    check_kills(address, kills=50 if address.scheme == "s3+http" else 10)
    expected = store_digest(open_store(address))
    assert verify_store(address).problems == []
    compact_store(address, quiet_seconds=0)
    assert store_digest(open_store(address)) == expected
    report = verify_store(address)
    assert (report.problems, report.notes) == ([], [])


VIDEOS = {"a": 70, "b/c": 3, "d": 2000}


@pytest.fixture
def quick(monkeypatch):
    """Try again at once, and not for long."""
    options = open_bucket._options

    def hasty(*asked):
        made = options(*asked)
        wait = {
            "init_backoff": timedelta(milliseconds=5),
            "max_backoff": timedelta(milliseconds=50),
        }
        made["retry_config"] |= {"max_retries": 8, "backoff": {**wait, "base": 2}}
        return made

    monkeypatch.setattr(open_bucket, "_options", hasty)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "faults", [["InternalError"], ["SlowDown"], ["cut"], ["lost"], ["InternalError", "cut", "lost"]]
)
def test_faults_now_and_then_cost_time_and_nothing_else(tmp_path, faulty, faulty_address, faults):
    local = make_store(tmp_path / "s.zarr", VIDEOS)
    faulty.at_random(0.2, *faults)
    with create_store(faulty_address) as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        for seed, (video_id, num_rows) in enumerate(VIDEOS.items()):
            add_video(stream, video_id, make_rows(num_rows, seed=seed))
    assert store_digest(open_store(faulty_address)) == store_digest(local)
    assert compact_store(faulty_address)[0].parts_after == 1
    assert store_digest(open_store(faulty_address)) == store_digest(local)
    assert faulty.num_faults > 10
    faulty.at_random(0)
    assert verify_store(faulty_address).problems == []


def sentence_of(call):
    with pytest.raises(PipelineError) as raised:
        call()
    text = str(raised.value)
    assert "\n" not in text
    assert SECRET not in text
    assert CREDENTIALS["AWS_ACCESS_KEY_ID"] not in text.replace("/tests/", "")
    assert raised.value.__cause__ is None  # which a traceback would print
    return text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ("InternalError", r"\(InternalError\)\. The server is busy or broken, also after several"),
        ("SlowDown", r"\(SlowDown\)\. The server is busy or broken, also after several tries\."),
        ("lost", r"\(no answer\)\. The server cannot be reached"),
        ("ExpiredToken", r"\(ExpiredToken\)\. The credentials have expired: get new ones\."),
        ("AccessDenied", r"\(AccessDenied\)\. These credentials do not allow it"),
    ],
)
def test_faults_that_stay_are_one_sentence(faulty, faulty_address, ceph_address, fault, hint):
    store = make_store(faulty_address)
    writer = create_store(faulty_address).stream("tiny", make_recipe(), (4,))
    faulty.always(fault)
    for call in (
        lambda: open_store(faulty_address),
        lambda: store.stream().read("a"),
        lambda: create_store(faulty_address),
        lambda: add_video(writer, "new", make_rows(3)),
        lambda: compact_store(faulty_address),
    ):
        assert re.search(hint, sentence_of(call))
    assert open_store(ceph_address).stream().video_ids == ["a", "b/c"]
    faulty.at_random(0)
    add_video(writer, "new", make_rows(3))
    assert open_store(ceph_address).stream().video_ids == ["a", "b/c", "new"]


def test_credentials_that_expire_while_a_writer_works_cost_the_video_it_is_at(
    faulty, faulty_address, ceph_address
):
    with create_store(faulty_address) as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        add_video(stream, "a", make_rows(3))
        faulty.always("ExpiredToken", on=lambda method, path: "commits.log" in path)
        with pytest.raises(StoreError, match=r"commits\.log: cannot be written \(ExpiredToken\)"):
            add_video(stream, "b", make_rows(3))
        faulty.at_random(0)
        add_video(stream, "b", make_rows(4))
    found = open_store(ceph_address).stream()
    assert (found.video_ids, found.rows_of("b")) == (["a", "b"], 4)
    assert len(verify_store(ceph_address).notes) == 1


def test_wrong_and_missing_credentials_and_buckets_are_named(radosgw, ceph_address):
    make_store(ceph_address)
    with patch.dict(os.environ, {"AWS_SECRET_ACCESS_KEY": "another-secret"}):
        text = sentence_of(lambda: open_store(ceph_address))
    assert "(SignatureDoesNotMatch). The server does not take these credentials" in text
    assert "another-secret" not in text
    with patch.dict(os.environ, {"AWS_ACCESS_KEY_ID": "nobody"}):
        assert "(InvalidAccessKeyId)" in sentence_of(lambda: open_store(ceph_address))
    nowhere = to_place(f"s3+{radosgw}/no-such-bucket/s.zarr")
    with pytest.raises(StoreNotFoundError, match=r"\(NoSuchBucket\)\. There is no such bucket"):
        create_store(nowhere)


def test_without_permission_to_list_it_is_said_which_is_needed(radosgw, ceph_address):
    import boto3

    make_store(ceph_address)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam:::user/stranger"]},
                "Action": ["s3:GetObject", "s3:PutObject"],
                "Resource": [f"arn:aws:s3:::{BUCKET}/*"],
            }
        ],
    }
    owner = boto3.client("s3", endpoint_url=radosgw, region_name="us-east-1")
    owner.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))
    stranger = {
        "AWS_ACCESS_KEY_ID": "stranger",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-stranger",
    }
    try:
        with (
            patch.dict(os.environ, stranger),
            pytest.raises(StoreError, match=r"cannot be listed \(AccessDenied\)\. .*ListBucket"),
        ):
            open_store(ceph_address)
    finally:
        owner.delete_bucket_policy(Bucket=BUCKET)
        owner.close()
    assert open_store(ceph_address).stream().video_ids == ["a", "b/c"]


def test_an_object_that_changes_while_it_is_read_is_an_error(address):
    stream = make_store(address, {"a": 500}).stream()
    stream.read("a", 0, 10)
    (part,) = stream.parts
    key = f"tiny/parts/{part.id}/features/c/0/0"
    data = Bucket(address).get(key)
    Bucket(address).put(key, bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(StoreCorruptError, match="was replaced while it was read"):
        stream.read("a", 0, 10)
    (problem,) = verify_store(address).problems
    assert problem.video == "a"


WRITER = """
import sys
from tests.remote.store_suite import write_all
write_all(sys.argv[1], int(sys.argv[2]))
"""


def write_all(place, seed):
    with create_store(place) as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        for number in range(10):
            add_video(stream, str(number), make_rows(20 + seed, seed=seed))


def test_two_processes_that_write_the_same_videos_leave_each_once(address):
    root = Path(__file__).parents[2]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(address), str(seed)], cwd=root)
        for seed in (0, 1)
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    stream = open_store(address).stream()
    assert stream.video_ids == sorted(map(str, range(10)))
    assert len(stream.parts) == 20
    for video_id in stream.video_ids:
        values = stream.read(video_id).values
        np.testing.assert_array_equal(values, make_rows(len(values), seed=len(values) - 20))
    expected = store_digest(open_store(address))
    assert compact_store(address)[0].parts_after == 1
    assert store_digest(open_store(address)) == expected


def test_a_copy_in_a_bucket_and_back_has_the_same_digest(tmp_path, address):
    local = make_store(tmp_path / "s.zarr", VIDEOS)
    copy_store(local, address)
    copy_store(open_store(address), tmp_path / "back.h5")
    digests = {store_digest(open_store(path)) for path in (address, tmp_path / "back.h5")}
    assert digests == {store_digest(local)}


def test_a_part_that_is_sent_in_pieces_is_whole(address):
    rows = make_rows(20, (512, 1024))  # 20 MiB: three pieces
    with create_store(address) as writer:
        add_video(writer.stream("tiny", make_recipe(), (512, 1024)), "a", rows)
    np.testing.assert_array_equal(open_store(address).stream().read("a").values, rows)
    assert verify_store(address).problems == []
