"""What a change of a pass does to the windows of its series, one by one, by the rules in full; and writing them.

What operators/handoff_windows.py takes straight, or many at once as columns, comes to the same.
"""

from collections.abc import Sequence

from operators.findings import PassChange, Span
from operators.handoff_changes import SeriesKey
from operators.handoff_rows import window_row
from operators.handoff_series import Counted, Series, counted, coverage_change
from operators.process_map import Handoff
from operators.windows import Key, WindowSchedule, WindowSettings
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, rfc3339
from schemas.rows import HandoffWindow, LateEvent

#: A window with nothing but backlog gets a row when its end is a multiple of this many slides.
IDLE_PANES = 12


class HandoffWindowRules:
    """The series of a key group, what changes of passes count in their panes, and the rows of windows that are due."""

    def __init__(self, handoffs: Sequence[Handoff], settings: WindowSettings) -> None:
        self._handoffs = list(handoffs)
        self._by_name = {handoff.name: handoff for handoff in self._handoffs}
        self._settings = settings
        self._schedule = WindowSchedule(settings)
        # Series by number, which changes in columns go by, and the numbers by handoff and scope.
        self._numbers: dict[SeriesKey, int] = {}
        self._placed: list[Series] = []
        self._series: dict[Key, Series] = {}
        self._backlogged: set[Key] = set()
        self._idle_us = BEGIN_OF_TIME_US
        self._next_idle_us = BEGIN_OF_TIME_US
        self._idle_step_us = IDLE_PANES * settings.slide_us

    # --- applying -------------------------------------------------------------------------------------------

    def _series_of(self, change: PassChange) -> Series:
        place = change.handoff, change.scope
        number = self._numbers.get(place)
        return self._placed[self._number(place) if number is None else number]

    def _number(self, place: SeriesKey) -> int:
        """The number that a series goes by from now on; one of which nothing is known yet is made."""
        key = (self._handoffs[place[0]].name, place[1])
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series.of(key)
        self._placed.append(series)
        number = self._numbers[place] = len(self._placed) - 1
        return number

    def _apply(self, change: PassChange) -> list[tuple[int, str]]:
        """Take a change in; what came too late for a window: the window's start, and what it misses."""
        series = self._series_of(change)
        key = series.key
        now = change.arrival_us
        late: list[tuple[int, str]] = []
        for was, became in zip(counted(change.old), counted(change.new), strict=True):
            if was != became:
                late += self._count(key, series, was, -1, now) if was is not None else ()
                late += self._count(key, series, became, 1, now) if became is not None else ()
        if change.old is not None:
            series.drop_span(change.old)
        if change.new is not None:
            series.keep_span(change.new)
        covered = coverage_change(change.old, change.new)
        if covered is not None:
            self._touch_coverage(key, series, covered[0], min(covered[1], now), now)
            late = late or self._missed_backlog(change, covered, now)
        self._touch_idle(key, change.new, now)
        if series.opened:
            self._backlogged.add(key)
        else:
            self._backlogged.discard(key)
        return late

    def _missed_backlog(self, change: PassChange, covered: tuple[int, int], now: int) -> list[tuple[int, str]]:
        """Where nothing but the backlog changes: the first window that was closed with another, and how many more."""
        first, last = self._settings.first_end(covered[0]), self._schedule.last_late(now)
        last = min(last, covered[1] - covered[1] % self._settings.slide_us)
        if first > last:
            return []
        ends_earlier = change.new is not None and change.new.end_us == covered[0]
        more = f", as in all that end until {rfc3339(last)}" if last > first else ""
        return [(first - self._settings.size_us, f"backlog {'-1' if ends_earlier else '+1'}{more}")]

    def _count(self, key: Key, series: Series, entry: Counted, sign: int, now: int) -> Sequence[tuple[int, str]]:
        """Add or take back one thing that a pass contributes to the pane in which it happened; what came too late."""
        what, instant, latency_us = entry
        missed = self._schedule.touch(key, instant, now)
        late = [(missed[-1] - self._settings.size_us, f"{what} {sign:+d}")] if missed else ()
        if len(missed) == self._settings.size_us // self._settings.slide_us:
            return late
        start = self._settings.pane(instant)
        pane = series.pane(start)
        if what == "started":
            pane.started += sign
        elif what == "overdue":
            pane.overdue += sign
        else:
            pane.completed += sign
            if sign > 0:
                pane.latencies_us.append(latency_us)
            else:
                pane.latencies_us.remove(latency_us)
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
        oldest = now - self._settings.kept_us
        first = max(self._settings.first_end(begin), -(-oldest // slide) * slide)
        if first > end or not self._schedule.is_written(first, now):
            return
        ends = {tick for pane in series.panes for tick in self._settings.ends(pane) if first <= tick <= end}
        ends.update(tick for tick in series.written if first <= tick <= end)
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
        backlog, oldest = series.open_at(end)
        exists = bool(panes) or (backlog > 0 and end % self._idle_step_us == 0)
        if not exists:
            if end not in series.written:
                return
            backlog, oldest = 0, None
        series.written.add(end)
        window_us = (end - self._settings.size_us, end)
        out.append(window_row(self._by_name[key[0]], key[1], window_us, panes, backlog, oldest, tick))

    def _forget(self, tick: int) -> None:
        """Let go of what can no longer be corrected; looked at once every `IDLE_PANES` slides."""
        if (tick - self._settings.grace_us) % self._idle_step_us:
            return
        horizon = tick - self._settings.kept_us - self._settings.size_us
        for key, series in list(self._series.items()):
            if not series.forget(horizon):
                del self._series[key]
                self._numbers, self._placed = {}, []
