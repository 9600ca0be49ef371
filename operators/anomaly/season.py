"""What hour of day and day of week say about a series, learnt online and borrowed from siblings while it is young.

The season is piecewise linear between full hours: a mean and a mean absolute deviation at each of 24 hours of the day
and 168 hours of the week, each learning what lies within an hour of it, weighted by nearness. An hour of the week is
trusted as its observations grow (half, after `WEEKS_TO_TRUST`), else the hour of the day counts. What lies more than
`CLIP` deviations off is learnt as if it lay there, so one spike does not become the season.

A `Pool` holds the shape that siblings share (stores of one region): the ratio of value to level by hour of the week.
A young series takes the pool's shape times its own level, until it knows the hour of day itself (half, after
`DAYS_TO_TRUST`). Ratios need levels above zero: a series around zero neither gives to a pool nor takes from one.
"""

from array import array

from operators.anomaly.clock import DAY_HOURS, QUARTERS, WEEK_HOURS

DAYS_TO_TRUST = 2.0
WEEKS_TO_TRUST = 4.0
CLIP = 6.0
_DAYS_KEPT = 21.0
_WEEKS_KEPT = 8.0
_FLOOR = 0.1  # of the overall deviation
_CLIP_FROM = 3.0
_QUARTER_DAYS = 5.0
_WILDEST = 30.0
_POOL_KEPT = 500.0
_LEAST_SHAPE = 0.05


def _zeros(size: int) -> "array[float]":
    return array("f", bytes(4 * size))


class Knots:
    """Running mean, mean absolute deviation and weight at the full hours of a day or a week.

    Memory: 12 bytes a knot, as 32-bit floats, so that a snapshot is exact.
    """

    __slots__ = ("deviation", "mean", "weight")

    def __init__(self, size: int) -> None:
        self.mean = _zeros(size)
        self.deviation = _zeros(size)
        self.weight = _zeros(size)

    def learn(self, knot: int, share: float, value: float, kept: float, floor: float) -> None:
        """Take a value that lies near the knot by `share` (0 to 1); `kept` is how many values are remembered."""
        weight = min(self.weight[knot] + share, kept)
        gain = min(1.0, share / weight)
        off = value - self.mean[knot]
        if weight > _CLIP_FROM:
            limit = CLIP * (self.deviation[knot] + floor)
            off = min(max(off, -limit), limit)
        self.mean[knot] += gain * off
        if weight > share:
            self.deviation[knot] += gain * (abs(off) - self.deviation[knot])
        self.weight[knot] = weight


class Pool:
    """The shape of a week that siblings share, as the ratio of value to level.

    Memory: 2 kB for all of them.
    """

    __slots__ = ("_ratios",)

    def __init__(self) -> None:
        self._ratios = Knots(WEEK_HOURS)

    def shape(self, before: int, after: int, share: float) -> tuple[float, float] | None:
        """Ratio and its deviation between two full hours; None where nobody has been yet."""
        ratios = self._ratios
        before, after = before % WEEK_HOURS, after % WEEK_HOURS
        low, high = (1.0 - share) * ratios.weight[before], share * ratios.weight[after]
        if low + high < 1.0:
            return None
        ratio = (low * ratios.mean[before] + high * ratios.mean[after]) / (low + high)
        deviation = (low * ratios.deviation[before] + high * ratios.deviation[after]) / (low + high)
        return ratio, deviation

    def learn(self, before: int, after: int, share: float, ratio: float) -> None:
        """Take the ratio of a sibling that knows its level."""
        self._ratios.learn(before % WEEK_HOURS, 1.0 - share, ratio, _POOL_KEPT, _FLOOR)
        if share > 0.0:
            self._ratios.learn(after % WEEK_HOURS, share, ratio, _POOL_KEPT, _FLOOR)

    @property
    def arrays(self) -> "tuple[array[float], ...]":
        """All that is kept, for a snapshot."""
        return self._ratios.mean, self._ratios.deviation, self._ratios.weight


class Season:
    """One series' season.

    Args:
        pool: where siblings share their shape, if there are any.

    Memory: 3 kB: 192 knots, and for 96 quarters of an hour how wild the series usually is then.
    Cost: some 5 µs a value.
    """

    __slots__ = ("_day", "_pool", "_week", "pooled_level", "pooled_seen", "quarter_weight", "quarter_wildness")

    def __init__(self, pool: Pool | None = None) -> None:
        self._day = Knots(DAY_HOURS)
        self._week = Knots(WEEK_HOURS)
        self._pool = pool
        self.quarter_wildness = _zeros(QUARTERS)
        self.quarter_weight = _zeros(QUARTERS)
        self.pooled_level = 0.0
        self.pooled_seen = 0

    def expect(
        self, before: int, after: int, share: float, per_hour: float, unknown: tuple[float, float]
    ) -> tuple[float, float]:
        """Expected value and mean absolute deviation between two full hours; `unknown` where nothing is known."""
        day, week = self._day, self._week
        first, second = before % DAY_HOURS, after % DAY_HOURS
        low = 1.0 - share if day.weight[first] > 0.0 else 0.0
        high = share if day.weight[second] > 0.0 else 0.0
        seen = low + high
        if seen <= 0.0:
            return self._borrowed(before, after, share) or unknown
        mean = (low * day.mean[first] + high * day.mean[second]) / seen
        deviation = max(day.deviation[first] if low > 0.0 else 0.0, day.deviation[second] if high > 0.0 else 0.0)
        days = low * day.weight[first] + high * day.weight[second]
        if self._pool is not None:
            borrowed = self._borrowed(before, after, share)
            if borrowed is not None:
                trust = days / (days + DAYS_TO_TRUST * per_hour)
                mean = trust * mean + (1.0 - trust) * borrowed[0]
                deviation = max(deviation, (1.0 - trust) * borrowed[1])
        first, second = before % WEEK_HOURS, after % WEEK_HOURS
        low, high = (1.0 - share) * week.weight[first], share * week.weight[second]
        weeks = low + high
        if weeks > 0.0:
            trust = weeks / (weeks + WEEKS_TO_TRUST * per_hour)
            mean += trust * ((low * week.mean[first] + high * week.mean[second]) / weeks - mean)
            deviation += trust * ((low * week.deviation[first] + high * week.deviation[second]) / weeks - deviation)
        return mean, deviation

    def learn(self, before: int, after: int, share: float, value: float, per_hour: float, spread: float) -> None:
        """Take a value; `spread` is the series' overall mean absolute deviation."""
        floor = _FLOOR * spread
        days, weeks = _DAYS_KEPT * per_hour, _WEEKS_KEPT * per_hour
        if self._pool is not None:
            self._learn_level(before, after, share, value, per_hour)
        for knot, near in ((before, 1.0 - share), (after, share)):
            if near > 0.0:
                self._day.learn(knot % DAY_HOURS, near, value, days, floor)
                self._week.learn(knot % WEEK_HOURS, near, value, weeks, floor)

    def wildness(self, quarter: int) -> float:
        """How many times its usual self an innovation is at this quarter of an hour of the day; at least 1."""
        return max(1.0, self.quarter_wildness[quarter]) if self.quarter_weight[quarter] > 0.0 else 1.0

    def learn_wildness(self, quarter: int, times: float, per_hour: float) -> None:
        """Take an innovation in units of its scale."""
        weight = min(self.quarter_weight[quarter] + 1.0, _QUARTER_DAYS * per_hour / 4.0)
        self.quarter_weight[quarter] = weight
        wildness = self.quarter_wildness
        wildness[quarter] += (min(times, _WILDEST) - wildness[quarter]) / max(weight, 1.0)

    def give(self, before: int, after: int, share: float, ratio: float) -> None:
        """Teach the pool, when the series knows its level."""
        if self._pool is not None:
            self._pool.learn(before, after, share, ratio)

    @property
    def arrays(self) -> "tuple[array[float], ...]":
        """All arrays, for a snapshot."""
        day, week = self._day, self._week
        return (
            day.mean, day.deviation, day.weight, week.mean, week.deviation, week.weight,
            self.quarter_wildness, self.quarter_weight,
        )  # fmt: skip

    def _borrowed(self, before: int, after: int, share: float) -> tuple[float, float] | None:
        if self._pool is None or self.pooled_level <= 0.0:
            return None
        shape = self._pool.shape(before, after, share)
        return None if shape is None else (self.pooled_level * shape[0], self.pooled_level * shape[1])

    def _learn_level(self, before: int, after: int, share: float, value: float, per_hour: float) -> None:
        shape = self._pool.shape(before, after, share) if self._pool is not None else None
        if shape is None or shape[0] < _LEAST_SHAPE or value < 0.0:
            return
        self.pooled_seen += 1
        gain = 1.0 / min(self.pooled_seen, 24.0 * per_hour)
        self.pooled_level += gain * (value / shape[0] - self.pooled_level)
