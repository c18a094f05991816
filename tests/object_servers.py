"""Servers of buckets as child processes of the tests: nothing of them outlives the tests."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from cache_schema.place import to_place

BUCKET = "features"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
    "AWS_REGION": "us-east-1",
}

NUMBERS = itertools.count()

MOTO = """
import sys
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


def s3_client(endpoint):
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


def make_bucket(endpoint, bucket=BUCKET):
    client = s3_client(endpoint)
    client.create_bucket(Bucket=bucket)
    client.close()


@contextmanager
def moto_server() -> Iterator[str]:
    """Give the URL of an S3 server that keeps everything in memory, with one bucket."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        endpoint = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        try:
            make_bucket(endpoint)
            yield endpoint
        finally:
            process.kill()


@pytest.fixture(scope="session")
def moto():
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def credentials():
    with patch.dict(os.environ, CREDENTIALS):
        yield


@pytest.fixture
def address(moto, credentials):
    """Where a store of this test may lie."""
    return to_place(f"s3+{moto}/{BUCKET}/{next(NUMBERS)}/store.zarr")
