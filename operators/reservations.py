"""The reservations of one item, and how much of its stock they hold at any point of event time.

A reservation holds what is left of it: what was reserved, less all that was consumed, released or rejected by then, and
nothing from its expiry on. More given back than was reserved is as much as was reserved.
"""

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

#: When how much of a reservation was given back (see `Hold`).
Ends: TypeAlias = int | list[tuple[int, int]] | None
#: (from when, until when, sum in grains, the records as bytes)
ReservationsState: TypeAlias = tuple[int | None, int | None, int, bytes]


class Hold(msgspec.Struct, array_like=True, gc=False):
    """A reservation: how much, from when to when (event times; None where not known yet).

    `ends` is when how much was given back: a time where that was once and all of it, else each time with what was given
    back until then, in grains (`MOST_KEPT` and more is all). So a time that stands without a beginning ends it whole.
    """

    qty: float = 0.0
    created_us: int | None = None
    ends: Ends = None
    expires_us: int | None = None

    @property
    def grains(self) -> int:
        """How much was reserved."""
        return round(self.qty * GRAIN)

    @property
    def end_us(self) -> int | None:
        """From when on it holds nothing any more, None while that is not known."""
        over = self.ends
        if isinstance(over, list):
            at = bisect_left(over, min(self.grains, MOST_KEPT), key=_given_back)
            over = over[at][0] if at < len(over) else None
        if over is None or (self.expires_us is not None and self.expires_us < over):
            return self.expires_us
        return over

    def end_times(self) -> list[tuple[int, int]]:
        """`ends`, each time with what was given back until then."""
        if isinstance(self.ends, list):
            return self.ends
        if self.ends is None:
            return []
        return [(self.ends, MOST_KEPT if self.created_us is None else min(max(0, self.grains), MOST_KEPT))]

    @property
    def left(self) -> int:
        """How much of it is not given back by all that is known, in grains; as if it did not expire."""
        if self.ends is None:
            return self.grains
        return _left(self.grains, self.ends[-1][1]) if isinstance(self.ends, list) else 0

    def give_back(self, at_us: int, qty: float) -> None:
        """At `at_us`, `qty` of it was given back. Cost: those that are known of a later time."""
        given = max(0, round(qty * GRAIN))
        if self.ends is None and self.created_us is not None and given == self.grains:
            self.ends = at_us
            return
        ends = self.ends = self.end_times()
        at = bisect_left(ends, (at_us,))
        if at == len(ends) or ends[at][0] > at_us:
            ends.insert(at, (at_us, ends[at - 1][1] if at else 0))
        for later in range(at, len(ends)):
            one_us, until = ends[later]
            ends[later] = one_us, min(until + given, MOST_KEPT)

    def forget(self, horizon_us: int) -> bool:
        """Of what was given back before `horizon_us`, keep how much that was in all; whether there was more."""
        upto = bisect_left(self.ends, (horizon_us,)) if isinstance(self.ends, list) else 0
        if upto < 2:
            return False
        self.ends = self.end_times()[upto - 1 :]
        return True


#: The same with the records by id.
OpenReservations: TypeAlias = tuple[int | None, int | None, int, dict[str, Hold]]


class Reservations:
    """Reservations by id, and the sum of those that hold as a step function of event time.

    The sum is kept for the span of time between two steps that was asked for last, and is walked from there: what is
    asked for lies close together (now, and the end of the last window), so an item with ten thousand reservations
    costs what one with ten does. The steps are made when something outside of the span is asked for; the records are
    unpacked when one of them changes. From `from_us` until `until_us` the sum is `sum_grains`.

    What arrives of a reservation after its end was forgotten counts as a new one.

    Memory: one record a reservation, three numbers for each time a part of it was given back (of those before the
    horizon of `forget`, one), and two numbers a step. Cost: O(log n) a change, and a question O(log n + steps since the
    last one); what was given back before parts that are known already, as much as there are of those. State: the
    records and the span.
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
        hold.ends = hold.end_times() or None  # what was all of it may be a part now
        hold.created_us, hold.qty, hold.expires_us = created_us, qty, expires_us
        self._put(hold, 1)

    def end(self, name: str, ended_us: int, qty: float) -> None:
        """So much of a reservation was consumed, released or rejected."""
        hold = self.holds.get(name)
        if hold is None:
            hold = self.holds[name] = Hold()
        began_us, expires_us = hold.created_us, hold.expires_us
        if hold.ends is None and expires_us is None and qty == hold.qty and began_us is not None:  # nearly always
            hold.ends = ended_us
            self._put_step(max(began_us, ended_us), -round(qty * GRAIN), goes_on=True)
            return
        if began_us is None or (expires_us is not None and ended_us >= expires_us):
            hold.give_back(ended_us, qty)
            return
        if hold.ends is not None and ended_us < hold.end_times()[-1][0]:
            self._put(hold, -1)
            hold.give_back(ended_us, qty)
            self._put(hold, 1)
            return
        before = hold.left
        hold.give_back(ended_us, qty)
        change = hold.left - before
        if change:  # nothing is to be taken back but what it holds from now on
            self._put_step(max(began_us, ended_us), change, goes_on=True)
            if expires_us is not None:
                self._put_step(max(began_us, expires_us), -change, goes_on=False)

    def held(self, instant_us: int) -> float:
        """How much is reserved at `instant_us`."""
        if not self.from_us <= instant_us < self.until_us:
            self._walk(instant_us)
        return self.sum_grains / GRAIN

    def forget(self, horizon_us: int) -> None:
        """Drop those that were over before `horizon_us`, and those of which nothing but ends before it is known."""
        kept = {name: hold for name, hold in self.holds.items() if not _is_over(hold, horizon_us)}
        shortened = [hold.forget(horizon_us) for hold in kept.values() if type(hold.ends) is list]
        if len(kept) < len(self.holds) or any(shortened):
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
        for instant, change in _steps(hold):  # what expires will do so later, what was given back was so
            self._put_step(instant, sign * change, goes_on=begins or hold.ends is not None)
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


def _steps(hold: Hold) -> list[tuple[int, int]]:
    """When the hold begins to take stock away, and gives it back, with how much."""
    began_us, expires_us = hold.created_us, hold.expires_us
    if began_us is None:
        return []
    amount = held = hold.grains
    steps = [(began_us, amount)]
    if hold.ends is not None:
        for at_us, given in hold.end_times():
            if expires_us is not None and at_us >= expires_us:
                break
            left = _left(amount, given)
            if left != held:
                steps.append((max(began_us, at_us), left - held))
                held = left
    if held and expires_us is not None:
        steps.append((max(began_us, expires_us), -held))
    return steps


def _left(amount: int, given: int) -> int:
    """What is left of a reservation; nothing, once something was given back, of one of nothing or less."""
    return 0 if given >= amount or given >= MOST_KEPT else amount - given


def _given_back(end: tuple[int, int]) -> int:
    return end[1]


def _packed(holds: dict[str, Hold]) -> bytes:
    """Five values a record, times relative to the record before; a list of ends as times and what they come to."""
    values: list[object] = []
    before = 0
    for name, hold in holds.items():
        created, ends, expires = hold.created_us, hold.ends, hold.expires_us
        if created is None:
            created_in, base = None, before
        else:
            created_in, base = created - before, created
        ends_in: int | list[int] | None = None
        if isinstance(ends, list):
            ends_in = [value for at_us, given in ends for value in (at_us - base, given)]
        elif ends is not None:
            ends_in = ends - base
        values += (name, shortest(hold.qty), created_in, ends_in, None if expires is None else expires - base)
        before = base
    return pack_values(values) if values else b""


def _unpacked(packed: bytes) -> dict[str, Hold]:
    holds: dict[str, Hold] = {}
    before = 0
    values = iter(unpack_values(packed) if packed else ())
    for name, qty, created_in, ends_in, expires_in in zip(*[values] * 5, strict=True):
        base = before if created_in is None else before + created_in
        ends: Ends = None
        if isinstance(ends_in, list):
            ends = [(base + at_in, given) for at_in, given in zip(ends_in[::2], ends_in[1::2], strict=True)]
        elif ends_in is not None:
            ends = base + ends_in
        holds[name] = Hold(
            float(qty),
            None if created_in is None else base,
            ends,
            None if expires_in is None else base + expires_in,
        )
        before = base
    return holds


def _is_over(hold: Hold, horizon_us: int) -> bool:
    if hold.created_us is None:
        return hold.end_times()[-1][0] < horizon_us
    end_us = hold.end_us
    return end_us is not None and end_us < horizon_us
