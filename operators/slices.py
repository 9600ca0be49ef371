"""What passes between lanes and key groups in the order of the log, and what is kept of it."""

import msgspec

from schemas.events import Arrived


class Refused(msgspec.Struct, frozen=True, order=True, gc=False, array_like=True):
    """A message that became a dead letter, as detectors see it."""

    arrival_us: int
    topic: str
    partition: int
    offset: int
    source: str
    channel: str
    reason: str
    path: str


class Slice(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one lane has for one key group: events in order, and how far the lane has come.

    `last_us` is the largest arrival time of the lane so far, whatever group it was for. `final` says the lane has
    ended: nothing more will come from it, ever (files; a log of Kafka's never ends). `refused` are the lane's dead
    letters, for the group that counts them.
    """

    lane: str
    watermark_us: int
    last_us: int
    events: list[Arrived]
    final: bool = False
    refused: list[Refused] = []


class Released(msgspec.Struct, frozen=True, gc=False):
    """Events in the order of the log, how far time has come after them, and whether all inputs have ended."""

    events: list[Arrived]
    clock_us: int
    ended: bool


class FrontierState(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Snapshot of a `Frontier`."""

    version: int
    watermarks: dict[str, int]
    last: dict[str, int]


class ReorderState(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Snapshot of a `Reorder`."""

    frontier: FrontierState
    held: dict[str, list[Arrived]]
