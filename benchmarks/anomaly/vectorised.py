"""What one numpy pass over all series of a window's end would save: the same scores, bit by bit, both ways timed.

    nice -n 5 .venv/bin/python benchmarks/anomaly/vectorised.py [--series N …] [--ticks N]

`Block` keeps the numbers of all series as columns and does for each tick, with one numpy call for each step of the
arithmetic, what `SeriesDetector` does for one point; logarithms go through `math`, so that not a bit differs. It is the
best case: every series has a point in every tick, all are two-sided, and none has a pool (what siblings learn from each
other within a tick has to go one by one). Every score is held against the plain path's before anything is timed.

The last lines say what of the cost of a point in the job could be saved so at most: pools, who judges, the records and
health stay one by one. All of it is timed on series that have grown up.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from operators.anomaly import detector as plain
from operators.anomaly.clock import DAY_HOURS, HOUR_S, QUARTERS, WEEK_HOURS, WEEK_S, knots, quarter
from operators.anomaly.detector import SeriesDetector
from operators.anomaly.reach import BURN_IN, MEMORY, STEEPNESS
from operators.anomaly.series_models import Point, SeriesModels
from operators.anomaly.settings import ModelSettings
from operators.anomaly.tail import SHARE

Column = npt.NDArray[np.float64]
_STEP_US = 300_000_000
_LN10 = math.log(10.0)


def _log(values: Column) -> Column:
    return np.array([math.log(value) for value in values.tolist()])


class Knots:
    """Mean, deviation and weight at full hours, (knots, series), as 32-bit floats."""

    def __init__(self, size: int, count: int) -> None:
        self.mean, self.deviation, self.weight = (np.zeros((size, count), np.float32) for _ in range(3))

    def learn(self, knot: int, share: float, value: Column, kept: float, floor: Column) -> None:
        """As `operators.anomaly.season.Knots`."""
        mean, deviation = self.mean[knot].astype(float), self.deviation[knot].astype(float)
        weight = np.minimum(self.weight[knot].astype(float) + share, kept)
        gain = np.minimum(1.0, share / weight)
        off = value - mean
        limit = 6.0 * (deviation + floor)
        off = np.where(weight > 3.0, np.minimum(np.maximum(off, -limit), limit), off)
        self.mean[knot] = mean + gain * off
        self.deviation[knot] = np.where(weight > share, deviation + gain * (np.abs(off) - deviation), deviation)
        self.weight[knot] = weight


class Reach:
    """As `operators.anomaly.reach.Reach`, for two-sided series of the same age."""

    def __init__(self, count: int) -> None:
        self.low, self.high, self.mean = np.zeros(count), np.zeros(count), np.zeros(count)
        self.seen = 0

    def novelty(self, value: Column) -> Column:
        """How new each value is; then learn it."""
        self.seen += 1
        novelty = np.zeros(len(value))
        if self.seen <= BURN_IN // 2:
            return novelty
        if self.seen == BURN_IN // 2 + 1:
            self.low, self.high, self.mean = value.copy(), value.copy(), value.copy()
            return novelty
        excess = np.maximum(value - self.high, self.low - value)
        if self.seen > BURN_IN:
            for at in np.flatnonzero(excess > 0.0).tolist():
                width = float(self.high[at] - self.low[at])
                novelty[at] = math.log10(1.0 + STEEPNESS * float(excess[at]) / width) if width > 0.0 else 1.0
        self.mean = self.mean + (value - self.mean) / min(self.seen, MEMORY)
        self.low = np.minimum(value, self.low + (self.mean - self.low) / MEMORY)
        self.high = np.maximum(value, self.high + (self.mean - self.high) / MEMORY)
        return novelty


class Tail:
    """As `operators.anomaly.tail.Tail`, for series of the same age."""

    def __init__(self, count: int) -> None:
        self.log_u, self.g, self.beyond = np.full(count, -3.0), np.full(count, 0.5), np.zeros(count)
        self.seen = 0

    def surprise(self, magnitude: Column) -> Column:
        """As the plain one."""
        over = _log(np.maximum(magnitude, 1e-6)) - self.log_u
        base = -math.log10(SHARE)
        is_over = over > 0
        surprise = np.zeros(len(over))
        if self.seen > 20:
            surprise = np.where(is_over, base + over / self.g / _LN10, np.maximum(0.0, base + over / _LN10))
        self.seen += 1
        step = max(2.0 / math.sqrt(self.seen), 0.02)
        self.beyond = np.where(is_over, np.minimum(self.beyond + 1.0, 200.0), self.beyond)
        g = self.g + (np.minimum(over, 3.0) - self.g) / np.minimum(self.beyond + 4.0, 200.0)
        self.g = np.where(is_over, np.maximum(g, 0.02), self.g)
        self.log_u = np.where(is_over, self.log_u + step * (1.0 - SHARE), self.log_u - step * SHARE)
        return surprise


class Block:
    """So many two-sided series without pools, each with a point in every tick: surprise, score and band."""

    def __init__(self, count: int) -> None:
        self.day, self.week = Knots(DAY_HOURS, count), Knots(WEEK_HOURS, count)
        self.wild = np.zeros((QUARTERS, count), np.float32)
        self.wild_weight = np.zeros(QUARTERS)
        self.reaches, self.tails = [Reach(count) for _ in range(4)], [Tail(count) for _ in range(3)]
        zeros = [np.zeros(count) for _ in range(8)]
        self.mean, self.deviation, self.slow, self.slow_scale, self.fast, self.fast_scale, self.lean, self.up = zeros
        self.record = np.full(count, -1.0)
        self.threshold = np.full(count, 3.3)
        self.seen = 0

    def score(self, at_us: int, value: Column) -> tuple[Column, Column, Column]:
        """As `SeriesDetector.score`, less drift and kinds, which cost the least."""
        per_hour = max(1.0, HOUR_S / (_STEP_US / 1e6)) if self.seen > 1 else 1.0
        if self.seen == 1:
            per_hour = HOUR_S / (_STEP_US / 1e6)
        (before, after, share), part = knots(at_us), quarter(at_us)
        if not self.seen:
            self.mean = value.copy()
        expected, deviation = self._expect(before, after, share, per_hour)
        residual = value - expected
        centre = expected + self.fast
        wildness = (
            np.maximum(1.0, self.wild[part].astype(float)) if self.wild_weight[part] > 0.0 else np.ones(len(value))
        )
        step_scale = self.fast_scale * wildness
        half = step_scale * np.array([math.exp(one) for one in self.tails[0].log_u.tolist()])
        scale = deviation + 0.1 * self.deviation
        standard = np.divide(residual, scale, out=np.zeros(len(value)), where=scale > 0.0)
        standard = np.minimum(np.maximum(standard, -4.0), 4.0)
        self.lean = self.lean + 1 / 48 * (standard - self.lean)
        from_slow, from_fast = residual - self.slow, residual - self.fast
        raw, seasonal, level, step = self.reaches
        novelty = (
            raw.novelty(value)
            + seasonal.novelty(residual)
            + level.novelty(from_slow)
            + step.novelty(from_fast / wildness)
        )
        steps = np.divide(np.abs(from_fast), step_scale, out=np.zeros(len(value)), where=step_scale > 0.0)
        levels = np.divide(np.abs(from_slow), self.slow_scale, out=np.zeros(len(value)), where=self.slow_scale > 0.0)
        innovation = plain.INNOVATION * self.tails[0].surprise(steps)
        level_term = plain.LEVEL * self.tails[1].surprise(levels)
        surprise = novelty + innovation + level_term + plain.SUSTAINED * self.tails[2].surprise(np.abs(self.lean))
        is_return = np.abs(residual) < 0.25 * np.abs(self.fast)
        counted = np.where((surprise > self.record) & ~is_return, surprise, 0.0)
        self.record = np.where(counted > 0, np.maximum(surprise, self.record), self.record * math.exp(-1 / 150))
        if self.seen >= BURN_IN:
            fall = min(1.0, 1.0 / max(1.0, WEEK_S / (_STEP_US / 1e6)))
            self.threshold = np.maximum(3.3, self.threshold + np.where(counted > self.threshold, 1.0, 0.0) - fall)
        times = np.divide(np.abs(from_fast), self.fast_scale, out=np.ones(len(value)), where=self.fast_scale > 0.0)
        weight = min(self.wild_weight[part] + 1.0, 5.0 * per_hour / 4.0)
        self.wild_weight[part] = np.float32(weight)
        wild = self.wild[part].astype(float)
        self.wild[part] = wild + (np.minimum(times, 30.0) - wild) / max(weight, 1.0)
        self._learn(value, residual)
        floor = 0.1 * self.deviation
        for knot, near in ((before, 1.0 - share), (after, share)):
            if near > 0.0:
                self.day.learn(knot % DAY_HOURS, near, value, 21.0 * per_hour, floor)
                self.week.learn(knot % WEEK_HOURS, near, value, 8.0 * per_hour, floor)
        return surprise, counted, centre + half

    def _expect(self, before: int, after: int, share: float, per_hour: float) -> tuple[Column, Column]:
        day, week = self.day, self.week
        first, second = before % DAY_HOURS, after % DAY_HOURS
        low = 1.0 - share if day.weight[first][0] > 0.0 else 0.0
        high = share if day.weight[second][0] > 0.0 else 0.0
        if low + high <= 0.0:
            return self.mean.copy(), self.deviation.copy()
        mean = (low * day.mean[first].astype(float) + high * day.mean[second].astype(float)) / (low + high)
        deviation = np.maximum(
            day.deviation[first].astype(float) if low > 0.0 else 0.0,
            day.deviation[second].astype(float) if high > 0.0 else 0.0,
        )
        first, second = before % WEEK_HOURS, after % WEEK_HOURS
        low, high = (1.0 - share) * float(week.weight[first][0]), share * float(week.weight[second][0])
        weeks = low + high
        if weeks > 0.0:
            trust = weeks / (weeks + 4.0 * per_hour)
            there = (low * week.mean[first].astype(float) + high * week.mean[second].astype(float)) / weeks
            spread = (low * week.deviation[first].astype(float) + high * week.deviation[second].astype(float)) / weeks
            mean, deviation = mean + trust * (there - mean), deviation + trust * (spread - deviation)
        return mean, deviation

    def _learn(self, value: Column, residual: Column) -> None:
        self.seen += 1
        even = 1.0 / self.seen
        gain = max(1 / 5000, even)
        self.mean = self.mean + gain * (value - self.mean)
        self.deviation = self.deviation + gain * (np.abs(value - self.mean) - self.deviation)
        from_slow, from_fast = residual - self.slow, residual - self.fast
        self.fast_scale = self.fast_scale + max(1 / 300, even) * (
            _bounded(from_fast, self.fast_scale) - self.fast_scale
        )
        self.fast = self.fast + 0.15 * from_fast
        self.slow_scale = self.slow_scale + max(1 / 1000, even) * (
            _bounded(from_slow, self.slow_scale) - self.slow_scale
        )
        self.slow = self.slow + max(1 / 300, even) * from_slow


def _bounded(off: Column, scale: Column) -> Column:
    size = np.abs(off)
    return np.where(scale > 0.0, np.minimum(size, 8.0 * scale), size)


def values(ticks: int, count: int) -> Column:
    """A day's season with noise and a spike now and then, (ticks, series)."""
    draw = np.random.default_rng(3)
    hours = np.arange(ticks)[:, None] * (_STEP_US / 3.6e9)
    season = 50 + 30 * np.sin(hours / 24 * 2 * np.pi + draw.uniform(0, 6, count))
    return np.round(season + draw.normal(0, 5, (ticks, count)) + 60 * (draw.random((ticks, count)) < 0.002), 1)


def differ(ticks: int, count: int) -> int:
    """How many scores of the two paths are not the same number, over all ticks and series."""
    block, detectors, found = Block(count), [SeriesDetector() for _ in range(count)], 0
    for number, row in enumerate(values(ticks, count)):
        at_us = number * _STEP_US
        together = block.score(at_us, row)
        for at, detector in enumerate(detectors):
            said = detector.score(at_us, float(row[at]))
            found += (said.surprise, said.anomaly_score, said.upper) != tuple(float(one[at]) for one in together)
    return found


GROWN, TIMED, SIBLINGS = 600, 200, 40


def grown() -> tuple[float, float, float]:
    """Processor time of a point of a grown series (s): the detector alone, in numpy, and everything as the job does."""
    rows = values(GROWN + TIMED, SIBLINGS)
    detectors, block, models = (
        [SeriesDetector() for _ in range(SIBLINGS)],
        Block(SIBLINGS),
        SeriesModels(ModelSettings()),
    )
    spent = [0.0, 0.0, 0.0]
    for number, row in enumerate(rows):
        at_us = number * _STEP_US
        points = [Point(("backlog", str(at)), "all", at_us, value) for at, value in enumerate(row.tolist())]
        times = [time.process_time()]
        for detector, value in zip(detectors, row.tolist(), strict=True):
            detector.score(at_us, value)
        times.append(time.process_time())
        block.score(at_us, row)
        times.append(time.process_time())
        models.update(points)
        times.append(time.process_time())
        if number >= GROWN:
            spent = [some + later - sooner for some, sooner, later in zip(spent, times, times[1:], strict=False)]
    alone, together, everything = (one / (TIMED * SIBLINGS) for one in spent)
    return alone, together, everything


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold the two against each other, time them, print the table; 1 where a score differs."""
    parser = argparse.ArgumentParser(description="One numpy pass over all series of a window's end.")
    parser.add_argument("--series", type=int, nargs="+", default=[10, 40, 300, 1500, 6000], metavar="N")
    parser.add_argument("--ticks", type=int, default=40, metavar="N", help="that are timed (40)")
    asked = parser.parse_args(arguments)
    ticks, count = 700, 12
    wrong = differ(ticks, count)
    print(f"{ticks * count:,} points of {count} series: {wrong} scores, surprises or bands are not the same number")
    print(f"{'series a tick':>13s} {'plain µs a point':>17s} {'numpy':>7s} {'ratio':>6s}")
    for size in asked.series:
        rows = values(asked.ticks, size)
        block, detectors = Block(size), [SeriesDetector() for _ in range(size)]
        begun = time.process_time()
        for number, row in enumerate(rows):
            for detector, value in zip(detectors, row.tolist(), strict=True):
                detector.score(number * _STEP_US, value)
        plain_s = time.process_time() - begun
        begun = time.process_time()
        for number, row in enumerate(rows):
            block.score(number * _STEP_US, row)
        numpy_s = time.process_time() - begun
        per = 1e6 / (size * asked.ticks)
        print(f"{size:13,d} {plain_s * per:17.1f} {numpy_s * per:7.1f} {plain_s / numpy_s:6.1f}", flush=True)
    alone, _, everything = (1e6 * one for one in grown())
    rest = everything - alone
    print(f"a grown series: detector {alone:.1f} µs a point, everything {everything:.1f} µs")
    print(f"were the detector free, a point would cost {rest:.1f} µs: at most {everything / rest:.1f} times less")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
