"""All series of a key group: points in, scores out, and how the models fare."""

from collections.abc import Sequence

import msgspec

from operators.anomaly import judged
from operators.anomaly.detector import SeriesDetector
from operators.anomaly.detector_state import pack, pack_pool, unpack, unpack_pool
from operators.anomaly.judged import Entry, SeriesKey
from operators.anomaly.score import Direction, Score
from operators.anomaly.season import Pool
from operators.anomaly.settings import ModelSettings
from operators.anomaly.stability import Stability
from schemas.errors import StateError
from schemas.incident_rows import ModelHealth

FAMILY = "series"


class Point(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One value of one series.

    `series` names it, with its metric first. `pool` is shared by siblings that have the same week ("" for none).
    `direction` says which side is bad, `least` what distance from the expected is never an alarm, `limit` the
    deterministic rule's limit on the bad side (None: there is no rule), `offset_us` the site's clock from UTC.
    """

    series: SeriesKey
    pool: str
    at_us: int
    value: float
    direction: Direction = "both"
    least: float = 0.0
    limit: float | None = None
    offset_us: int = 0


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

    Memory: 4 kB a series, at most `max_series` of them; beyond, the one that was silent longest is dropped (see
    `take_dropped`). Cost: some 20 µs a point. Scores depend on the points and their order alone, not on how they are
    cut into calls, and not on when a snapshot was taken.
    """

    VERSION = 1

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._pools: dict[str, Pool] = {}
        self._series: dict[SeriesKey, Entry] = {}
        self._stabilities: dict[str, Stability] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self._dropped: list[SeriesKey] = []

    def update(self, points: Sequence[Point]) -> list[Scored]:
        """Judge each point with what was known before it, then learn it, in the order given."""
        return [Scored(point, self._judge(point)) for point in points]

    def take_dropped(self) -> list[SeriesKey]:
        """The series that were dropped to keep the bound, since this was last asked."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def health(self, minute_us: int, version: int) -> list[ModelHealth]:
        """How the models of each metric fare, and the points and alarms since this was last asked; then count anew."""
        entries: dict[str, list[Entry]] = {metric: [] for metric in self._counts}
        for key, entry in self._series.items():
            entries.setdefault(key[0], []).append(entry)
        out = []
        for metric in sorted(entries):
            points, alarms = self._counts.get(metric, (0, 0))
            ours = entries[metric]
            young = sum(entry.is_young(self._settings) for entry in ours)
            fallback = sum(entry.needs_rule(self._settings) for entry in ours) if self._settings.series else len(ours)
            state, detail = self._state(ours, young, metric)
            row = (FAMILY, metric, minute_us, len(ours), young, fallback, points, alarms, state, detail, version)
            out.append(ModelHealth(*row))
        self._counts = {}
        return out

    def snapshot(self) -> SeriesModelsState:
        """All that is known."""
        return SeriesModelsState(
            self.VERSION,
            {key: pack_pool(pool) for key, pool in self._pools.items()},
            [
                SeriesState(
                    key,
                    entry.pool,
                    pack(entry.detector),
                    entry.trouble,
                    entry.calm,
                    entry.rule.beyond,
                    entry.rule.is_over,
                )
                for key, entry in self._series.items()
            ],
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
        models._pools = {key: unpack_pool(packed) for key, packed in state.pools.items()}
        for kept in state.series:
            pool = models._pools.get(kept.pool)
            entry = Entry(unpack(kept.model, settings.alarms_per_week, pool), kept.pool)
            entry.trouble, entry.calm = kept.trouble, kept.calm
            entry.rule.beyond, entry.rule.is_over = kept.rule_beyond, kept.rule_is_over
            models._series[kept.series] = entry
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
        return len(self._series)

    def _judge(self, point: Point) -> Score:
        entry = self._entry(point)
        if self._settings.series:
            score, residual = judged.by_model(entry, self._settings, *_of(point))
        else:
            score, residual = judged.by_rule_alone(entry, *_of(point)), None
        metric = point.series[0]
        if residual is not None and not entry.is_young(self._settings):
            stability = self._stabilities.get(metric)
            if stability is None:
                stability = self._stabilities[metric] = Stability()
            stability.learn(residual)
        points, alarms = self._counts.get(metric, (0, 0))
        self._counts[metric] = (points + 1, alarms + score.is_alarm)
        return score

    def _entry(self, point: Point) -> Entry:
        entry = self._series.pop(point.series, None)
        if entry is None:
            pool = None
            if point.pool:
                pool = self._pools.get(point.pool)
                if pool is None:
                    pool = self._pools[point.pool] = Pool()
            entry = Entry(SeriesDetector(self._settings.alarms_per_week, pool), point.pool)
            if len(self._series) >= self._settings.max_series:
                self._drop_oldest()
        self._series[point.series] = entry  # last in order: heard of most recently
        return entry

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._series))
        pool = self._series.pop(oldest).pool
        self._dropped.append(oldest)
        if pool and not any(entry.pool == pool for entry in self._series.values()):
            self._pools.pop(pool, None)

    def _state(self, entries: list[Entry], young: int, metric: str) -> tuple[str, str]:
        if not self._settings.series:
            return "off", "turned off in the settings"
        for trouble in ("failed", "drifting", "cold"):
            count = sum(entry.trouble == trouble for entry in entries)
            if 2 * count > len(entries):
                return trouble, f"{count} of {len(entries)} series"
        stability = self._stabilities.get(metric)
        if stability is not None and not stability.is_stable:
            return "drifting", f"residuals are not as they were: stability index {stability.index:.3f}"
        if 2 * young > len(entries):
            return "young", f"{young} of {len(entries)} series have seen too little"
        return "healthy", ""


def _of(point: Point) -> tuple[int, float, Direction, float, float | None, int]:
    return point.at_us, point.value, point.direction, point.least, point.limit, point.offset_us
