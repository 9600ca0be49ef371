"""One series with its model and its rule, and who of the two judges."""

import math

import msgspec

from operators.anomaly.detector import SeriesDetector
from operators.anomaly.rule import LimitRule
from operators.anomaly.score import Direction, Kind, Score, Terms
from operators.anomaly.settings import ModelSettings

#: Metric first, then what it is measured of.
SeriesKey = tuple[str, ...]

COLD_US = 86_400_000_000  # a model that heard nothing for a day has to see again before it judges
_NOTHING = Terms(0.0, 0.0, 0.0, 0.0)


#: What can be wrong with a model; the bank keeps the place in this list.
TROUBLES = ("", "failed", "drifting", "cold")


class Entry:
    """A series: its model, its rule, and what the model's trouble is.

    `trouble` is one of `TROUBLES`; it is over after `calm_points` points without any (hysteresis).
    """

    __slots__ = ("calm", "detector", "rule", "trouble")

    def __init__(self, detector: SeriesDetector) -> None:
        self.detector = detector
        self.rule = LimitRule()
        self.trouble = ""
        self.calm = 0

    def is_young(self, settings: ModelSettings) -> bool:
        """Has the model seen too little?"""
        return self.detector.seen < settings.young_points

    def mind(self, trouble: str, settings: ModelSettings) -> None:
        """Take what was wrong at a point ("" for nothing)."""
        if trouble:
            self.trouble, self.calm = trouble, 0
        elif self.trouble:
            self.calm += 1
            if self.calm >= settings.calm_points:
                self.trouble, self.calm = "", 0


def by_rule_alone(
    entry: Entry, at_us: int, value: float, direction: Direction, least: float, limit: float | None, offset_us: int
) -> Score:
    """Judge with the rule, and learn nothing: the models are off, or the value is no number."""
    del least, offset_us
    is_alarm = _breaks(entry, value, direction, limit)
    kind: Kind = "spike" if is_alarm else "none"
    expected = value if limit is None else limit
    return Score(
        at_us, value, expected, -math.inf, math.inf, 0.0, 0.0, _NOTHING, 0.0, kind, is_alarm=is_alarm, method="rule"
    )


def by_model(
    entry: Entry,
    settings: ModelSettings,
    at_us: int,
    value: float,
    direction: Direction,
    least: float,
    limit: float | None,
    offset_us: int,
) -> tuple[Score, float | None]:
    """Judge with the model, or with the rule where the model can't; the model learns in both cases.

    Without a limit there is no rule: then the model goes on judging, with half its confidence. That a model drifts is
    always said by the model.

    Returns:
        The score, and the residual in units of half the band (None where there is no band).
    """
    if not math.isfinite(value):
        entry.mind("failed", settings)
        return by_rule_alone(entry, at_us, value, direction, least, limit, offset_us), None
    detector = entry.detector
    is_cold = detector.seen > 0 and at_us - detector.cadence.last_us > COLD_US
    is_young = entry.is_young(settings)
    score = detector.score(at_us, value, direction, least=least, offset_us=offset_us)
    entry.mind("cold" if is_cold else "drifting" if score.kind == "drift" else "", settings)
    residual = None if math.isnan(score.residual) else score.residual
    breaks = _breaks(entry, value, direction, limit)
    if not (entry.trouble or is_young):
        return score, residual
    if score.kind == "drift" or limit is None:
        return msgspec.structs.replace(score, confidence=score.confidence / 2), residual
    kind = "spike" if breaks else "none"
    return msgspec.structs.replace(
        score, confidence=score.confidence / 2, kind=kind, is_alarm=breaks, method="rule"
    ), residual


def _breaks(entry: Entry, value: float, direction: Direction, limit: float | None) -> bool:
    if limit is None or not math.isfinite(value):
        return False
    size = abs(value) if direction == "both" else value
    return entry.rule.judge(size, limit, below=direction == "down")
