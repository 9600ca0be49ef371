"""All series of a key group: points in, scores out, and how the models fare."""

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from operators.anomaly import judged
from operators.anomaly.bank import Bank
from operators.anomaly.batch.judged import judge
from operators.anomaly.detector_state import pack_pool, unpack_pool
from operators.anomaly.judged import TROUBLES, SeriesKey
from operators.anomaly.layout import SEEN
from operators.anomaly.point import Point
from operators.anomaly.score import Direction, Score
from operators.anomaly.settings import ModelSettings
from operators.anomaly.stability import Stability
from schemas.errors import StateError
from schemas.incident_rows import ModelHealth

FAMILY = "series"
#: So many points of different series are judged as columns, fewer one by one (`benchmarks/anomaly/vectorised.py`).
FEW = 16
#: So many at most, that columns stay in the processor's cache.
_MOST = 1024


class Scored(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A point and what was said of it."""

    point: Point
    score: Score


class SeriesState(msgspec.Struct, frozen=True, array_like=True):
    """One series in a snapshot."""

    series: SeriesKey
    pool: str
    model: bytes
    trouble: str
    calm: int
    rule_beyond: int
    rule_is_over: bool


class StabilityState(msgspec.Struct, frozen=True, array_like=True):
    """One metric's stability in a snapshot."""

    metric: str
    reference: list[float]
    current: list[float]
    count: int
    index: float
    usual: float
    calm: int
    beyond: int
    is_stable: bool


class SeriesModelsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `SeriesModels`; series stand in the order in which they were last heard of."""

    version: int
    pools: dict[str, bytes]
    series: list[SeriesState]
    stabilities: list[StabilityState]
    counts: dict[str, tuple[int, int]]
    dropped: list[SeriesKey]


class SeriesModels:
    """Judge points with one model a series.

    Memory: 3.6 kB a series, at most `max_series` of them; beyond, the one that was silent longest is dropped (see
    `take_dropped`). Cost: some 5 µs a point where hundreds come at once, 45 µs where they come one by one. Scores
    depend on the points and their order alone, not on how they are cut into calls, and not on when a snapshot was
    taken.
    """

    VERSION = 1

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._bank = Bank()
        self._stabilities: dict[str, Stability] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._dropped: list[SeriesKey] = []

    def update(self, points: Sequence[Point]) -> list[Scored]:
        """Judge each point with what was known before it, then learn it, in the order given."""
        out: list[Scored] = []
        for run, rows in self._runs(points):
            scores = self._scores(run, rows)
            self._count(run, scores)
            out.extend(map(Scored, run, scores))
        return out

    def take_dropped(self) -> list[SeriesKey]:
        """The series that were dropped to keep the bound, since this was last asked."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def health(self, minute_us: int, version: int) -> list[ModelHealth]:
        """How the models of each metric fare, and the points and alarms since this was last asked; then count anew."""
        rows: dict[str, list[int]] = {metric: [] for metric in self._counts}
        for name, row in self._bank.names():
            rows.setdefault(name[0], []).append(row)
        out = []
        for metric in sorted(rows):
            points, alarms = self._counts.get(metric, (0, 0))
            ours = np.array(rows[metric], np.intp)
            is_young, trouble = self._is_young(ours), self._bank.marks["trouble"][ours]
            young = int(is_young.sum())
            fallback = int((is_young | (trouble > 0)).sum()) if self._settings.series else len(ours)
            state, detail = self._state(np.bincount(trouble, minlength=len(TROUBLES)).tolist(), young, metric)
            said = (FAMILY, metric, minute_us, len(ours), young, fallback, points, alarms, state, detail, version)
            out.append(ModelHealth(*said))
        self._counts = {}
        return out

    def snapshot(self) -> SeriesModelsState:
        """All that is known."""
        bank = self._bank
        marks, packed = bank.marks.tolist(), bank.packed()
        series = []
        for name, row in bank.by_age():
            _, calm, beyond, trouble, is_over = marks[row]
            kept = SeriesState(name, bank.pool_name(row), packed(row), TROUBLES[trouble], calm, beyond, bool(is_over))
            series.append(kept)
        return SeriesModelsState(
            self.VERSION,
            {key: pack_pool(pool) for key, pool in bank.pools.items()},
            series,
            [
                StabilityState(
                    metric,
                    list(one.reference),
                    list(one.current),
                    one.count,
                    one.index,
                    one.usual,
                    one.calm,
                    one.beyond,
                    one.is_stable,
                )
                for metric, one in self._stabilities.items()
            ],
            dict(self._counts),
            list(self._dropped),
        )

    @classmethod
    def from_snapshot(cls, state: SeriesModelsState, settings: ModelSettings) -> "SeriesModels":
        """The models again, under today's settings.

        Raises:
            StateError: the snapshot is of another version.
        """
        if state.version != cls.VERSION:
            raise StateError(f"series models of version {state.version} can't be read: this one reads {cls.VERSION}")
        models = cls(settings)
        bank = models._bank
        members = {kept.pool for kept in state.series}
        bank.pools.update({key: unpack_pool(packed) for key, packed in state.pools.items() if key in members})
        rows = []
        for kept in state.series:
            row = bank.add(kept.series, kept.pool)
            bank.unpack(row, kept.model)
            trouble = TROUBLES.index(kept.trouble)
            bank.marks[row] = (0, kept.calm, kept.rule_beyond, trouble, kept.rule_is_over)
            rows.append(row)
        bank.hear(np.array(rows, np.intp))
        for one in state.stabilities:
            stability = models._stabilities[one.metric] = Stability()
            stability.reference, stability.current = list(one.reference), list(one.current)
            stability.count, stability.index, stability.usual = one.count, one.index, one.usual
            stability.calm, stability.beyond, stability.is_stable = one.calm, one.beyond, one.is_stable
        models._counts = dict(state.counts)
        models._dropped = list(state.dropped)
        return models

    def __len__(self) -> int:
        """How many series are kept."""
        return len(self._bank)

    def _runs(self, points: Sequence[Point]) -> Iterator[tuple[list[Point], npt.NDArray[np.intp]]]:
        """Points in pieces with each series at most once, and the rows of those.

        Where a new series needs the place of the one that was silent longest, what came before is judged first.
        """
        bank, most = self._bank, self._settings.max_series
        run: list[Point] = []
        rows: dict[int, None] = {}
        for point in points:
            row = bank.find(point.series)
            is_full = row is None and len(bank) >= most
            if run and (is_full or row in rows or len(run) >= _MOST):
                yield run, np.array(list(rows), np.intp)
                run, rows = [], {}
            if is_full:
                row, oldest = bank.replace_oldest(point.series, point.pool)
                self._dropped.append(oldest)
            elif row is None:
                row = bank.add(point.series, point.pool)
            run.append(point)
            rows[row] = None
        if run:
            yield run, np.array(list(rows), np.intp)

    def _scores(self, run: list[Point], rows: npt.NDArray[np.intp]) -> list[Score]:
        """Scores of a point of each of these series."""
        bank, settings = self._bank, self._settings
        bank.hear(rows)
        numbers = [math.isfinite(point.value) for point in run]
        if not settings.series or sum(numbers) < FEW:
            return [self._one(point, row) for point, row in zip(run, rows.tolist(), strict=True)]
        of_model = [point for point, is_number in zip(run, numbers, strict=True) if is_number]
        said, residuals = judge(bank, rows[numbers], of_model, settings)
        self._learn_stability(of_model, residuals)
        scored = iter(said)
        return [
            next(scored) if is_number else self._one(point, row)
            for point, row, is_number in zip(run, rows.tolist(), numbers, strict=True)
        ]

    def _one(self, point: Point, row: int) -> Score:
        """Score of one point, by the plain path."""
        entry = self._bank.entry(row, self._settings.alarms_per_week)
        if self._settings.series:
            score, residual = judged.by_model(entry, self._settings, *_of(point))
        else:
            score, residual = judged.by_rule_alone(entry, *_of(point)), None
        self._bank.keep(row, entry)
        if residual is not None and not entry.is_young(self._settings):
            self._stability(point.series[0]).learn(residual)
        return score

    def _learn_stability(self, run: Sequence[Point], residuals: npt.NDArray[np.float64]) -> None:
        by_metric: dict[str, list[int]] = {}
        for at in np.flatnonzero(~np.isnan(residuals)).tolist():
            by_metric.setdefault(run[at].series[0], []).append(at)
        for metric, some in by_metric.items():
            self._stability(metric).learn_all(residuals[some])

    def _stability(self, metric: str) -> Stability:
        stability = self._stabilities.get(metric)
        if stability is None:
            stability = self._stabilities[metric] = Stability()
        return stability

    def _count(self, run: Sequence[Point], scores: Sequence[Score]) -> None:
        counts = self._counts
        for point, score in zip(run, scores, strict=True):
            metric = point.series[0]
            points, alarms = counts.get(metric, (0, 0))
            counts[metric] = points + 1, alarms + score.is_alarm

    def _is_young(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        is_young: npt.NDArray[np.bool_] = self._bank.numbers[rows, SEEN] < self._settings.young_points
        return is_young

    def _state(self, troubles: list[int], young: int, metric: str) -> tuple[str, str]:
        """What is said of a metric, of whose series so many have each trouble, and so many are young."""
        if not self._settings.series:
            return "off", "turned off in the settings"
        count = sum(troubles)
        for trouble, troubled in zip(TROUBLES[1:], troubles[1:], strict=True):
            if 2 * troubled > count:
                return trouble, f"{troubled} of {count} series"
        stability = self._stabilities.get(metric)
        if stability is not None and not stability.is_stable:
            return "drifting", f"residuals are not as they were: stability index {stability.index:.3f}"
        if 2 * young > count:
            return "young", f"{young} of {count} series have seen too little"
        return "healthy", ""


def _of(point: Point) -> tuple[int, float, Direction, float, float | None, int]:
    return point.at_us, point.value, point.direction, point.least, point.limit, point.offset_us
