"""What is kept of dropping repeats."""

import msgspec


class DedupState(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Snapshot of a `Dedup`."""

    version: int
    turned_us: int
    current: dict[str, dict[str, int]]
    previous: dict[str, dict[str, int]]
