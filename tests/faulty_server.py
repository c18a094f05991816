"""A server before a server: passes requests on, and answers some of them as a bad day would."""

import http.client
import random
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler

from tests.web_server import served

Fault = str
"""``cut``: half of the answer. ``lost``: done, but no answer. Else the code of an S3 error."""

STATUS = {
    "InternalError": 500,
    "SlowDown": 503,
    "ExpiredToken": 400,
    "AccessDenied": 403,
}
ANSWER = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{key}</Message></Error>"


class FaultyServer:
    """Which faults there are, now; and how many there were."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.num_faults = 0
        self.choose: Callable[[str, str], Fault | None] = lambda method, path: None

    def at_random(self, share: float, *faults: Fault) -> None:
        """Let so many requests fail in one of these ways; always the same of a thousand."""
        rng, lock = random.Random(0), threading.Lock()

        def choose(method, path):
            with lock:
                return rng.choice(faults) if rng.random() < share else None

        self.choose = choose

    def always(self, fault: Fault, *, on: Callable[[str, str], bool] = lambda m, p: True) -> None:
        self.choose = lambda method, path: fault if on(method, path) else None


@contextmanager
def faulty_server(endpoint: str) -> Iterator[FaultyServer]:
    """Give a server that passes everything on to another, until it is told otherwise."""
    faulty = FaultyServer()
    upstream = urllib.parse.urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # small answers wait 40 ms otherwise

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = faulty.choose(self.command, self.path)
            faulty.num_faults += fault is not None
            if fault in STATUS:
                # As Amazon's, which quotes the key that the request was signed with.
                key = self.headers.get("Authorization", "")
                self.send(STATUS[fault], {}, ANSWER.format(code=fault, key=key).encode())
                return
            status, headers, data = self.passed_on(body)
            if fault == "lost":
                self.close_connection = True
            elif fault == "cut":
                self.close_connection = True
                self.send(status, headers, data[: len(data) // 2], promised=len(data))
            else:
                self.send(status, headers, data)

        def passed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(upstream, timeout=60)
            # The host stays as it was signed.
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            return answer.status, dict(answer.getheaders()), data

        def send(self, status, headers, data, promised=None) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            size = len(data) if promised is None else promised
            if self.command == "HEAD":
                size = int(headers.get("Content-Length", headers.get("content-length", size)))
            if status != 204:
                self.send_header("Content-Length", str(size))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *args: object) -> None:
            pass

    with served(Handler) as faulty.endpoint:
        yield faulty
