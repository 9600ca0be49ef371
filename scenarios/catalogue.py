"""What the retailer sells: items by rank of demand (Zipf), with prices and costs."""

import math
from bisect import bisect_left
from itertools import accumulate
from random import Random

_ZIPF_EXPONENT = 0.85


def money(cents: int) -> str:
    """An amount as the contract's decimal string."""
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    return f"{sign}{whole}.{rest:02d}"


class Catalogue:
    """Items 0, 1, ... in order of demand, most wanted first. Amounts are whole cents.

    A promoted item is drawn more often while `promoted` holds it: it is what a share `PULL` of the lines is for.
    """

    PULL = 0.04

    def __init__(self, size: int, random: Random) -> None:
        width = max(4, len(str(size)))
        self.names = [f"sku-{number:0{width}d}" for number in range(1, size + 1)]
        self.prices = [max(199, round(random.lognormvariate(3.2, 0.7) * 100) // 10 * 10 - 1) for _ in range(size)]
        self.costs = [round(price * random.uniform(0.45, 0.7)) for price in self.prices]
        self.promoted: list[int] = []
        self._cumulated: list[float] = list(accumulate(math.pow(rank + 2, -_ZIPF_EXPONENT) for rank in range(size)))

    def __len__(self) -> int:
        return len(self.names)

    def draw(self, random: Random, carried: int | None = None) -> int:
        """An item as customers want them, out of the first `carried`."""
        return bisect_left(self._cumulated, random.random() * self._cumulated[(carried or len(self)) - 1])

    def share(self, sku: int, carried: int | None = None) -> float:
        """The share of demand that goes to an item, among the first `carried`."""
        before = self._cumulated[sku - 1] if sku else 0.0
        return (self._cumulated[sku] - before) / self._cumulated[(carried or len(self)) - 1]
