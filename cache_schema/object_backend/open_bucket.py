"""The client of one address: which server, which bucket, and whose credentials."""

import math
import os
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from cache_schema.errors import ConfigError
from cache_schema.layout import ZARR_JSON
from cache_schema.object_backend import aws_profile
from cache_schema.object_backend.bucket_errors import is_answer
from cache_schema.object_backend.needed_package import needed_package
from cache_schema.object_backend.providers import provider_of
from cache_schema.place import Address

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["REQUEST_SECONDS", "RETRY_SECONDS", "open_bucket", "wait_for_server"]

RETRY_SECONDS = 120
"""Errors of the server, broken connections and timeouts are tried again for so long."""
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SHARE = 1 / 8
"""Of the time for all tries."""
WAIT_GROWTH = 4
"""A wait is drawn between the first one and the last one times this: twice as long on average."""
REQUEST_SECONDS = 60
FIRST_ANSWER_SECONDS = 5
"""A server that never answered is most likely another one than was meant."""
ROLE_SECONDS = 2
ROLES = (
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
OTHER_SERVER = {
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}


_ANSWERED: set[str] = set()
"""Servers and buckets that this process has had an answer from."""


def wait_for_server(address: Address, request_seconds: float = REQUEST_SECONDS) -> None:
    """Ask for something, whatever the answer; not again in this process.

    Later requests are tried for minutes, and the client cannot tell a server that is away from one
    that never was there. So a wrong address is told after seconds.

    Raises:
        BaseError: (obstore's) if there is no answer.
    """
    server = address.url.split("/", 3)[2]
    if f"{address.scheme}://{server}" in _ANSWERED:
        return
    import obstore

    client = open_bucket(address, min(FIRST_ANSWER_SECONDS, request_seconds), request_seconds)
    try:
        obstore.head(client, ZARR_JSON)
    except (obstore.exceptions.BaseError, FileNotFoundError, PermissionError) as error:
        if not is_answer(error):
            raise
    _ANSWERED.add(f"{address.scheme}://{server}")


def open_bucket(
    address: Address,
    retry_seconds: float = RETRY_SECONDS,
    request_seconds: float = REQUEST_SECONDS,
) -> "ObjectStore":
    """Return a client whose names of objects follow the address.

    Credentials are found the standard way: environment, profile, role of the machine.

    Args:
        address: Where objects lie.
        retry_seconds: What may go away by itself is tried again for so long.
        request_seconds: One try may take so long.

    Raises:
        ConfigError: if a package is missing, or credentials that are named are not there or are
            none.
    """
    obstore_store = needed_package("obstore.store", address)
    _check_environment(address)
    url, options = address.url, _options(address, retry_seconds, request_seconds)
    _check_server(address, _other_server(address))
    if address.scheme in ("gs", "az", "http", "https"):
        from obstore.exceptions import BaseError

        try:
            return obstore_store.from_url(_spelt_out(address), **options)  # type: ignore[no-any-return]
        except BaseError:  # not told: it may quote a key
            known = provider_of(url).credentials
            raise ConfigError(
                f"{address}: credentials are missing or cannot be read. Set {known}."
            ) from None
    endpoint, bucket, prefix = _s3_parts(address)
    _check_server(address, endpoint)
    config: dict[str, str] = {}
    if endpoint:
        options["client_options"]["allow_http"] = endpoint.startswith("http://")
        config["endpoint"] = endpoint
    if provider := _credential_provider(address):
        options["credential_provider"] = provider
    return obstore_store.S3Store(bucket, prefix=prefix, config=config, **options)  # type: ignore[no-any-return]


def _credential_provider(address: Address) -> object | None:
    """Return what gives credentials of a profile; None if the client finds others by itself.

    Raises:
        ConfigError: if there are none.
    """
    if _has_key():
        return None
    if aws_profile.is_there() and (provider := aws_profile.credentials(address)):
        return provider
    if _may_have_role():
        return None
    raise ConfigError(
        f"{address}: no credentials were found. Set {provider_of(address.url).credentials}."
    )


def _options(address: Address, retry_seconds: float, request_seconds: float) -> dict[str, Any]:
    client = {
        "timeout": timedelta(seconds=request_seconds),
        "connect_timeout": timedelta(seconds=10),
        "allow_http": address.scheme == "http" or _other_server(address).startswith("http://"),
    }
    return {"client_options": client, "retry_config": _retries(retry_seconds)}


def _spelt_out(address: Address) -> str:
    """Return the URL whose decoded path is the address's; a web server's is as it was typed.

    A name in a bucket may hold ``%20`` or ``#``, which a URL has for other things.
    """
    if address.scheme in ("http", "https"):
        return address.url
    scheme, _, rest = address.url.partition("://")
    return f"{scheme}://{quote(rest)}"


def _retries(seconds: float) -> dict[str, Any]:
    """Return how often the client tries again: for this time, which no number of tries ends."""
    longest = max(FIRST_WAIT_SECONDS, seconds * LONGEST_WAIT_SHARE)
    return {
        "max_retries": math.ceil(seconds / FIRST_WAIT_SECONDS),
        "retry_timeout": timedelta(seconds=seconds),
        "backoff": {
            "init_backoff": timedelta(seconds=FIRST_WAIT_SECONDS),
            "max_backoff": timedelta(seconds=longest),
            "base": WAIT_GROWTH,
        },
    }


def _check_environment(address: Address) -> None:
    """Refuse half of a key, and what cannot be sent, such as the end of a line of a file with it.

    Raises:
        ConfigError: if there is such a variable; the client would end the program.
    """
    mine = "AZURE_" if address.scheme == "az" else "AWS_"
    for name, value in os.environ.items():
        if name.startswith(mine) and not value.isprintable():
            raise ConfigError(
                f"{address}: {name} holds a line break or another character that is none of a "
                "key. Set it again, without."
            )

    has_key, has_secret = (
        bool(os.environ.get(f"AWS_{name}")) for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    )
    if mine == "AWS_" and has_key and not has_secret:
        raise ConfigError(
            f"{address}: AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not. Set both, or "
            "none of them for other credentials."
        )


def _check_server(address: Address, server: str) -> None:
    """Refuse a server that is no URL.

    Raises:
        ConfigError: if it is none; the client would end the program.
    """
    if server and not server.startswith(("http://", "https://")):
        names = provider_of(address.url).server
        raise ConfigError(
            f"{address}: its server does not begin with http:// or https://. Correct {names}, or "
            "the endpoint_url of the profile."
        )


def _other_server(address: Address) -> str:
    """Return the server that stands in for Google's or Azure's, if the environment names one."""
    names = OTHER_SERVER.get(address.scheme, ())
    return next((os.environ[name] for name in names if name in os.environ), "")


def _s3_parts(address: Address) -> tuple[str, str, str]:
    """Return the server (empty for Amazon's), the bucket, and what objects' names begin with."""
    scheme, _, rest = address.url.partition("://")
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if not named and aws_profile.is_there():
            named = aws_profile.server(address)
        return (named or "").rstrip("/"), bucket, prefix
    host, _, below = rest.partition("/")
    bucket, _, prefix = below.partition("/")
    return f"{scheme.removeprefix('s3+')}://{host}", bucket, prefix


def _has_key() -> bool:
    """Tell whether the environment says what requests are signed with, or that they are not."""
    return any(os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"))


def _may_have_role() -> bool:
    """Tell whether there is somebody to ask for credentials of a role.

    The client would ask a machine that is not Amazon's for two minutes.
    """
    if any(os.environ.get(name) for name in ROLES):
        return True
    server = urlsplit(os.environ.get("AWS_METADATA_ENDPOINT") or "http://169.254.169.254")
    try:
        where = (server.hostname, server.port or 80)
        socket.create_connection(where, timeout=ROLE_SECONDS).close()
    except OSError:
        return False
    return True
