"""Whether the residuals of a metric's models still look as they used to: the population stability index.

PSI = Σ (a - b) ln(a / b) over bins, a the shares of the last `BLOCK` residuals and b those of what went before. Without
change it is distributed as chi-square of (bins - 1) degrees times (1/n + 1/m) (Yurdakul, Naranjo, Journal of Risk
Model Validation 14(4), 2020), so the bound follows from the sizes instead of the customary 0.25. Residuals of real
series are not independent: the bound is also `USUAL_TIMES` what the index usually is here.
"""

import math
from bisect import bisect

import numpy as np
import numpy.typing as npt

#: Residuals in units of half the band (about 98 % lie within ±1).
EDGES = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)
BINS = len(EDGES) + 1
BLOCK = 1000
USUAL_TIMES = 3.0
_CHI_SQUARE = 24.322  # 99.9 % point with 7 degrees of freedom
_BLOCKS_KEPT = 20.0
_CALM_BLOCKS = 2
_NEW_NORMAL = 5
_PSEUDO = 0.5


class Stability:
    """The residuals of one metric's series.

    It is unstable from the block over the bound on, until `_CALM_BLOCKS` in a row were not (hysteresis). Blocks over
    the bound are not what it used to be, and are not learnt; but the last of `_NEW_NORMAL` in a row is the new normal.

    Memory: 22 numbers. Cost: one bisection a residual.
    """

    __slots__ = ("beyond", "calm", "count", "current", "index", "is_stable", "reference", "usual")

    def __init__(self) -> None:
        self.reference = [0.0] * BINS
        self.current = [0.0] * BINS
        self.count = 0
        self.index = 0.0
        self.usual = 0.0
        self.calm = 0
        self.beyond = 0
        self.is_stable = True

    def learn(self, residual: float) -> None:
        """Take a residual in units of half the band."""
        self.current[bisect(EDGES, residual)] += 1.0
        self.count += 1
        if self.count >= BLOCK:
            self._close()

    def learn_all(self, residuals: npt.NDArray[np.float64]) -> None:
        """As `learn` of each, in this order."""
        while len(residuals):
            block, residuals = np.split(residuals, [BLOCK - self.count])
            counts = np.bincount(np.searchsorted(EDGES, block, side="right"), minlength=BINS).tolist()
            self.current = [before + count for before, count in zip(self.current, counts, strict=True)]
            self.count += len(block)
            if self.count >= BLOCK:
                self._close()

    def _close(self) -> None:
        known = sum(self.reference)
        if known >= BLOCK:
            self.index = index(self.current, self.reference)
            bound = max(_CHI_SQUARE * (1.0 / self.count + 1.0 / known), USUAL_TIMES * self.usual)
            is_beyond = self.index > bound
            self.beyond = self.beyond + 1 if is_beyond else 0
            self.calm = 0 if is_beyond else self.calm + 1
            self.is_stable = not is_beyond and (self.is_stable or self.calm >= _CALM_BLOCKS)
            self.usual += (min(self.index, bound) - self.usual) / min(known / BLOCK, _BLOCKS_KEPT)
        fade = 1.0 - 1.0 / _BLOCKS_KEPT if known >= _BLOCKS_KEPT * BLOCK else 1.0
        if self.beyond >= _NEW_NORMAL:
            self.reference, self.beyond = self.current, 0
        elif not self.beyond:
            self.reference = [fade * old + new for old, new in zip(self.reference, self.current, strict=True)]
        self.current, self.count = [0.0] * BINS, 0


def index(current: list[float], reference: list[float]) -> float:
    """The index of two histograms; half a count is added to each bin, so that an empty one is no infinity."""
    n, m = sum(current) + _PSEUDO * len(current), sum(reference) + _PSEUDO * len(reference)
    total = 0.0
    for one, other in zip(current, reference, strict=True):
        a, b = (one + _PSEUDO) / n, (other + _PSEUDO) / m
        total += (a - b) * math.log(a / b)
    return total
