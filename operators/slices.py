"""What passes between lanes and key groups in the order of the log, and what is kept of it."""

import msgspec

from operators.marks import Marks
from schemas.events import Arrived


class Refused(msgspec.Struct, frozen=True, order=True, gc=False, array_like=True):
    """A message that became a dead letter, as detectors see it; `order_id` as far as it can be read."""

    arrival_us: int
    topic: str
    partition: int
    offset: int
    source: str
    channel: str
    reason: str
    path: str
    order_id: str = ""


class Heard(msgspec.Struct, frozen=True, order=True, gc=False, array_like=True):
    """What a lane heard of one source about one topic (of some: and one node) in one minute, as detectors see it.

    `least_us` is the least delay, arrival less event time. `late` and `early` count those that came later than, or were
    dated ahead by more than, the settings say. `first` is the smallest id: parts of a minute add up in any order.
    """

    minute: int
    source: str
    topic: str
    node: str
    system: str
    count: int
    late: int
    early: int
    least_us: int
    first: str


class Slice(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one lane has for one key group: events in order, and how far the lane has come.

    `last_us` is the largest arrival time of the lane so far, whatever group it was for. `final` says the lane has
    ended: nothing more will come from it, ever (files; a log of Kafka's never ends). `refused` are the lane's dead
    letters, and `heard` what it heard of whom, for the group that counts them. `marks` are the packed `Marks` of the
    events; without them, whoever needs them has to work them out.
    """

    lane: str
    watermark_us: int
    last_us: int
    events: list[Arrived]
    final: bool = False
    refused: list[Refused] = []
    heard: list[Heard] = []
    marks: bytes = b""


class Released(msgspec.Struct, frozen=True, gc=False):
    """Events in the order of the log and their marks, how far time has come, and whether all inputs have ended."""

    events: list[Arrived]
    marks: Marks
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
