"""The reservations of one item, and how much of its stock they hold at any point of event time."""

from bisect import bisect_left, bisect_right
from typing import TypeAlias

import msgspec

from operators.stock_bytes import pack_values, shortest, unpack_values
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US

#: Quantities are summed as whole numbers of this fraction of a unit, so that the sum does not depend on the order.
GRAIN = 1_000_000
#: Grains that are kept as a number of 64 bits; the contract allows more (1e15 units).
MOST_KEPT = 1 << 62
#: A span that begins where it ends holds no time.
_NO_SPAN_US = 0

#: (from when, until when, sum in grains, the records as bytes)
ReservationsState: TypeAlias = tuple[int | None, int | None, int, bytes]


class Hold(msgspec.Struct, array_like=True, gc=False):
    """A reservation: how much, from when to when (event times; None where not known yet)."""

    qty: float = 0.0
    created_us: int | None = None
    closed_us: int | None = None
    expires_us: int | None = None

    @property
    def end_us(self) -> int | None:
        """From when on it holds nothing any more, None while that is not known."""
        if self.closed_us is None or (self.expires_us is not None and self.expires_us < self.closed_us):
            return self.expires_us
        return self.closed_us


#: The same with the records by id.
OpenReservations: TypeAlias = tuple[int | None, int | None, int, dict[str, Hold]]


class Reservations:
    """Reservations by id, and the sum of those that hold as a step function of event time.

    The sum is kept for the span of time between two steps that was asked for last, and is walked from there: what is
    asked for lies close together (now, and the end of the last window), so an item with ten thousand reservations
    costs what one with ten does. The steps are made when something outside of the span is asked for; the records are
    unpacked when one of them changes. From `from_us` until `until_us` the sum is `sum_grains`.

    What arrives of a reservation after its end was forgotten counts as a new one.

    Memory: one record a reservation and two numbers a step. Cost: O(log n) a change, and a question O(log n + steps
    since the last one). State: the records and the span.
    """

    __slots__ = ("_at", "_changes", "_holds", "_packed", "_times", "from_us", "sum_grains", "until_us")

    def __init__(self, state: ReservationsState | None = None) -> None:
        self.from_us, self.until_us, self.sum_grains, self._packed = BEGIN_OF_TIME_US, END_OF_TIME_US, 0, b""
        self._holds: dict[str, Hold] | None = None
        if state is None:
            self._holds = {}
        else:
            began_us, until_us, self.sum_grains, self._packed = state
            self.from_us = BEGIN_OF_TIME_US if began_us is None else began_us
            self.until_us = END_OF_TIME_US if until_us is None else until_us
        self._times: list[int] | None = None
        self._changes: list[int] = []
        self._at = 0

    @classmethod
    def opened(cls, state: OpenReservations) -> "Reservations":
        """What `open_state` gave."""
        began_us, until_us, grains, holds = state
        made = cls((began_us, until_us, grains, b""))
        made._holds = holds
        return made

    @property
    def holds(self) -> dict[str, Hold]:
        """The records by id."""
        if self._holds is None:
            self._holds = _unpacked(self._packed)
        return self._holds

    def state(self) -> ReservationsState | None:
        """What makes the same again; None where there is none."""
        if self._holds is not None:
            self._packed = _packed(self._holds)
        if not self._packed:
            return None
        return (*self._span(), self._packed)

    def open_state(self) -> OpenReservations | None:
        """What makes the same again (`opened`), with the records as they are; None where there is none."""
        return (*self._span(), self.holds) if self.holds else None

    def _span(self) -> tuple[int | None, int | None, int]:
        """From when until when the sum is known, and the sum."""
        if not -MOST_KEPT < self.sum_grains < MOST_KEPT:
            return _NO_SPAN_US, _NO_SPAN_US, 0  # to be added up again
        return (
            None if self.from_us == BEGIN_OF_TIME_US else self.from_us,
            None if self.until_us == END_OF_TIME_US else self.until_us,
            self.sum_grains,
        )

    def create(self, name: str, created_us: int, qty: float, expires_us: int | None) -> None:
        """A reservation was made; the earliest time said of it counts, of two at that time the lesser quantity."""
        holds = self._holds if self._holds is not None else self.holds
        hold = holds.get(name)
        if hold is None:
            hold = holds[name] = Hold(qty, created_us, None, expires_us)
            times = self._times
            if expires_us is not None:
                self._put(hold, 1)
            elif times and created_us <= times[-1]:
                self._put_step(created_us, round(qty * GRAIN), goes_on=True)
            else:  # as `_put_step`, of a step that stands last
                change = round(qty * GRAIN)
                if times is not None:
                    times.append(created_us)
                    self._changes.append(change)
                if created_us < self.until_us:
                    self.sum_grains += change
                    if created_us > self.from_us:  # noqa: PLR1730 - a call of max() for each
                        self.from_us = created_us
                    if times is not None:
                        self._at = len(times)
            return
        if hold.created_us is not None:
            if (created_us, qty) >= (hold.created_us, hold.qty):
                return
            self._put(hold, -1)
        hold.created_us, hold.qty, hold.expires_us = created_us, qty, expires_us
        self._put(hold, 1)

    def close(self, name: str, closed_us: int) -> None:
        """A reservation is over; the earliest time said of it counts."""
        hold = self.holds.get(name)
        if hold is None:
            hold = self.holds[name] = Hold()
        if hold.closed_us is not None and closed_us >= hold.closed_us:
            return
        if hold.created_us is None:
            hold.closed_us = closed_us
            return
        if hold.end_us is None:  # nothing is to be taken back but what it holds from now on
            hold.closed_us = closed_us
            self._put_step(max(hold.created_us, closed_us), -round(hold.qty * GRAIN), goes_on=True)
            return
        self._put(hold, -1)
        hold.closed_us = closed_us
        self._put(hold, 1)

    def held(self, instant_us: int) -> float:
        """How much is reserved at `instant_us`."""
        if not self.from_us <= instant_us < self.until_us:
            self._walk(instant_us)
        return self.sum_grains / GRAIN

    def forget(self, horizon_us: int) -> None:
        """Drop those that were over before `horizon_us`, and those that ended then without a beginning."""
        kept = {name: hold for name, hold in self.holds.items() if not _is_over(hold, horizon_us)}
        if len(kept) < len(self.holds):
            self.__init__()  # type: ignore[misc] # as new
            self._holds = kept
            self._walk(END_OF_TIME_US - 1)

    def _walk(self, instant_us: int) -> None:
        """Bring the span to `instant_us`."""
        times = self._times
        if times is None:
            times = self._make_steps()
        upto = bisect_right(times, instant_us)
        at = self._at
        if at < upto:
            self.sum_grains += sum(self._changes[at:upto])
        else:
            self.sum_grains -= sum(self._changes[upto:at])
        self._at = upto
        self.from_us = times[upto - 1] if upto else BEGIN_OF_TIME_US
        self.until_us = times[upto] if upto < len(times) else END_OF_TIME_US

    def _make_steps(self) -> list[int]:
        steps: dict[int, int] = {}
        for hold in self.holds.values():
            for instant, change in _steps(hold):
                steps[instant] = steps.get(instant, 0) + change
        times = self._times = sorted(steps)
        self._changes = [steps[instant] for instant in times]
        self._at = self.sum_grains = 0
        return times

    def _put(self, hold: Hold, sign: int) -> None:
        begins = True
        for instant, change in _steps(hold):  # what expires will do so later, what was closed has ended
            self._put_step(instant, sign * change, goes_on=begins or hold.closed_us is not None)
            begins = False

    def _put_step(self, instant: int, change: int, *, goes_on: bool) -> None:
        """Add to a step. Of a span cut in two by that, the later part is kept if time `goes_on`, else the earlier."""
        from_us, times = self.from_us, self._times
        if instant < self.until_us:
            if instant <= from_us:
                self.sum_grains += change
            elif goes_on:
                self.sum_grains += change
                self.from_us = instant
            else:
                self.until_us = instant
        if times is None:
            return
        at = len(times) if not times or instant > times[-1] else bisect_left(times, instant)
        if at < len(times) and times[at] == instant:
            self._changes[at] += change
        else:
            times.insert(at, instant)
            self._changes.insert(at, change)
        if instant <= self.from_us:
            self._at = bisect_right(times, self.from_us)


def _steps(hold: Hold) -> tuple[tuple[int, int], ...]:
    """When the hold begins and ends to take stock away, with how much."""
    if hold.created_us is None:
        return ()
    amount, end = round(hold.qty * GRAIN), hold.end_us
    if end is None:
        return ((hold.created_us, amount),)
    return ((hold.created_us, amount), (end, -amount)) if end > hold.created_us else ()


def _packed(holds: dict[str, Hold]) -> bytes:
    """Five values a record, times relative to the record before."""
    values: list[object] = []
    before = 0
    for name, hold in holds.items():
        created, closed, expires = hold.created_us, hold.closed_us, hold.expires_us
        if created is None:
            created_in, base = None, before
        else:
            created_in, base = created - before, created
        closed_in = None if closed is None else closed - base
        values += (name, shortest(hold.qty), created_in, closed_in, None if expires is None else expires - base)
        before = base
    return pack_values(values) if values else b""


def _unpacked(packed: bytes) -> dict[str, Hold]:
    holds: dict[str, Hold] = {}
    before = 0
    values = iter(unpack_values(packed) if packed else ())
    for name, qty, created_in, closed_in, expires_in in zip(*[values] * 5, strict=True):
        base = before if created_in is None else before + created_in
        holds[name] = Hold(
            float(qty),
            None if created_in is None else base,
            None if closed_in is None else base + closed_in,
            None if expires_in is None else base + expires_in,
        )
        before = base
    return holds


def _is_over(hold: Hold, horizon_us: int) -> bool:
    end = hold.closed_us if hold.created_us is None else hold.end_us
    return end is not None and end < horizon_us
