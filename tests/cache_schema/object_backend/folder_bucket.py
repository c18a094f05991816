"""A bucket that is a folder, for tests of what lies before buckets; it notes what it is asked."""

import hashlib

from cache_schema.object_backend.bucket import StoredObject, requests
from cache_schema.place import to_place


class FolderBucket:
    """Objects of one folder, whose version is their content. Picklable."""

    def __init__(self, folder, address="s3://bucket/store.zarr"):
        self.folder = folder
        self.address = to_place(address)

    @property
    def _log(self):
        return self.folder.parent / f"{self.folder.name}.log"

    @property
    def asked(self):
        """Return what was fetched, by all processes: (key, first byte, the one behind the last)."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [(key, int(start), int(end)) for key, start, end in map(str.split, lines)]

    def facts(self, key):
        data = (self.folder / key).read_bytes()
        return StoredObject(len(data), 0.0, hashlib.sha256(data).hexdigest())

    def pin(self, key, version):
        pass

    def get_range(self, key, start, end):
        with self._log.open("a") as file:
            file.write(f"{key} {start} {end}\n")
        with (self.folder / key).open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def fetch(self, key, spans):
        return [requests().submit(self.get_range, key, *span) for span in spans]
