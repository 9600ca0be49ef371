"""Who judges the points of a batch, and what is said: `judged.by_model` for a point of each of many series."""

import math
from collections.abc import Sequence

import numpy as np

from operators.anomaly.bank import Bank, Rows
from operators.anomaly.batch.columns import Column, Mask
from operators.anomaly.batch.detector import Points, Scores, score
from operators.anomaly.judged import COLD_US, TROUBLES
from operators.anomaly.layout import LAST_US, SEEN
from operators.anomaly.point import Point
from operators.anomaly.rule import BACK
from operators.anomaly.rule import POINTS as RULE_POINTS
from operators.anomaly.score import Score, Terms
from operators.anomaly.settings import ModelSettings

_DRIFTING, _COLD = TROUBLES.index("drifting"), TROUBLES.index("cold")


def judge(bank: Bank, rows: Rows, points: Sequence[Point], settings: ModelSettings) -> tuple[list[Score], Column]:
    """Judge a point of each of these series with what was known before it, then learn it.

    Args:
        bank: whose series they are.
        rows: of the points' series, each once.
        points: with finite values.
        settings: of the models.

    Returns:
        The scores; and what is left unexplained, in units of half the band, NaN where there is no band or the model
        is young.
    """
    own = np.ascontiguousarray(bank.numbers[rows].T)
    directions = [point.direction for point in points]
    given = Points(
        np.array([point.at_us for point in points], np.int64),
        np.array([point.offset_us for point in points], np.int64),
        np.array([point.value for point in points], np.float64),
        np.array([point.least for point in points], np.float64),
        np.array([direction != "down" for direction in directions]),
        np.array([direction != "up" for direction in directions]),
    )
    siblings = [bank.pool_of(row) for row in rows.tolist()]
    with np.errstate(all="ignore"):  # of branches that are not taken (batch/columns.py)
        is_cold = (own[SEEN] > 0.0) & (given.at_us - own[LAST_US] > COLD_US)
        is_young = own[SEEN] < settings.young_points
        scores = score(own, bank.knots, rows, given, siblings, settings.alarms_per_week)
        bank.numbers[rows] = own.T
        half = scores.upper - scores.expected
        has_band = (half > 0.0) & (half < math.inf) & ~(own[SEEN] < settings.young_points)
        residual = np.where(has_band, (given.value - scores.expected) / half, np.nan)
        is_troubled = _minded(bank, rows, is_cold, scores, settings)
        breaks, has_limit = _breaks(bank, rows, points, given)
    return _told(points, scores, is_troubled | is_young, breaks, has_limit), residual


def _minded(bank: Bank, rows: Rows, is_cold: Mask, scores: Scores, settings: ModelSettings) -> Mask:
    """As `Entry.mind` of each; whether the model is in trouble."""
    found = np.where(is_cold, _COLD, np.where([kind == "drift" for kind in scores.kind], _DRIFTING, 0))
    trouble, calm = bank.marks["trouble"][rows], bank.marks["calm"][rows]
    if not (trouble.any() or found.any()):
        return np.zeros(len(rows), np.bool_)
    is_calm = (found == 0) & (trouble > 0)
    calm = np.where(found > 0, 0, calm + is_calm)
    trouble = np.where(found > 0, found, trouble)
    is_over = is_calm & (calm >= settings.calm_points)
    trouble, calm = np.where(is_over, 0, trouble), np.where(is_over, 0, calm)
    bank.marks["trouble"][rows], bank.marks["calm"][rows] = trouble, calm
    return trouble > 0


def _breaks(bank: Bank, rows: Rows, points: Sequence[Point], given: Points) -> tuple[Mask, Mask]:
    """As `LimitRule.judge` of each series that has a limit; and which have one."""
    limits = [point.limit for point in points]
    has_limit = np.array([limit is not None for limit in limits])
    (asked,) = np.nonzero(has_limit)
    breaks = np.zeros(len(points), np.bool_)
    if not len(asked):
        return breaks, has_limit
    limit = np.array([limit for limit in limits if limit is not None], np.float64)
    value, up, down, rows = given.value[asked], given.up[asked], given.down[asked], rows[asked]
    size = np.where(up & down, np.abs(value), value)
    excess = np.where(up, size - limit, limit - size)
    is_beyond = excess > 0.0
    beyond = np.where(is_beyond, bank.marks["beyond"][rows] + 1, 0)
    is_over = bank.marks["is_over"][rows]
    breaks[asked] = is_beyond & (beyond >= RULE_POINTS) & ~is_over
    is_back = ~is_beyond & (excess <= -BACK * np.abs(limit))
    bank.marks["beyond"][rows], bank.marks["is_over"][rows] = beyond, (is_over | breaks[asked]) & ~is_back
    return breaks, has_limit


def _told(points: Sequence[Point], scores: Scores, doubts: Mask, breaks: Mask, has_limit: Mask) -> list[Score]:
    """As records; where the model is in doubt at half its confidence, or by the rule where there is one."""
    confidence = np.where(doubts, scores.confidence / 2, scores.confidence)
    by_rule = doubts & has_limit & ~np.array([kind == "drift" for kind in scores.kind])
    is_alarm = np.where(by_rule, breaks, scores.is_alarm)
    kinds = scores.kind
    for at in np.flatnonzero(by_rule).tolist():
        kinds[at] = "spike" if breaks[at] else "none"
    numbers = (
        scores.expected, scores.lower, scores.upper, scores.surprise, scores.anomaly_score,
        scores.novelty, scores.innovation, scores.level, scores.sustained, confidence, is_alarm, by_rule,
    )  # fmt: skip
    columns = [column.tolist() for column in numbers]
    return [
        Score(
            point.at_us, point.value, expected, lower, upper, surprise, counted,
            Terms(novelty, innovation, level, sustained), sure, kind, alarms, "rule" if rule else "model",
        )
        for point, kind, expected, lower, upper, surprise, counted, novelty, innovation, level, sustained, sure, alarms,
        rule in zip(points, kinds, *columns, strict=True)
    ]  # fmt: skip
