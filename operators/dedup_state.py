"""What is kept of dropping repeats."""

import msgspec


class SegmentState(msgspec.Struct, frozen=True, array_like=True):
    """Ids in the order in which they were let through, and when: 8 bytes each, little-endian.

    Where they are kept apart there are none; `count` says how many it has.
    """

    hashes: bytes
    times_us: bytes
    count: int = 0


class IdRun(msgspec.Struct, frozen=True, array_like=True):
    """Ids let through one after the other, as in `SegmentState`: `first` is the number of the first of them."""

    first: int
    hashes: bytes
    times_us: bytes


class DedupState(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Snapshot of a `Dedup`; the last segment is the one that is being filled, until `full_us`.

    `first` is the number of the oldest id, counted from the first that was ever let through.
    """

    version: int
    turned_early: int
    full_us: int
    segments: list[SegmentState]
    first: int = 0
