"""What is kept of dropping repeats."""

import msgspec


class SegmentState(msgspec.Struct, frozen=True, array_like=True):
    """Ids in the order in which they were let through, and when: 8 bytes each, little-endian."""

    hashes: bytes
    times_us: bytes


class DedupState(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Snapshot of a `Dedup`; the last segment is the one that is being filled, until `full_us`."""

    version: int
    turned_early: int
    full_us: int
    segments: list[SegmentState]
