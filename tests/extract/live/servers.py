"""A web server that sends a video as a camera does: from its beginning, without saying how long."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.web_server import served


@contextmanager
def camera(answers: Sequence[bytes | None]) -> Iterator[str]:
    """Serve one answer for each connection, None for a failure; then break off. Yields the address.

    The server is closed with the block.
    """
    left = iter(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = next(left, None)
            if content is None:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield f"{url}/live.ts"
