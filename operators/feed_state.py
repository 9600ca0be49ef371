"""Signs of life of stock feeds, and what is kept of them."""

import msgspec


class Beat(msgspec.Struct, frozen=True, order=True, gc=False, array_like=True):
    """Stock of `node` was heard of from `source` at `arrival_us`, for the first time in that cell."""

    arrival_us: int
    node: str
    source: str
    system: str


class Feed(msgspec.Struct, array_like=True):
    """One feed: its last cell and the first of its unbroken run; since when it is silent, and when that was found.

    `opened_us` and `found_us` are arrival times.
    """

    system: str
    last: int
    run: int
    opened_us: int | None = None
    found_us: int = 0


class FeedState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `FeedWatch`."""

    version: int
    held: list[Beat]
    nodes: dict[str, dict[str, Feed]]
