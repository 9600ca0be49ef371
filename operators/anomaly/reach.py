"""How far a value leaves the range that a quantity has reached.

The range rule: novelty is how far a value is outside the range seen, relative to that range's width. Ours forgets: the
bounds sink towards the running mean with a time constant of `MEMORY` points, so that a range from long ago does not
hide what is new today. Novelty of an excess e (in widths) is log10(1 + `STEEPNESS` e): leaving by a twentieth counts
0.3, by the whole width 1.3; it does not saturate.
"""

import math

MEMORY = 5000.0
STEEPNESS = 20.0
#: A range is judged with after this many points, and learnt from half of them on (levels are still settling before).
BURN_IN = 200
LEARN_FROM = BURN_IN // 2
#: What leaving a range without width, a constant, counts.
FROM_CONSTANT = 1.0


class Reach:
    """The range of one quantity.

    Memory: four numbers.
    """

    __slots__ = ("high", "low", "mean", "seen")

    def __init__(self) -> None:
        self.low = 0.0
        self.high = 0.0
        self.mean = 0.0
        self.seen = 0

    def novelty(self, value: float, *, up: bool, down: bool) -> float:
        """How new the value is on the sides that count, judged before it is learnt; then learn it."""
        self.seen += 1
        if self.seen <= LEARN_FROM:
            return 0.0
        if self.seen == LEARN_FROM + 1:
            self.low = self.high = self.mean = value
            return 0.0
        novelty = 0.0
        excess = max(value - self.high if up else 0.0, self.low - value if down else 0.0)
        if excess > 0.0 and self.seen > BURN_IN:
            width = self.high - self.low
            novelty = math.log10(1.0 + STEEPNESS * excess / width) if width > 0.0 else FROM_CONSTANT
        self.mean += (value - self.mean) / min(self.seen, MEMORY)
        self.low = min(value, self.low + (self.mean - self.low) / MEMORY)
        self.high = max(value, self.high + (self.mean - self.high) / MEMORY)
        return novelty
