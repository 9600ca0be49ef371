"""Handoff × scope × window: latency quantiles, backlog, oldest age and overdue, by event time, converging.

A window's row is a function of the passes alone, so its final version does not depend on the order of arrival:

- `started`, `completed`: passes that began, and that ended, in the window; `over_target`: those that ended in it
  after more than the handoff's target;
- `overdue`: passes whose deadline lies in the window and that were not over by then;
- `backlog`, `oldest_age_s`: passes open at the window's end, and the age of the oldest of them;
- quantiles are exact nearest-rank ones of the latencies of the passes that ended in the window;
  `latency_buckets` is their mergeable sketch (operators/quantiles.py states its error).

A window in which nothing began, ended or came due gets a row for its backlog only once every `IDLE_PANES` slides,
so that a long silence costs little; a row of zeros takes back one that a correction emptied (the views hide it).
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec

from operators.findings import PassChange, Span, next_version
from operators.handoff_series import (
    Counted,
    Pane,
    Series,
    SeriesState,
    counted,
    coverage_change,
    drop_span,
    keep_latency,
    keep_span,
    open_at,
)
from operators.process_map import Handoff
from operators.quantiles import exact, sketch
from operators.windows import Key, ScheduleState, WindowSchedule, WindowSettings
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, SECOND_US, rfc3339
from schemas.errors import StateError
from schemas.rows import HandoffWindow, LateEvent

#: A window with nothing but backlog gets a row when its end is a multiple of this many slides.
IDLE_PANES = 12
STAGE = "handoff_windows"


class HandoffWindowsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `HandoffWindows`."""

    version: int
    clock_us: int
    idle_us: int
    held: list[PassChange]
    schedule: ScheduleState
    series: list[SeriesState]


class HandoffWindows:
    """Turn pass changes into window rows.

    Takes changes in any order within what `advance` has not passed yet; applies them in arrival order.

    Memory: open passes, passes that were over within `retention`, and one pane per slide with activity within
    `retention`, for each series. Cost: O(log n) per change plus O(n log n) of a window's latencies per row.
    """

    VERSION = 1

    def __init__(self, handoffs: Sequence[Handoff], settings: WindowSettings) -> None:
        self._handoffs = list(handoffs)
        self._by_name = {handoff.name: handoff for handoff in self._handoffs}
        self._settings = settings
        self._schedule = WindowSchedule(settings)
        self._series: dict[Key, Series] = {}
        self._held: list[PassChange] = []
        self._backlogged: set[Key] = set()
        self._clock_us = BEGIN_OF_TIME_US
        self._idle_us = BEGIN_OF_TIME_US
        self._next_idle_us = BEGIN_OF_TIME_US
        self._idle_step_us = IDLE_PANES * settings.slide_us

    def update(self, changes: Sequence[PassChange]) -> None:
        """Take changes; they are applied when time passes them."""
        self._held.extend(changes)

    def advance(self, watermark: int) -> list[HandoffWindow | LateEvent]:
        """Apply what arrived before `watermark` and write the windows that are due before it."""
        ready = [change for change in self._held if change.arrival_us < watermark]
        out: list[HandoffWindow | LateEvent] = []
        late: dict[tuple[object, ...], tuple[PassChange, list[tuple[int, str]]]] = {}
        closing = watermark >= END_OF_TIME_US
        if ready:
            self._held = [change for change in self._held if change.arrival_us >= watermark]
            ready.sort(key=_arrival)
            for change in ready:
                self._write_before(change.arrival_us, out, idle=not closing)
                missed, cause = self._apply(change), change.cause
                if missed and cause is not None:  # one event can move several passes of a series: one row for all
                    place = (cause.topic, cause.partition, cause.offset, change.handoff, change.scope)
                    late.setdefault(place, (change, []))[1].extend(missed)
        out.extend(_late_row(change, self._handoffs[change.handoff].name, all_) for change, all_ in late.values())
        self._write_before(self._last_tick() + 1 if closing else watermark, out, idle=not closing)
        self._clock_us = max(self._clock_us, watermark)
        return out

    def __len__(self) -> int:
        """How many series are kept."""
        return len(self._series)

    # --- applying -------------------------------------------------------------------------------------------

    def _apply(self, change: PassChange) -> list[tuple[int, str]]:
        """Take a change in; what came too late for a window: the window's start, and what it misses."""
        key = (self._handoffs[change.handoff].name, change.scope)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series([], array("q"), array("q"), {}, {})
        now = change.arrival_us
        late: list[tuple[int, str]] = []
        for was, became in zip(counted(change.old), counted(change.new), strict=True):
            if was != became:
                late += self._count(key, series, was, -1, now) if was is not None else ()
                late += self._count(key, series, became, 1, now) if became is not None else ()
        if change.old is not None:
            drop_span(series, change.old)
        if change.new is not None:
            keep_span(series, change.new)
        covered = coverage_change(change.old, change.new)
        if covered is not None:
            self._touch_coverage(key, series, covered[0], min(covered[1], now), now)
        self._touch_idle(key, change.new, now)
        if series.open_us:
            self._backlogged.add(key)
        else:
            self._backlogged.discard(key)
        return late

    def _count(self, key: Key, series: Series, entry: Counted, sign: int, now: int) -> Sequence[tuple[int, str]]:
        """Add or take back one thing that a pass contributes to the pane in which it happened; what came too late."""
        what, instant, latency_us = entry
        missed = self._schedule.touch(key, instant, now)
        late = [(missed[-1] - self._settings.size_us, f"{what} {sign:+d}")] if missed else ()
        if len(missed) == self._settings.size_us // self._settings.slide_us:
            return late
        start = self._settings.pane(instant)
        pane = series.panes.get(start)
        if pane is None:
            pane = series.panes[start] = Pane(latencies_us=[])
        if what == "started":
            pane.started += sign
        elif what == "overdue":
            pane.overdue += sign
        else:
            pane.completed += sign
            keep_latency(pane, latency_us, sign)
        if pane.empty:
            del series.panes[start]
        return late

    def _touch_idle(self, key: Key, span: Span | None, now: int) -> None:
        """Backlog-only windows that are not written yet but will no longer find the pass among the open ones."""
        if span is None or span.end_us is None:
            return
        step = self._idle_step_us
        first = -(-(now - self._settings.grace_us) // step) * step
        for end in range(first, max(now, span.end_us) + 1, step):
            self._schedule.touch_window(key, end, now)

    def _touch_coverage(self, key: Key, series: Series, begin: int, end: int, now: int) -> None:
        """Windows already written whose end lies in (begin, end]: their backlog has changed."""
        slide, idle = self._settings.slide_us, self._idle_step_us
        oldest = now - max(self._settings.retention_us, self._settings.grace_us)
        first = max(self._settings.first_end(begin), -(-oldest // slide) * slide)
        if first > end or not self._schedule.is_written(first, now):
            return
        ends = {tick for pane in series.panes for tick in self._settings.ends(pane) if first <= tick <= end}
        ends.update(tick for tick in series.versions if first <= tick <= end)
        ends.update(range(-(-first // idle) * idle, end + 1, idle))
        for tick in ends:
            if self._schedule.is_written(tick, now):
                self._schedule.touch_window(key, tick, now)

    # --- writing --------------------------------------------------------------------------------------------

    def _write_before(self, before: int, out: list[HandoffWindow | LateEvent], *, idle: bool = True) -> None:
        """Write what is due at ticks before `before`, in order; backlog-only windows too while `idle`."""
        if self._schedule.next_us >= before and (not self._backlogged or self._next_idle_us >= before):
            self._pass_idle(before, idle=idle)
            return
        while True:
            tick = self._schedule.next_tick()
            quiet = self._next_idle_us if idle and self._backlogged else None
            if quiet is not None and quiet < before and (tick is None or quiet <= tick):
                self._pass_idle(quiet + 1, idle=True)
                end = quiet - self._settings.grace_us
                for key in self._backlogged:
                    self._schedule.touch_window(key, end, quiet)
                continue
            if tick is None or tick >= before:
                break
            for at, entries in self._schedule.due(tick + 1):
                for end, key in entries:
                    self._write(key, end, at, out)
                self._forget(at)
        self._pass_idle(before, idle=idle)

    def _pass_idle(self, before: int, *, idle: bool) -> None:
        """Time has come to `before`: which tick is the next of a window that is written for its backlog alone."""
        if idle and self._idle_us < before < END_OF_TIME_US:
            self._idle_us = before
            if before > self._next_idle_us:
                grace, step = self._settings.grace_us, self._idle_step_us
                self._next_idle_us = -(-(before - grace) // step) * step + grace

    def _last_tick(self) -> int:
        """The last tick at which anything is to be written."""
        return max((tick for tick, _ in self._schedule.snapshot()), default=BEGIN_OF_TIME_US)

    def _write(self, key: Key, end: int, tick: int, out: list[HandoffWindow | LateEvent]) -> None:
        series = self._series.get(key)
        if series is None:
            return
        panes = [pane for pane in map(series.panes.get, self._settings.panes(end)) if pane is not None]
        backlog, oldest = open_at(series, end)
        exists = bool(panes) or (backlog > 0 and end % self._idle_step_us == 0)
        if not exists and end not in series.versions:
            return
        handoff = self._by_name[key[0]]
        latencies = sorted(latency for pane in panes for latency in pane.latencies_us)
        seconds = [latency / SECOND_US for latency in latencies]
        version = next_version(series.versions.get(end, 0), tick)
        series.versions[end] = version
        target = handoff.target
        out.append(
            HandoffWindow(
                handoff=handoff.name,
                scope_by=handoff.scope,
                scope=key[1],
                window_start_us=end - self._settings.size_us,
                window_end_us=end,
                started=sum(pane.started for pane in panes),
                completed=sum(pane.completed for pane in panes),
                over_target=0 if target is None else len(latencies) - bisect_right(latencies, target),
                overdue=sum(pane.overdue for pane in panes),
                backlog=backlog if exists else 0,
                oldest_age_s=(end - oldest) / SECOND_US if exists and oldest is not None else None,
                p50_s=exact(0.5, seconds) if seconds else None,
                p95_s=exact(0.95, seconds) if seconds else None,
                p99_s=exact(0.99, seconds) if seconds else None,
                max_s=seconds[-1] if seconds else None,
                latency_buckets=sketch(seconds),
                arrival_us=tick,
                version=version,
            )
        )

    def _forget(self, tick: int) -> None:
        """Let go of what can no longer be corrected; looked at once every `IDLE_PANES` slides."""
        if (tick - self._settings.grace_us) % self._idle_step_us:
            return
        horizon = tick - max(self._settings.retention_us, self._settings.grace_us) - self._settings.size_us
        for key in list(self._series):
            series = self._series[key]
            gone = bisect_left(series.over_us, horizon)
            del series.over_us[:gone], series.over_start_us[:gone]
            series.panes = {start: pane for start, pane in series.panes.items() if start >= horizon}
            series.versions = {end: version for end, version in series.versions.items() if end >= horizon}
            if not (series.open_us or series.over_us or series.panes or series.versions):
                del self._series[key]

    # --- state ----------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """Series, those with open passes, windows that wait to be written, and changes held back."""
        return {
            "series": len(self._series),
            "backlogged": len(self._backlogged),
            "windows": len(self._schedule),
            "held": len(self._held),
        }

    def snapshot(self) -> HandoffWindowsState:
        """Every series, the schedule, and the changes held back."""
        series = [
            SeriesState(
                handoff=key[0],
                scope=key[1],
                open_us=one.open_us,
                over_us=list(one.over_us),
                over_start_us=list(one.over_start_us),
                panes=one.panes,
                versions=one.versions,
            )
            for key, one in self._series.items()
        ]
        return HandoffWindowsState(
            self.VERSION, self._clock_us, self._idle_us, self._held, self._schedule.snapshot(), series
        )

    def restore(self, state: HandoffWindowsState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"handoff window state of version {state.version}; this code reads {self.VERSION}")
        self._clock_us, self._idle_us = state.clock_us, BEGIN_OF_TIME_US
        self._pass_idle(state.idle_us, idle=True)
        self._held = list(state.held)
        self._schedule.restore(state.schedule)
        self._series = {
            (one.handoff, one.scope): Series(
                one.open_us, array("q", one.over_us), array("q", one.over_start_us), one.panes, one.versions
            )
            for one in state.series
        }
        self._backlogged = {key for key, one in self._series.items() if one.open_us}


def _arrival(change: PassChange) -> int:
    return change.arrival_us


def _late_row(change: PassChange, handoff: str, late: list[tuple[int, str]]) -> LateEvent:
    cause = change.cause
    assert cause is not None
    late.sort()
    effect = "; ".join(f"window from {rfc3339(start)}: {what}" for start, what in late)
    return LateEvent(
        topic=cause.topic,
        partition=cause.partition,
        offset=cause.offset,
        stage=f"{STAGE}/{handoff}/{change.scope}",
        type=cause.type,
        source=cause.source,
        event_id=cause.event_id,
        occurred_at_us=cause.occurred_us,
        window_start_us=late[0][0],
        effect=effect,
        seen_at_us=change.arrival_us,
    )
