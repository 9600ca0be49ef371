"""How rare a magnitude is, as a log-tail that does not saturate.

For magnitudes y with a threshold u that a share q of them lies above, the tail is taken to fall as a power: P(Y > y) =
q (y/u)^(-1/g), g the mean of log(Y/u) over what lies above (Hill, Annals of Statistics 3, 1975; peaks over threshold:
Pickands, ibid.). So surprise = -log10 P = -log10 q + log10(y/u) / g. Light tails give a small g and steep surprise,
heavy ones a large g. u is a running quantile by stochastic approximation on log y (Robbins, Monro 1951), g a running
mean.
"""

import math

#: The share that lies above the threshold.
SHARE = 0.02
BASE = -math.log10(SHARE)
LN10 = math.log(10.0)
SMALLEST = 1e-6
LEAST_STEP = 0.02
LEAST_G = 0.02
FARTHEST = 3.0  # one outlier tells no more of g than e³ times the threshold
BELIEF = 4.0  # so many exceedances is the guess about g worth that a tail begins with
MEMORY = 200.0  # exceedances
WARM = 20


class Tail:
    """The tail of one kind of magnitude.

    Memory: four numbers. Cost: two logarithms a magnitude.
    """

    __slots__ = ("beyond", "g", "log_u", "seen")

    def __init__(self) -> None:
        self.log_u = -3.0
        self.g = 0.5
        self.beyond = 0.0
        self.seen = 0

    def surprise(self, magnitude: float) -> float:
        """-log10 of the chance of such a magnitude or a larger one, judged before it is learnt; then learn it."""
        log_y = math.log(magnitude) if magnitude > SMALLEST else math.log(SMALLEST)
        over = log_y - self.log_u
        surprise = 0.0
        if self.seen > WARM:
            surprise = BASE + over / self.g / LN10 if over > 0 else max(0.0, BASE + over / LN10)
        self.seen += 1
        step = max(2.0 / math.sqrt(self.seen), LEAST_STEP)
        if over > 0:
            self.beyond = min(self.beyond + 1.0, MEMORY)
            self.g += (min(over, FARTHEST) - self.g) / min(self.beyond + BELIEF, MEMORY)
            self.g = max(self.g, LEAST_G)
            self.log_u += step * (1.0 - SHARE)
        else:
            self.log_u -= step * SHARE
        return surprise

    @property
    def threshold(self) -> float:
        """The magnitude that a share `SHARE` lies above."""
        return math.exp(self.log_u)
