"""Records by key: objects while they are worked on, bytes while they rest.

A retailer has millions of items and cases, of which few change in a minute. One that rests is one `bytes`, a fifth of
what the objects take, without anything for the collector to walk over; a snapshot copies it as it is, and resuming
reads none of them before they are asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Resting(Generic[T]):
    """Records of one kind.

    What `get` gave may be changed in place until the next `rest` or snapshot, when it has to be got again. Nothing that
    is computed may depend on when these are called: packing and unpacking is identity.

    A record stays an object until the second `rest` after it was last asked for. A snapshot packs what was asked for
    since the last one, and lets the objects be; `rest` packs only what no snapshot has packed (or only kept).

    Args:
        pack: a record to msgpack.
        unpack: and back, from what `keep` made as well.
        keep: a record that stays an object to what a snapshot keeps of it, where that can be had for less than packing;
            it is packed when it is let go of.
        kept_head: what all that `keep` makes begins with, and nothing that `pack` makes.

    Memory: some 150 bytes with the key for a resting record, beside its own bytes. Cost: one look-up for a record that
    was asked for since the last `rest` or snapshot (callers in a hurry may look into `young` themselves), some more for
    one that is still an object, else unpacking.
    """

    def __init__(
        self,
        pack: Callable[[T], bytes],
        unpack: Callable[[bytes], T],
        keep: Callable[[T], bytes] | None = None,
        kept_head: bytes = b"",
    ) -> None:
        self._pack, self._unpack, self._keep, self._kept_head = pack, unpack, keep or pack, kept_head
        self.young: dict[str, T] = {}
        self._old: dict[str, T] = {}
        self._saved: dict[str, T] = {}  # these two have their bytes as well
        self._saved_old: dict[str, T] = {}
        self._bytes: dict[str, bytes] = {}
        self._unpacked = 0

    def get(self, key: str) -> T | None:
        """The record, None where there is none."""
        record = self.young.get(key)
        if record is not None:
            return record
        record = self._old.pop(key, None)
        if record is None and self._saved:
            record = self._saved.pop(key, None)
        if record is None and self._saved_old:
            record = self._saved_old.pop(key, None)
        if record is None:
            packed = self._bytes.get(key)
            if packed is None:
                return None
            record = self._unpack(packed)
        self.young[key] = record
        return record

    def peek(self, key: str) -> T | None:
        """The record to be read once: one that rests goes on resting, and what is changed in it may be lost."""
        for objects in (self.young, self._old, self._saved, self._saved_old):
            record = objects.get(key)
            if record is not None:
                return record
        packed = self._bytes.get(key)
        return None if packed is None else self._unpack(packed)

    def at_rest(self, key: str) -> bytes | None:
        """The bytes of a record that rests, none where there is no record; None where it is an object now.

        None, too, where it was one when the snapshot was made that this was restored from.
        """
        if key in self._old or key in self._saved or key in self._saved_old or key in self.young:
            return None
        packed = self._bytes.get(key, b"")
        return None if self._kept_head and packed.startswith(self._kept_head) else packed

    def keep_at_rest(self, key: str, packed: bytes) -> None:
        """A record that rests, or a new one, is `packed` from now on."""
        self._bytes[key] = packed

    def put(self, key: str, record: T) -> None:
        """Add a record; `key` must be new."""
        self.young[key] = record
        self._unpacked += 1

    def drop(self, key: str) -> None:
        """Forget a record, if there is one."""
        found = False
        for objects in (self.young, self._old, self._saved, self._saved_old):
            found = objects.pop(key, None) is not None or found
        if self._bytes.pop(key, None) is None and found:
            self._unpacked -= 1

    def __contains__(self, key: str) -> bool:
        """Whether there is one."""
        return key in self.young or key in self._old or key in self._bytes

    def __len__(self) -> int:
        """How many there are."""
        return len(self._bytes) + self._unpacked

    def __iter__(self) -> Iterator[str]:
        """All keys; don't `get` meanwhile."""
        yield from self._bytes
        for objects in (self.young, self._old):
            yield from (key for key in objects if key not in self._bytes)

    @property
    def awake(self) -> int:
        """How many are objects now."""
        return len(self.young) + len(self._old) + len(self._saved) + len(self._saved_old)

    def rest(self) -> None:
        """Let go of the objects that were not asked for since the last call."""
        self._save(self._old, self._pack)
        if self._kept_head:
            self._save(self._saved_old, self._pack)
        self._old, self.young = self.young, {}
        self._saved_old, self._saved = self._saved, {}

    def snapshot(self) -> Mapping[str, bytes]:
        """All of them, packed. To be encoded before the next call of anything here: it is no copy."""
        self._save(self._old, self._keep)
        self._save(self.young, self._keep)
        self._saved_old.update(self._old)
        self._saved.update(self.young)
        self._old, self.young = {}, {}
        return self._bytes

    def restore(self, kept: dict[str, bytes]) -> None:
        """Take over what `snapshot` gave; what is in it is looked at when it is asked for."""
        self.young, self._old, self._saved, self._saved_old = {}, {}, {}, {}
        self._bytes, self._unpacked = kept, 0

    def _save(self, objects: Mapping[str, T], pack: Callable[[T], bytes]) -> None:
        saved = self._bytes
        before = len(saved)
        for key, record in objects.items():
            saved[key] = pack(record)
        self._unpacked -= len(saved) - before
