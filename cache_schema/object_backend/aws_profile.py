"""What a profile of AWS's tools says: whose credentials, and which server."""

import os
from contextlib import suppress
from pathlib import Path

from cache_schema.errors import ConfigError
from cache_schema.object_backend.needed_package import needed_package
from cache_schema.place import Address

__all__ = ["credentials", "is_there", "server"]


def is_there() -> bool:
    """Tell whether there is a profile, named or not; else obstore finds what AWS's tools would."""
    if os.environ.get("AWS_PROFILE"):
        return True
    files = {
        "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
        "AWS_CONFIG_FILE": "~/.aws/config",
    }
    with suppress(RuntimeError):  # nothing says where the user's home is
        return any(
            Path(os.environ.get(name, usual)).expanduser().is_file()
            for name, usual in files.items()
        )
    return False


def credentials(address: Address) -> object | None:
    """Return what gives credentials of the profile; None if no profile was named and none has any.

    Raises:
        ConfigError: if the profile that was named has none.
    """
    boto3 = needed_package("boto3", address)
    made = needed_package("obstore.auth.boto3", address)
    from botocore.exceptions import BotoCoreError

    try:
        return made.Boto3CredentialProvider(boto3.Session())  # type: ignore[no-any-return]
    except (BotoCoreError, ValueError) as error:
        profile = os.environ.get("AWS_PROFILE")
        if not profile:
            return None
        raise ConfigError(
            f"{address}: profile '{profile}' has no credentials that can be used "
            f"({type(error).__name__}). Correct AWS_PROFILE or the profile."
        ) from None


def server(address: Address) -> str:
    """Return the profile's ``endpoint_url``, or that of its services; empty without one."""
    needed_package("boto3", address)
    from botocore.configprovider import ConfiguredEndpointProvider
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session = Session()
    try:
        known = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "s3")
        return known.provide() or ""
    except BotoCoreError:  # such as no profile of that name: said where credentials are looked up
        return ""
