"""A folder as a bucket: the part of S3 that readers need, as fast as a disk and a socket are.

GET (with ranges and ``If-Match``), HEAD, and ListObjectsV2 of ``/bucket/key``; nothing is written
and nobody is asked who they are. Any other S3 server does as well (``--endpoint`` of
``benchmarks.remote``); moto, which copies an object for each range of it, is too slow for
measurements.
"""

import os
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Handler(BaseHTTPRequestHandler):
    """Answers for the folder that ``serve`` was given."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    root = Path()

    def do_GET(self) -> None:
        """Send an object, a range of it, or a listing."""
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if "list-type" in query:
            self._list(query)
        else:
            self._object(self.root / unquote(parts.path).split("/", 2)[2])

    do_HEAD = do_GET

    def _object(self, path: Path) -> None:
        if not path.is_file():
            self._error(404, "NoSuchKey")
            return
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            tag = f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"'
            if self.headers.get("If-Match", tag) != tag:
                self._error(412, "PreconditionFailed")
                return
            start, end = 0, status.st_size
            if found := RANGE.fullmatch(self.headers.get("Range", "")):
                start, end = int(found[1]), min(int(found[2]) + 1, status.st_size)
            headers = {"ETag": tag, "Last-Modified": self.date_time_string(int(status.st_mtime))}
            if found:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{status.st_size}"
            self._start(206 if found else 200, end - start, headers)
            if self.command != "HEAD":
                self.wfile.flush()
                while start < end:
                    start += os.sendfile(
                        self.connection.fileno(), file.fileno(), start, end - start
                    )

    def _list(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        keys = sorted(
            str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()
        )
        objects, folders = [], set()
        for key in keys:
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter, 1)[0] + delimiter)
            else:
                size = (self.root / key).stat().st_size
                objects.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size>"
                    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>"
            for one in sorted(folders)
        )
        text = (
            '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>'
            f"{''.join(objects)}{common}</ListBucketResult>"
        )
        self._start(200, len(text.encode()), {"Content-Type": "application/xml"})
        self.wfile.write(text.encode())

    def _error(self, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code></Error>".encode()
        self._start(status, len(text), {})
        if self.command != "HEAD":
            self.wfile.write(text)

    def _start(self, status: int, size: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def serve(folder: Path) -> None:
    """Serve a folder for ever; its port is the first line of the output."""
    Handler.root = folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
