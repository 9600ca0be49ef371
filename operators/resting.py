"""Records by key: objects while they are worked on, bytes while they rest.

A retailer has millions of items and cases, of which few change in a minute. One that rests is one `bytes`, a fifth of
what the objects take, without anything for the collector to walk over; a snapshot copies it as it is, and resuming
reads none of them before they are asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from msgspec import Raw

T = TypeVar("T")


class Resting(Generic[T]):
    """Records of one kind.

    What `get` gave may be changed in place until the next `rest`. Nothing that is computed may depend on when `rest` is
    called: packing and unpacking is identity.

    Args:
        pack: a record to msgpack.
        unpack: and back.

    Memory: some 110 bytes and the key for a resting record, beside its own bytes. Cost: one look-up for a record that
    was asked for since the `rest` before the last, else unpacking.
    """

    def __init__(self, pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> None:
        self._pack, self._unpack = pack, unpack
        self._young: dict[str, T] = {}
        self._old: dict[str, T] = {}
        self._bytes: dict[str, bytes] = {}

    def get(self, key: str) -> T | None:
        """The record, None where there is none."""
        record = self._young.get(key)
        if record is not None:
            return record
        record = self._old.pop(key, None)
        if record is None:
            packed = self._bytes.pop(key, None)
            if packed is None:
                return None
            record = self._unpack(packed)
        self._young[key] = record
        return record

    def put(self, key: str, record: T) -> None:
        """Add a record; `key` must be new."""
        self._young[key] = record

    def drop(self, key: str) -> None:
        """Forget a record, if there is one."""
        if self._young.pop(key, None) is None and self._old.pop(key, None) is None:
            self._bytes.pop(key, None)

    def __contains__(self, key: str) -> bool:
        """Whether there is one."""
        return key in self._young or key in self._old or key in self._bytes

    def __len__(self) -> int:
        """How many there are."""
        return len(self._young) + len(self._old) + len(self._bytes)

    def __iter__(self) -> Iterator[str]:
        """All keys; don't `get` meanwhile."""
        yield from self._young
        yield from self._old
        yield from self._bytes

    @property
    def awake(self) -> int:
        """How many are objects now."""
        return len(self._young) + len(self._old)

    def rest(self) -> None:
        """Pack what was not asked for since the last call."""
        pack, packed = self._pack, self._bytes
        for key, record in self._old.items():
            packed[key] = pack(record)
        self._old, self._young = self._young, {}

    def snapshot(self) -> dict[str, Raw]:
        """All of them, packed; what was asked for since the last snapshot is all that has to be packed for it.

        Calls `rest`.
        """
        self.rest()
        pack = self._pack
        kept = {key: Raw(packed) for key, packed in self._bytes.items()}
        for key, record in self._old.items():
            kept[key] = Raw(pack(record))
        return kept

    def restore(self, kept: Mapping[str, Raw]) -> None:
        """Take over a snapshot; what is in it is looked at when it is asked for."""
        self._young, self._old = {}, {}
        self._bytes = {key: bytes(packed) for key, packed in kept.items()}
