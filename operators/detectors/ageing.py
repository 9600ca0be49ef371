"""Work by its age, the first part: of each piece, at each of some ages, whether it was over by then.

What comes of the counts is judged by `AgeWatch`. Since only work that has reached an age is judged at it, what began
lately does not make the usual look quicker than it is (as latencies of what has ended do).
"""

from collections.abc import Mapping, Sequence

import msgspec

from operators.detectors.events import CELL_US, Cells, Collected, EventDetector, Metrics
from operators.detectors.kept import read_kept
from operators.detectors.records import Impact, Scoped, Tally
from schemas.durations import HOUR_US, SECOND_US
from schemas.events import Arrived


class Waiting(msgspec.Struct, array_like=True, gc=False):
    """A piece of work that goes on: since when (arrival and event time), at which age it is looked at next.

    `until_us` is when it is promised to be over, 0 where nothing was promised.
    """

    begun_us: int
    at_us: int
    scope: Scoped
    order_id: str
    event_id: str
    until_us: int = 0
    next: int = 0


class AgeingState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of an `Ageing`: what goes on, and when what is over ended (negative: heard of before its begin)."""

    version: int
    waiting: dict[str, Waiting]
    ended: dict[str, int]


class Ageing(EventDetector):
    """Follows work from its begin to its end. Subclasses call `begin` and `end`, and say what is touched.

    A piece of work ends once: what begins again under the same key within `remembered_us` is no new work (a second
    parcel of an order whose goods issue is posted as one), and its end may be reported before its begin.

    Memory: some 300 bytes for a piece that goes on, given up at the last age; 100 for each that ended within
    `remembered_us`. Cost: a dictionary entry and a timer for each piece, a count for each age.

    Args:
        name: the metrics' name: `name:0` are those judged at the first age, `name:heard` are begins and ends.
        ages: the ages, ascending, in microseconds.
        early: further ages, at which what is not over is only counted: `name:early:0` are those not over at the first.
    """

    VERSION = 1

    def __init__(self, name: str, ages: Sequence[int], remembered_us: int, early: Sequence[int] = ()) -> None:
        super().__init__()
        self.NAME = name  # type: ignore[misc] # an instance is a detector of its own
        self._ages, self._remembered_us = tuple(sorted((*ages, *early))), remembered_us
        self._span_us = max(SECOND_US, min(HOUR_US, remembered_us // 24))
        judged, counted = iter(age_metrics(name, len(ages))), iter(early_metrics(name, len(early)))
        self._judged = tuple(age not in early for age in self._ages)
        self._metrics = Metrics(*(next(judged if is_judged else counted) for is_judged in self._judged), *judged)
        self._is_by_age = type(self).due_us is Ageing.due_us
        self._is_by_cell = self._is_by_age and not any(age % CELL_US for age in self._ages)
        judged_at = [(index, self._ages[index] // CELL_US) for index, is_judged in enumerate(self._judged) if is_judged]
        #: By the age that is next: at which ages work is judged from there on, and how many cells after its begin.
        self._ahead = [tuple(one for one in judged_at if one[0] >= next_) for next_ in range(len(self._ages) + 1)]
        self._waiting: dict[str, Waiting] = {}
        self._ended: dict[str, int] = {}  # in the order in which they ended
        self._sweep_us = 0

    def due_us(self, work: Waiting, index: int) -> int:
        """When it reaches an age."""
        return work.begun_us + self._ages[index]

    def first_age(self, work: Waiting) -> int:
        """The index of the age at which it is looked at first."""
        del work
        return 0

    def impact(self, key: str, work: Waiting) -> Impact:
        """What is touched when it is late."""
        raise NotImplementedError

    def begin(
        self,
        key: str,
        arrived: Arrived,
        scope: Scoped,
        order_id: str,
        out: Collected,
        *,
        until_us: int = 0,
    ) -> bool:
        """It began. Returns whether that is new."""
        now_us = arrived.arrival_us
        out.good(self._metrics.names[-1], scope, now_us)
        if key in self._waiting:
            return False
        work = Waiting(now_us, arrived.occurred_us, scope, order_id, arrived.event.event_id, until_us)
        ended_us = self._ended.get(key)
        if ended_us is None:
            self._waiting[key] = work
            work.next = first = self.first_age(work)
            self.set_timer(self.due_us(work, first), key)
            return True
        if ended_us < 0:  # its end was heard of first
            self._ended[key] = -ended_us
            self._over(work, out.cells(self._metrics, scope))
        return ended_us < 0

    def end(self, key: str, arrived: Arrived, out: Collected) -> Waiting | None:
        """It is over. Returns what it was, None where that it began was not heard of."""
        work = self._waiting.pop(key, None)
        now_us = arrived.arrival_us
        if work is not None:
            cells = out.cells(self._metrics, work.scope)
            heard, cell = cells[-1], now_us // CELL_US
            heard[cell] = heard.get(cell, 0.0) + 1.0
            self._over(work, cells)
        elif key in self._ended:
            return None
        self._ended[key] = -now_us if work is None else now_us
        if self._sweep_us <= now_us:
            self._sweep(now_us)
        return work

    def drop(self, key: str) -> None:
        """It is not waited for any more (cancelled): counted neither way from here on."""
        self._waiting.pop(key, None)

    def _over(self, work: Waiting, cells: tuple[Cells, ...]) -> None:
        """It counts as over at every age that it has yet to reach."""
        begun, is_by_cell = work.begun_us // CELL_US, self._is_by_cell
        for index, after in self._ahead[work.next]:
            counted = cells[index]
            cell = begun + after if is_by_cell else self.due_us(work, index) // CELL_US
            counted[cell] = counted.get(cell, 0.0) + 1.0

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """As `EventDetector`: it reaches an age and is not over."""
        work = self._waiting.get(key)
        if work is None:
            return
        index, ages = work.next, self._ages
        if (work.begun_us + ages[index] if self._is_by_age else self.due_us(work, index)) > due_us:
            return
        if self._judged[index]:
            metric, impact = self._metrics.names[index], self.impact(key, work)
            out.tallies.append(Tally(metric, work.scope, due_us, work.at_us, 1.0, 1.0, work.event_id, impact))
        else:
            out.good(self._metrics.names[index], work.scope, due_us)
        work.next = index = index + 1
        if index < len(ages):
            next_us = work.begun_us + ages[index] if self._is_by_age else self.due_us(work, index)
            self.set_timer(max(due_us, next_us), key)
        else:
            del self._waiting[key]

    def _sweep(self, now_us: int) -> None:
        """Forget, every now and then (a 24th of how long it is remembered, at most an hour), what ended long ago."""
        span = now_us // self._span_us
        self._sweep_us, before = (span + 1) * self._span_us, span * self._span_us - self._remembered_us
        gone = []
        for key, at_us in self._ended.items():
            if abs(at_us) >= before:
                break
            gone.append(key)
        for key in gone:
            del self._ended[key]

    def sizes(self) -> Mapping[str, int]:
        """As `EventDetector`."""
        return {"waiting": len(self._waiting), "ended": len(self._ended)}

    def snapshot(self) -> bytes:
        """As `EventDetector`."""
        return msgspec.msgpack.encode(AgeingState(self.VERSION, self._waiting, self._ended))

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        kept = read_kept(state, AgeingState, self.VERSION, self.NAME)
        self._waiting, self._ended = kept.waiting, kept.ended


def age_metrics(name: str, ages: int) -> tuple[str, ...]:
    """The metric of each age, and that of what is heard of at all."""
    return (*(f"{name}:{index}" for index in range(ages)), f"{name}:heard")


def early_metrics(name: str, ages: int) -> tuple[str, ...]:
    """The metric of each age at which what is not over is only counted."""
    return tuple(f"{name}:early:{index}" for index in range(ages))
