"""Which cases incidents touch, how many of them two incidents share, and what a case comes to that several named."""

from collections.abc import Iterable, Sequence

import msgspec

from operators.detectors.records import Standing
from operators.incidents.records import Record, Touched


class SharedOrders:
    """How many cases each two incidents have in common.

    Memory: one entry for each case and incident, and one for each two incidents that share any. Cost: for a case that
    is added, one step for each other incident that touches it.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._of_case: dict[str, list[int]] = {}
        self._common: dict[int, dict[int, int]] = {}
        for record in records:
            for key in record.orders:
                self.add(record.number, key)

    def __len__(self) -> int:
        """How many cases are touched by any."""
        return len(self._of_case)

    def shared(self, one: int, other: int) -> int:
        """How many cases both touch."""
        return self._common.get(one, {}).get(other, 0)

    def touching(self, key: str) -> Sequence[int]:
        """The numbers of the incidents that touch a case."""
        return self._of_case.get(key, ())

    def add(self, number: int, key: str) -> None:
        """An incident touches a case that it did not touch."""
        numbers = self._of_case.get(key)
        if numbers is None:
            self._of_case[key] = [number]
            return
        mine = self._common.setdefault(number, {})
        for other in numbers:
            mine[other] = mine.get(other, 0) + 1
            theirs = self._common.setdefault(other, {})
            theirs[number] = theirs.get(number, 0) + 1
        numbers.append(number)

    def drop(self, number: int, keys: Iterable[str]) -> None:
        """An incident is no more."""
        for key in keys:
            numbers = self._of_case[key]
            numbers.remove(number)
            if not numbers:
                del self._of_case[key]
        for other in self._common.pop(number, {}):
            self._common[other].pop(number, None)


def touch(record: Record, shared: SharedOrders, touched: Touched, most: int) -> bool:
    """An incident touches a case; whether that is new. What was known of it is completed, else it is added.

    Beyond `most` cases an incident only counts that there were more.
    """
    key = touched.impact.key
    if not key:
        return False
    known = record.orders.get(key)
    if known is None:
        if len(record.orders) >= most:
            record.unnamed += 1
            return False
        record.orders[key] = touched
        record.totals.count(touched.impact, 1)
        record.kinds[touched.kind].orders += 1
        record.fresh_orders.append(key)
        shared.add(record.number, key)
        return True
    known.standing = latest(known.standing, touched.standing)
    before = known.impact
    complete(known, touched)
    if known.impact != before:
        record.totals.count(before, -1)
        record.totals.count(known.impact, 1)
        record.fresh_orders.append(key)
    return False


def latest(one: Standing | None, other: Standing | None) -> Standing | None:
    """What was known last of where an order stands."""
    if one is None or other is None:
        return other if one is None else one
    return other if other.arrival_us > one.arrival_us else one


def complete(known: Touched, said: Touched) -> None:
    """One case of which two findings told: the lines of the one that touches more, the promise that was said last.

    Refunds of several returns add up; of what is said of one return twice, or of the whole order beside its returns, it
    is the larger. Money in another currency is no part of it: a record has one, and 50 USD are not 50 EUR.
    """
    one, other = known.impact, said.impact
    is_more = (other.value, other.units) > (one.value, one.units)
    more, less = (other, one) if is_more else (one, other)
    refunds = (said if is_more else known).refunds_known
    if one.currency and other.currency and one.currency != other.currency:
        less = msgspec.structs.replace(less, margin=None)
    elif one.refund or other.refund:
        refunds = _larger(known.refunds_known, said.refunds_known)
    known.refunds = refunds or None
    known.impact = msgspec.structs.replace(
        more,
        case_id=more.case_id or less.case_id,
        customer_id=more.customer_id or less.customer_id,
        margin=less.margin if more.margin is None and more.value == less.value else more.margin,
        refund=max(refunds.get("", 0.0), sum(amount for case_id, amount in refunds.items() if case_id)),
        currency=more.currency or less.currency,
        promised_us=one.promised_us if other.promised_us is None else other.promised_us,
    )


def _larger(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {key: max(one.get(key, 0.0), other.get(key, 0.0)) for key in {**one, **other}}


def absorb_orders(record: Record, other: Record, shared: SharedOrders, most: int) -> None:
    """Take over another incident's cases; one that both touch is put down to the finding that named it first."""
    shared.drop(other.number, other.orders)
    for key, taken in other.orders.items():
        known = record.orders.get(key)
        if known is not None and (taken.touched_us, taken.signal_id) < (known.touched_us, known.signal_id):
            record.kinds[known.kind].orders -= 1
            record.kinds[taken.kind].orders += 1
            known.touched_us, known.signal_id, known.kind = taken.touched_us, taken.signal_id, taken.kind
            record.fresh_orders.append(key)
        touch(record, shared, taken, most)
    record.unnamed += other.unnamed
