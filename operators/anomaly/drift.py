"""Change that comes slowly: Page-Hinkley over daily means of residuals.

E. S. Page, Continuous inspection schemes, Biometrika 41 (1954): sums of deviations from the running mean, less a
tolerance, against their own extremes. It finds what river's `drift.PageHinkley` finds (a test says so); ours is kept in
six numbers that a snapshot can hold.
"""

#: Daily means are in units of the season's deviation: tolerated, and what must have added up.
TOLERANCE = 0.5
LIMIT = 5.0
_LEAST_DAYS = 5


class PageHinkley:
    """Two-sided test for a change of mean.

    Args:
        tolerance: change that does not count.
        limit: what must have added up.
        least: judged after so many values.

    Memory: six numbers.
    """

    __slots__ = ("falling", "highest", "least", "limit", "lowest", "mean", "rising", "seen", "tolerance")

    def __init__(self, tolerance: float = TOLERANCE, limit: float = LIMIT, least: int = _LEAST_DAYS) -> None:
        self.tolerance = tolerance
        self.limit = limit
        self.least = least
        self.reset()

    def reset(self) -> None:
        """Begin anew, after a change."""
        self.mean = 0.0
        self.seen = 0
        self.rising = 0.0
        self.falling = 0.0
        self.lowest = 0.0
        self.highest = 0.0

    def learn(self, value: float) -> int:
        """Take a value: 1 for a rise of the mean, -1 for a fall, 0 for none. After a change it begins anew."""
        self.seen += 1
        self.mean += (value - self.mean) / self.seen
        off = value - self.mean
        self.rising += off - self.tolerance
        self.falling += off + self.tolerance
        self.lowest = min(self.lowest, self.rising)
        self.highest = max(self.highest, self.falling)
        if self.seen < self.least:
            return 0
        if self.rising - self.lowest > self.limit:
            self.reset()
            return 1
        if self.highest - self.falling > self.limit:
            self.reset()
            return -1
        return 0

    @property
    def leaning(self) -> int:
        """1 where half of what makes a rise has added up, -1 for a fall, else 0."""
        up, down = self.rising - self.lowest, self.highest - self.falling
        if max(up, down) <= self.limit / 2:
            return 0
        return 1 if up > down else -1


class DailyDrift:
    """Page-Hinkley over the means of a day of residuals.

    Memory: nine numbers. Cost: an addition a point.
    """

    __slots__ = ("count", "test", "total")

    def __init__(self) -> None:
        self.test = PageHinkley()
        self.total = 0.0
        self.count = 0

    def learn(self, residual: float, points_a_day: float) -> int:
        """Take a normalised residual: 1 for upward drift, -1 for downward, 0 for none."""
        self.total += residual
        self.count += 1
        if self.count < points_a_day:
            return 0
        mean, self.total, self.count = self.total / self.count, 0.0, 0
        return self.test.learn(mean)
