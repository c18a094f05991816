"""Azure's own emulator of its Blob Storage, Azurite, as a child process.

It comes from npm into ``build/``. Where there is no npm, tests that need it are skipped, and the
end of ``make test-remote`` says so.
"""

import base64
import hashlib
import hmac
import http.client
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.remote.free_ports import free_ports, until_answered

VERSION = "3.35.0"
FOLDER = Path(__file__).parents[2] / "build" / "azurite"
ACCOUNT = "devstoreaccount1"
# Azurite's documentation says it to everybody.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def azurite_server(container: str) -> Iterator[dict[str, str]]:
    """Give the environment of its clients; there is one container."""
    program = _installed()
    port = free_ports(1)
    command = [
        program, "--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck",
        "--blobPort", str(port),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until_answered(f"http://127.0.0.1:{port}/")
            assert _status("PUT", port, f"{container}?restype=container") == 201
            yield {
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": KEY,
                "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
            }
        finally:
            process.kill()


def _installed() -> str:
    program = FOLDER / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("az:// was NOT tested: there is no npm, from which Azurite comes")
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", f"azurite@{VERSION}"]
        subprocess.run([*command, "--prefix", str(FOLDER)], check=True, stdout=subprocess.DEVNULL)
    return str(program)


def _status(method: str, port: int, path: str) -> int:
    """Send a request without a body, signed with the account's key, and return its status.

    https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
    """
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": date, "x-ms-version": "2021-12-02"}
    name, _, query = path.partition("?")
    signed = "\n".join(
        [
            method,
            *[""] * 11,
            *(f"{key}:{value}" for key, value in sorted(headers.items())),
            f"/{ACCOUNT}/{ACCOUNT}/{name}",
            *(f"{key}:{value}" for key, value in sorted(urllib.parse.parse_qsl(query))),
        ]
    )
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{_signature(signed)}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, f"/{ACCOUNT}/{path}", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def shared_signature(rights: str, lasts: timedelta) -> str:
    """Return a token that gives some rights on all blobs, and is or is not over.

    https://learn.microsoft.com/rest/api/storageservices/create-account-sas

    Args:
        rights: Letters: ``r`` read, ``w`` write, ``c`` create, ``l`` list.
        lasts: From now on.
    """
    end = (datetime.now(UTC) + lasts).strftime("%Y-%m-%dT%H:%M:%SZ")
    version, kinds = "2019-12-12", "sco"
    signed = [ACCOUNT, rights, "b", kinds, "", end, "", "", version, ""]
    fields = {"sv": version, "ss": "b", "srt": kinds, "sp": rights, "se": end}
    return urllib.parse.urlencode({**fields, "sig": _signature("\n".join(signed))})


def _signature(text: str) -> str:
    digest = hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()
