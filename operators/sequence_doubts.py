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
from operators.findings import Doubt, LateStart, Misdated, OddTime
from schemas.durations import SECOND_US
from schemas.errors import StateError
from schemas.rows import Signal

#: A finding waits for so many minutes at most for what comes of a clock that is suspected.
_PATIENCE = 15
#: So many findings may wait; of more, those that came first are told.
_MOST_WAITING = 20_000
#: So many of those that were told are known, so that what corrects them is told, too.
_MOST_TOLD = 20_000
#: A source whose messages are late, not its clock: so many late starts say so, of the last so many minutes.
_LATE_STARTS, _LATE_MINUTES = 5, 30
#: So many of them are known of a source, and of what speaks against them.
_MOST_LATE = 64
#: Their delays are what the clock would be off by, to so much, or to this share of it.
_ALIKE_US, _ALIKE = 5 * SECOND_US, 0.2
#: Clocks are known to so much, or to this share of what they are off by.
_NEAR_US, _NEAR = 2 * SECOND_US, 0.02


class DoubtsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `SequenceDoubts`: what waits by the minute it is judged in, clocks, and how many were withheld.

    `noted` are late starts by minute, `late` (minute, delay) of those that count, by source, and `against` the minutes
    of passes that a late message can't explain.
    """

    version: int
    waiting: list[tuple[int, list[Doubt]]]
    heard: list[tuple[int, list[ClockOffset]]]
    offsets: list[ClockOffset]
    withheld: dict[str, int]
    told: list[str]
    noted: list[tuple[int, dict[str, list[LateStart]]]] = []
    late: dict[str, list[tuple[int, int]]] = {}
    against: dict[str, list[int]] = {}


class SequenceDoubts:
    """Judges doubts a minute at a time, when nothing that arrived in it is still to come.

    A finding is withheld where its two events stand in the wrong order by no more than what their sources' clocks are
    off by, one against the other; what takes it back is withheld with it. Where a clock has just jumped, it waits until
    that is known to be a clock or not, 15 minutes at most. All else is told as it was found, and what corrects it later
    is told, too; an impossible state, which nothing corrects, is told and counted once (`Doubt.is_once`). The pass
    itself says `out_of_sequence` either way: that is what its times are.

    A feed that delays all messages alike looks like a clock that was always behind. What tells them apart are causes
    and effects: of a late message the effect is known before it comes itself (`LateStart`), and is dated behind it all
    the same; by a clock that is behind, what a source did is dated before what brought it about. Where there is more of
    the former, of late, it is the messages, and what is found is told.

    Memory: what waits (20,000 at most), the ids of the last 20,000 that were told, a record for each source whose clock
    is off, 128 numbers for each that is late, and a number for each of which anything was withheld. Cost: O(log n) a
    doubt.
    """

    VERSION = 1

    def __init__(self) -> None:
        self._waiting: dict[int, list[Doubt]] = {}
        self._heard: dict[int, list[ClockOffset]] = {}
        self._offsets: dict[str, ClockOffset] = {}
        self._withheld: dict[str, int] = {}
        self._told: dict[str, None] = {}
        self._noted: dict[int, dict[str, list[LateStart]]] = {}
        self._late: dict[str, list[tuple[int, int]]] = {}
        self._against: dict[str, list[int]] = {}

    def note(self, late_starts: Iterable[LateStart]) -> None:
        """Take starts that came long after their ends; of a minute some are enough."""
        for late in late_starts:
            noted = self._noted.setdefault(late.arrival_us // CELL_US, {}).setdefault(late.source, [])
            noted.append(late)
            if len(noted) > 2 * _MOST_LATE:
                noted.sort()
                del noted[_MOST_LATE:]

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
            cell = min(min(kept, default=upto) for kept in (self._waiting, self._heard, self._noted))
            if cell >= upto:
                return told
            for offset in self._heard.pop(cell, ()):
                self._offsets[offset.source] = offset
                if not (offset.by_us or offset.is_suspect):
                    del self._offsets[offset.source]
            for source, noted in self._noted.pop(cell, {}).items():
                known = [*self._late.get(source, ()), *((cell, one.delay_us) for one in sorted(noted)[:_MOST_LATE])]
                self._late[source] = known[-_MOST_LATE:]
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
        told: list[Signal] = []
        for cell in sorted(waiting):
            for doubt in sorted(waiting[cell], key=_order):
                self._tell(doubt, told)
        return told

    def _judge(self, doubt: Doubt, cell: int, told: list[Signal], again: list[Doubt]) -> None:
        why = doubt.why
        culprit = self._culprit(why)
        if culprit and why.early is not None and culprit == why.early.source:
            is_late = self._is_late(culprit, cell)
            if doubt.signal.closed_at_us is None and not doubt.is_again:
                self._against[culprit] = [*self._against.get(culprit, ()), cell][-_MOST_LATE:]
            culprit = "" if is_late else culprit
        if doubt.signal.signal_id in self._told:
            if not doubt.is_once:
                told.append(doubt.signal)
        elif culprit:
            is_new = doubt.signal.closed_at_us is None and not doubt.is_again
            self._withheld[culprit] = self._withheld.get(culprit, 0) + is_new
        elif self._is_suspect(why.early) and cell - doubt.signal.arrival_us // CELL_US < _PATIENCE:
            again.append(doubt)
        else:
            self._tell(doubt, told)

    def _tell(self, doubt: Doubt, told: list[Signal]) -> None:
        if doubt.is_once and doubt.signal.signal_id in self._told:
            return
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

    def _is_late(self, source: str, cell: int) -> bool:
        """Whether it is the messages of a source that are late, and its clock is right."""
        known = self._offsets.get(source)
        if known is None or known.by_us >= 0:
            return False
        alike_us = max(_ALIKE_US, round(_ALIKE * -known.by_us))
        late = [at for at, delay_us in self._late.get(source, ()) if abs(delay_us + known.by_us) <= alike_us]
        many = sum(at > cell - _LATE_MINUTES for at in late)
        return many >= _LATE_STARTS and many > sum(at > cell - _LATE_MINUTES for at in self._against.get(source, ()))

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
            list(self._noted.items()),
            self._late,
            self._against,
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
        self._noted = dict(state.noted)
        self._late = {source: list(late) for source, late in state.late.items()}
        self._against = {source: list(cells) for source, cells in state.against.items()}


def _order(doubt: Doubt) -> tuple[int, str, int]:
    return doubt.signal.arrival_us, doubt.signal.signal_id, doubt.signal.version
