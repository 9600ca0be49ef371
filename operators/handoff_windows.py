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

from collections.abc import Iterable, Sequence

import numpy as np

from operators.findings import PassChange, Span
from operators.handoff_changes import PassRun
from operators.handoff_columns import ManyChanges, columns_of, stale
from operators.handoff_rows import late_row
from operators.handoff_window_rules import HandoffWindowRules
from operators.handoff_window_state import HandoffWindowsState, series_of, series_state
from operators.process_map import Handoff
from operators.windows import WindowSettings
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, people_duration
from schemas.errors import StateError
from schemas.rows import HandoffWindow, LateEvent

__all__ = ["HandoffWindows", "HandoffWindowsState"]

#: As few changes at once are taken one by one.
_FEW = 48


class HandoffWindows(HandoffWindowRules):
    """Turn pass changes into window rows.

    Takes changes in any order within what `advance` has not passed yet; applies them in arrival order.

    Memory: open passes, passes that were over within `retention`, and one pane per slide with activity within
    `retention`, for each series: numbers, no objects. Cost: O(1) per change of what no window was written with yet,
    else O(log n); O(n log n) of a window's latencies per row.
    Many changes at once are taken as columns (`operators/handoff_columns.py`), few one by one.
    """

    VERSION = 3

    def __init__(self, handoffs: Sequence[Handoff], settings: WindowSettings) -> None:
        super().__init__(handoffs, settings)
        self._is_tumbling = settings.slide_us == settings.size_us
        self._held: list[PassRun] = []
        self._clock_us = BEGIN_OF_TIME_US
        self._many = ManyChanges(settings, self._schedule, self._idle_step_us)
        # The first window that can be written for its backlog alone and has not been at the last change.
        self._idle_end_us = BEGIN_OF_TIME_US

    def update(self, runs: Iterable[PassRun]) -> None:
        """Take changes; they are applied when time passes them."""
        self._held.extend(runs)

    def advance(self, watermark: int) -> list[HandoffWindow | LateEvent]:
        """Apply what arrived before `watermark` and write the windows that are due before it."""
        out: list[HandoffWindow | LateEvent] = []
        late: dict[tuple[object, ...], tuple[PassChange, list[tuple[int, str]]]] = {}
        closing = watermark >= END_OF_TIME_US
        runs = self._ready(watermark)
        if runs:
            last_us = max(run.last_us for run in runs)
            if closing or not self._is_tumbling or sum(len(run.keys) for run in runs) <= _FEW:
                ready = [change for run in runs for change in run.changes()]
            else:
                first_us = min(run.first_us for run in runs)
                self._write_before(first_us, out)
                ready = self._take_many(runs, max(first_us, self._clock_us) - self._settings.grace_us)
            ready.sort(key=_arrival)
            schedule, straight = self._schedule, self._straight if self._is_tumbling else _no_way
            for change in ready:
                arrival_us = change.arrival_us
                if arrival_us > schedule.next_us or arrival_us > self._next_idle_us:
                    self._write_before(arrival_us, out, idle=not closing)
                if straight(change):
                    continue
                missed, cause = self._apply(change), change.cause
                if missed and cause is not None:  # one event can move several passes of a series: one row for all
                    place = (cause.topic, cause.partition, cause.offset, change.handoff, change.scope)
                    late.setdefault(place, (change, []))[1].extend(missed)
            self._write_before(last_us, out, idle=not closing)
        out.extend(late_row(change, self._handoffs[change.handoff].name, all_) for change, all_ in late.values())
        self._write_before(self._last_tick() + 1 if closing else watermark, out, idle=not closing)
        self._clock_us = max(self._clock_us, watermark)
        return out

    def __len__(self) -> int:
        """How many series are kept."""
        return len(self._series)

    def _ready(self, watermark: int) -> list[PassRun]:
        """Of what is held, what arrived before `watermark`."""
        ready = [run for run in self._held if run.last_us < watermark]
        if len(ready) == len(self._held):
            self._held = []
            return ready
        parts = [(run, None) if run.last_us < watermark else run.split(watermark) for run in self._held]
        self._held = [after for _, after in parts if after]
        return [before for before, _ in parts if before]

    # --- applying -------------------------------------------------------------------------------------------

    def _take_many(self, runs: Sequence[PassRun], since_us: int) -> list[PassChange]:
        """Take in, all at once, the series of which every change is fresh; the changes of the others.

        Windows that end at `since_us` or later are not written yet.
        """
        keys = [key for run in runs for key in run.keys]
        numbers = self._numbers
        for key in dict.fromkeys(keys):
            if key not in numbers:
                self._number(key)
        columns = columns_of(runs, [numbers[key] for key in keys])
        late = stale(columns, self._settings)
        left = {keys[place] for place in late.nonzero()[0].tolist()}
        left.update((change.handoff, change.scope) for run in runs for _, change in run.odd)
        others: list[PassChange] = []
        if left:
            others = [change for run in runs for change in run.changes(left)]
            columns = columns.where(~np.isin(columns.series, [numbers[key] for key in left if key in numbers]))
        self._many.take(columns, self._placed, self._backlogged, since_us)
        return others

    def _straight(self, change: PassChange) -> bool:
        """Take in what happens most, a pass that begins or is over, where no window was written that it is in.

        Does what `_apply` would do, or nothing at all; False for nothing.
        """
        old, new = change.old, change.new
        if new is None:
            return False
        if new.end_us is None:
            return old is None and self._begun(change, new)
        if old is None or old.end_us is not None or old.start_us != new.start_us or old.deadline_us != new.deadline_us:
            return False
        return self._over(change, new, new.end_us)

    def _begun(self, change: PassChange, new: Span) -> bool:
        now_us, start_us, due_us = change.arrival_us, new.start_us, new.deadline_us
        slide_us, fresh_us = self._settings.slide_us, now_us - self._settings.grace_us
        pane_us = start_us - start_us % slide_us
        due_pane_us = pane_us if due_us is None else due_us - due_us % slide_us
        if pane_us + slide_us < fresh_us or due_pane_us + slide_us < fresh_us:
            return False
        series = self._series_of(change)
        if series.now_end_us != pane_us + slide_us:
            series.now_end_us = pane_us + slide_us
            self._schedule.touch_window(series.key, series.now_end_us, now_us)
        series.pane(pane_us).started += 1
        if due_us is not None:
            if series.due_end_us != due_pane_us + slide_us:
                series.due_end_us = due_pane_us + slide_us
                self._schedule.touch_window(series.key, series.due_end_us, now_us)
            series.pane(due_pane_us).overdue += 1
        if not series.opened:
            self._backlogged.add(series.key)
        series.opened.add(start_us)
        return True

    def _over(self, change: PassChange, new: Span, end_us: int) -> bool:
        """What was counted ahead as overdue is scheduled until its window is written: that needs no word here."""
        now_us, start_us, due_us = change.arrival_us, new.start_us, new.deadline_us
        slide_us, fresh_us = self._settings.slide_us, now_us - self._settings.grace_us
        pane_us = end_us - end_us % slide_us
        due_pane_us = pane_us if due_us is None else due_us - due_us % slide_us
        if pane_us + slide_us < fresh_us or due_pane_us + slide_us < fresh_us or self._is_idle_window(now_us, end_us):
            return False
        series = self._series_of(change)
        if due_us is not None and end_us <= due_us:
            pane = series.pane(due_pane_us)
            pane.overdue -= 1
            if pane.empty:
                del series.panes[due_pane_us]
        if new.completed:
            if series.now_end_us != pane_us + slide_us:
                series.now_end_us = pane_us + slide_us
                self._schedule.touch_window(series.key, series.now_end_us, now_us)
            pane = series.pane(pane_us)
            pane.completed += 1
            pane.latencies_us.append(end_us - start_us)
        series.opened.remove(start_us)
        series.ended(start_us, end_us)
        if not series.opened:
            self._backlogged.discard(series.key)
        return True

    def _is_idle_window(self, now_us: int, end_us: int) -> bool:
        """Whether a window that is written for its backlog alone could miss a pass that is over (`_touch_idle`)."""
        grace_us, step_us = self._settings.grace_us, self._idle_step_us
        if self._idle_end_us < now_us - grace_us or self._idle_end_us - step_us >= now_us - grace_us:
            self._idle_end_us = -(-(now_us - grace_us) // step_us) * step_us
        return self._idle_end_us <= max(now_us, end_us)

    # --- state ----------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """Series, those with open passes, windows that wait to be written, and changes held back."""
        return {
            "series": len(self._series),
            "backlogged": len(self._backlogged),
            "windows": len(self._schedule),
            "held": sum(len(run) for run in self._held),
        }

    def snapshot(self) -> HandoffWindowsState:
        """Every series, the schedule, and the changes held back."""
        series = [series_state(one, self._settings.slide_us) for one in self._series.values()]
        settings, identities = self._settings, [handoff.identity for handoff in self._handoffs]
        return HandoffWindowsState(
            self.VERSION,
            self._clock_us,
            self._idle_us,
            self._held,
            self._schedule.snapshot(),
            series,
            identities,
            int(settings.size_us),
            int(settings.slide_us),
            int(settings.kept_us),
            self._schedule.closed_us,
        )

    def restore(self, state: HandoffWindowsState) -> None:
        """Take over a snapshot; series of handoffs that are no longer in the map as they were are let go.

        Raises:
            StateError: it is of another version, or of windows of another shape.
        """
        if state.version != self.VERSION:
            raise StateError(f"handoff window state of version {state.version}; this code reads {self.VERSION}")
        now, kept_us = self._settings, (state.size_us, state.slide_us)
        if state.slide_us and kept_us != (now.size_us, now.slide_us):
            raise StateError(
                f"window and slide of the process map are {people_duration(now.size_us)} and "
                f"{people_duration(now.slide_us)}, but the state was kept with "
                f"{' and '.join(map(people_duration, kept_us))}: set them back, or start with a new recovery directory"
            )
        self._clock_us, self._idle_us = state.clock_us, BEGIN_OF_TIME_US
        self._pass_idle(state.idle_us, idle=True)
        self._held = list(state.held)
        self._schedule.restore(state.schedule)
        self._schedule.closed_us = state.closed_us
        if state.slide_us and state.kept_us < now.kept_us:  # what windows counted that could not be corrected is gone
            self._schedule.closed_us = max(state.closed_us, state.clock_us - state.kept_us)
        same = {one.name for one in self._handoffs if not state.handoffs or one.identity in state.handoffs}
        kept = [series_of(one, self._settings.slide_us) for one in state.series if one.handoff in same]
        self._series = {one.key: one for one in kept}
        self._numbers, self._placed = {}, []
        self._backlogged = {one.key for one in kept if one.opened}


def _no_way(_: PassChange) -> bool:
    return False


def _arrival(change: PassChange) -> int:
    return change.arrival_us
