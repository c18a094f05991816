"""What each provider of buckets calls what a message tells its reader to set or to ask for."""

from typing import NamedTuple

__all__ = ["Provider", "provider_of"]


class Provider(NamedTuple):
    """Words for messages."""

    credentials: str
    """Where its client finds them; empty for a web server, which is asked without any."""
    listing: str
    """The right to list what is in a bucket."""
    server: str
    """What names another server than the provider's own; empty where the address alone does."""
    bucket: str = "bucket"
    region: str = ""
    """What names the region, where a client must know it."""


AMAZON = Provider(
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (AWS_SKIP_SIGNATURE=true for a "
    "public bucket)",
    "s3:ListBucket",
    "AWS_ENDPOINT_URL",
    region="AWS_REGION",
)
OTHERS = {
    "gs": Provider(
        "GOOGLE_APPLICATION_CREDENTIALS to a file of credentials (GOOGLE_SKIP_SIGNATURE=true to "
        "read a public bucket)",
        "storage.objects.list",
        "GOOGLE_BASE_URL",
    ),
    "az": Provider(
        "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN "
        "(AZURE_SKIP_SIGNATURE=true to read a public container)",
        "the right to list blobs",
        "AZURE_STORAGE_ACCOUNT_NAME, or AZURE_STORAGE_ENDPOINT",
        bucket="container",
    ),
}
WEB_SERVER = Provider("", "", "")


def provider_of(where: str) -> Provider:
    """Return the words of whoever answers for an address."""
    scheme = where.partition("://")[0]
    if scheme in ("http", "https"):
        return WEB_SERVER
    return OTHERS.get(scheme, AMAZON)
