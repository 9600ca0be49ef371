"""One handoff in one scope, as windows see it: the passes that are open or over, and what happened in each pane."""

from array import array
from bisect import bisect_left, bisect_right, insort
from typing import TypeAlias

import msgspec

from operators.findings import Span
from schemas.durations import END_OF_TIME_US

#: What a pass contributes to a pane: what, event time, latency.
Counted: TypeAlias = tuple[str, int, int]
_UNCOUNTED = (None, None, None)


class Pane(msgspec.Struct, array_like=True):
    """What happened to one series in one pane. `latencies_us` is sorted."""

    started: int = 0
    overdue: int = 0
    completed: int = 0
    latencies_us: list[int] = []

    @property
    def empty(self) -> bool:
        """Whether everything in it was taken back."""
        return not (self.started or self.overdue or self.completed)


class Series(msgspec.Struct):
    """One handoff in one scope.

    `open_us`: sorted starts of the passes still open. `over_us`, `over_start_us`: ends and starts of those that are
    over and may still matter to a window that can be corrected, sorted by end. `versions`: the last version written
    of each window that can be corrected.
    """

    open_us: list[int]
    over_us: "array[int]"
    over_start_us: "array[int]"
    panes: dict[int, Pane]
    versions: dict[int, int]


class SeriesState(msgspec.Struct, frozen=True, array_like=True):
    """A series in a snapshot."""

    handoff: str
    scope: str
    open_us: list[int]
    over_us: list[int]
    over_start_us: list[int]
    panes: dict[int, Pane]
    versions: dict[int, int]


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


def keep_latency(pane: Pane, latency_us: int, sign: int) -> None:
    """Add a latency, or take one back."""
    if sign > 0:
        insort(pane.latencies_us, latency_us)
    else:
        del pane.latencies_us[bisect_left(pane.latencies_us, latency_us)]


def keep_span(series: Series, span: Span) -> None:
    """Count a pass among the open ones, or among those that are over."""
    if span.end_us is None:
        insort(series.open_us, span.start_us)
        return
    at = bisect_right(series.over_us, span.end_us)
    series.over_us.insert(at, span.end_us)
    series.over_start_us.insert(at, span.start_us)


def drop_span(series: Series, span: Span) -> None:
    """Take a pass back; one that is over may have been forgotten."""
    if span.end_us is None:
        at = bisect_left(series.open_us, span.start_us)
        del series.open_us[at]
        return
    for at in range(bisect_left(series.over_us, span.end_us), bisect_right(series.over_us, span.end_us)):
        if series.over_start_us[at] == span.start_us:
            del series.over_us[at], series.over_start_us[at]
            return


def open_at(series: Series, end: int) -> tuple[int, int | None]:
    """How many passes were open at `end` (begun before it, not over before it), and the earliest start of them."""
    backlog = bisect_left(series.open_us, end)
    oldest = series.open_us[0] if backlog else None
    for at in range(bisect_left(series.over_us, end), len(series.over_us)):
        start = series.over_start_us[at]
        if start < end:
            backlog += 1
            oldest = start if oldest is None else min(oldest, start)
    return backlog, oldest


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
