"""Messages between the decoding process and its parent.

A message is a head (two lengths), a JSON object and raw bytes: no pickle. What kinds there are,
``extract.decode.child`` says.
"""

import json
import struct
from fractions import Fraction
from typing import Any

import numpy as np

from extract.decode.frames import VideoFacts

__all__ = ["HEAD", "facts_of", "pack"]

HEAD = struct.Struct("<II")
"""Lengths of a message's JSON and of its raw bytes."""


def pack(fields: dict[str, object], num_bytes: int = 0) -> bytes:
    """Return a message without its raw bytes."""
    # Escaped to ASCII, which also carries file names that are no text.
    text = json.dumps(fields).encode()
    return HEAD.pack(len(text), num_bytes) + text


def facts_of(fields: dict[str, Any], raw: bytes) -> VideoFacts:
    """Return the facts that a ``facts`` message carries."""
    return VideoFacts(
        duration_seconds=fields["duration_seconds"],
        num_frames=fields["num_frames"],
        fps=Fraction(fields["fps"]),
        width=fields["width"],
        height=fields["height"],
        decoder=fields["decoder"],
        frame_seconds=np.frombuffer(raw, dtype=np.float64),
    )
