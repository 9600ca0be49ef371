"""What hour of day and day of week say about a series, learnt online and borrowed from siblings while it is young.

The season is piecewise linear between full hours: a mean and a mean absolute deviation at each of 24 hours of the day
and 168 hours of the week, each learning what lies within an hour of it, weighted by nearness. An hour of the week is
trusted as its observations grow (half, after `WEEKS_TO_TRUST`), else the hour of the day counts. What lies more than
`CLIP` deviations off is learnt as if it lay there, so one spike does not become the season.

A `Pool` holds the shape that siblings share (stores of one region): the ratio of value to level by hour of the week.
A young series takes the pool's shape times its own level, until it knows the hour of day itself (half, after
`DAYS_TO_TRUST`). Ratios need levels above zero: a series around zero neither gives to a pool nor takes from one.
"""

from collections.abc import Sequence
from typing import TypeAlias

from operators.anomaly.clock import DAY_HOURS, WEEK_HOURS
from operators.anomaly.layout import DAY, KNOTS, WEEK, WILDNESS, WILDNESS_WEIGHT

DAYS_TO_TRUST = 2.0
WEEKS_TO_TRUST = 4.0
CLIP = 6.0
DAYS_KEPT = 21.0
WEEKS_KEPT = 8.0
FLOOR = 0.1  # of the overall deviation
CLIP_FROM = 3.0
QUARTER_DAYS = 5.0
WILDEST = 30.0
POOL_KEPT = 500.0
LEAST_SHAPE = 0.05


#: 32-bit floats, so that a snapshot is exact.
Floats: TypeAlias = "memoryview[float]"


def zeros(size: int) -> Floats:
    """So many zeros."""
    return memoryview(bytearray(4 * size)).cast("f")


class Knots:
    """Running mean, mean absolute deviation and weight at the full hours of a day or a week.

    Args:
        size: how many hours.
        place: where they are kept, three times as many; a place of their own unless told.

    Memory: 12 bytes a knot.
    """

    __slots__ = ("deviation", "mean", "weight")

    def __init__(self, size: int, place: "Floats | None" = None) -> None:
        kept = place if place is not None else zeros(3 * size)
        self.mean = kept[:size]
        self.deviation = kept[size : 2 * size]
        self.weight = kept[2 * size :]

    def learn(self, knot: int, share: float, value: float, kept: float, floor: float) -> None:
        """Take a value that lies near the knot by `share` (0 to 1); `kept` is how many values are remembered."""
        weight = self.weight[knot] + share
        if weight > kept:  # noqa: PLR1730 - a call of min() would cost a tenth of all of this
            weight = kept
        gain = share / weight if share < weight else 1.0
        mean, deviation = self.mean[knot], self.deviation[knot]
        off = value - mean
        if weight > CLIP_FROM:
            limit = CLIP * (deviation + floor)
            if off > limit:
                off = limit
            elif off < -limit:
                off = -limit
        self.mean[knot] = mean + gain * off
        if weight > share:
            self.deviation[knot] = deviation + gain * (abs(off) - deviation)
        self.weight[knot] = weight


class Pool:
    """The shape of a week that siblings share, as the ratio of value to level.

    Memory: 2 kB for all of them.
    """

    __slots__ = ("_ratios", "knots")

    def __init__(self) -> None:
        self.knots = zeros(3 * WEEK_HOURS)
        self._ratios = Knots(WEEK_HOURS, self.knots)

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
        self._ratios.learn(before % WEEK_HOURS, 1.0 - share, ratio, POOL_KEPT, FLOOR)
        if share > 0.0:
            self._ratios.learn(after % WEEK_HOURS, share, ratio, POOL_KEPT, FLOOR)

    def follow(
        self, before: int, after: int, share: float, ratios: Sequence[float | None]
    ) -> list[tuple[float, float] | None]:
        """What `shape` gives to each of some siblings at one time, of whom each then has its ratio learnt, if any."""
        out: list[tuple[float, float] | None] = []
        shape, is_stale = None, True
        for ratio in ratios:
            if is_stale:
                shape, is_stale = self.shape(before, after, share), False
            out.append(shape)
            if ratio is not None:
                self.learn(before, after, share, ratio)
                is_stale = True
        return out


class Season:
    """One series' season.

    Args:
        pool: where siblings share their shape, if there are any.
        knots: where all of it is kept, in the order of `operators/anomaly/layout.py`; a place of its own unless told.

    Memory: 3 kB: 192 knots, and for 96 quarters of an hour how wild the series usually is then.
    Cost: some 5 µs a value.
    """

    __slots__ = ("_day", "_pool", "_week", "_wildness", "_wildness_weight", "knots", "pooled_level", "pooled_seen")

    def __init__(self, pool: Pool | None = None, knots: "Floats | None" = None) -> None:
        self.knots = kept = knots if knots is not None else zeros(KNOTS)
        self._day = Knots(DAY_HOURS, kept[DAY:WEEK])
        self._week = Knots(WEEK_HOURS, kept[WEEK:WILDNESS])
        self._wildness = kept[WILDNESS:WILDNESS_WEIGHT]
        self._wildness_weight = kept[WILDNESS_WEIGHT:]
        self._pool = pool
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
        floor = FLOOR * spread
        days, weeks = DAYS_KEPT * per_hour, WEEKS_KEPT * per_hour
        if self._pool is not None:
            self._learn_level(before, after, share, value, per_hour)
        for knot, near in ((before, 1.0 - share), (after, share)):
            if near > 0.0:
                self._day.learn(knot % DAY_HOURS, near, value, days, floor)
                self._week.learn(knot % WEEK_HOURS, near, value, weeks, floor)

    def wildness(self, quarter: int) -> float:
        """How many times its usual self an innovation is at this quarter of an hour of the day; at least 1."""
        return max(1.0, self._wildness[quarter]) if self._wildness_weight[quarter] > 0.0 else 1.0

    def learn_wildness(self, quarter: int, times: float, per_hour: float) -> None:
        """Take an innovation in units of its scale."""
        weight = min(self._wildness_weight[quarter] + 1.0, QUARTER_DAYS * per_hour / 4.0)
        self._wildness_weight[quarter] = weight
        wildness = self._wildness
        wildness[quarter] += (min(times, WILDEST) - wildness[quarter]) / max(weight, 1.0)

    def give(self, before: int, after: int, share: float, ratio: float) -> None:
        """Teach the pool, when the series knows its level."""
        if self._pool is not None:
            self._pool.learn(before, after, share, ratio)

    def _borrowed(self, before: int, after: int, share: float) -> tuple[float, float] | None:
        if self._pool is None or self.pooled_level <= 0.0:
            return None
        shape = self._pool.shape(before, after, share)
        return None if shape is None else (self.pooled_level * shape[0], self.pooled_level * shape[1])

    def _learn_level(self, before: int, after: int, share: float, value: float, per_hour: float) -> None:
        shape = self._pool.shape(before, after, share) if self._pool is not None else None
        if shape is None or shape[0] < LEAST_SHAPE or value < 0.0:
            return
        self.pooled_seen += 1
        gain = 1.0 / min(self.pooled_seen, DAY_HOURS * per_hour)
        self.pooled_level += gain * (value / shape[0] - self.pooled_level)
