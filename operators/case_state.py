"""What is remembered of a case: one small record for each pass through a handoff.

All times are event times in microseconds unless the name says arrival; None where not known.
"""

from enum import StrEnum

import msgspec

from operators.findings import Span


class Status(StrEnum):
    """How a pass through a handoff stands."""

    OPEN = "open"
    DONE = "done"
    LATE = "late"
    OVERDUE = "overdue"
    OUT_OF_SEQUENCE = "out_of_sequence"
    DUPLICATE = "duplicate"
    CANCELLED = "cancelled"


class Finding(StrEnum):
    """The findings that a pass can carry, each its own signal."""

    OVERDUE = "overdue"
    OUT_OF_SEQUENCE = "out_of_sequence"
    MISSING_STEP = "missing_step"


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What of a pass shows outside: two that are equal give the same row and the same part in windows."""

    start_us: int | None
    over_us: int | None
    deadline_us: int | None
    scope: str
    status: Status
    completed: bool

    @property
    def is_open(self) -> bool:
        """Whether the end is still awaited."""
        return self.start_us is not None and self.over_us is None

    @property
    def span(self) -> Span | None:
        """As windows count it; None without a start, or with an end before it (that has no latency)."""
        if self.start_us is None or self.status is Status.OUT_OF_SEQUENCE:
            return None
        return Span(self.start_us, self.over_us, self.deadline_us, self.completed)


class Pass(msgspec.Struct, array_like=True):
    """One pass. `start_id` and `end_id` are the ids of the events that began and ended it.

    `timer_us` and `grace_us` are the arrival times at which the deadline and the grace for a missing start run out
    (0: none runs). `fired_us` is the deadline that was found to have passed (0: none). `signals` holds, for each
    finding that was ever made, since when it held, when it was closed, and when (arrival) it was first said.
    """

    start_us: int | None = None
    end_us: int | None = None
    start_id: str = ""
    end_id: str = ""
    start_scope: str = ""
    end_scope: str = ""
    abandoned_us: int | None = None
    cancelled_us: int | None = None
    deadline_us: int | None = None
    timer_us: int = 0
    grace_us: int = 0
    fired_us: int = 0
    version: int = 0
    signals: dict[str, tuple[int, int | None, int]] = {}

    @property
    def scope(self) -> str:
        """The start event's value if it has one, else the end event's: does not depend on the order of arrival."""
        return self.start_scope or self.end_scope

    @property
    def over_us(self) -> int | None:
        """When the pass was over: its end, else when it was given up; None while it is open."""
        if self.end_us is not None:
            return self.end_us
        if self.given_up_us is None or self.start_us is None:
            return None
        return max(self.start_us, self.given_up_us)

    @property
    def given_up_us(self) -> int | None:
        """When the case was cancelled or the pass abandoned, whichever came first."""
        return earlier(self.cancelled_us, self.abandoned_us)

    @property
    def is_open(self) -> bool:
        """Whether the end is still awaited."""
        return self.start_us is not None and self.over_us is None

    def seen(self) -> Seen:
        """How it stands, by event time."""
        start, end, deadline = self.start_us, self.end_us, self.deadline_us
        over = end
        if end is not None:
            status = Status.DONE
            if start is not None and end < start:
                status = Status.OUT_OF_SEQUENCE
            elif start is not None and deadline is not None and end > deadline:
                status = Status.LATE
        elif self.cancelled_us is None and self.abandoned_us is None:
            status = Status.OVERDUE if self.fired_us else Status.OPEN
        else:
            status, over = Status.CANCELLED, self.over_us
        return Seen(start, over, deadline, self.start_scope or self.end_scope, status, end is not None)


def earlier(one: int | None, other: int | None) -> int | None:
    """The earlier of two times that may not be known."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


class Marked(msgspec.Struct, array_like=True):
    """What was seen of a forbidden order: earliest `after`, latest `event` and its scope, and if it was said."""

    after_us: int | None = None
    after_id: str = ""
    event_us: int | None = None
    event_id: str = ""
    said: bool = False
    scope: str = ""


class Case(msgspec.Struct):
    """One case of a kind. Passes are keyed by (handoff entry, pass key), marks by their rule's index."""

    kind: str
    case_id: str
    began: bool = False
    cancelled_us: int | None = None
    last_arrival_us: int = 0
    expiry_us: int = 0
    cancelled_lines: dict[str, int] = {}
    times: dict[str, tuple[int, str, int]] = {}
    passes: dict[tuple[int, str], Pass] = {}
    marks: dict[int, Marked] = {}


class CaseState(msgspec.Struct, frozen=True, array_like=True):
    """A case in a snapshot: dictionaries with compound keys as lists."""

    kind: str
    case_id: str
    began: bool
    cancelled_us: int | None
    last_arrival_us: int
    expiry_us: int
    cancelled_lines: dict[str, int]
    times: dict[str, tuple[int, str, int]]
    passes: list[tuple[str, str, Pass]]
    marks: list[tuple[str, Marked]]


class HandoffState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `HandoffTracker`; handoffs and rules by name, so that a changed process map can be resumed."""

    version: int
    cases: list[CaseState]
