"""The model of one series, `SeriesDetector.score`, for a point of each of many: the same steps in the same order.

What is a number there is a column here, and what is a question is a mask. `tests/test_anomaly_batch.py` holds the two
against each other, bit by bit, with what they have learnt.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operators.anomaly import detector as plain
from operators.anomaly.batch import clock, pools, terms
from operators.anomaly.batch.columns import Column, Mask, Whole, bad, exp, greater, lesser
from operators.anomaly.batch.season import Seasons
from operators.anomaly.budget import LEAST
from operators.anomaly.budget import STEP as BUDGET_STEP
from operators.anomaly.clock import DAY_HOURS
from operators.anomaly.drift import PageHinkley
from operators.anomaly.layout import (
    DEVIATION,
    DRIFT_COUNT,
    DRIFT_TOTAL,
    FAST,
    FAST_SCALE,
    LEAN,
    MEAN,
    QUIET,
    REACH_LEVEL,
    REACH_RESIDUAL,
    REACH_STEP,
    REACH_VALUE,
    RECORD,
    SEEN,
    SLOW,
    SLOW_SCALE,
    TAIL_LEAN,
    TAIL_LEVEL,
    TAIL_STEP,
    TEST,
    THRESHOLD,
)
from operators.anomaly.reach import BURN_IN
from operators.anomaly.score import Kind
from operators.anomaly.season import Pool

_FOUR = 4  # numbers of a range, and of a tail


class Points(NamedTuple):
    """A point of each series of a batch: finite values, and what `Point` says beside them."""

    at_us: Whole
    offset_us: Whole
    value: Column
    least: Column
    up: Mask
    down: Mask


class Scores(NamedTuple):
    """As `Score`, a column each."""

    expected: Column
    lower: Column
    upper: Column
    surprise: Column
    anomaly_score: Column
    novelty: Column
    innovation: Column
    level: Column
    sustained: Column
    confidence: Column
    kind: list[Kind]
    is_alarm: Mask


def score(
    own: Column,
    knots: npt.NDArray[np.float32],
    rows: npt.NDArray[np.intp],
    points: Points,
    siblings: list[Pool | None],
    alarms_per_week: float,
) -> Scores:
    """Judge each point with what was known before it, then learn it.

    Args:
        own: the numbers of the series, (numbers, series): they are changed.
        knots: of the whole bank: those of these series are changed.
        rows: of the series in the bank, each once.
        points: one of each series, in an order that counts for siblings only.
        siblings: the pool of each series.
        alarms_per_week: budget of each.
    """
    value, up, down = points.value, points.up, points.down
    seen = own[SEEN].copy()
    pace = clock.learn_pace(own, points.at_us)
    per_hour, is_gap = pace.per_hour, pace.is_gap
    place = clock.places(points.at_us + points.offset_us)
    own[MEAN] = np.where(seen == 0.0, value, own[MEAN])
    deviation_before = own[DEVIATION].copy()
    unknown = own[MEAN].copy(), deviation_before
    _learn_overall(own, value)
    is_mature = (own[MEAN] > 0.0) & (seen > plain.MATURE_DAYS * DAY_HOURS * per_hour)
    shape = pools.lent(siblings, place, is_mature, value / own[MEAN])
    season = Seasons(knots, rows, place, shape)
    expected, deviation = season.expect(own, per_hour, unknown)
    own[FAST] = np.where(is_gap, own[SLOW], own[FAST])
    residual = value - expected
    centre = expected + own[FAST]
    step_scale = own[FAST_SCALE] * season.wildness
    half_band = step_scale * exp(own[TAIL_STEP])
    scale = deviation + plain.FLOOR * deviation_before
    standard = np.where(scale > 0.0, residual / scale, 0.0)
    standard = lesser(greater(standard, -plain.WILDEST_LEAN), plain.WILDEST_LEAN)
    own[LEAN] += plain.LEAN * (standard - own[LEAN])

    said = _terms(own, points, residual, np.where(is_gap, 0.0, step_scale), season.wildness)
    novelty, innovation, level, sustained = said
    surprise = novelty + innovation + level + sustained
    is_return = np.abs(residual) < plain.BACK * np.abs(own[FAST])
    off = greater(bad(value - centre, up, down), bad(residual, up, down))
    is_material = (off >= points.least) & (off > plain.ROUNDING * np.abs(value))
    counted = np.where(is_material & (surprise > own[RECORD]) & ~is_return, surprise, 0.0)
    own[RECORD] = np.where(counted != 0.0, greater(surprise, own[RECORD]), own[RECORD] * plain.RECENT)
    is_alarm = _spend(own, counted, seen >= BURN_IN, pace.per_week, alarms_per_week)
    is_step = innovation >= plain.STEP
    kind: list[Kind] = ["gap" if gap else "none" for gap in is_gap.tolist()]
    _tell(kind, own, is_alarm, residual, is_step, said)
    drifts = _learn_drift(own, standard, DAY_HOURS * per_hour)
    own[QUIET] = np.where(is_alarm & is_step, 0.0, own[QUIET] + 1.0)
    is_drift = ((drifts > 0) & up) | ((drifts < 0) & down)
    is_drift &= own[QUIET] > plain.DRIFT_QUIET_DAYS * DAY_HOURS * per_hour
    for at in np.flatnonzero(is_drift).tolist():
        kind[at] = "drift"
    is_alarm |= is_drift
    own[QUIET] = np.where(is_drift, 0.0, own[QUIET])

    own[FAST] = np.where(is_gap, residual, own[FAST])
    times = np.where(own[FAST_SCALE] > 0.0, np.abs(residual - own[FAST]) / own[FAST_SCALE], 1.0)
    season.learn_wildness(times, per_hour)
    _learn_levels(own, residual)
    season.learn(own, value, per_hour, own[DEVIATION])
    confidence = seen / (seen + BURN_IN) * np.where(is_gap, 0.5, 1.0)
    lower, upper = centre - half_band, centre + half_band
    return Scores(centre, lower, upper, surprise, counted, *said, confidence, kind, is_alarm)


def _terms(
    own: Column, points: Points, residual: Column, step_scale: Column, wildness: Column
) -> tuple[Column, Column, Column, Column]:
    """As `SeriesDetector._terms`."""
    up, down = points.up, points.down
    from_slow, from_fast = residual - own[SLOW], residual - own[FAST]
    novelty = (
        terms.novelty(own[REACH_VALUE : REACH_VALUE + _FOUR], points.value, up, down)
        + terms.novelty(own[REACH_RESIDUAL : REACH_RESIDUAL + _FOUR], residual, up, down)
        + terms.novelty(own[REACH_LEVEL : REACH_LEVEL + _FOUR], from_slow, up, down)
    )
    has_scale = step_scale > 0.0
    (asked,) = np.nonzero(has_scale | (own[FAST_SCALE] == 0.0))
    reach = own[REACH_STEP : REACH_STEP + _FOUR, asked]
    novelty[asked] += terms.novelty(reach, from_fast[asked] / wildness[asked], up[asked], down[asked])
    own[REACH_STEP : REACH_STEP + _FOUR, asked] = reach
    steps = np.where(has_scale, bad(from_fast, up, down) / step_scale, 0.0)
    levels = np.where(own[SLOW_SCALE] > 0.0, bad(from_slow, up, down) / own[SLOW_SCALE], 0.0)
    return (
        novelty,
        plain.INNOVATION * terms.surprise(own[TAIL_STEP : TAIL_STEP + _FOUR], steps),
        plain.LEVEL * terms.surprise(own[TAIL_LEVEL : TAIL_LEVEL + _FOUR], levels),
        plain.SUSTAINED * terms.surprise(own[TAIL_LEAN : TAIL_LEAN + _FOUR], bad(own[LEAN], up, down)),
    )


def _spend(own: Column, counted: Column, judges: Mask, per_week: Column, alarms_per_week: float) -> Mask:
    """As `Budget.spend`, where the model judges."""
    threshold = own[THRESHOLD]
    is_alarm: Mask = judges & (counted > threshold)
    rise = np.where(is_alarm, BUDGET_STEP, 0.0)
    fall = BUDGET_STEP * lesser(1.0, alarms_per_week / per_week)
    own[THRESHOLD] = np.where(judges, greater(LEAST, threshold + rise - fall), threshold)
    return is_alarm


def _tell(
    kind: list[Kind],
    own: Column,
    is_alarm: Mask,
    residual: Column,
    is_step: Mask,
    said: tuple[Column, Column, Column, Column],
) -> None:
    """What each alarm is about: few, so one by one."""
    for at in np.flatnonzero(is_alarm).tolist():
        drifts_on = _test(own, at).leaning * float(residual[at]) > 0.0
        kind[at] = "drift" if drifts_on and not is_step[at] else plain.kind_of(*(float(term[at]) for term in said))


def _test(own: Column, at: int) -> PageHinkley:
    test = PageHinkley()
    test.mean, seen, test.rising, test.falling, test.lowest, test.highest = own[TEST, at].tolist()
    test.seen = int(seen)
    return test


def _learn_drift(own: Column, standard: Column, points_a_day: Column) -> npt.NDArray[np.int8]:
    """As `DailyDrift.learn`: a day ends now and then, so its test goes one by one."""
    drifts = np.zeros(len(standard), np.int8)
    own[DRIFT_TOTAL] += standard
    own[DRIFT_COUNT] += 1.0
    for at in np.flatnonzero(own[DRIFT_COUNT] >= points_a_day).tolist():
        test = _test(own, at)
        drifts[at] = test.learn(float(own[DRIFT_TOTAL, at]) / float(own[DRIFT_COUNT, at]))
        own[TEST, at] = (test.mean, test.seen, test.rising, test.falling, test.lowest, test.highest)
        own[DRIFT_TOTAL, at] = own[DRIFT_COUNT, at] = 0.0
    return drifts


def _learn_overall(own: Column, value: Column) -> None:
    own[SEEN] += 1.0
    gain = greater(plain.OVERALL, 1.0 / own[SEEN])
    own[MEAN] += gain * (value - own[MEAN])
    own[DEVIATION] += gain * (np.abs(value - own[MEAN]) - own[DEVIATION])


def _learn_levels(own: Column, residual: Column) -> None:
    even = 1.0 / own[SEEN]
    from_slow, from_fast = residual - own[SLOW], residual - own[FAST]
    fast_scale, slow_scale = own[FAST_SCALE], own[SLOW_SCALE]
    own[FAST_SCALE] += greater(plain.FAST_SCALE, even) * (_bounded(from_fast, fast_scale) - fast_scale)
    own[FAST] += plain.FAST * from_fast
    own[SLOW_SCALE] += greater(plain.SLOW_SCALE, even) * (_bounded(from_slow, slow_scale) - slow_scale)
    own[SLOW] += greater(plain.SLOW, even) * from_slow


def _bounded(off: Column, scale: Column) -> Column:
    size = np.abs(off)
    return np.where(scale > 0.0, lesser(size, plain.OUTLIER * scale), size)
