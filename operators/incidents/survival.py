"""How long passes take that are under way, estimated from those that are over and those that are not."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from math import log

import msgspec

from operators.incidents.stretches import POINTS, Stretch
from operators.quantiles import ZERO_BUCKET, bucket, middle

#: So many passes at risk weighs what was usual before, against those that are at risk at present.
PRIOR = 5.0
#: Before the age of any pass: at risk from its start.
_START = ZERO_BUCKET - 1


class Seen(msgspec.Struct, frozen=True):
    """Passes that were watched from one age (seconds) to another: `ended` there, or then still under way.

    `count` may be a fraction where some of those counted are known to have been cancelled, but not which.
    """

    from_s: float
    to_s: float
    count: float
    ended: bool


class Survival(msgspec.Struct, frozen=True):
    """The share `left` of passes that take longer than each of `ages` (buckets, ascending), from 1 down, never to 0.

    Beyond the last age that was seen passes are taken to end at a constant rate, so that what is left to them does not
    depend on their age: in the mean as long again, or sooner, where in the older half of the ages seen more ended: at
    `late_rate` (1/s). `ended_at` are the buckets in which passes ended, ascending, with how many ended in it or later.
    """

    ages: tuple[int, ...]
    left: tuple[float, ...]
    late_rate: float = 0.0
    ended_at: tuple[tuple[int, float], ...] = ()

    def beyond(self, age: int, most: int | None = None) -> Stretch | None:
        """How long a pass takes from its start that takes longer than an age, and no longer than `most` (buckets).

        None where none is known that takes no longer than `most`.
        """
        share = 1.0 if most is None else 1.0 - self._left(max(age, most)) / self._left(age)
        return self.rest(age, share) if share > 0.0 else None

    def rest(self, age: int, share: float = 1.0) -> Stretch:
        """How long a pass takes that takes longer than an age, and is among the first `share` of those to end."""
        alive, age_s = self._left(age), middle(age)
        falling = [-one for one in self.left]
        quantiles = [(place + 0.5) / POINTS * share for place in range(POINTS)]
        return Stretch(tuple([self._age_at(alive * (1.0 - one), age_s, falling) for one in quantiles]))

    def _left(self, age: int) -> float:
        place = bisect_right(self.ages, age)
        return self.left[place - 1] if place else 1.0

    def _age_at(self, left: float, age_s: float, falling: Sequence[float]) -> float:
        """The age at which no more than `left` are left of those alive at `age_s`; `falling` are all of `-left`."""
        place = bisect_left(falling, -left)
        if place < len(self.ages):
            return max(middle(self.ages[place]), age_s)
        oldest_s = max(middle(self.ages[-1]) if self.ages else 0.0, age_s)
        mean_s = min(oldest_s, 1.0 / self.late_rate) if self.late_rate else oldest_s
        return oldest_s + log((self.left[-1] if self.left else 1.0) / left) * mean_s

    def ended_beyond(self, age: int) -> float:
        """How many passes of those seen ended at a greater age than this one."""
        place = bisect_right(self.ended_at, age, key=_first)
        return self.ended_at[place][1] if place < len(self.ended_at) else 0.0


#: Of what no pass was ever seen.
NOTHING_SEEN = Survival((), ())


def survival(seen: Iterable[Seen], usual: Mapping[int, int]) -> Survival:
    """Kaplan and Meier's product-limit estimate with delayed entry (the current life table of demography).

    At each age at which passes ended: of those at risk, watched before it and not over nor out of sight, so many did.
    Those that are still under way are at risk up to their age, so that a delay shows before anything that it holds up
    has ended; of those that began before they were watched only the part that was counts, so that what happens at
    present to the old ones and the young ones makes one curve.

    `usual` (a sketch of what passes took before) is the prior: its share ending at an age weighs as much as that of
    `PRIOR` passes at risk. One pass more than was seen is taken to be at risk, the one that is asked about: so the
    curve ends above 0, with the share 1 / (n + 1) of the n passes that it is of.

    Cost: O(n log n) of the buckets.
    """
    seen = list(seen)
    entered: dict[int, float] = {}
    gone: dict[int, float] = {}
    ended: dict[int, float] = {}
    for one in seen:
        begin = bucket(one.from_s) if one.from_s > 0.0 else _START
        end = bucket(max(0.0, one.to_s))
        if begin >= end:
            continue
        entered[begin] = entered.get(begin, 0.0) + one.count
        gone[end] = gone.get(end, 0.0) + one.count
        if one.ended:
            ended[end] = ended.get(end, 0.0) + one.count
    before = float(sum(usual.values()))
    weight = min(before, PRIOR)
    ages: list[int] = []
    left: list[float] = []
    share, at_risk = 1.0, 0.0
    for age in sorted({*entered, *gone, *usual}):
        some = usual.get(age, 0)
        ends = ended.get(age, 0.0) + weight * some / (before + 1.0)
        if ends:
            share *= 1.0 - ends / (max(0.0, at_risk) + max(weight, 1.0))
        if ends or age in gone:
            ages.append(age)
            left.append(share)
        at_risk += entered.get(age, 0.0) - gone.get(age, 0.0)
        before -= some
    half_s = middle(ages[-1]) / 2 if ages else 0.0
    late = [one for one in seen if one.to_s > half_s]
    late_s = sum(one.count * (one.to_s - max(half_s, one.from_s)) for one in late)
    late_ended = sum(one.count for one in late if one.ended)
    return Survival(tuple(ages), tuple(left), late_ended / late_s if late_s else 0.0, _later(ended, usual))


def _later(ended: Mapping[int, float], usual: Mapping[int, int]) -> tuple[tuple[int, float], ...]:
    """For each bucket in which passes ended: how many ended in it or later."""
    found: list[tuple[int, float]] = []
    count = 0.0
    for age in sorted({*ended, *usual}, reverse=True):
        count += ended.get(age, 0.0) + usual.get(age, 0)
        found.append((age, count))
    return tuple(reversed(found))


def _first(ended: tuple[int, float]) -> int:
    return ended[0]
