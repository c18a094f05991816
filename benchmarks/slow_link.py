"""A network link, as a process between a client and a server: a delay and a limited rate.

Every piece that the client sends waits for the delay, which adds it to each round trip, as does a
new connection. What comes back shares one rate, whatever the number of connections, in the order
in which it comes.

    python -m benchmarks.slow_link HOST:PORT DELAY_SECONDS BYTES_PER_SECOND
"""

import asyncio
import sys
from contextlib import suppress

PIECE_BYTES = 64 * 2**10


class Link:
    """What is between all clients and one server."""

    def __init__(self, host: str, port: int, delay_seconds: float, rate: float) -> None:
        self._server = host, port
        self._delay = delay_seconds
        self._rate = rate
        self._free_at = 0.0

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on everything of one connection until either side ends it."""
        await asyncio.sleep(self._delay)
        far_reader, far_writer = await asyncio.open_connection(*self._server)
        with suppress(ConnectionError):
            await asyncio.gather(self._up(reader, far_writer), self._down(far_reader, writer))
        for one in (writer, far_writer):
            one.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE_BYTES):
            await asyncio.sleep(self._delay)
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        while piece := await reader.read(PIECE_BYTES):
            now = clock()
            # A link that was idle has saved nothing, but a late wake-up of ours costs it nothing.
            self._free_at = max(self._free_at, now - 0.01) + len(piece) / self._rate
            if self._free_at > now:
                await asyncio.sleep(self._free_at - now)
            writer.write(piece)
            await writer.drain()
        writer.close()


async def serve(host: str, port: int, delay_seconds: float, rate: float) -> None:
    """Be the link for ever; its port is the first line of the output."""
    link = Link(host, port, delay_seconds, rate)
    server = await asyncio.start_server(link.connect, "127.0.0.1", 0, limit=PIECE_BYTES)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    _host, _, _port = sys.argv[1].partition(":")
    asyncio.run(serve(_host, int(_port), float(sys.argv[2]), float(sys.argv[3])))
