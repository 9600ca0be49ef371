"""What a model says of one point."""

import math
from typing import Literal

import msgspec

#: Which side of what was expected is bad: `up` for backlog or latency, `down` for sales, `both` where either is.
Direction = Literal["up", "down", "both"]
#: What an alarm is about; `gap` also marks the first point after one, without an alarm.
Kind = Literal["spike", "shift", "drift", "gap", "none"]
#: Who judged: the model, or the deterministic rule while the model can't.
Method = Literal["model", "rule"]


class Terms(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What each term adds to the surprise, in powers of ten.

    `novelty`: leaving the range reached. `innovation`: the step from one point to the next. `level`: the distance from
    season and recent level. `sustained`: many points that lean to one side together.
    """

    novelty: float
    innovation: float
    level: float
    sustained: float


class Score(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One point, judged with what was known before it.

    `surprise` grows with how rare the point is and has no upper end; a well-calibrated one of 3 is one in a thousand.
    `anomaly_score` is the surprise where it beats the recent ones, else 0, so that one incident counts once.
    About 98 % of points lie between `lower` and `upper`. `confidence` (0 to 1) is low while the model is young, after a
    gap, and while it drifts.
    """

    at_us: int
    value: float
    expected: float
    lower: float
    upper: float
    surprise: float
    anomaly_score: float
    terms: Terms
    confidence: float
    kind: Kind
    is_alarm: bool
    method: Method

    @property
    def residual(self) -> float:
        """How far off the value is, in units of half the band; NaN where there is no band yet."""
        half = self.upper - self.expected
        return (self.value - self.expected) / half if 0.0 < half < math.inf else math.nan
