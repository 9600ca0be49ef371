"""What the freight of an order usually comes to: what carriers charge for it, and what the customer is charged.

Amounts are put between 0 and 1 by where they lie between what nine tenths of the usual ones do. How surprising the mean
x of n such values is, where μ is usual, is Hoeffding's bound P(mean ≥ x) ≤ exp(-n·KL(x ‖ μ)) (Probability Inequalities
for Sums of Bounded Random Variables, 1963, theorem 1): the one of `rates.py`, which is for shares.
"""

from collections.abc import Mapping, Sequence
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

#: What moved: what carriers charge (up), or what customers are charged (down).
Side: TypeAlias = Literal["cost", "charge"]
#: Arrival time, event time, event, and the order: its value is what its freight costs, its margin what was charged less
#: that.
Member: TypeAlias = tuple[int, int, str, Impact]


class Ruler(msgspec.Struct, frozen=True, array_like=True):
    """Which amounts are 0 and 1 (beyond, nothing is better or worse), and where the usual mean is."""

    zero: float
    one: float
    mean: float = 0.0

    def at(self, amount: float) -> float:
        """Where an amount is, from 0 to 1."""
        return min(1.0, max(0.0, (amount - self.zero) / (self.one - self.zero)))


class Usual(msgspec.Struct, frozen=True, array_like=True):
    """A usual order of one currency: mean cost and charge, and what amounts of each side are measured with.

    A side's first ruler is as long as its usual amounts lie apart, the second twice as long: the first tells of little,
    the second sooner of much.
    """

    cost: float
    charge: float
    costs: tuple[Ruler, ...]
    charges: tuple[Ruler, ...]

    @property
    def leak(self) -> float:
        """What a usual order loses."""
        return self.cost - self.charge

    def lost(self, side: Side, impact: Impact) -> float:
        """What an order lost on a side beyond what is usual."""
        cost, charge = amounts(impact)
        return max(0.0, round(cost - self.cost if side == "cost" else self.charge - charge, 2))


class Sample(msgspec.Struct, array_like=True):
    """(Cost, charged) of the latest orders of one currency that nothing was wrong with, and what is usual by them.

    Once there are 200, twenty of each hour are learnt, so that they are of days and not of the last hour alone.
    `hour` is the hour of the last one, `learnt` how many of that hour came. What is usual is asked for anew with every
    twentieth. Memory: 1,000 pairs.
    """

    orders: list[tuple[float, float]] = []
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
    """Some minutes' orders of a window: how many, by how much they leak more than usual ones, and what these cost.

    `bad` and `expected` are the sums of where they are and of where usual ones are, by the rulers of the costs and then
    of the charges.
    """

    number: int
    orders: int = 0
    excess: float = 0.0
    cost: float = 0.0
    bad: list[float] = msgspec.field(default_factory=lambda: [0.0] * 2 * len(_LENGTHS))
    expected: list[float] = msgspec.field(default_factory=lambda: [0.0] * 2 * len(_LENGTHS))

    def add(self, impact: Impact, usual: Usual) -> None:
        """Count an order in."""
        cost, charge = amounts(impact)
        self.orders += 1
        self.excess += cost - charge - usual.leak
        self.cost += usual.cost
        for index, ruler in enumerate(usual.costs + usual.charges):
            self.bad[index] += ruler.at(cost if index < len(_LENGTHS) else charge)
            self.expected[index] += ruler.mean


class Move(NamedTuple):
    """A side has moved since a part, and how surprising that is (0: none has)."""

    side: Side
    since: int
    score: float


def amounts(impact: Impact) -> tuple[float, float]:
    """What an order's freight costs, and what was charged for it."""
    return impact.value, round(impact.value + (impact.margin or 0.0), 2)


def usual_of(orders: Sequence[tuple[float, float]]) -> Usual:
    """What is usual by some orders, at least one. Cost: O(n log n)."""
    costs, charges = sorted(cost for cost, _ in orders), sorted(charge for _, charge in orders)
    many = len(orders)
    cost, charge = sum(costs) / many, sum(charges) / many
    least = max(_CENT, _LEAST_WIDTH * abs(cost))
    low, high = many // 20, many - 1 - many // 20
    dearer = max(costs[high] - costs[low], least)
    cheaper = max(charges[high] - charges[low], least)
    return Usual(
        cost,
        charge,
        tuple(_ruler(costs, costs[low], costs[low] + times * dearer) for times in _LENGTHS),
        tuple(_ruler(charges, charges[high], charges[high] - times * cheaper) for times in _LENGTHS),
    )


def _ruler(known: Sequence[float], zero: float, one: float) -> Ruler:
    bare = Ruler(zero, one)
    # Laplace's rule: what was never seen is not impossible.
    return Ruler(zero, one, (sum(map(bare.at, known)) + 1) / (len(known) + 2))


def moved(parts: Sequence[Part], least: int, rise: float) -> Move:
    """Since which part a side has moved most surprisingly, where the leak rose with it by `rise` of the usual cost.

    Cost: O(parts).
    """
    best = Move("cost", 0, 0.0)
    orders = 0
    excess = cost = 0.0
    bad, expected = [0.0] * 2 * len(_LENGTHS), [0.0] * 2 * len(_LENGTHS)
    for part in reversed(parts):
        orders += part.orders
        excess += part.excess
        cost += part.cost
        for index, its_bad in enumerate(part.bad):
            bad[index] += its_bad
            expected[index] += part.expected[index]
        if orders < least or excess < rise * cost:
            continue
        for index, all_bad in enumerate(bad):
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
    return sum(-(impact.margin or 0.0) - its.leak for its, impact in known) / cost
