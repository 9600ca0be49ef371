"""The model of one series: level, season, range, tails, refractory, budget, drift.

A point x at time t is judged, then learnt (docs/anomaly.md has the formulas):

1. season e(t), the residual r = x - e, its slow level s and fast level f;
2. novelty: how far x, r, r - s and (r - f) leave the ranges they have reached (`operators/anomaly/reach.py`), summed;
3. log-tail surprise of |r - f| in units of its own scale at this quarter of the hour (innovation), of |r - s| (level)
   and of the running mean of the clipped standardised residual (sustained) (`operators/anomaly/tail.py`);
4. surprise = novelty + weighted tails; it counts only where it beats a decaying record of the recent ones
   (refractory), and is an alarm over the series' threshold (`operators/anomaly/budget.py`).

Everything is learnt from every point, anomalous or not, so that a new level stops being news.
"""

import math

import msgspec

from operators.anomaly.budget import Budget
from operators.anomaly.clock import DAY_HOURS, GAP_STEPS, Cadence, knots, quarter
from operators.anomaly.drift import DailyDrift
from operators.anomaly.reach import BURN_IN, Reach
from operators.anomaly.score import Direction, Kind, Score, Terms
from operators.anomaly.season import Floats, Pool, Season
from operators.anomaly.tail import Tail

#: What the tails count beside novelty.
INNOVATION, LEVEL, SUSTAINED = 0.5, 0.35, 0.35
OVERALL = 1 / 5000  # gains: of overall mean and deviation
SLOW = 1 / 300  # of the slow level
FAST = 0.15  # of the fast level
SLOW_SCALE = 1 / 1000
FAST_SCALE = 1 / 300
LEAN = 1 / 48  # of the sustained term
FLOOR = 0.1  # of the overall deviation, below the season's
OUTLIER = 8.0  # a scale learns at most this many times itself
WILDEST_LEAN = 4.0
RECENT = math.exp(-1 / 150)  # the record to beat fades by a third in 60 points
ROUNDING = 2.0**-22  # of a value: seasons are 32-bit floats, so what differs by less is as expected
BACK = 0.25  # a step that leaves less than this share of the distance leads back to normal, and is no news
STEP = 3.0 * INNOVATION  # a step rarer than one in a thousand is not what a drift does
DRIFT_QUIET_DAYS = 3.0  # a drift is not told where an alarm has told of a step
MATURE_DAYS = 7.0  # knows its level well enough to teach siblings


class SeriesDetector:
    """Judge the points of one series, strictly online.

    Args:
        alarms_per_week: budget (`operators/anomaly/budget.py`).
        pool: where siblings share the shape of their week.
        knots: where the season is kept (`operators/anomaly/season.py`); a place of its own unless told.

    Memory: at most 4 kB: some 70 numbers and 768 32-bit floats. Cost: 10 to 20 µs a point.
    Points come in the order of time; one that does not advance is judged as if it came a step later.
    """

    __slots__ = (
        "budget", "cadence", "deviation", "drift", "fast", "fast_scale", "lean", "mean", "quiet", "reaches", "record",
        "season", "seen", "slow", "slow_scale", "tails",
    )  # fmt: skip

    def __init__(self, alarms_per_week: float = 1.0, pool: Pool | None = None, knots: "Floats | None" = None) -> None:
        self.budget = Budget(alarms_per_week)
        self.cadence = Cadence()
        self.season = Season(pool, knots)
        self.drift = DailyDrift()
        self.reaches = (Reach(), Reach(), Reach(), Reach())
        self.tails = (Tail(), Tail(), Tail())
        self.mean = self.deviation = 0.0
        self.slow = self.slow_scale = self.fast = self.fast_scale = 0.0
        self.lean = 0.0
        self.record = -1.0
        self.quiet = 0.0  # points since the last alarm of a step
        self.seen = 0

    def score(
        self,
        at_us: int,
        value: float,
        direction: Direction = "both",
        *,
        least: float = 0.0,
        offset_us: int = 0,
    ) -> Score:
        """Judge a point with what was known before it, then learn it.

        Args:
            at_us: the end of its window, event time.
            value: finite.
            direction: which side is bad.
            least: a distance from what was expected that is never an alarm.
            offset_us: of the site's clock from UTC at that moment.

        Raises:
            ValueError: the value is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"value = {value}: must be finite")
        cadence, season, seen = self.cadence, self.season, self.seen
        steps = cadence.learn(at_us)
        per_hour = cadence.per_hour
        is_gap = steps > GAP_STEPS and seen > 1
        place = knots(at_us + offset_us)
        part = quarter(at_us + offset_us)
        if not seen:
            self.mean = value
        expected, deviation = season.expect(*place, per_hour, (self.mean, self.deviation))
        if is_gap:
            self.fast = self.slow  # what the last points said is stale
        residual = value - expected
        centre = expected + self.fast
        step_scale = self.fast_scale * season.wildness(part)
        half_band = step_scale * self.tails[0].threshold
        scale = deviation + FLOOR * self.deviation
        standard = residual / scale if scale > 0.0 else 0.0
        standard = min(max(standard, -WILDEST_LEAN), WILDEST_LEAN)
        self.lean += LEAN * (standard - self.lean)

        up, down = direction != "down", direction != "up"
        terms = self._terms(value, residual, 0.0 if is_gap else step_scale, part, up=up, down=down)
        surprise = terms.novelty + terms.innovation + terms.level + terms.sustained
        is_return = abs(residual) < BACK * abs(self.fast)
        off = max(_bad(value - centre, up, down), _bad(residual, up, down))
        is_material = off >= least and off > ROUNDING * abs(value)
        counted = surprise if is_material and surprise > self.record and not is_return else 0.0
        self.record = max(surprise, self.record) if counted else self.record * RECENT
        is_alarm = seen >= BURN_IN and self.budget.spend(counted, cadence.per_week)
        is_step = terms.innovation >= STEP
        kind: Kind = "gap" if is_gap else "none"
        if is_alarm:
            drifts_on = self.drift.test.leaning * residual > 0.0
            kind = "drift" if drifts_on and not is_step else kind_of(*msgspec.structs.astuple(terms))
        drifts = self.drift.learn(standard, DAY_HOURS * per_hour)
        self.quiet = 0.0 if is_alarm and is_step else self.quiet + 1.0
        is_news = self.quiet > DRIFT_QUIET_DAYS * DAY_HOURS * per_hour
        if is_news and ((drifts > 0 and up) or (drifts < 0 and down)):
            is_alarm, kind, self.quiet = True, "drift", 0.0

        if is_gap:
            self.fast = residual
        times = abs(residual - self.fast) / self.fast_scale if self.fast_scale > 0.0 else 1.0
        season.learn_wildness(part, times, per_hour)
        self._learn(value, residual)
        season.learn(*place, value, per_hour, self.deviation)
        if self.mean > 0.0 and seen > MATURE_DAYS * DAY_HOURS * per_hour:
            season.give(*place, value / self.mean)
        confidence = seen / (seen + BURN_IN) * (0.5 if is_gap else 1.0)
        return Score(
            at_us,
            value,
            centre,
            centre - half_band,
            centre + half_band,
            surprise,
            counted,
            terms,
            confidence,
            kind,
            is_alarm,
            "model",
        )

    def _terms(self, value: float, residual: float, step_scale: float, part: int, *, up: bool, down: bool) -> Terms:
        """What each term says of the point; ranges and tails learn it. A step without a scale says nothing."""
        raw, seasonal, level, step = self.reaches
        from_slow, from_fast = residual - self.slow, residual - self.fast
        novelty = (
            raw.novelty(value, up=up, down=down)
            + seasonal.novelty(residual, up=up, down=down)
            + level.novelty(from_slow, up=up, down=down)
        )
        if step_scale > 0.0 or not self.fast_scale:
            novelty += step.novelty(from_fast / self.season.wildness(part), up=up, down=down)
        tail_step, tail_level, tail_lean = self.tails
        steps = _bad(from_fast, up, down) / step_scale if step_scale > 0.0 else 0.0
        levels = _bad(from_slow, up, down) / self.slow_scale if self.slow_scale > 0.0 else 0.0
        return Terms(
            novelty,
            INNOVATION * tail_step.surprise(steps),
            LEVEL * tail_level.surprise(levels),
            SUSTAINED * tail_lean.surprise(_bad(self.lean, up, down)),
        )

    def _learn(self, value: float, residual: float) -> None:
        """Levels and scales take the point."""
        self.seen += 1
        even = 1.0 / self.seen
        gain = max(OVERALL, even)
        self.mean += gain * (value - self.mean)
        self.deviation += gain * (abs(value - self.mean) - self.deviation)
        from_slow, from_fast = residual - self.slow, residual - self.fast
        self.fast_scale += max(FAST_SCALE, even) * (_bounded(from_fast, self.fast_scale) - self.fast_scale)
        self.fast += FAST * from_fast
        self.slow_scale += max(SLOW_SCALE, even) * (_bounded(from_slow, self.slow_scale) - self.slow_scale)
        self.slow += max(SLOW, even) * from_slow


def _bounded(off: float, scale: float) -> float:
    """The size of a deviation, as a scale learns it."""
    size = abs(off)
    return min(size, OUTLIER * scale) if scale > 0.0 else size


def _bad(off: float, up: bool, down: bool) -> float:  # noqa: FBT001 - both sides of one question
    """How far off on the bad side."""
    if off >= 0.0:
        return off if up else 0.0
    return -off if down else 0.0


def kind_of(novelty: float, innovation: float, level: float, sustained: float) -> Kind:
    """What an alarm is about, by its largest term."""
    return "shift" if max(level, sustained) > max(novelty, innovation) else "spike"
