import json
import sys
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler

import pytest

from cache_schema.errors import ConfigError, StoreError
from cache_schema.object_backend import open_bucket as module
from cache_schema.object_backend.bucket import Bucket
from cache_schema.object_backend.open_bucket import open_bucket
from cache_schema.place import Address, to_place
from cache_schema.store import open_store
from cache_schema.testing import make_store
from tests.faulty_server import faulty_server
from tests.object_servers import BUCKET, s3_client
from tests.web_server import served

KEYS = "[default]\naws_access_key_id = of-config\naws_secret_access_key = secret\n"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_environment_names_the_server(moto, address, monkeypatch, name):
    make_store(address, {"a": 5})
    monkeypatch.setenv(name, moto)
    place = to_place(str(address).replace(f"s3+{moto}/", "s3://"))
    assert str(place).startswith(f"s3://{BUCKET}/")
    assert open_store(place).stream().video_ids == ["a"]


@pytest.mark.parametrize(
    ("scheme", "settings"),
    [
        ("gs", {"GOOGLE_SKIP_SIGNATURE": "true", "GOOGLE_BASE_URL": "{moto}"}),
        (
            "az",
            {
                "AZURE_SKIP_SIGNATURE": "true",
                "AZURE_STORAGE_ACCOUNT_NAME": "me",
                "AZURE_STORAGE_ENDPOINT": "{moto}",
            },
        ),
    ],
)
def test_the_environment_names_the_server_of_other_clouds(moto, monkeypatch, scheme, settings):
    """To read one object, Google's and Azure's clients ask what Amazon's does."""
    client = s3_client(moto)
    client.put_object(Bucket=BUCKET, Key=f"{scheme}/x", Body=b"1", ACL="public-read")
    client.close()
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(moto=moto))
    assert Bucket(to_place(f"{scheme}://{BUCKET}/{scheme}")).get("x") == b"1"


def test_a_profile_has_the_credentials_if_the_environment_has_none(address, monkeypatch, tmp_path):
    Bucket(address).put("x", b"1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    with pytest.raises(
        ConfigError, match=r"profile 'lab' has no credentials .* Correct AWS_PROFILE"
    ):
        Bucket(address).get("x")
    file.write_text("[lab]\naws_access_key_id = lab\naws_secret_access_key = secret-of-the-lab\n")
    provider = open_bucket(address).credential_provider
    assert provider()["access_key_id"] == "lab"
    assert Bucket(address).get("x") == b"1"


@pytest.mark.parametrize(
    "text",
    [
        "[profile lab]\nendpoint_url = {moto}\n",
        "[profile lab]\nservices = ceph\nendpoint_url = http://127.0.0.1:1\n"
        "[services ceph]\ns3 =\n  endpoint_url = {moto}\n",
    ],
)
def test_a_profile_names_the_server_if_the_environment_does_not(moto, monkeypatch, tmp_path, text):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = s3_client(moto)
    client.put_object(Bucket=BUCKET, Key="of-profile/x", Body=b"1")
    client.close()
    (tmp_path / "config").write_text(text.format(moto=moto))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert Bucket(to_place(f"s3://{BUCKET}/of-profile")).get("x") == b"1"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError):
        Bucket(to_place(f"s3://{BUCKET}/of-profile"), retry_seconds=1).get("x")


CREDENTIALS_OF_A_ROLE = {
    "AccessKeyId": "of-the-role",
    "SecretAccessKey": "secret",
    "Token": "token",
    "Expiration": "2099-01-01T00:00:00Z",
    "Code": "Success",
}


@pytest.fixture
def metadata():
    """Give the URL of what a cloud's machines ask for their role, and what it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rpartition("/")[2]
            asked.append(name)
            data = {"token": b"token", "": b"of-the-machine"}.get(
                name, json.dumps(CREDENTIALS_OF_A_ROLE).encode()
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_PUT = do_GET

        def log_message(self, *args):
            pass

    with served(Handler) as url:
        yield url, asked


@pytest.mark.parametrize(
    ("settings", "role"),
    [
        ({"AWS_METADATA_ENDPOINT": "{url}"}, "of-the-machine"),
        (
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "{url}/of-the-container",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "{token}",
            },
            "of-the-container",
        ),
    ],
)
def test_without_a_key_the_role_of_the_machine_or_container_is_asked(
    address, monkeypatch, metadata, tmp_path, settings, role
):
    url, asked = metadata
    (tmp_path / "token").write_text("token")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(url=url, token=tmp_path / "token"))
    Bucket(address).put("x", b"1")  # to nobody without credentials
    assert Bucket(address).get("x") == b"1"
    assert role in asked


def test_without_a_key_or_a_role_it_is_said_at_once_what_to_set(address, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"no credentials were found\. Set AWS_ACCESS_KEY_ID and"):
        open_store(address)


@pytest.mark.parametrize(
    ("name", "url"), [("AWS_ACCESS_KEY_ID", "s3://b/x"), ("AZURE_STORAGE_ACCOUNT_NAME", "az://b/x")]
)
def test_a_key_with_a_line_break_is_named_and_not_shown(monkeypatch, name, url):
    monkeypatch.setenv(name, "mine\r")
    with pytest.raises(ConfigError, match=f"{name} holds a line break") as raised:
        open_store(url)
    assert "mine" not in str(raised.value)


@pytest.mark.parametrize("text", ["[default]\nregion = eu-west-1\n", KEYS])
def test_a_configuration_that_no_profile_was_named_of_may_hold_credentials_or_none(
    address, moto, monkeypatch, tmp_path, text
):
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", moto)  # there may be a role as well
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    provider = open_bucket(address).credential_provider
    found = None if provider is None else provider()["access_key_id"]
    assert found == ("of-config" if text == KEYS else None)


@pytest.mark.parametrize("package", ["obstore", "boto3"])
def test_a_package_that_is_missing_is_named(address, monkeypatch, package, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    name = package.partition(".")[0]
    with pytest.raises(
        ConfigError, match=rf"\({name}\): pip install 'video-feature-llm\[remote\]'"
    ):
        open_store(address)


def test_a_busy_server_is_asked_again_for_the_whole_time(moto, address, monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.02)
    Bucket(address).put("x", b"1")
    asked = []
    with faulty_server(moto) as faulty:
        place = to_place(str(address).replace(moto, faulty.endpoint))
        assert Bucket(place).get("x") == b"1"
        faulty.choose = lambda method, path: asked.append(time.monotonic()) or "SlowDown"
        with pytest.raises(StoreError, match="busy or broken"):
            Bucket(place, retry_seconds=1).get("x")
        assert 0.7 < asked[-1] - asked[0] < 2
        assert len(asked) > 9
        ends = time.monotonic() + 0.5
        faulty.choose = lambda method, path: "SlowDown" if time.monotonic() < ends else None
        assert Bucket(place, retry_seconds=30).get("x") == b"1"


def test_the_time_ends_the_tries_and_not_their_number():
    made = module._retries(120)
    wait = made["backoff"]
    assert (made["retry_timeout"], wait["max_backoff"]) == (timedelta(minutes=2), timedelta(0, 15))
    assert made["max_retries"] * wait["init_backoff"] >= made["retry_timeout"]


def test_a_server_that_is_not_there_is_told_soon(credentials, monkeypatch):
    monkeypatch.setattr(module, "FIRST_ANSWER_SECONDS", 0.1)
    begun = time.monotonic()
    bucket = Bucket(to_place("s3+http://127.0.0.1:1/b/x"))
    for call in (lambda: bucket.get("y"), lambda: bucket.fetch("y", [(0, 1)])):
        with pytest.raises(StoreError, match=r"\(no answer\)\. The server cannot be reached"):
            call()
    assert time.monotonic() - begun < 5


def test_a_server_that_is_busy_at_first_is_waited_for(moto, address, monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(module, "FIRST_ANSWER_SECONDS", 0.1)
    Bucket(address).put("x", b"1")
    with faulty_server(moto) as faulty:
        ends = time.monotonic() + 1
        faulty.choose = lambda method, path: "SlowDown" if time.monotonic() < ends else None
        place = to_place(str(address).replace(moto, faulty.endpoint))
        assert Bucket(place).get("x") == b"1"


@pytest.mark.parametrize("scheme", ["az", "gs"])
@pytest.mark.parametrize("name", ["pct%20d", "hash#d", "ä b+c?"])
def test_a_name_in_a_bucket_is_not_decoded(scheme, name, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
    for provider in ("AZURE", "GOOGLE"):
        monkeypatch.setenv(f"{provider}_SKIP_SIGNATURE", "true")
    assert open_bucket(Address(f"{scheme}://lab/x/{name}")).prefix == f"x/{name}"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("AWS_ENDPOINT_URL", "s3://b/x"),
        ("GOOGLE_BASE_URL", "gs://b/x"),
        ("AZURE_STORAGE_ENDPOINT", "az://b/x"),
    ],
)
def test_a_server_that_is_no_url_is_named(credentials, monkeypatch, name, url):
    monkeypatch.setenv(name, "localhost:9000")
    with pytest.raises(ConfigError, match=f"does not begin with http:// or https://.*{name}"):
        Bucket(to_place(url)).get("y")


def test_half_of_a_key_is_named(address, monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match=r"AWS_SECRET_ACCESS_KEY is not\. Set both"):
        Bucket(address).get("x")


@pytest.mark.parametrize("name", ["x//y.mp4", "./z.mp4"])
def test_a_name_that_a_listing_ends_at_is_told(address, moto, name):
    key = f"{str(address).partition(f'/{BUCKET}/')[2]}/{name}"
    client = s3_client(moto)
    client.put_object(Bucket=BUCKET, Key=key, Body=b"1")
    client.close()
    with pytest.raises(StoreError, match=f"cannot be listed, because of .* there: '{key}'"):
        Bucket(address).objects()
