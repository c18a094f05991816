"""What tests of sharing have in common: small stores, pushed to the stand-in for a hub."""

import os
import subprocess
import sys

from cache_schema.hub.address import HubAddress
from cache_schema.sharing.push import planned_push
from cache_schema.store import create_store
from cache_schema.testing import add_video, make_recipe, make_rows

NAME = "me/feats"
ADDRESS = HubAddress(kind="dataset", name=NAME)


def push(path):
    with planned_push(path, ADDRESS) as planned:
        return planned.run(lambda num_rows: None)


def checkout(hub, folder):
    """Write what lies on the hub into a folder, without the code under test."""
    for path in hub.repositories["datasets", NAME].files():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(hub.content("datasets", NAME, path))
    return folder


def part_of(path, *videos, seed=0):
    """Add one sealed part with these videos of five rows to a store."""
    with create_store(path) as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        for number, video in enumerate(videos):
            add_video(stream, video, make_rows(5, seed=seed + number))


def child(code, hub, *words, **more):
    """Start a process that talks to the stand-in; without Xet unless that is said."""
    environment = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": hub.url, **more}
    return subprocess.Popen([sys.executable, "-c", code, *words], env={**os.environ, **environment})
