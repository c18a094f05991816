"""Azure's and Google's buckets, on emulators: what fails is one sentence, and the commands work."""

import os
import re
from datetime import timedelta
from unittest.mock import patch

import pytest

from cache_schema.errors import StoreNotFoundError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.place import to_place
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows, make_store
from demo.folder import write_demo
from demo.truth import SMALL_SPEC
from tests.faulty_server import faulty_server
from tests.object_servers import BUCKET
from tests.remote import azurite
from tests.remote.conftest import NUMBERS
from tests.remote.store_suite import VIDEOS, quick, sentence_of
from tests.test_end_to_end import SETTINGS, command
from tests.train.model.tiny_llms import save_tiny_llm

__all__ = ["quick"]  # a fixture

NAMES_SERVER = {"az": "AZURE_STORAGE_ENDPOINT", "gs": "GOOGLE_BASE_URL"}


@pytest.fixture(params=["azure", "google"])
def cloud(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def cloud_address(cloud):
    with patch.dict(os.environ, cloud.environment):
        yield to_place(f"{cloud.root}/{next(NUMBERS)}/store.zarr")


@pytest.fixture
def faulty(cloud_address):
    """The same server, behind one with faults."""
    name = NAMES_SERVER[cloud_address.scheme]
    host, slash, account = os.environ[name].removeprefix("http://").partition("/")
    with (
        faulty_server(f"http://{host}") as server,
        patch.dict(os.environ, {name: server.endpoint + slash + account}),
    ):
        yield server


@pytest.mark.usefixtures("quick")
def test_faults_now_and_then_cost_time_and_nothing_else(tmp_path, cloud_address, faulty):
    local = make_store(tmp_path / "s.zarr", VIDEOS)
    faulty.at_random(0.2, "InternalError", "SlowDown", "cut", "lost")
    make_store(cloud_address, VIDEOS)
    assert store_digest(open_store(cloud_address)) == store_digest(local)
    assert faulty.num_faults > 5
    faulty.at_random(0)
    assert verify_store(cloud_address).problems == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ("InternalError", r"\(InternalError\)\. The server is busy or broken, also after several"),
        ("SlowDown", r"\(SlowDown\)\. The server is busy or broken, also after several tries\."),
        ("AccessDenied", r"\(AccessDenied\)\. These credentials do not allow it"),
    ],
)
def test_faults_that_stay_are_one_sentence(cloud_address, faulty, fault, hint):
    store = make_store(cloud_address)
    writer = create_store(cloud_address).stream("tiny", make_recipe(), (4,))
    faulty.always(fault)
    for call in (
        lambda: open_store(cloud_address),
        lambda: store.stream().read("a"),
        lambda: create_store(cloud_address),
        lambda: add_video(writer, "new", make_rows(3)),
    ):
        assert re.search(hint, sentence_of(call))
    faulty.at_random(0)
    add_video(writer, "new", make_rows(3))
    assert open_store(cloud_address).stream().video_ids == ["a", "b/c", "new"]


@pytest.mark.usefixtures("quick")
def test_a_server_that_does_not_answer_is_the_one_that_the_environment_names(cloud_address, faulty):
    faulty.always("lost")
    text = sentence_of(lambda: open_store(cloud_address))
    assert "(no answer). The server cannot be reached: check the address" in text
    assert NAMES_SERVER[cloud_address.scheme] in text
    assert "AWS" not in text


def test_a_bucket_that_is_missing_is_named(cloud):
    nowhere = to_place(f"{cloud.root.partition('://')[0]}://no-such-bucket/s.zarr")
    with patch.dict(os.environ, cloud.environment):
        for call in (open_store, create_store):
            with pytest.raises(StoreNotFoundError, match=r"There is no such (bucket|container):"):
                call(nowhere)


@pytest.fixture
def with_token(azure, monkeypatch):
    """Give what takes the account's key away and sets a token of some rights."""

    def set_token(rights, hours):
        monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY", raising=False)
        token = azurite.shared_signature(rights, timedelta(hours=hours))
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", token)
        return token

    for name, value in azure.environment.items():
        monkeypatch.setenv(name, value)
    return set_token


def test_azure_without_the_right_to_write_to_list_or_any(with_token):
    place = to_place(f"az://{BUCKET}/{next(NUMBERS)}/s.zarr")
    make_store(place)
    with_token("rl", 1)
    assert open_store(place).stream().video_ids == ["a", "b/c"]
    text = sentence_of(lambda: Bucket(place).put("more", b"1"))
    assert "cannot be written (AuthorizationPermissionMismatch). These credentials do not" in text
    token = with_token("rwc", 1)
    text = sentence_of(lambda: open_store(place))
    assert "cannot be listed (AuthorizationPermissionMismatch)." in text
    assert "so the right to list blobs is needed" in text
    assert token.rpartition("=")[2] not in text
    with_token("rl", -1)
    text = sentence_of(lambda: open_store(place))
    assert "cannot be read (AuthorizationFailure). These credentials do not allow it" in text


def test_the_commands_work_on_another_cloud_as_in_a_folder(tmp_path, cloud):
    list(write_demo(tmp_path / "set", SMALL_SPEC))
    save_tiny_llm("llama", tmp_path / "llm")
    (tmp_path / "pipeline.toml").write_text(SETTINGS)
    root = f"{cloud.root}/{next(NUMBERS)}"
    with patch.dict(os.environ, cloud.environment):
        for path in (tmp_path / "set" / "videos").iterdir():
            Bucket(to_place(f"{root}/videos")).put(path.name, path.read_bytes())
        for typed, said in {
            "vllm-extract set/videos --out feats.zarr": "6 videos extracted",
            f"vllm-extract {root}/videos --out {root}/feats.zarr": "6 videos extracted",
            f"vllm-store verify {root}/feats.zarr --recompute 3": "3 rows made again: 0 problems",
            f"vllm-store compact {root}/feats.zarr": "fake: 6 parts -> 1, 6 videos moved.",
            f"vllm-store verify {root}/feats.zarr": "0 problems",
            f"vllm-store export {root}/feats.zarr back.h5": "",
            f"vllm-train --features {root}/feats.zarr --out run": "features",
            f"vllm-predict run --features {root}/feats.zarr --out answers.jsonl": "",
        }.items():
            done = command(tmp_path, typed)
            assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr
        digests = {
            store_digest(open_store(place))
            for place in (f"{root}/feats.zarr", tmp_path / "feats.zarr", tmp_path / "back.h5")
        }
    assert len(digests) == 1
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 6
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if azurite.KEY.encode() in path.read_bytes()]
