"""What is said of answers that no server of these tests gives; the texts are the client's."""

import pytest

from cache_schema.errors import ConfigError, StoreError, StoreNotFoundError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.object_backend.bucket_errors import bucket_errors
from cache_schema.place import to_place

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
ANSWER = "Generic error: Error performing GET https://server/x in 1ms - {}"
STATUS = "Server returned non-2xx status code: {}: <Error><Code>{}</Code></Error>"


def sentence(scheme, text, *, doing="read"):
    from obstore.exceptions import GenericError

    with pytest.raises(StoreError) as raised, bucket_errors(f"{scheme}://b/x", doing=doing):
        raise GenericError(text)
    assert raised.value.__cause__ is None
    text = str(raised.value)
    assert text.startswith(f"{scheme}://b/x: cannot be {doing} (")
    others = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
    assert not [name for of, name in others.items() if of != scheme and name in text]
    return text


@pytest.mark.parametrize("scheme", CREDENTIALS)
@pytest.mark.parametrize("role", ["http://169.254.169.254/latest/api/token", "http://metadata/c"])
def test_without_credentials_it_is_said_what_to_set(scheme, role):
    text = sentence(scheme, f"Generic: Error performing PUT {role} in 1s - HTTP error: connect")
    assert f"(no credentials). None were found: set {CREDENTIALS[scheme]}" in text


@pytest.mark.parametrize("scheme", CREDENTIALS)
def test_credentials_that_are_not_taken_are_named(scheme):
    code = "SignatureDoesNotMatch" if scheme == "s3" else "AuthenticationFailed"
    text = sentence(scheme, ANSWER.format(STATUS.format("403 Forbidden", code)))
    assert f"({code}). The server does not take these credentials: check {CREDENTIALS[scheme]}" in (
        text
    )


def test_credentials_that_are_not_exchanged_are_named():
    text = "Error performing token request: Error performing POST https://oauth2.googleapis.com/"
    said = sentence(
        "gs", f"{text} in 1s - Server returned non-2xx status code: 400 Bad Request: {{}}"
    )
    assert (
        f"(400 Bad Request). The server does not take these credentials: check {CREDENTIALS['gs']}"
        in (said)
    )
    said = sentence("gs", f"{text} in 1s - HTTP error: error sending request")
    assert (
        "(no answer). The server cannot be reached: check the address and GOOGLE_BASE_URL." in said
    )


@pytest.mark.parametrize(
    ("scheme", "right"),
    [("s3", "s3:ListBucket"), ("gs", "storage.objects.list"), ("az", "the right to list blobs")],
)
def test_the_right_to_list_has_its_name(scheme, right):
    text = sentence(scheme, ANSWER.format(STATUS.format("403 Forbidden", "Denied")), doing="listed")
    assert f"A store is found by listing, so {right} is needed." in text


@pytest.mark.parametrize(
    ("scheme", "server"),
    [("s3", "AWS_ENDPOINT_URL"), ("gs", "GOOGLE_BASE_URL"), ("az", "AZURE_STORAGE_ENDPOINT")],
)
def test_a_server_that_cannot_be_reached_may_be_another_one_than_was_meant(scheme, server):
    text = sentence(scheme, ANSWER.format("HTTP error: error sending request"))
    assert "(no answer). The server cannot be reached: check the address and " in text
    assert server in text


def test_another_region_is_amazons():
    moved = ANSWER.format(STATUS.format("301 Moved Permanently", "PermanentRedirect"))
    assert "set AWS_REGION" in sentence("s3", moved)
    assert "Check the address." in sentence("gs", moved)


def test_one_of_many_that_cannot_be_removed_has_its_status():
    refused = "Generic MicrosoftAzure error: Bulk delete request failed for key x: no (code: 403)"
    assert "(403). These credentials do not allow it" in sentence("az", refused, doing="removed")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("403 Forbidden", "InvalidObjectState", "lies in an archive: restore it first."),
        ("403 Forbidden", "RequestTimeTooSkewed", "The clock of this machine is wrong: set it."),
        ("403 Forbidden", "QuotaExceeded", "There is no room left"),
        ("507 Insufficient Storage", "", "There is no room left"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "another region: set AWS_REGION."),
        ("400 Bad Request", "", "and whether the credentials have expired."),
        ("501 Not Implemented", "NotImplemented", "conditional puts (If-None-Match)"),
        ("502 Bad Gateway", "", "The server is busy or broken"),
        ("405 Method Not Allowed", "", "). Check the address. What was committed"),
    ],
)
def test_what_to_do_follows_from_the_code_else_the_status(status, code, said):
    text = sentence("s3", ANSWER.format(STATUS.format(status, code)), doing="written")
    assert f"({code or status})" in text
    assert said in text


def test_a_redirect_without_a_place_is_another_region():
    text = "Received redirect without LOCATION, this normally indicates a region"
    assert "(301). The bucket lies in another region: set AWS_REGION." in sentence(
        "s3", ANSWER.format(text)
    )


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_web_server_is_asked_without_credentials(status):
    text = sentence("https", ANSWER.format(f"Server returned non-2xx status code: {status}: "))
    assert f"({status}). A web server is asked without credentials: check that everybody" in text


@pytest.mark.parametrize(
    ("scheme", "code", "kind"),
    [("gs", "NoSuchBucket", "bucket"), ("az", "ContainerNotFound", "container")],
)
def test_a_bucket_that_is_missing_is_no_missing_object(scheme, code, kind):
    text = ANSWER.format(STATUS.format("404 Not Found", code))
    with (
        pytest.raises(StoreNotFoundError, match=rf"There is no such {kind}: make it, or check"),
        bucket_errors(f"{scheme}://b/x", doing="read"),
    ):
        raise FileNotFoundError(text)


@pytest.mark.parametrize(
    ("scheme", "environment"),
    [
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "/none.json"}),
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": '{"private_key": 7, "secret": "of-mine"}'}),
        ("az", {}),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "me", "AZURE_STORAGE_ACCOUNT_KEY": "%of-mine%"}),
    ],
)
def test_credentials_that_cannot_be_read_are_named_and_not_shown(scheme, environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"Set {CREDENTIALS[scheme]}") as raised:
        Bucket(to_place(f"{scheme}://b/x")).get("y")
    assert "of-mine" not in str(raised.value)
    assert raised.value.__cause__ is None
