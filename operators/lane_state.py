"""What lanes and their partitions are given, give and keep."""

from collections.abc import Sequence

import msgspec

from schemas.decode import Fault
from schemas.durations import DAY_US, MINUTE_US
from schemas.events import Arrived, Event
from schemas.lines import Runs
from schemas.rows import DeadLetter, Health


class TimeRules(msgspec.Struct, frozen=True):
    """Which event times are believed, relative to arrival; microseconds.

    `guard_leaps` is for logs that carry no clock of their own (files): see `PartitionQueue`.
    """

    max_future_us: int = 5 * MINUTE_US
    max_past_us: int = 30 * DAY_US
    guard_leaps: bool = True


class Reads(msgspec.Struct, frozen=True, gc=False):
    """Messages as they were read, one after the other, in columns of one length.

    `positions` is where reading resumes to get a message again; `claims_us` the arrival times that the log gives (None,
    as a whole or for one message: the event's `recorded_at`, else its `occurred_at`).
    """

    offsets: list[int]
    positions: list[int]
    raws: Runs | Sequence[bytes]
    decoded: list[Event | Fault]
    claims_us: Sequence[int | None] | None = None


class Merged(msgspec.Struct, frozen=True, gc=False):
    """What a lane releases: events in order, dead letters, complete minutes, and how far it has come."""

    events: list[Arrived]
    dead: list[DeadLetter]
    health: list[Health]
    watermark_us: int
    last_us: int
    final: bool


class Tally(msgspec.Struct, array_like=True):
    """What was released in one minute of arrival, still counting; `told` are the messages of which a row speaks."""

    minute_us: int
    messages: int = 0
    events: int = 0
    bytes: int = 0
    delay_us: int = 0
    told: int = 0


class PartitionState(msgspec.Struct, frozen=True, array_like=True):
    """Where a partition is resumed: the position of the next message, and the offset and arrival time before it."""

    version: int
    position: int
    offset: int
    clock_us: int
    tally: Tally | None


class LaneState(msgspec.Struct, frozen=True, array_like=True):
    """Where a lane is resumed: how far it had released, and each partition by its name."""

    version: int
    released_us: int
    partitions: dict[str, PartitionState]
