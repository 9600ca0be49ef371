"""Records by key: objects while they are worked on, bytes while they rest.

A retailer has millions of items and cases, of which few change in a minute. One that rests is one `bytes`, a fifth of
what the objects take, without anything for the collector to walk over; a snapshot copies it as it is, and resuming
reads none of them before they are asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Generic, TypeVar, cast

import msgspec

T = TypeVar("T")
_Increment = tuple[dict[str, bytes], list[str]]


class Resting(Generic[T]):
    """Records of one kind.

    What `get` gave may be changed in place until the next `rest` or snapshot, when it has to be got again. Nothing that
    is computed may depend on when these are called: packing and unpacking is identity.

    A record stays an object until the second `rest` after it was last asked for. A snapshot packs what was asked for
    since the last one, and lets the objects be; `rest` packs what no snapshot has packed (or only kept, or let go of).

    It is a `Part` of a group's state (operators/increments.py): while it is kept apart, a snapshot has none of the
    records, and an increment what was changed since the last, and a share of the others. It also notes then which
    were changed (some 100 bytes a key, until the next increment), and which are still to be repeated in a round
    (8 bytes a key). What is an object then has no bytes beside it, once they are in an increment; else it has those of
    the last snapshot.

    Args:
        pack: a record to msgpack.
        unpack: and back, from what `keep` made as well.
        keep: a record that stays an object to what a snapshot keeps of it, where that can be had for less than packing;
            it is packed when it is let go of.
        kept_head: what all that `keep` makes begins with, and nothing that `pack` makes.

    Memory: some 150 bytes with the key for a resting record, beside its own bytes. Cost: one look-up for a record that
    was asked for since the last `rest` or snapshot (callers in a hurry may look into `young` themselves), some more for
    one that is still an object, else unpacking; one look-up for the bytes of one that rests. A snapshot of records that
    are not kept apart copies the table of them, not the records.
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
        self._saved: dict[str, T] = {}  # these two have not been asked for since they were kept
        self._saved_old: dict[str, T] = {}
        self._records: dict[str, bytes | None] = {}  # all that were ever packed or kept; None: not at rest
        self._kept: dict[str, bytes] = {}  # those saved, as far as that is still asked for
        self._asleep: dict[str, bytes] = {}  # those that were kept awake, and are no objects yet
        self._unpacked = 0  # how many were never packed
        self._changed: set[str] | None = None  # which records no increment holds as they are; None: not kept apart
        self._round: list[str] = []
        self._adopted: dict[str, bytes] | None = None

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
            packed = self._records.get(key)
            if packed is not None:
                self._records[key] = None
            else:
                packed = self._asleep.pop(key, None)
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
        packed = self._records.get(key)
        if packed is None:
            packed = self._asleep.get(key)
        return None if packed is None else self._unpack(packed)

    def at_rest(self, key: str) -> bytes | None:
        """The bytes of a record that rests, none where there is no record; None where it is an object now.

        None, too, where it was one when the snapshot was made that this was restored from. `key` must not be among the
        young: whoever asks has looked there first.
        """
        return None if key in self._old else self._records.get(key, b"")

    def keep_at_rest(self, key: str, packed: bytes) -> None:
        """A record that rests, or a new one, is `packed` from now on."""
        self._records[key] = packed
        if self._changed is not None:
            self._changed.add(key)

    def put(self, key: str, record: T) -> None:
        """Add a record; `key` must be new."""
        self.young[key] = record
        self._unpacked += 1

    def drop(self, key: str) -> None:
        """Forget a record, if there is one."""
        found = False
        for objects in (self.young, self._old, self._saved, self._saved_old):
            found = objects.pop(key, None) is not None or found
        if key in self._records:
            del self._records[key]
            self._kept.pop(key, None)
            self._asleep.pop(key, None)
            if self._changed is not None:
                self._changed.add(key)
        elif found:
            self._unpacked -= 1

    def __contains__(self, key: str) -> bool:
        """Whether there is one."""
        return key in self.young or key in self._old or key in self._records

    def __len__(self) -> int:
        """How many there are."""
        return len(self._records) + self._unpacked

    def __iter__(self) -> Iterator[str]:
        """All keys; don't `get` meanwhile."""
        yield from self._records
        for objects in (self.young, self._old):
            yield from (key for key in objects if key not in self._records)

    @property
    def awake(self) -> int:
        """How many are objects now."""
        return len(self.young) + len(self._old) + len(self._saved) + len(self._saved_old)

    def rest(self) -> None:
        """Let go of the objects that were not asked for since the last call."""
        records, kept, pack = self._records, self._kept, self._pack
        before = len(records)
        for key, record in self._old.items():
            records[key] = pack(record)
            kept.pop(key, None)
        if self._changed is not None:
            self._changed.update(self._old)
        for key, record in self._saved_old.items():
            saved = kept.pop(key, None)
            records[key] = pack(record) if saved is None or self._kept_head else saved
        self._unpacked -= len(records) - before
        self._old, self.young = self.young, {}
        self._saved_old, self._saved = self._saved, {}

    def snapshot(self) -> dict[str, bytes]:
        """All of them, packed; none while they are kept apart."""
        self._save()
        return self._all() if self._changed is None else {}

    def restore(self, kept: dict[str, bytes]) -> None:
        """Take over what `together` gave, the table itself; a record is looked at when it is asked for.

        Of records that were kept apart, but are not given as `together` gave them, no increment holds what is given.
        """
        self.young, self._old, self._saved, self._saved_old = {}, {}, {}, {}
        head = self._kept_head
        self._kept = {}
        self._asleep = {key: packed for key, packed in kept.items() if packed.startswith(head)} if head else {}
        self._records = cast("dict[str, bytes | None]", kept)
        self._records.update(dict.fromkeys(self._asleep))
        self._unpacked = 0
        self._changed = set() if kept is self._adopted else None
        self._round, self._adopted = [], None

    def together(self, kept: dict[str, bytes]) -> dict[str, bytes]:
        """All records, where a snapshot has `kept`: with what was adopted of increments."""
        if self._adopted is None or not kept:
            return kept if self._adopted is None else self._adopted
        return self._adopted | kept

    # --- a part of a group's state ------------------------------------------------------------------------------------

    @property
    def is_apart(self) -> bool:
        """Whether the records are kept in increments."""
        return self._changed is not None

    def join(self) -> None:
        """Keep the records in snapshots again."""
        self._changed, self._round = None, []

    def changed(self) -> int:
        """How many records no increment holds as they are now."""
        self._save()
        return len(self) if self._changed is None else len(self._changed)

    def whole(self) -> tuple[int, bytes]:
        """An increment that needs none before it, and how many records are in it; they are kept apart from now on."""
        self._save()
        self._changed, self._round = set(), []
        whole = msgspec.msgpack.encode((self._all(), []))
        self._kept = {}
        return len(self), whole

    def begin_round(self) -> None:
        """Repeat all records, from here on."""
        self._round = list(self._records)

    def increment(self, left: int) -> tuple[int, bytes]:
        """What was changed since the last, with one of `left` shares of what is left of the round; and its number."""
        self._save()
        records = self._records
        changed, self._changed = self._changed or set(), set()
        gone = [key for key in changed if key not in records]
        for _ in range(-(-len(self._round) // left)):
            changed.add(self._round.pop())
        some = {key: packed for key in changed if (packed := records.get(key) or self._taken(key)) is not None}
        return len(some) + len(gone), msgspec.msgpack.encode((some, gone))

    def adopt(self, increments: Iterable[bytes]) -> None:
        """What `together` is to add: increments since a whole one or for a round, the oldest first."""
        adopted: dict[str, bytes] = {}
        for increment in increments:
            some, gone = _decode(increment)
            adopted.update(some)
            for key in gone:
                adopted.pop(key, None)
        self._adopted = adopted

    def _save(self) -> None:
        """Keep what was asked for since the last time, and let the objects be."""
        records, kept, keep = self._records, self._kept, self._keep
        before = len(records)
        for objects in (self._old, self.young):
            for key, record in objects.items():
                kept[key], records[key] = keep(record), None
            if self._changed is not None:
                self._changed.update(objects)
        self._unpacked -= len(records) - before
        self._saved_old.update(self._old)
        self._saved.update(self.young)
        self._old, self.young = {}, {}

    def _taken(self, key: str) -> bytes | None:
        """One that is not at rest, for an increment: the bytes of what is an object are not asked for again."""
        record = self._saved.get(key)
        if record is None:
            record = self._saved_old.get(key)
        if record is None:
            return self._asleep.get(key)
        return self._kept.pop(key, None) or self._keep(record)

    def _all(self) -> dict[str, bytes]:
        """Every record, after all objects were saved."""
        kept, keep = self._kept, self._keep
        if len(kept) < len(self._saved) + len(self._saved_old):
            for key, record in chain(self._saved.items(), self._saved_old.items()):
                if key not in kept:
                    kept[key] = keep(record)
        every = self._records.copy()
        every.update(self._asleep)
        every.update(kept)
        return cast("dict[str, bytes]", every)


_decode = msgspec.msgpack.Decoder(_Increment).decode
