"""The models in the pipeline: points of windows in, scores, signals and the models' health out."""

import math
from collections.abc import Sequence
from itertools import groupby

import msgspec

from operators.anomaly.score import Score
from operators.anomaly.series_models import SeriesModels, SeriesModelsState
from operators.anomaly.settings import ModelSettings
from operators.process_map import Handoff
from operators.series_points import WindowPoint
from operators.series_signals import model_signal
from operators.series_sites import SiteVectors, SiteVectorsState, site_parts
from schemas.durations import BEGIN_OF_TIME_US, MINUTE_US
from schemas.errors import StateError
from schemas.incident_rows import ModelHealth, SeriesScore
from schemas.rows import Row


class SeriesScoresState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `SeriesScores`; `models` is an encoded `SeriesModelsState`, `sites` a `SiteVectorsState`."""

    version: int
    minute_us: int
    models: bytes
    sites: bytes = b""


class SeriesScores:
    """Judge every window of every series, as it was first written, and every site with all its series.

    Points come in the order of (arrival, series), all of one arrival (a tick) at once. Each gives a `SeriesScore`, an
    alarm a signal, too; so does each site with points in that tick. A minute of arrival with points gives one
    `ModelHealth` a metric, once time has passed it.

    Args:
        settings: budget and switches.
        handoffs: of the process map; sites are made of those with the same scope (none: there are no sites).
        step_us: how far apart the windows of a series end.

    Memory: that of `SeriesModels` and `SiteVectors`. Cost: some 10 µs a point where a window's end has hundreds of
    them; 5 µs a series for a snapshot. Late events change nothing that was scored.
    """

    VERSION = 2
    #: Snapshots of the first version have no sites.
    _READ = (1, VERSION)

    def __init__(self, settings: ModelSettings, handoffs: Sequence[Handoff] = (), step_us: int = 5 * MINUTE_US) -> None:
        self._settings = settings
        self._models = SeriesModels(settings)
        self._sites = SiteVectors(settings, site_parts(handoffs), step_us)
        self._minute_us = BEGIN_OF_TIME_US

    def update(self, points: Sequence[WindowPoint]) -> list[Row]:
        """Judge and learn; nothing where the models are not enabled."""
        out: list[Row] = []
        if not points or not self._settings.enabled:
            return out
        for arrival_us, tick in groupby(points, key=_arrival):
            minute_us = arrival_us - arrival_us % MINUTE_US
            out.extend(self.advance(minute_us))
            part = list(tick)
            scores = [one.score for one in self._models.update([one.point for one in part])]
            together = list(zip(part, scores, strict=True))
            for one, score in together:
                out.append(_row(one, score))
                if score.is_alarm:
                    out.append(model_signal(one, score))
            out.extend(self._sites.update(together))
            self._minute_us = minute_us
        return out

    def advance(self, watermark_us: int, *, ended: bool = False) -> list[ModelHealth]:
        """How the models fared in the last minute with points, where that is over."""
        minute_us = self._minute_us
        if minute_us == BEGIN_OF_TIME_US or (watermark_us < minute_us + MINUTE_US and not ended):
            return []
        self._minute_us = BEGIN_OF_TIME_US
        rows = self._models.health(minute_us, minute_us)
        dropped = [series[0] for series in self._models.take_dropped()]
        out = [_with_dropped(row, dropped.count(row.metric)) for row in rows]
        return [*out, *self._sites.health(minute_us, minute_us)]

    def sizes(self) -> dict[str, int]:
        """How many series, and how many sites, have a model."""
        return {"series": len(self._models), **self._sites.sizes()}

    def snapshot(self) -> SeriesScoresState:
        """All that is known."""
        models, sites = (msgspec.msgpack.encode(one.snapshot()) for one in (self._models, self._sites))
        return SeriesScoresState(self.VERSION, self._minute_us, models, sites)

    def restore(self, state: SeriesScoresState) -> None:
        """Take over a snapshot, unless the models are not enabled any more.

        Raises:
            StateError: it is of another version.
        """
        if not self._settings.enabled:
            return
        if state.version not in self._READ:
            raise StateError(f"series scores of version {state.version}; this code reads {self.VERSION}")
        models = msgspec.msgpack.decode(state.models, type=SeriesModelsState)
        self._models = SeriesModels.from_snapshot(models, self._settings)
        if state.sites:
            self._sites.restore(msgspec.msgpack.decode(state.sites, type=SiteVectorsState))
        self._minute_us = state.minute_us


def _arrival(point: WindowPoint) -> int:
    return point.arrival_us


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
