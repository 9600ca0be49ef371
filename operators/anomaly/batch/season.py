"""Seasons of a batch: what `Season` and `Knots` do for one series, for a point of each.

Knots stay in the bank: of its 768 a point touches fourteen.
"""

import numpy as np
import numpy.typing as npt

from operators.anomaly import season
from operators.anomaly.batch.clock import Place
from operators.anomaly.batch.columns import Column, Whole, greater, lesser
from operators.anomaly.batch.pools import Shape
from operators.anomaly.clock import DAY_HOURS, WEEK_HOURS
from operators.anomaly.layout import DAY, KNOTS, POOLED_LEVEL, POOLED_SEEN, WEEK, WILDNESS, WILDNESS_WEIGHT


class Hours:
    """Means, deviations and weights of a batch at one full hour, each in a column of its own.

    Args:
        knots: of the whole bank, flat.
        first: where those of each series' row begin.
        size: knots of a day or of a week.
        hour: which of them.
    """

    __slots__ = ("_knots", "_place", "_size", "deviation", "mean", "weight")

    def __init__(self, knots: npt.NDArray[np.float32], first: Whole, size: int, hour: Whole) -> None:
        self._knots = knots
        self._size = size
        self._place = first + hour
        self.mean, self.deviation, self.weight = (
            knots[self._place + part * size].astype(np.float64) for part in range(3)
        )

    def learn(self, near: Column, value: Column, kept: Column, floor: Column) -> None:
        """As `Knots.learn`, where the point is near at all."""
        weight = lesser(self.weight + near, kept)
        gain = lesser(1.0, near / weight)
        limit = season.CLIP * (self.deviation + floor)
        off = value - self.mean
        off = np.where(weight > season.CLIP_FROM, lesser(greater(off, -limit), limit), off)
        deviation = self.deviation + gain * (np.abs(off) - self.deviation)
        learnt = (self.mean + gain * off, np.where(weight > near, deviation, self.deviation), weight)
        is_near = near > 0.0
        place = self._place
        if not is_near.all():
            place, learnt = place[is_near], tuple(column[is_near] for column in learnt)  # type: ignore[assignment]
        for part, column in enumerate(learnt):
            self._knots[place + part * self._size] = column


class Seasons:
    """The seasons of the series of a batch, each series in it once.

    Args:
        knots: of the whole bank.
        rows: of the series.
        place: of their points.
        shape: what the series' pools lend, None where none of them has one.
    """

    __slots__ = ("_day", "_flat", "_shape", "_share", "_week", "_wild", "_wild_weight", "wildness")

    def __init__(self, knots: npt.NDArray[np.float32], rows: Whole, place: Place, shape: Shape | None) -> None:
        self._flat = knots.reshape(-1)
        first = rows * KNOTS
        self._day = [Hours(self._flat, first + DAY, DAY_HOURS, hour) for hour in place.day]
        self._week = [Hours(self._flat, first + WEEK, WEEK_HOURS, hour) for hour in place.week]
        self._share = place.share
        self._shape = shape
        self._wild, self._wild_weight = first + WILDNESS + place.quarter, first + WILDNESS_WEIGHT + place.quarter
        wild, weight = self._flat[self._wild].astype(np.float64), self._flat[self._wild_weight]
        self.wildness = np.where(weight > 0.0, greater(1.0, wild), 1.0)

    def expect(self, own: Column, per_hour: Column, unknown: tuple[Column, Column]) -> tuple[Column, Column]:
        """As `Season.expect` of each: expected value and mean absolute deviation."""
        share, (one, other) = self._share, self._day
        low = np.where(one.weight > 0.0, 1.0 - share, 0.0)
        high = np.where(other.weight > 0.0, share, 0.0)
        seen = low + high
        mean = (low * one.mean + high * other.mean) / seen
        deviation = greater(np.where(low > 0.0, one.deviation, 0.0), np.where(high > 0.0, other.deviation, 0.0))
        otherwise = unknown
        if self._shape is not None:
            days = low * one.weight + high * other.weight
            level = own[POOLED_LEVEL]
            lent, lent_deviation = level * self._shape.ratio, level * self._shape.deviation
            borrows = self._shape.is_lent & ~(level <= 0.0)
            trust = days / (days + season.DAYS_TO_TRUST * per_hour)
            mean = np.where(borrows, trust * mean + (1.0 - trust) * lent, mean)
            deviation = np.where(borrows, greater(deviation, (1.0 - trust) * lent_deviation), deviation)
            otherwise = np.where(borrows, lent, unknown[0]), np.where(borrows, lent_deviation, unknown[1])
        one, other = self._week
        low, high = (1.0 - share) * one.weight, share * other.weight
        weeks = low + high
        trust = weeks / (weeks + season.WEEKS_TO_TRUST * per_hour)
        there = (low * one.mean + high * other.mean) / weeks
        spread = (low * one.deviation + high * other.deviation) / weeks
        is_known, has_weeks = seen > 0.0, weeks > 0.0
        mean = np.where(has_weeks, mean + trust * (there - mean), mean)
        deviation = np.where(has_weeks, deviation + trust * (spread - deviation), deviation)
        return np.where(is_known, mean, otherwise[0]), np.where(is_known, deviation, otherwise[1])

    def learn(self, own: Column, value: Column, per_hour: Column, spread: Column) -> None:
        """As `Season.learn` of each."""
        if self._shape is not None:
            self._learn_level(own, value, per_hour, self._shape)
        floor = season.FLOOR * spread
        days, weeks = season.DAYS_KEPT * per_hour, season.WEEKS_KEPT * per_hour
        for place, near in enumerate((1.0 - self._share, self._share)):
            if near.any():
                self._day[place].learn(near, value, days, floor)
                self._week[place].learn(near, value, weeks, floor)

    def learn_wildness(self, times: Column, per_hour: Column) -> None:
        """As `Season.learn_wildness` of each."""
        weight = lesser(self._flat[self._wild_weight].astype(np.float64) + 1.0, season.QUARTER_DAYS * per_hour / 4.0)
        self._flat[self._wild_weight] = weight
        wild = self._flat[self._wild].astype(np.float64)
        self._flat[self._wild] = wild + (lesser(times, season.WILDEST) - wild) / greater(weight, 1.0)

    @staticmethod
    def _learn_level(own: Column, value: Column, per_hour: Column, shape: Shape) -> None:
        learns = shape.is_lent & ~((shape.ratio < season.LEAST_SHAPE) | (value < 0.0))
        own[POOLED_SEEN] += learns
        level = own[POOLED_LEVEL]
        gain = 1.0 / lesser(own[POOLED_SEEN], DAY_HOURS * per_hour)
        own[POOLED_LEVEL] = np.where(learns, level + gain * (value / shape.ratio - level), level)
