"""Stores to and from buckets: video by video, those that are missing, their rows checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cache_schema.convert.transfer import copy_store
from cache_schema.object_backend.bucket import Bucket
from cache_schema.place import Address, Place
from cache_schema.sharing.card import CARD, shared_card
from cache_schema.sharing.transfer import Progress, Transferred, missing_videos
from cache_schema.store import Store, open_store, store_exists
from cache_schema.writing.durable import replaced_file

__all__ = ["planned_copy"]


@dataclass(frozen=True, kw_only=True)
class Copy:
    """What is to be copied. Made by ``planned_copy``."""

    source: Store
    target: Place
    outlook: Transferred

    @property
    def bar_rows(self) -> int:
        """All rows: those that are there are passed over at once."""
        return sum(stream.num_rows for stream in self.source.streams.values())

    def run(self, progress: Progress) -> Transferred:
        """Copy what is missing, and the card; that of a store in a bucket is written anew."""
        copy_store(self.source, self.target, progress)
        card = _card_at(self.source.path)
        if isinstance(self.target, Address):
            if self.outlook.num_videos:
                self._write_card(self.target, card)
        elif card is not None and self.target.is_dir():
            with replaced_file(self.target / CARD) as temporary:
                temporary.write_text(card, encoding="utf-8")
        return self.outlook

    def _write_card(self, target: Address, ours: str | None) -> None:
        card = shared_card(
            self.source,
            open_store(target),
            title=target.name,
            address=str(target),
            old=_card_at(target) or ours,
        )
        Bucket(target).put(CARD, card.encode())


def _card_at(place: Place) -> str | None:
    """Return the card of a store; None if it has none, or lies where that cannot be told."""
    if isinstance(place, Address) and place.scheme in ("http", "https"):
        return None  # to some web servers a file that is not there is one that may not be read
    if isinstance(place, Address):
        card = Bucket(place).get(CARD)
        return None if card is None else card.decode()
    file = place / CARD
    return file.read_text(encoding="utf-8") if file.is_file() else None


@contextmanager
def planned_copy(source: Place, target: Place) -> Iterator[Copy]:
    """Compare two stores, of which one at least lies in a bucket; nothing is written.

    Raises:
        StoreError: if there is no store, or the target holds other rows under the same names.
    """
    store = open_store(source)
    held = open_store(target).streams if store_exists(target) else {}
    missing = [
        one
        for name, stream in store.streams.items()
        for one in missing_videos(stream, held.get(name))
    ]
    outlook = Transferred.planned(store, missing, source=source, target=target)
    yield Copy(source=store, target=target, outlook=outlook)
