"""Clocks of sources that are wrong: all that a source says is suddenly dated the same amount behind, or ahead.

What tells that from messages that are late: a delay grows and drains, and comes after a silence as long as itself; a
clock jumps while the source goes on speaking, and stays where it is. Nothing but a clock dates messages ahead.
"""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.clock_offsets import SourceOffset, offset_tally
from operators.detectors.events import CELL_US, Collected
from operators.detectors.integration_findings import Said, Standing, standing_finding
from operators.detectors.integration_minute import Minute, SourceMinute
from operators.detectors.records import Scoped, ScopeFinding, Tally, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from schemas.durations import MINUTE_US, SECOND_US, Duration, people_duration

_AHEAD, _BEHIND, _RIGHT = "clock_ahead", "clock_behind", "clock_right"
#: So many minutes in which a source was heard before its delay counts as known.
_KNOWN = 10
#: What is usual follows what is seen with one part in so many.
_SLOW = 200
#: A run is steady when it varies by no more than this, or this share of itself.
_STEADY_US, _STEADY = MINUTE_US, 0.2


class ClockSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far behind (event time before arrival, beyond the usual) and ahead a clock must be, in how many minutes.

    Of the minutes in which the source is heard, running, and of at least `events` events.
    """

    behind: Duration = Duration(3 * MINUTE_US)
    ahead: Duration = Duration(2 * MINUTE_US)
    minutes: int = 3
    events: int = 8


class ClockState(msgspec.Struct, array_like=True):
    """What is kept of a source: its usual least delay, and the run of minutes in which it was off.

    `run` has the minute and the least delay of the first and last off-minutes, and their range and number.
    """

    known: int = 0
    usual_us: float = 0.0
    last: int = 0
    last_us: int = 0
    begun: int = 0
    first_us: int = 0
    low_us: int = 0
    high_us: int = 0
    minutes: int = 0
    events: int = 0
    jumped: bool = False
    right: int = 0
    is_off: bool = False
    offset: SourceOffset = msgspec.field(default_factory=SourceOffset)


class Clocks:
    """Follows the least delay of each source, minute by minute. Memory: a record a source."""

    def __init__(self, settings: ClockSettings) -> None:
        self._settings = settings
        self.states: dict[str, ClockState] = {}

    def suspects(self) -> set[str]:
        """Sources whose messages say nothing about delays now: their clock is wrong, or looks like it."""
        return {name for name, state in self.states.items() if state.is_off or (state.begun and state.jumped)}

    def minute(self, minute: Minute, out: Collected, *, unsettled: bool) -> None:
        """Take a minute."""
        for name, seen in minute.sources.items():
            state = self.states.get(name)
            if state is None:
                state = self.states[name] = ClockState()
            if not unsettled or seen.early:
                self._hear(name, state, seen, minute, out)
                self._tell(name, state, seen, minute, out)
            state.last, state.last_us = minute.number, seen.least_us

    def _tell(self, name: str, state: ClockState, seen: SourceMinute, minute: Minute, out: Collected) -> None:
        """Say by how much the clock is off, when that is another amount than before."""
        if state.is_off and state.right:
            return  # what it said while it was off may still come
        is_run, offset = bool(state.begun), state.offset
        offset.hear(seen.least_us, is_run=is_run)
        if is_run and state.jumped and not state.is_off:
            told = offset.suspect()
        else:
            told = offset.stand(state.usual_us, is_off=state.is_off and is_run, is_run=is_run)
        if told:
            out.tallies.append(offset_tally(name, offset, minute.end_us))

    def _hear(self, name: str, state: ClockState, seen: SourceMinute, minute: Minute, out: Collected) -> None:
        settings = self._settings
        is_ahead = 2 * seen.early >= seen.count
        is_behind = state.known >= _KNOWN and seen.least_us - state.usual_us > settings.behind
        if not (is_ahead or is_behind):
            self._is_right(name, state, seen, minute, out)
            return
        state.right = 0
        if not state.begun:
            silent_us = (minute.number - state.last) * CELL_US
            was_right = state.last_us - state.usual_us < settings.behind / 3
            state.jumped = is_ahead or (was_right and silent_us < seen.least_us / 2)
            state.begun, state.first_us = minute.number, seen.least_us
            state.low_us = state.high_us = seen.least_us
            state.minutes = state.events = 0
        state.minutes += 1
        state.events += seen.count
        state.low_us, state.high_us = min(state.low_us, seen.least_us), max(state.high_us, seen.least_us)
        if state.is_off or not state.jumped:
            return
        varies = state.high_us - state.low_us > max(_STEADY_US, _STEADY * abs(seen.least_us))
        if not varies and state.minutes >= settings.minutes and state.events >= settings.events:
            state.is_off = True
            off_us = seen.least_us - round(state.usual_us)
            metric = _AHEAD if is_ahead else _BEHIND
            since_us = state.begun * CELL_US
            out.tallies.append(
                Tally(metric, scoped(source=name), minute.end_us, since_us, abs(off_us) / SECOND_US, 1.0, seen.shown)
            )

    def _is_right(self, name: str, state: ClockState, seen: SourceMinute, minute: Minute, out: Collected) -> None:
        if state.is_off:
            state.right += 1
            if state.right < self._settings.minutes:
                return
            state.is_off = False
            out.tallies.append(
                Tally(_RIGHT, scoped(source=name), minute.end_us, minute.number * CELL_US, 1.0, 1.0, seen.shown)
            )
        state.begun = 0
        state.known += 1
        state.usual_us += (seen.least_us - state.usual_us) / min(state.known, _SLOW)


class ClockWatchState(msgspec.Struct, array_like=True):
    """What is kept of a source: by how much its clock is off (s), and the finding."""

    off_s: float = 0.0
    is_ahead: bool = False
    standing: Standing = msgspec.field(default_factory=Standing)


class ClockWatch(ScopeDetector):
    """The second part: says that a source's clock is wrong, and that it is right again."""

    NAME = "clock_skew"
    METRICS = (_AHEAD, _BEHIND, _RIGHT)
    State = ClockWatchState

    def judge(
        self, scope: Scoped, state: ClockWatchState, cells: Mapping[str, Cell], end_us: int
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        standing = state.standing
        for metric in (_AHEAD, _BEHIND):
            cell = cells.get(metric)
            if cell is not None and not standing.found_us:
                state.off_s, state.is_ahead = cell.last, metric == _AHEAD
                standing.begin(end_us, cell.first_at_us, 9.0, [member[2] for member in cell.members])
                yield self._finding(scope, state, end_us)
        if _RIGHT in cells and standing.found_us:
            yield self._finding(scope, state, end_us, closed=True)
            standing.end()

    def idle(self, state: ClockWatchState) -> bool:  # noqa: ARG002 - as its base
        """As `ScopeDetector`: only what is told is judged."""
        return True

    def _finding(self, scope: Scoped, state: ClockWatchState, end_us: int, *, closed: bool = False) -> ScopeFinding:
        name, way = dict(scope)["source"], "ahead" if state.is_ahead else "behind"
        by = people_duration(state.off_s * SECOND_US)
        sentence = f"The clock of {name} jumped: all that it says is dated {by} {way}, or more."
        if closed:
            sentence = f"The clock of {name}, which was {by} {way}, is right again."
        said = Said("event times close to arrival", f"{by} {way}", sentence)
        return standing_finding(self.NAME, "clock_skew", dict(scope), state.standing, said, end_us, closed=closed)
