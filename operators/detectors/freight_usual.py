"""What the freight of an order usually comes to: what carriers charge for it, and what the customer is charged.

What customers are charged follows from what they buy (above some value of the goods it is free), and what they buy
changes with the hour and with promotions; so a charge is held against those of orders of like value (its band).

Amounts are put between 0 and 1 by where they lie between what nine tenths of the usual ones do. How surprising the mean
x of n such values is, where μ is usual, is Hoeffding's bound P(mean ≥ x) ≤ exp(-n·KL(x ‖ μ)) (Probability Inequalities
for Sums of Bounded Random Variables, 1963, theorem 1): the one of `rates.py`, which is for shares.
"""

from collections.abc import Mapping, Sequence
from math import log2
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from operators.detectors.rates import surprise_of_share
from operators.detectors.records import Impact

#: How many usual orders are known, and how many of them are learnt in one hour once there are some.
_SAMPLE, _AN_HOUR, _SOME = 1_000, 20, 200
#: After how many that were learnt it is asked again what is usual.
_NEWS = 20
#: Amounts that are all alike are told apart by this share of the usual cost; the least that tells any apart.
_LEAST_WIDTH, _CENT = 0.2, 0.01
#: How long the rulers of a side are, in widths of what is usual.
_LENGTHS = (1, 2)

#: Bands are so many to a doubling of the goods' value; one is known from so many usual orders on.
_BANDS, _OF_BAND = 2, 5
#: Customers are charged less only where they are by this share of what is usual of such orders: hours and promotions
#: shift it, too, by which service is chosen.
_FALL = 0.5

#: What moved: what carriers charge (up), or what customers are charged (down).
Side: TypeAlias = Literal["cost", "charge"]
#: Arrival time, event time, event, and the order: its value is what its freight costs, its margin what was charged less
#: that, its tag its band.
Member: TypeAlias = tuple[int, int, str, Impact]
#: What an order's freight costs, what was charged for it, and its band.
Amounts: TypeAlias = tuple[float, float, int]


class Ruler(msgspec.Struct, frozen=True, array_like=True):
    """Which amounts are 0 and 1 (beyond, nothing is better or worse), and where the usual mean is."""

    zero: float
    one: float
    mean: float = 0.0

    def at(self, amount: float) -> float:
        """Where an amount is, from 0 to 1."""
        return min(1.0, max(0.0, (amount - self.zero) / (self.one - self.zero)))


class Usual(msgspec.Struct, frozen=True, array_like=True):
    """A usual order of one currency: mean cost and charge, that of each band, and what each side is measured with.

    Charges are measured by what they lack of the usual one of their band. A side's first ruler is as long as its usual
    amounts lie apart, the second twice as long: the first tells of little, the second sooner of much.
    """

    cost: float
    charge: float
    bands: dict[int, float]
    costs: tuple[Ruler, ...]
    lacks: tuple[Ruler, ...]

    def charge_of(self, band: int) -> float:
        """What is usually charged for an order of that band, or of the nearest that is known."""
        charge = self.bands.get(band)
        if charge is None:
            charge = self.bands[min(self.bands, key=lambda known: (abs(known - band), known))]
        return charge

    def lost(self, side: Side, impact: Impact) -> float:
        """What an order lost on a side beyond what is usual."""
        cost, charge, band = amounts(impact)
        return max(0.0, round(cost - self.cost if side == "cost" else self.charge_of(band) - charge, 2))

    def more(self, impact: Impact) -> float:
        """By how much an order leaks more than a usual one of its band; less than 0 where it leaks less."""
        cost, charge, band = amounts(impact)
        return cost - self.cost + self.charge_of(band) - charge


class Sample(msgspec.Struct, array_like=True):
    """Amounts of the latest orders of one currency that nothing was wrong with, and what is usual by them.

    Once there are 200, twenty of each hour are learnt, so that they are of days and not of the last hour alone.
    `hour` is the hour of the last one, `learnt` how many of that hour came. What is usual is asked for anew with every
    twentieth. Memory: 1,000 orders' amounts.
    """

    orders: list[Amounts] = []
    hour: int = 0
    learnt: int = 0
    news: int = 0
    known: Usual | None = None

    def learn(self, hour: int, impact: Impact, young: int) -> None:
        """One more order is usual; before `young` it is not known what is."""
        self.learnt = self.learnt + 1 if hour == self.hour else 1
        self.hour = hour
        if self.learnt > _AN_HOUR and len(self.orders) >= _SOME:
            return
        self.orders.append(amounts(impact))
        del self.orders[:-_SAMPLE]
        self.news += 1
        if len(self.orders) >= young and (self.known is None or self.news >= _NEWS):
            self.known, self.news = usual_of(self.orders), 0


class Part(msgspec.Struct, array_like=True):
    """Some minutes' orders of a window: how many, and by how much they leak more than usual ones.

    `lack` is what was charged less than usual, `cost` and `charge` are those of as many usual orders. `bad` and
    `expected` are the sums of where they are and of where usual ones are, by the rulers of costs, then of lacks.
    """

    number: int
    orders: int = 0
    excess: float = 0.0
    lack: float = 0.0
    cost: float = 0.0
    charge: float = 0.0
    bad: list[float] = msgspec.field(default_factory=lambda: [0.0] * 2 * len(_LENGTHS))
    expected: list[float] = msgspec.field(default_factory=lambda: [0.0] * 2 * len(_LENGTHS))

    def add(self, impact: Impact, usual: Usual) -> None:
        """Count an order in."""
        cost, charge, band = amounts(impact)
        expected = usual.charge_of(band)
        self.orders += 1
        self.excess += cost - usual.cost + expected - charge
        self.lack += expected - charge
        self.cost += usual.cost
        self.charge += expected
        for index, ruler in enumerate(usual.costs + usual.lacks):
            self.bad[index] += ruler.at(cost if index < len(_LENGTHS) else expected - charge)
            self.expected[index] += ruler.mean


class Move(NamedTuple):
    """A side has moved since a part, and how surprising that is (0: none has)."""

    side: Side
    since: int
    score: float


def band_of(goods: float) -> str:
    """The band of an order whose goods sell for so much, as it stands in its impact's tag."""
    return str(round(_BANDS * log2(goods))) if goods > 0 else ""


def amounts(impact: Impact) -> Amounts:
    """What an order's freight costs, what was charged for it, and its band."""
    return impact.value, round(impact.value + (impact.margin or 0.0), 2), int(impact.tag or 0)


def usual_of(orders: Sequence[Amounts]) -> Usual:
    """What is usual by some orders, at least one. Cost: O(n log n)."""
    many = len(orders)
    cost, charge = sum(cost for cost, _, _ in orders) / many, sum(charge for _, charge, _ in orders) / many
    by_band: dict[int, list[float]] = {}
    for _, charged, band in orders:
        by_band.setdefault(band, []).append(charged)
    bands = {band: sum(some) / len(some) for band, some in sorted(by_band.items()) if len(some) >= _OF_BAND}
    usual = Usual(cost, charge, bands or dict.fromkeys(by_band, charge), (), ())
    costs = sorted(cost for cost, _, _ in orders)
    lacks = sorted(usual.charge_of(band) - charged for _, charged, band in orders)
    least = max(_CENT, _LEAST_WIDTH * abs(cost))
    return msgspec.structs.replace(usual, costs=_rulers(costs, least), lacks=_rulers(lacks, least))


def _rulers(known: Sequence[float], least: float) -> tuple[Ruler, ...]:
    """Of a side's amounts, sorted, of which larger ones are worse; each at least `least` long."""
    low, high = len(known) // 20, len(known) - 1 - len(known) // 20
    width = max(known[high] - known[low], least)
    return tuple(_ruler(known, known[low], known[low] + times * width) for times in _LENGTHS)


def _ruler(known: Sequence[float], zero: float, one: float) -> Ruler:
    bare = Ruler(zero, one)
    # Laplace's rule: what was never seen is not impossible.
    return Ruler(zero, one, (sum(map(bare.at, known)) + 1) / (len(known) + 2))


def moved(parts: Sequence[Part], least: int, rise: float) -> Move:
    """Since which part a side has moved most surprisingly, where the leak rose with it by `rise` of the usual cost.

    Charges have moved only where half of the usual ones is lacking. Cost: O(parts).
    """
    best = Move("cost", 0, 0.0)
    orders = 0
    excess = lack = cost = charge = 0.0
    bad, expected = [0.0] * 2 * len(_LENGTHS), [0.0] * 2 * len(_LENGTHS)
    for part in reversed(parts):
        orders += part.orders
        excess += part.excess
        lack += part.lack
        cost += part.cost
        charge += part.charge
        for index, its_bad in enumerate(part.bad):
            bad[index] += its_bad
            expected[index] += part.expected[index]
        if orders < least or excess < rise * cost:
            continue
        for index, all_bad in enumerate(bad if lack >= _FALL * charge else bad[: len(_LENGTHS)]):
            score = surprise_of_share(all_bad, orders, expected[index] / orders)
            if score > best.score:
                best = Move("cost" if index < len(_LENGTHS) else "charge", part.number, score)
    return best


def rise_of(members: Sequence[Member], usual: Mapping[str, Usual], least: int) -> float | None:
    """By which share of the usual cost orders lose more than is usual; None where there are fewer than `least`."""
    known = [(usual[one[3].currency], one[3]) for one in members if one[3].currency in usual]
    cost = sum(its.cost for its, _ in known)
    if len(known) < least or cost <= 0:
        return None
    return sum(its.more(impact) for its, impact in known) / cost
