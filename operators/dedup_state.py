"""What is kept of dropping repeats."""

import msgspec


class SegmentState(msgspec.Struct, frozen=True, array_like=True):
    """Ids in order, and when each was let through: 8 bytes each, little-endian."""

    hashes: bytes
    times_us: bytes


class DedupState(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Snapshot of a `Dedup`; the last segment is the one that is being filled, until `full_us`."""

    version: int
    turned_early: int
    full_us: int
    segments: list[SegmentState]
