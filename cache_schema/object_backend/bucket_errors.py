"""What a bucket's server says when a request fails, as one sentence that says what to do.

Only the status and the error code of an answer are told: its text may quote the request, and with
it what the request was signed with.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from cache_schema.errors import StoreError, StoreNotFoundError
from cache_schema.object_backend.providers import Provider, provider_of

__all__ = ["bucket_errors", "despite_cuts", "is_answer", "is_no_bucket", "object_gone"]

T = TypeVar("T")

CUT = "response body error"
CUT_PAUSES_SECONDS = (0.1, 0.3, 1.0, 3.0)

STATUS = re.compile(r"(?:status code: |\(code: )(\d{3}[A-Za-z ]*)")
CODE = re.compile(r"<Code>(\w+)</Code>")
NO_ROLE = re.compile(r"performing \w+ http://(169\.254\.|metadata)")
"""A machine's own address for its role, which is asked where nothing else has credentials."""
REFUSED = re.compile(r"performing token request.*?status code: 4", re.DOTALL)
"""Credentials that Google's or Azure's server exchanges for others, and does not here."""

BAD_NAME = re.compile(r'invalid path: (?:Error parsing )?Path "(.*?)"')
"""An object that a listing ends at, because of its name."""
NO_LOCATION = "redirect without LOCATION"

NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
AGAIN = "What was committed is kept: run the same command again."
EXPIRED = f"The credentials have expired: get new ones. {AGAIN}"
UNKNOWN_KEY = "The server does not take these credentials: check {credentials}."
REGION = "The bucket lies in another region: set {region}."
BUSY = f"The server is busy or broken, also after several tries. {AGAIN}"
FULL = f"There is no room left: make some, or ask for a larger quota. {AGAIN}"
HINTS = {
    "ExpiredToken": EXPIRED,
    "RequestExpired": EXPIRED,
    "TokenRefreshRequired": EXPIRED,
    "InvalidAccessKeyId": UNKNOWN_KEY,
    "SignatureDoesNotMatch": UNKNOWN_KEY,
    "InvalidToken": UNKNOWN_KEY,
    "AuthFailure": UNKNOWN_KEY,
    "AuthenticationFailed": UNKNOWN_KEY,
    "InvalidAuthenticationInfo": UNKNOWN_KEY,
    "NoAuthenticationInformation": UNKNOWN_KEY,
    "RequestTimeTooSkewed": "The clock of this machine is wrong: set it.",
    "InvalidObjectState": "The object lies in an archive: restore it first.",
    "QuotaExceeded": FULL,
    "AuthorizationHeaderMalformed": REGION,
    "SlowDown": BUSY,
    "ServiceUnavailable": BUSY,
    "InternalError": BUSY,
    "RequestTimeout": BUSY,
    "OperationAborted": BUSY,
    "400": f"Check the address, and whether the credentials have expired. {AGAIN}",
    "401": UNKNOWN_KEY,
    "403": "These credentials do not allow it: use others, or ask for the right.{listing}",
    "301": REGION,
    "307": REGION,
    "429": BUSY,
    "501": "The server does not know what is asked for. Writing needs one that knows conditional "
    "puts (If-None-Match).",
    "507": FULL,
    "5": BUSY,
}
"""By the code of an answer, else its status, else the status's first digit."""


def despite_cuts(call: Callable[[], T]) -> T:
    """Return what a request brings, asked again if its answer is cut off.

    obstore asks again for everything else that may go away. It does not here, where a request may
    have been done already; ours do no harm when they are done twice.
    """
    from obstore.exceptions import GenericError

    for pause_seconds in CUT_PAUSES_SECONDS:
        try:
            return call()
        except GenericError as error:
            if CUT not in str(error):
                raise
            time.sleep(pause_seconds)
    return call()


def is_no_bucket(error: FileNotFoundError) -> bool:
    """Tell whether it is the bucket that is not there, and not an object of it."""
    return _found(CODE, str(error)) in NO_BUCKET


def is_answer(error: Exception) -> bool:
    """Tell whether a request failed because a server said so, and not for want of one."""
    return isinstance(error, FileNotFoundError) or STATUS.search(str(error)) is not None


@contextmanager
def bucket_errors(where: str, *, doing: str) -> Iterator[None]:
    """Turn what obstore raises into a ``StoreError``.

    ``FileNotFoundError`` passes, unless it is the bucket that is not there.

    Args:
        where: The address of what is asked for.
        doing: What cannot be done: ``read``, ``written``, ``listed`` or ``removed``.

    Raises:
        StoreNotFoundError: if there is no such bucket.
        StoreError: if anything else fails.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError, PermissionError) as error:
        # Not chained: a traceback would print the server's answer, with the key's id.
        if made := _sentence(where, doing, error):
            raise made from None
        raise


def _sentence(where: str, doing: str, error: Exception) -> StoreError | None:
    text = str(error)
    provider = provider_of(where)
    if NO_ROLE.search(text):
        return StoreError(
            f"{where}: cannot be {doing} (no credentials). None were found: set "
            f"{provider.credentials}."
        )
    if name := _found(BAD_NAME, text):
        return StoreError(
            f"{where}: cannot be {doing}, because of the name of an object there: '{name}'. Parts "
            "of a name between slashes cannot be empty, '.' or '..'. Rename it, or name a folder "
            "without it."
        )
    status, code = _found(STATUS, text), _found(CODE, text)
    if NO_LOCATION in text:
        status = "301"
    reason = code or status or "no answer"
    start = f"{where}: cannot be {doing} ({reason})."
    if code in NO_BUCKET:
        return StoreNotFoundError(
            f"{start} There is no such {provider.bucket}: make it, or check its name."
        )
    if isinstance(error, FileNotFoundError):
        return None
    if REFUSED.search(text):
        return StoreError(f"{start} {_not_taken(provider)}")
    return StoreError(f"{start} {_hint(provider, doing, status, code)}")


def _hint(provider: Provider, doing: str, status: str, code: str) -> str:
    if not status and not code:
        known = f"the address and {provider.server}" if provider.server else "the address"
        return f"The server cannot be reached: check {known}. {AGAIN}"
    keys = (code, status[:3], status[:1])
    hint = next((HINTS[key] for key in keys if key in HINTS), "")
    if hint == UNKNOWN_KEY or (not provider.credentials and status.startswith("403")):
        return _not_taken(provider)
    if not hint or (hint == REGION and not provider.region):
        return f"Check the address. {AGAIN}"
    needed = f" A store is found by listing, so {provider.listing} is needed."
    return hint.format(region=provider.region, listing=needed * (doing == "listed"))


def _not_taken(provider: Provider) -> str:
    if not provider.credentials:
        return "A web server is asked without credentials: check that everybody may read there."
    return UNKNOWN_KEY.format(credentials=provider.credentials)


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1].strip() if found else ""


def object_gone(where: str) -> StoreError:
    """Return what is said of an object that was there when the store was opened."""
    return StoreError(
        f"{where}: is gone; the store was compacted since it was opened, or is damaged. Open it "
        "again."
    )
