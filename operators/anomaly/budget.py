"""The score from which on a point is an alarm, so that a series keeps to its budget of alarms a week.

Adaptive conformal inference (Gibbs, Candès, NeurIPS 2021) on an unlabelled stream: the threshold rises by `STEP` with
each alarm and falls back by STEP × (budget / points a week) with each point. So whatever the scores' distribution, the
alarms of some weeks are at most budget × weeks + (highest score - LEAST) / STEP + 1. It never falls below `LEAST`: a
budget is what may be spent, not what must be.
"""

#: Where each threshold begins, and its lower end: one point in 2,000 of a calibrated score.
LEAST = 3.3
STEP = 1.0


class Budget:
    """The threshold of one series.

    Args:
        alarms_per_week: what the series may spend.

    Memory: one number.
    """

    __slots__ = ("_per_week", "threshold")

    def __init__(self, alarms_per_week: float) -> None:
        self._per_week = alarms_per_week
        self.threshold = LEAST

    def spend(self, score: float, points_per_week: float) -> bool:
        """Whether the score is an alarm; then learn from it."""
        is_alarm = score > self.threshold
        rise = STEP if is_alarm else 0.0
        self.threshold = max(LEAST, self.threshold + rise - STEP * min(1.0, self._per_week / points_per_week))
        return is_alarm
