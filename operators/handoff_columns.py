"""Many changes of passes at once: what `HandoffWindows` does change by change, for all series of a batch together.

Takes only changes of the two shapes that come in columns (`operators/handoff_changes.py`), and of them only series of
which every change is fresh: no window that it is in can have been written when it arrived. Fresh changes may be taken
before the windows that were due meanwhile are written: a pass that begins after a window's end is not in it, and one
that is over after it was open at it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from operators.handoff_changes import NEVER_US, WIDTH, PassRun
from operators.handoff_series import Series
from operators.windows import Key, WindowSchedule, WindowSettings

Numbers: TypeAlias = npt.NDArray[np.int64]


class Columns(NamedTuple):
    """Changes by column: the number of the series, and what `PassRun.times` holds."""

    series: Numbers
    arrival_us: Numbers
    start_us: Numbers
    end_us: Numbers
    due_us: Numbers
    completed: Numbers

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Columns":
        """Those that are chosen."""
        return Columns(*(column[chosen] for column in self))

    def sorted_by(self, *columns: Numbers) -> "Columns":
        """By one column after the other."""
        order = np.lexsort(columns[::-1])
        return Columns(*(column[order] for column in self))


def columns_of(runs: Sequence[PassRun], numbers: Sequence[int]) -> Columns:
    """What is in columns in some runs, one behind the other; `numbers` are those of their series."""
    times = np.frombuffer(b"".join(run.times for run in runs), np.int64).reshape(-1, WIDTH)
    return Columns(np.array(numbers, np.int64), *np.ascontiguousarray(times.T))


def begin_of(times: Numbers, width_us: int) -> Numbers:
    """The begins of the stretches of `width_us` that times fall into."""
    return times - times % width_us


def stale(columns: Columns, settings: WindowSettings) -> npt.NDArray[np.bool_]:
    """Which changes are in a window that may have been written when they arrived."""
    slide_us, fresh_us = settings.slide_us, columns.arrival_us - settings.grace_us
    has_begun = columns.end_us == NEVER_US
    happened_us = np.where(has_begun, columns.start_us, columns.end_us)
    # A deadline is counted with the begin, and taken back by an end before it, which is no later.
    due_us = np.where(has_begun & (columns.due_us != NEVER_US), columns.due_us, happened_us)
    return begin_of(np.minimum(happened_us, due_us), slide_us) + slide_us < fresh_us


class ManyChanges:
    """Counts fresh changes into the panes of their series, and schedules the windows that they are in.

    Cost: O(n log n) numbers, and a few calls for each pane of a series that something happened in.
    """

    def __init__(self, settings: WindowSettings, schedule: WindowSchedule, idle_step_us: int) -> None:
        self._settings, self._schedule, self._idle_step_us = settings, schedule, idle_step_us

    def take(self, columns: Columns, placed: Sequence[Series], backlogged: set[Key], since_us: int) -> None:
        """Take in changes of the series `placed`; windows from `since_us` on are not written yet."""
        has_begun = columns.end_us == NEVER_US
        self._deadlines(columns, has_begun, placed)
        begun, over = columns.where(has_begun), columns.where(~has_begun)
        if len(begun.series):
            self._begun(begun.sorted_by(begun.series, begun.start_us), placed, backlogged)
        if len(over.series):
            self._idle(over, placed, since_us)
            self._over(over.sorted_by(over.series, over.end_us), placed, backlogged)

    def _begun(self, begun: Columns, placed: Sequence[Series], backlogged: set[Key]) -> None:
        starts_us = begun.start_us.tolist()
        for number, low, high in _stretches(begun.series):
            series = placed[number]
            series.opened.begun(starts_us[low:high])
            backlogged.add(series.key)
        for number, pane_us, low, high in _panes(begun.series, begin_of(begun.start_us, self._settings.slide_us)):
            series = placed[number]
            series.pane(pane_us).started += high - low
            self._touch(series, pane_us)

    def _over(self, over: Columns, placed: Sequence[Series], backlogged: set[Key]) -> None:
        starts_us, ends_us = over.start_us.tolist(), over.end_us.tolist()
        for number, low, high in _stretches(over.series):
            series = placed[number]
            series.opened.ended(starts_us[low:high])
            series.ended_in_order(starts_us[low:high], ends_us[low:high])
            if not series.opened:
                backlogged.discard(series.key)
        done = over if over.completed.all() else over.where(over.completed == 1)
        latencies_us = (done.end_us - done.start_us).tolist()
        for number, pane_us, low, high in _panes(done.series, begin_of(done.end_us, self._settings.slide_us)):
            series = placed[number]
            pane = series.pane(pane_us)
            pane.completed += high - low
            pane.latencies_us.extend(latencies_us[low:high])
            self._touch(series, pane_us)

    def _deadlines(self, columns: Columns, has_begun: npt.NDArray[np.bool_], placed: Sequence[Series]) -> None:
        """A pass is counted ahead as overdue when it begins, and no longer when it is over in time."""
        counted = (columns.due_us != NEVER_US) & (has_begun | (columns.end_us <= columns.due_us))
        signs = np.where(has_begun, 1, -1)[counted]
        numbers, panes_us = columns.series[counted], begin_of(columns.due_us[counted], self._settings.slide_us)
        order = np.lexsort((panes_us, numbers))
        sums = np.concatenate(([0], np.cumsum(signs[order]))).tolist()
        for number, pane_us, low, high in _panes(numbers[order], panes_us[order]):
            more = sums[high] - sums[low]
            if not more:
                continue
            series = placed[number]
            pane = series.pane(pane_us)
            pane.overdue += more
            if more > 0:
                end_us = pane_us + self._settings.slide_us
                self._schedule.touch_window(series.key, end_us, end_us)
            elif pane.empty:
                del series.panes[pane_us]

    def _idle(self, over: Columns, placed: Sequence[Series], since_us: int) -> None:
        """Windows that are written for their backlog alone, are not yet, and no longer find a pass among the open."""
        step_us = self._idle_step_us
        first_us = -begin_of(-np.maximum(over.start_us, since_us), step_us)
        last_us = np.maximum(over.arrival_us, over.end_us)
        for place in np.flatnonzero(first_us <= last_us).tolist():
            key = placed[over.series[place]].key
            for end_us in range(int(first_us[place]), int(last_us[place]) + 1, step_us):
                self._schedule.touch_window(key, end_us, end_us)

    def _touch(self, series: Series, pane_us: int) -> None:
        end_us = pane_us + self._settings.slide_us
        if series.now_end_us != end_us:
            series.now_end_us = end_us
            self._schedule.touch_window(series.key, end_us, end_us)


def _stretches(numbers: Numbers) -> Iterator[tuple[int, int, int]]:
    """The stretches of sorted numbers that are the same: the number, from where, to where."""
    lows = np.concatenate(([0], np.flatnonzero(numbers[1:] != numbers[:-1]) + 1))
    bounds = lows.tolist()
    return zip(numbers[lows].tolist(), bounds, [*bounds[1:], len(numbers)], strict=True)


def _panes(numbers: Numbers, panes_us: Numbers) -> Iterator[tuple[int, int, int, int]]:
    """The stretches of sorted (number, pane) that are the same: number, pane, from where, to where."""
    if not len(numbers):
        return iter(())
    cuts = (numbers[1:] != numbers[:-1]) | (panes_us[1:] != panes_us[:-1])
    lows = np.concatenate(([0], np.flatnonzero(cuts) + 1))
    bounds = lows.tolist()
    return zip(numbers[lows].tolist(), panes_us[lows].tolist(), bounds, [*bounds[1:], len(numbers)], strict=True)
