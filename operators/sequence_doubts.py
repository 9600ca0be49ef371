"""Sequence findings that may be a clock's fault: told, or withheld because a clock that is known to be off says it all.

Case groups know no clocks: what a clock is off by follows from all messages of its source, whichever groups they go to
(`operators/detectors/clock_offsets.py`). So they hand on what is in doubt, and here, where both come together, it is
judged as soon as all is known of the minute in which it was found.
"""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.clock_offsets import ClockOffset, offset_of
from operators.detectors.events import CELL_US
from operators.detectors.records import Tally
from operators.findings import Doubt, Misdated, OddTime
from schemas.durations import SECOND_US
from schemas.errors import StateError
from schemas.rows import Signal

#: A finding waits for so many minutes at most for what comes of a clock that is suspected.
_PATIENCE = 15
#: So many findings may wait; of more, those that came first are told.
_MOST_WAITING = 20_000
#: So many of those that were told are known, so that what corrects them is told, too.
_MOST_TOLD = 20_000
#: Clocks are known to so much, or to this share of what they are off by.
_NEAR_US, _NEAR = 2 * SECOND_US, 0.02


class DoubtsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `SequenceDoubts`: what waits by the minute it is judged in, clocks, and how many were withheld."""

    version: int
    waiting: list[tuple[int, list[Doubt]]]
    heard: list[tuple[int, list[ClockOffset]]]
    offsets: list[ClockOffset]
    withheld: dict[str, int]
    told: list[str]


class SequenceDoubts:
    """Judges doubts a minute at a time, when nothing that arrived in it is still to come.

    A finding is withheld where its two events stand in the wrong order by no more than what their sources' clocks are
    off by, one against the other; what takes it back is withheld with it. Where a clock has just jumped, it waits until
    that is known to be a clock or not, 15 minutes at most. All else is told as it was found, and what corrects it later
    is told, too. The pass itself says `out_of_sequence` either way: that is what its times are.

    Memory: what waits (20,000 at most), the ids of the last 20,000 that were told, a record for each source whose clock
    is off, and a number for each of which anything was withheld. Cost: O(log n) a doubt.
    """

    VERSION = 1

    def __init__(self) -> None:
        self._waiting: dict[int, list[Doubt]] = {}
        self._heard: dict[int, list[ClockOffset]] = {}
        self._offsets: dict[str, ClockOffset] = {}
        self._withheld: dict[str, int] = {}
        self._told: dict[str, None] = {}

    def hear(self, tally: Tally) -> None:
        """By how much a source's clock is off, from the minute on at the end of which that is said."""
        self._heard.setdefault(tally.arrival_us // CELL_US, []).append(offset_of(tally))

    def ask(self, doubts: Iterable[Doubt]) -> None:
        """Take findings that are in doubt."""
        for doubt in doubts:
            self._waiting.setdefault(doubt.signal.arrival_us // CELL_US, []).append(doubt)

    def advance(self, watermark_us: int) -> list[Signal]:
        """Judge the minutes that are over; what is told, in the order of minutes."""
        upto = watermark_us // CELL_US
        told: list[Signal] = []
        while True:
            cell = min(min(self._waiting, default=upto), min(self._heard, default=upto))
            if cell >= upto:
                return told
            for offset in self._heard.pop(cell, ()):
                self._offsets[offset.source] = offset
                if not (offset.by_us or offset.is_suspect):
                    del self._offsets[offset.source]
            again: list[Doubt] = []
            for doubt in sorted(self._waiting.pop(cell, ()), key=_order):
                self._judge(doubt, cell, told, again)
            if again:
                spare = len(again) - _MOST_WAITING
                for doubt in again[: max(0, spare)]:
                    self._tell(doubt, told)
                self._waiting[cell + 1] = [*again[max(0, spare) :], *self._waiting.get(cell + 1, ())]

    def end(self) -> list[Signal]:
        """There is no more: tell what still waits."""
        waiting, self._waiting = self._waiting, {}
        return [doubt.signal for cell in sorted(waiting) for doubt in sorted(waiting[cell], key=_order)]

    def _judge(self, doubt: Doubt, cell: int, told: list[Signal], again: list[Doubt]) -> None:
        why = doubt.why
        culprit = self._culprit(why)
        if doubt.signal.signal_id in self._told:
            told.append(doubt.signal)
        elif culprit:
            self._withheld[culprit] = self._withheld.get(culprit, 0) + (doubt.signal.closed_at_us is None)
        elif self._is_suspect(why.early) and cell - doubt.signal.arrival_us // CELL_US < _PATIENCE:
            again.append(doubt)
        else:
            self._tell(doubt, told)

    def _tell(self, doubt: Doubt, told: list[Signal]) -> None:
        told.append(doubt.signal)
        self._told[doubt.signal.signal_id] = None
        if len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]

    def _culprit(self, why: Misdated) -> str:
        """The source whose clock says it all, the one that is off by more of two; empty where there is none."""
        late_us, early_us = self._ahead_us(why.late), self._ahead_us(why.early)
        apart_us = late_us - early_us
        if apart_us <= 0 or why.margin_us > apart_us + max(_NEAR_US, round(_NEAR * apart_us)):
            return ""
        odd = why.late if abs(late_us) > abs(early_us) else why.early
        assert odd is not None
        return odd.source

    def _ahead_us(self, odd: OddTime | None) -> int:
        """How far ahead the clock was by which an event is dated, behind: less than 0."""
        if odd is None:
            return 0
        known = self._offsets.get(odd.source)
        by_us = known.by_us if known is not None else 0
        if odd.ahead_us > 0:  # that much is proven by the event itself
            return max(odd.ahead_us, by_us)
        # One that came sooner than the clock is behind was dated before that was so.
        return by_us if by_us < 0 and odd.ahead_us <= by_us + _NEAR_US else 0

    def _is_suspect(self, odd: OddTime | None) -> bool:
        if odd is None or odd.ahead_us > 0:
            return False
        known = self._offsets.get(odd.source)
        return known is not None and known.is_suspect

    @property
    def withheld(self) -> Mapping[str, int]:
        """How many findings were withheld since the job began, by the source whose clock was off."""
        return self._withheld

    def sizes(self) -> dict[str, int]:
        """How many findings wait, how many that were told are known, and how many clocks are off or suspected."""
        waiting = sum(map(len, self._waiting.values()))
        return {"waiting": waiting, "told": len(self._told), "clocks": len(self._offsets)}

    def snapshot(self) -> DoubtsState:
        """Everything that is kept."""
        return DoubtsState(
            self.VERSION,
            list(self._waiting.items()),
            list(self._heard.items()),
            list(self._offsets.values()),
            self._withheld,
            list(self._told),
        )

    def restore(self, state: DoubtsState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"sequence doubts' state of version {state.version}; this code reads {self.VERSION}")
        self._waiting = {cell: list(doubts) for cell, doubts in state.waiting}
        self._heard = {cell: list(offsets) for cell, offsets in state.heard}
        self._offsets = {offset.source: offset for offset in state.offsets}
        self._withheld = dict(state.withheld)
        self._told = dict.fromkeys(state.told)


def _order(doubt: Doubt) -> tuple[int, str, int]:
    return doubt.signal.arrival_us, doubt.signal.signal_id, doubt.signal.version
