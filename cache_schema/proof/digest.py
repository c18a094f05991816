"""One SHA-256 over what a store says: streams, videos, times and rows, but not where they lie.

Two stores have the same digest exactly when every reader gets the same answers from them, so a
copy, another backend or another split into parts does not change it. docs/format.md has the law.
"""

import hashlib
from collections.abc import Callable

from cache_schema.parsing import to_json
from cache_schema.proof.blocks import little_endian, row_blocks
from cache_schema.store import Store
from cache_schema.stream import Stream

__all__ = ["store_digest"]

HEADER = b"video-feature-store digest 1\n"


def store_digest(store: Store, progress: Callable[[int], object] = lambda num_rows: None) -> str:
    """Return the logical digest as hex, in memory that does not grow with the store.

    Args:
        store: Read as it was when it was opened.
        progress: Called with the number of rows after each video.
    """
    digest = hashlib.sha256(HEADER)
    for name in sorted(store.streams):
        stream = store.streams[name]
        digest.update(_line(_head(stream)))
        for video_id in stream.video_ids:
            commit = stream.commit(video_id)
            head = {"digest": commit.video.digest, "id": video_id, "num_rows": commit.num_rows}
            digest.update(_line(head))
            digest.update(little_endian(stream.times(video_id)))
            for rows in row_blocks(stream, video_id):
                digest.update(little_endian(rows))
            progress(commit.num_rows)
    return digest.hexdigest()


def _head(stream: Stream) -> dict[str, object]:
    return {
        "fingerprint": stream.recipe.fingerprint,
        "num_videos": len(stream.video_ids),
        "row_shape": list(stream.row_shape),
        "stream": stream.name,
    }


def _line(head: dict[str, object]) -> bytes:
    return to_json(head).encode() + b"\n"
