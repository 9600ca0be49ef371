"""What a snapshot keeps of handoff windows: numbers packed as bytes, windows by number."""

from array import array
from collections.abc import Iterable

import msgspec

from operators.handoff_changes import PassRun
from operators.handoff_open import OpenPasses
from operators.handoff_series import Pane, Series
from operators.windows import ScheduleState
from schemas.durations import BEGIN_OF_TIME_US


class PaneState(msgspec.Struct, frozen=True, array_like=True):
    """A pane in a snapshot: its number, counts, and latencies as 64-bit numbers."""

    number: int
    started: int
    overdue: int
    completed: int
    latencies_us: bytes


class SeriesState(msgspec.Struct, frozen=True, array_like=True):
    """A series in a snapshot: times as 64-bit numbers, windows by number (end ÷ slide), 32 bits each."""

    handoff: str
    scope: str
    open_us: bytes
    over_us: bytes
    over_start_us: bytes
    panes: list[PaneState]
    first_written: int
    written: bytes


class HandoffWindowsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `HandoffWindows`.

    `handoffs` are the identities of those that series are of, `size_us` and `slide_us` the shape of the windows (none
    in states of before), which could be corrected for `kept_us`. Those that ended before `closed_us` no longer can.
    """

    version: int
    clock_us: int
    idle_us: int
    held: list[PassRun]
    schedule: ScheduleState
    series: list[SeriesState]
    handoffs: list[str] = []
    size_us: int = 0
    slide_us: int = 0
    kept_us: int = 0
    closed_us: int = BEGIN_OF_TIME_US


def series_state(series: Series, slide_us: int) -> SeriesState:
    """What a snapshot keeps of a series."""
    written = sorted(end // slide_us for end in series.written)
    first = written[0] if written else 0
    return SeriesState(
        series.key[0],
        series.key[1],
        _bytes_of(series.opened.starts_us()),
        series.over_us.tobytes(),
        series.over_start_us.tobytes(),
        [
            PaneState(start // slide_us, pane.started, pane.overdue, pane.completed, pane.latencies_us.tobytes())
            for start, pane in series.panes.items()
        ],
        first,
        array("I", [number - first for number in written]).tobytes(),
    )


def series_of(state: SeriesState, slide_us: int) -> Series:
    """The reverse of `series_state`."""
    panes = {
        one.number * slide_us: Pane(_numbers(one.latencies_us), one.started, one.overdue, one.completed)
        for one in state.panes
    }
    written = array("I")
    written.frombytes(state.written)
    return Series(
        (state.handoff, state.scope),
        OpenPasses(_numbers(state.open_us)),
        _numbers(state.over_us),
        _numbers(state.over_start_us),
        panes,
        {(state.first_written + number) * slide_us for number in written},
    )


def _bytes_of(numbers: Iterable[int]) -> bytes:
    return array("q", numbers).tobytes()


def _numbers(packed: bytes) -> "array[int]":
    out = array("q")
    out.frombytes(packed)
    return out
