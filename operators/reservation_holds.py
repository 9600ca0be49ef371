"""One reservation: how much of it is left at any point of event time, and reservations as bytes."""

from bisect import bisect_left
from typing import TypeAlias

import msgspec

from operators.stock_bytes import pack_values, shortest, unpack_values

#: Quantities are summed as whole numbers of this fraction of a unit, so that the sum does not depend on the order.
GRAIN = 1_000_000
#: Grains that are kept as a number of 64 bits; the contract allows more (1e15 units).
MOST_KEPT = 1 << 62

#: When how much of a reservation was given back (see `Hold`).
Ends: TypeAlias = int | list[tuple[int, int]] | None


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


def steps_of(hold: Hold) -> list[tuple[int, int]]:
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


def pack_holds(holds: dict[str, Hold]) -> bytes:
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


def unpack_holds(packed: bytes) -> dict[str, Hold]:
    """And back."""
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


def is_over(hold: Hold, horizon_us: int) -> bool:
    """Whether it was over before `horizon_us`, or nothing but ends before it is known."""
    if hold.created_us is None:
        return hold.end_times()[-1][0] < horizon_us
    end_us = hold.end_us
    return end_us is not None and end_us < horizon_us
