"""The model of a site's vector: metrics that each look ordinary, in a combination that does not.

The vector is what the site's series models say at one time: each metric's residual in units of half its band, so it is
free of season and level. Means and covariance are running ones; the distance is Mahalanobis' (1936) with the covariance
shrunk towards its diagonal (after Ledoit, Wolf, Journal of Multivariate Analysis 88, 2004, but by a share that falls
with age), which keeps it invertible for metrics that move as one. Its log-tail is the surprise
(`operators/anomaly/tail.py`). A distance that is made of improvements (less backlog than expected) is none to tell.
"""

from collections.abc import Sequence
from functools import cache

import msgspec
import numpy as np
import numpy.typing as npt

from operators.anomaly.budget import Budget
from operators.anomaly.tail import Tail

MEMORY = 2000.0
#: Each residual is taken as lying at most so many half bands off, when it is learnt.
CLIP = 4.0
YOUNG = 200
_LEAST_SHRINKAGE = 0.02
_LEAST_VARIANCE = 1e-6
_FADE = 1 - 1 / 150

Vector = npt.NDArray[np.float64]


@cache
def triangle(metrics: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the upper triangle of a square matrix, by rows."""
    rows, columns = np.triu_indices(metrics)
    return rows, columns


@cache
def _places(metrics: int) -> npt.NDArray[np.intp]:
    """Where each number of the whole matrix stands in the upper triangle."""
    places = np.empty((metrics, metrics), np.intp)
    rows, columns = triangle(metrics)
    places[rows, columns] = places[columns, rows] = np.arange(len(rows))
    return places


class VectorScore(msgspec.Struct, frozen=True, gc=False):
    """A vector, judged with what was known before it.

    `distance` is Mahalanobis' distance, `usual` its running mean, `threshold` what about 2 % of the distances are
    above. `score` is the surprise where it beats the recent ones and the bad sides say most, else 0. `shares` are each
    metric's part of the squared distance; they sum to 1, and one can be negative where two metrics pull together.
    """

    distance: float
    usual: float
    threshold: float
    score: float
    shares: Vector
    is_alarm: bool


class VectorModel:
    """Judge vectors of a fixed set of metrics, in the order of time.

    Args:
        metrics: how many there are.
        alarms_per_week: budget.
        points_per_week: how many vectors come in a week.
        sides: of each metric, 1 where above is bad, -1 where below is, 0 where both are (the default); an array of
            floats is shared, not copied.

    Memory: (metrics² + 3 metrics) / 2 numbers: of the covariance the upper triangle (`upper`, by rows).
    Cost: metrics³ for the solve; some 30 µs for up to ten, 40 µs for thirty-five.
    """

    __slots__ = ("budget", "mean", "points_per_week", "record", "seen", "sides", "tail", "upper", "usual")

    def __init__(
        self,
        metrics: int,
        alarms_per_week: float = 1.0,
        points_per_week: float = 2016.0,
        sides: Sequence[int] | Vector | None = None,
    ) -> None:
        self.mean = np.zeros(metrics)
        self.upper = np.eye(metrics)[triangle(metrics)]
        self.sides = np.asarray(sides if sides is not None else [0] * metrics, dtype=np.float64)
        self.tail = Tail()
        self.budget = Budget(alarms_per_week)
        self.points_per_week = points_per_week
        self.record = 0.0
        self.usual = 0.0
        self.seen = 0

    def score(self, residuals: Vector, *, is_told: bool = False) -> VectorScore:
        """Judge a vector, then learn it; NaN stands for a metric that is missing, and counts as ordinary.

        Args:
            residuals: in units of half a band.
            is_told: one of the metrics alarms by itself, so that the vector is no news.
        """
        known = np.where(np.isfinite(residuals), residuals, self.mean)
        off = known - self.mean
        toward = np.linalg.solve(self._shrunk(), off)
        parts = off * toward
        square = float(np.add.reduce(parts))
        distance = square**0.5
        usual, threshold = self.usual, self.tail.threshold
        surprise = self.tail.surprise(distance)
        is_bad = float(np.add.reduce(parts[off * self.sides >= 0.0])) >= 0.5 * square
        score = surprise if surprise > self.record and is_bad and not is_told else 0.0
        self.record = max(surprise, self.record * _FADE)
        is_alarm = self.seen >= YOUNG and self.budget.spend(score, self.points_per_week)
        self._learn(known, distance)
        return VectorScore(distance, usual, threshold, score, parts / square if square > 0.0 else parts, is_alarm)

    @property
    def covariance(self) -> Vector:
        """The whole matrix."""
        whole: Vector = self.upper.take(_places(len(self.mean)))
        return whole

    def _shrunk(self) -> Vector:
        share = min(1.0, max(_LEAST_SHRINKAGE, len(self.mean) / (self.seen + 1.0)))
        shrunk = self.covariance
        diagonal = shrunk.ravel()[:: len(shrunk) + 1]  # a view
        kept = share * np.maximum(diagonal, _LEAST_VARIANCE)
        shrunk *= 1.0 - share
        diagonal += kept
        return shrunk

    def _learn(self, known: Vector, distance: float) -> None:
        self.seen += 1
        gain = max(1.0 / MEMORY, 1.0 / (self.seen + 1.0))
        off = np.minimum(np.maximum(known, -CLIP), CLIP) - self.mean
        self.mean = self.mean + gain * off
        rows, columns = triangle(len(off))
        self.upper = (1.0 - gain) * (self.upper + gain * (off.take(rows) * off.take(columns)))
        self.usual += gain * (distance - self.usual)
