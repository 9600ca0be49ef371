"""One handoff in one scope, as windows see it: the passes that are open or over, and what happened in each pane."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from operators.findings import Span
from operators.handoff_open import OpenPasses
from operators.windows import Key
from schemas.durations import END_OF_TIME_US

#: What a pass contributes to a pane: what, event time, latency.
Counted: TypeAlias = tuple[str, int, int]
_UNCOUNTED = (None, None, None)


class Pane(msgspec.Struct, gc=False):
    """What happened to one series in one pane."""

    latencies_us: "array[int]"
    started: int = 0
    overdue: int = 0
    completed: int = 0

    @property
    def empty(self) -> bool:
        """Whether everything in it was taken back."""
        return not (self.started or self.overdue or self.completed)


class Series(msgspec.Struct):
    """One handoff in one scope.

    `opened`: starts of the passes still open. `over_us`, `over_start_us`: ends and starts of those that are over and
    may still matter to a window that can be corrected, sorted by end. `written`: the ends of the windows that have a
    row and can be corrected; the last version of one is the tick at which it was written. `now_end_us`, `due_end_us`:
    ends of windows last scheduled for what happens, and for what comes due.
    """

    key: Key
    opened: OpenPasses
    over_us: "array[int]"
    over_start_us: "array[int]"
    panes: dict[int, Pane]
    written: set[int]
    now_end_us: int = -END_OF_TIME_US
    due_end_us: int = -END_OF_TIME_US

    @classmethod
    def of(cls, key: Key) -> "Series":
        """A series of which nothing is known yet."""
        return cls(key, OpenPasses(), array("q"), array("q"), {}, set())

    def pane(self, start_us: int) -> Pane:
        """The pane that begins at `start_us`, made if there is none."""
        pane = self.panes.get(start_us)
        if pane is None:
            pane = self.panes[start_us] = Pane(array("q"))
        return pane

    def ended(self, start_us: int, end_us: int) -> None:
        """Keep a pass that is over."""
        over_us = self.over_us
        if not over_us or over_us[-1] <= end_us:
            over_us.append(end_us)
            self.over_start_us.append(start_us)
            return
        at = bisect_right(over_us, end_us)
        over_us.insert(at, end_us)
        self.over_start_us.insert(at, start_us)

    def ended_in_order(self, starts_us: Sequence[int], ends_us: Sequence[int]) -> None:
        """Keep passes that are over, in order of their ends."""
        over_us = self.over_us
        before = bisect_left(ends_us, over_us[-1]) if over_us else 0
        for at in range(before):
            self.ended(starts_us[at], ends_us[at])
        over_us.extend(ends_us[before:] if before else ends_us)
        self.over_start_us.extend(starts_us[before:] if before else starts_us)

    def keep_span(self, span: Span) -> None:
        """Count a pass among the open ones, or among those that are over."""
        if span.end_us is None:
            self.opened.add(span.start_us)
        else:
            self.ended(span.start_us, span.end_us)

    def drop_span(self, span: Span) -> None:
        """Take a pass back; one that is over may have been forgotten."""
        if span.end_us is None:
            self.opened.remove(span.start_us)
            return
        for at in range(bisect_left(self.over_us, span.end_us), bisect_right(self.over_us, span.end_us)):
            if self.over_start_us[at] == span.start_us:
                del self.over_us[at], self.over_start_us[at]
                return

    def open_at(self, end: int) -> tuple[int, int | None]:
        """How many passes were open at `end` (begun before it, not over before it), and the earliest start of them."""
        backlog, oldest = self.opened.before(end)
        for at in range(bisect_left(self.over_us, end), len(self.over_us)):
            start = self.over_start_us[at]
            if start < end:
                backlog += 1
                oldest = start if oldest is None else min(oldest, start)
        return backlog, oldest

    def forget(self, horizon_us: int) -> bool:
        """Let go of what lies before `horizon_us`; whether anything is left."""
        gone = bisect_left(self.over_us, horizon_us)
        del self.over_us[:gone], self.over_start_us[:gone]
        for start in [start for start in self.panes if start < horizon_us]:
            del self.panes[start]
        self.written = {end for end in self.written if end >= horizon_us}
        return bool(self.opened or self.over_us or self.panes or self.written)


def counted(span: Span | None) -> tuple[Counted | None, Counted | None, Counted | None]:
    """What a pass contributes to panes, (what, event time, latency) each: begun, overdue, completed."""
    if span is None:
        return _UNCOUNTED
    start, end, deadline = span.start_us, span.end_us, span.deadline_us
    return (
        ("started", start, 0),
        ("overdue", deadline, 0) if deadline is not None and (end is None or end > deadline) else None,
        ("completed", end, end - start) if span.completed and end is not None else None,
    )


def coverage_change(old: Span | None, new: Span | None) -> tuple[int, int] | None:
    """The stretch of time at whose instants the open passes, or the age of one, are not what they were."""
    if old is None or new is None:
        only = old or new
        if only is None:
            return None
        return only.start_us, END_OF_TIME_US if only.end_us is None else only.end_us
    was_end = END_OF_TIME_US if old.end_us is None else old.end_us
    now_end = END_OF_TIME_US if new.end_us is None else new.end_us
    if old.start_us != new.start_us:
        return min(old.start_us, new.start_us), max(was_end, now_end)
    return (min(was_end, now_end), max(was_end, now_end)) if was_end != now_end else None
