"""What is remembered of a case: one small record for each pass through a handoff.

`Case` and `PassRecord` are what is kept, in memory as in snapshots: short arrays, each text once. `Pass` is the same
pass laid open, which is what the rules are written for (`operators/case_passes.py` goes from one to the other).

All times are event times in microseconds unless the name says arrival; None where not known.
"""

from enum import StrEnum
from typing import TypeAlias

import msgspec

from operators.findings import Misdated, OddTime, Span


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
    def shown(self) -> tuple[object, ...]:
        """What the words of findings are made of."""
        return self.start_us, self.over_us, self.deadline_us, self.scope

    @property
    def is_late(self) -> bool:
        """Whether it was over after its deadline: ended late, or given up late."""
        start, over, deadline = self.start_us, self.over_us, self.deadline_us
        return start is not None and over is not None and deadline is not None and over >= start and over > deadline

    @property
    def span(self) -> Span | None:
        """As windows count it; None without a start, or with an end before it (that has no latency)."""
        if self.start_us is None or self.status is Status.OUT_OF_SEQUENCE:
            return None
        return Span(self.start_us, self.over_us, self.deadline_us, self.completed)


class Pass(msgspec.Struct):
    """One pass. `start_id` and `end_id` are the ids of the events that began and ended it.

    `timer_us` and `grace_us` are the arrival times at which the deadline and the grace for a missing start run out
    (0: none runs). `fired_us` is the deadline that was found to have passed (0: none). `signals` holds, for each
    finding that was ever made, since when it held, when it was closed, and when (arrival) it was first said.
    `start_odd` and `end_odd` say what is odd about the times of the two events, `doubted` why `out_of_sequence`, as it
    was last said, may be a clock's fault.
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
    start_odd: OddTime | None = None
    end_odd: OddTime | None = None
    doubted: Misdated | None = None

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


#: A pass of a case: the index of its handoff, and behind a slash what tells it from others of a handoff with `per`.
PassKey: TypeAlias = int | str
#: A finding: since when it held, when it was closed, and when (arrival) it was first said.
Said: TypeAlias = tuple[int, int | None, int]
#: A time that a case carries: when it was said, the id of the event that said it (in `Case.ids`), the time.
CarriedTime: TypeAlias = tuple[int, int, int]


class PassExtras(msgspec.Struct, array_like=True, gc=False):
    """What few passes have. `late_us`: the deadline had passed when it was set, at this arrival (0: it had not)."""

    abandoned_us: int | None = None
    cancelled_us: int | None = None
    late_us: int = 0
    grace_us: int = 0
    fired_us: int = 0
    signals: dict[str, Said] | None = None
    start_odd: OddTime | None = None
    end_odd: OddTime | None = None
    doubted: Misdated | None = None

    @property
    def is_only_odd(self) -> bool:
        """Whether they say no more than what is odd about times."""
        given_up = self.abandoned_us is not None or self.cancelled_us is not None
        return not (given_up or self.late_us or self.grace_us or self.fired_us or self.signals)


class PassRecord(msgspec.Struct, array_like=True, gc=False):
    """A pass as it is kept: ids and scopes are places in its case's lists, 0 where there is none."""

    start_us: int | None
    end_us: int | None
    start_id: int
    end_id: int
    start_scope: int
    end_scope: int
    deadline_us: int | None
    version: int
    extras: PassExtras | None = None

    @property
    def is_open(self) -> bool:
        """Whether the end is still awaited."""
        if self.start_us is None or self.end_us is not None:
            return False
        return self.extras is None or (self.extras.abandoned_us is None and self.extras.cancelled_us is None)

    @property
    def timer_us(self) -> int:
        """The arrival time at which something is to be found about it if nothing comes; 0: no such time."""
        extras = self.extras
        if self.start_us is None:
            return extras.grace_us if extras is not None else 0
        if self.end_us is not None or self.deadline_us is None:
            return 0
        if extras is None:
            return self.deadline_us
        if extras.fired_us or extras.abandoned_us is not None or extras.cancelled_us is not None:
            return 0
        return extras.late_us or self.deadline_us


class Marked(msgspec.Struct, array_like=True, gc=False):
    """What was seen of a forbidden order: earliest `after`, latest `event` and its scope, and if it was said.

    `after_odd` and `event_odd` say what is odd about the times of the two.
    """

    after_us: int | None = None
    after_id: int = 0
    event_us: int | None = None
    event_id: int = 0
    said: bool = False
    scope: int = 0
    after_odd: OddTime | None = None
    event_odd: OddTime | None = None


class Case(msgspec.Struct, array_like=True, gc=False, tag=0):
    """One case of a kind.

    `due_us` is when it is to be looked at, unless something comes before: the first thing in a record, so that it can
    be read without the rest. `expiry_us` is when it is next asked whether the case is over. `ids` and `scopes` hold
    the ids of events and the scopes that its records name, none first. Marks are keyed by their rule's index.
    """

    due_us: int
    expiry_us: int
    last_arrival_us: int
    ids: list[str]
    scopes: list[str]
    passes: dict[PassKey, PassRecord]
    began: bool = False
    cancelled_us: int | None = None
    cancelled_lines: dict[str, int] | None = None
    times: dict[PassKey, CarriedTime] | None = None
    marks: dict[int, Marked] | None = None


class LoneCase(msgspec.Struct, array_like=True, gc=False, tag=1):
    """A case that is nothing but one pass, open or ended in time, of the only handoff of its kind.

    States up to version 6 have it so; it is kept as operators/case_record.py says now.
    """

    due_us: int
    expiry_us: int
    last_arrival_us: int
    entry: int
    start_us: int
    end_us: int | None
    start_id: str
    end_id: str
    start_scope: str
    end_scope: str
    deadline_us: int | None
    version: int
    began: bool


class HandoffState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `HandoffTracker`.

    Records name handoffs, rules and carried times by their place in these lists, so that a changed process map can be
    resumed. `cases`: kind of case → id → its record (operators/case_record.py).
    """

    version: int
    handoffs: list[str]
    rules: list[str]
    times: list[str]
    open_passes: int
    cases: dict[str, dict[str, bytes]]
