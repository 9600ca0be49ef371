"""How long an order that an incident touches is held up: learnt by kind from incidents that are over."""

from collections.abc import Iterable, Mapping
from math import log

import msgspec

from operators.incidents.kinds import kind_of
from operators.quantiles import GAMMA, bucket, estimate, merge, sketch

#: Before anything was learnt, delays are taken to be log-logistic: 80 % between a quarter and four times the median.
_SPREAD = log(4) / log(9)
#: What one incident weighs, however many orders it touched; what was known before counts by half then.
_WEIGHT = 101
#: Fewer than these tell nothing about what an order comes to that was held up longer than nearly all before it.
_TOO_FEW = 10


class Delay(msgspec.Struct, frozen=True):
    """How long a touched order is held up, from when it was named: the median, and half of the 80 % interval."""

    middle_s: float
    error_s: float


class Delays:
    """The delays of touched orders, by kind of cause.

    One sample is the time from when an order was named to when the incident was over. Each incident that is over weighs
    as much as all before it.

    Memory: one sketch of at most some hundred buckets for each kind. Cost: one pass over an incident's orders at its
    end; one over the sketch for each different age asked for.
    """

    def __init__(self, learnt: Mapping[str, dict[int, int]] | None = None) -> None:
        self.learnt = {kind: dict(counts) for kind, counts in (learnt or {}).items()}
        self._known: dict[tuple[str, int], Delay] = {}

    def of(self, kind: str, age_s: float) -> Delay | None:
        """What is to be expected of an order that is held up for so long already; None where the kind delays none.

        That is what those came to that were held up longer than this; where there are hardly any, as long again.
        """
        if kind_of(kind).holds_s is None:
            return None
        key = kind, bucket(max(0.0, age_s))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._expect(kind, key[1])
        return found

    def learn(self, kind: str, samples_s: Iterable[float]) -> None:
        """An incident of this kind is over."""
        counts = sketch(samples_s)
        total = sum(counts.values())
        if not total or kind_of(kind).holds_s is None:
            return
        new = {index: -(-count * _WEIGHT // total) for index, count in counts.items()}
        before = self._counts(kind)
        self.learnt[kind] = merge([{index: count // 2 for index, count in before.items() if count > 1}, new])
        self._known.clear()

    def _expect(self, kind: str, age: int) -> Delay:
        longer = {index: count for index, count in self._counts(kind).items() if index > age}
        if sum(longer.values()) < _TOO_FEW:
            so_far_s = GAMMA**age
            return Delay(2 * so_far_s, so_far_s)
        lower, middle, upper = (estimate(q, longer) for q in (0.1, 0.5, 0.9))
        return Delay(middle, (upper - lower) / 2)

    def _counts(self, kind: str) -> Mapping[int, int]:
        known = self.learnt.get(kind)
        if known is not None:
            return known
        middle_s = kind_of(kind).holds_s
        assert middle_s is not None, "callers ask for kinds that delay orders"
        below = [(number + 0.5) / _WEIGHT for number in range(_WEIGHT)]
        return sketch(middle_s * (share / (1.0 - share)) ** _SPREAD for share in below)
