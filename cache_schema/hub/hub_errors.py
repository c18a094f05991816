"""What the hub's library raises, as one sentence that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from httpx2 import HTTPError
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from cache_schema.errors import HubError, PipelineError
from cache_schema.hub.address import HubAddress

__all__ = ["hub_errors"]

LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"
AGAIN = "What has arrived is kept: run the same command again to go on."


@contextmanager
def hub_errors(address: HubAddress) -> Iterator[None]:
    """Turn what goes wrong between here and the hub into a ``HubError`` about an address."""
    try:
        yield
    except PipelineError:
        raise
    except (HTTPError, OfflineModeIsEnabled, LocalEntryNotFoundError, RuntimeError) as error:
        raise HubError(f"{address}: {_sentence(error)}") from error
    except OSError as error:
        if error.errno is not None:
            raise  # of this machine's disk
        raise HubError(f"{address}: {_sentence(error)}") from error
    except ValueError as error:
        if "README.md" not in str(error):
            raise
        said = " ".join(str(error).split()).rstrip(".")
        raise HubError(f"{address}: {said}. Mend the head of the card.") from error


def _sentence(error: BaseException) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the hub is not asked; unset it."
    if isinstance(error, HfHubHTTPError):
        return _refusal(error)
    if isinstance(error, HTTPError):
        return f"the hub cannot be reached ({error or type(error).__name__}). {AGAIN}"
    # The library's own wrappings around one of the above.
    if error.__cause__ is not None:
        return _sentence(error.__cause__)
    return f"the transfer failed ({' '.join(str(error).split())}). {AGAIN}"


def _refusal(error: HfHubHTTPError) -> str:
    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return f"its owner lets in who has asked on its page; ask there, and {LOG_IN}."
    if isinstance(error, RevisionNotFoundError):
        return "the repository has no such revision; check what stands behind the @."
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return (
            "there is no such repository, or it is private and no token that opens it was found; "
            f"check the name, and {LOG_IN}."
        )
    if status == 401:
        return f"the hub wants to know who you are: {LOG_IN}."
    if status == 403:
        return f"the token may not do that here ({_said(error)}); use one with the right to write."
    return f"the hub answered {status} ({_said(error)}). {AGAIN}"


def _said(error: HfHubHTTPError) -> str:
    return error.server_message or error.response.reason_phrase
