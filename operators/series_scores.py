"""The models in the pipeline: points of windows in, scores, signals and the models' health out."""

import math
from collections.abc import Sequence

import msgspec

from operators.anomaly.score import Score
from operators.anomaly.series_models import SeriesModels, SeriesModelsState
from operators.anomaly.settings import ModelSettings
from operators.series_points import WindowPoint
from operators.series_signals import model_signal
from schemas.durations import BEGIN_OF_TIME_US, MINUTE_US
from schemas.errors import StateError
from schemas.incident_rows import ModelHealth, SeriesScore
from schemas.rows import Row


class SeriesScoresState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `SeriesScores`; `models` is an encoded `SeriesModelsState`."""

    version: int
    minute_us: int
    models: bytes


class SeriesScores:
    """Judge every window of every handoff and scope, as it was first written.

    Points come in the order of (arrival, series). Each gives a `SeriesScore`, an alarm a signal, too. A minute of
    arrival with points gives one `ModelHealth` a metric, once time has passed it.

    Memory: that of `SeriesModels`; the encoded models are kept between snapshots, which are made more often than
    windows end. Cost: some 40 µs a point. Late events change nothing that was scored.
    """

    VERSION = 1

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._models = SeriesModels(settings)
        self._minute_us = BEGIN_OF_TIME_US
        self._packed = b""

    def update(self, points: Sequence[WindowPoint]) -> list[Row]:
        """Judge and learn; nothing where the models are not enabled."""
        out: list[Row] = []
        if not points or not self._settings.enabled:
            return out
        self._packed = b""
        begin, end = 0, len(points)
        while begin < end:
            minute_us = _minute(points[begin])
            out.extend(self.advance(minute_us))
            upto = begin
            while upto < end and _minute(points[upto]) == minute_us:
                upto += 1
            part = points[begin:upto]
            for one, scored in zip(part, self._models.update([one.point for one in part]), strict=True):
                out.append(_row(one, scored.score))
                if scored.score.is_alarm:
                    out.append(model_signal(one, scored.score))
            self._minute_us, begin = minute_us, upto
        return out

    def advance(self, watermark_us: int, *, ended: bool = False) -> list[ModelHealth]:
        """How the models fared in the last minute with points, where that is over."""
        minute_us = self._minute_us
        if minute_us == BEGIN_OF_TIME_US or (watermark_us < minute_us + MINUTE_US and not ended):
            return []
        self._minute_us, self._packed = BEGIN_OF_TIME_US, b""
        rows = self._models.health(minute_us, minute_us)
        dropped = [series[0] for series in self._models.take_dropped()]
        return [_with_dropped(row, dropped.count(row.metric)) for row in rows]

    def sizes(self) -> dict[str, int]:
        """How many series have a model."""
        return {"series": len(self._models)}

    def snapshot(self) -> SeriesScoresState:
        """All that is known."""
        if not self._packed:
            self._packed = msgspec.msgpack.encode(self._models.snapshot())
        return SeriesScoresState(self.VERSION, self._minute_us, self._packed)

    def restore(self, state: SeriesScoresState) -> None:
        """Take over a snapshot, unless the models are not enabled any more.

        Raises:
            StateError: it is of another version.
        """
        if not self._settings.enabled:
            return
        if state.version != self.VERSION:
            raise StateError(f"series scores of version {state.version}; this code reads {self.VERSION}")
        models = msgspec.msgpack.decode(state.models, type=SeriesModelsState)
        self._models = SeriesModels.from_snapshot(models, self._settings)
        self._minute_us, self._packed = state.minute_us, b""


def _minute(point: WindowPoint) -> int:
    return point.arrival_us - point.arrival_us % MINUTE_US


def _row(scored: WindowPoint, score: Score) -> SeriesScore:
    metric, handoff, scope_by, scope = scored.point.series
    has_band = math.isfinite(score.lower) and math.isfinite(score.upper)
    return SeriesScore(
        metric=metric,
        handoff=handoff,
        scope_by=scope_by,
        scope=scope,
        at_us=score.at_us,
        value=score.value,
        expected=score.expected,
        lower=score.lower if has_band else None,
        upper=score.upper if has_band else None,
        score=score.anomaly_score,
        confidence=score.confidence,
        method=score.method,
        alarm=score.kind if score.is_alarm else "",
        arrival_us=scored.arrival_us,
        version=scored.arrival_us,
    )


def _with_dropped(row: ModelHealth, dropped: int) -> ModelHealth:
    if not dropped:
        return row
    words = f"{dropped} series dropped, those that were silent longest: there are more than models.max_series"
    return msgspec.structs.replace(row, detail=f"{row.detail}; {words}" if row.detail else words)
