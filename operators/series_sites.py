"""Sites in the pipeline: the scores of one window joined by scope, and judged as one vector.

A site is all that has the same scope: node s1 with the backlog, ages, latencies and throughput of every handoff that is
scoped by node, its demand, its stock delta, its rejects. What is written at one tick about one window end belongs
together; a window that is missing then (nothing happened, or it comes late) counts as ordinary in the vector, and is
not waited for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from operators.anomaly.score import Direction, Score
from operators.anomaly.settings import ModelSettings
from operators.anomaly.site_models import SiteModels, SiteModelsState, SiteScore
from operators.findings import scope_of, signal_id
from operators.process_map import Handoff
from operators.series_points import COUNTED_BY, FIGURES, OF_HANDOFFS, SITE, WindowPoint
from operators.series_words import DETECTOR, figure_words, value_words
from schemas.durations import DAY_US, people_time
from schemas.incident_rows import ModelHealth, SeriesScore
from schemas.rows import Row, Signal

#: So many series make a vector; fewer say all they have to say by themselves.
LEAST_PARTS = 3
#: A vector needs so many that are not missing.
_LEAST_KNOWN = 2
_SHOWN = 5
_LEAST_SHOWN = 0.05

#: By scope: series (metric, handoff) → which side is bad.
Parts = Mapping[str, Mapping[tuple[str, str], Direction]]


class SiteVectorsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `SiteVectors`, by what sites are scoped by."""

    kinds: dict[str, SiteModelsState]


def site_parts(handoffs: Iterable[Handoff]) -> Parts:
    """What a vector is made of, by what scopes it: the figures of the handoffs scoped so, and what is counted so."""
    parts: dict[str, dict[tuple[str, str], Direction]] = {}
    for handoff in handoffs:
        if handoff.scope:
            some = parts.setdefault(handoff.scope, {})
            some.update({(figure.metric, handoff.name): figure.direction for figure in OF_HANDOFFS})
    for metric, scopes in COUNTED_BY.items():
        for by in scopes:
            if by in parts:
                parts[by][metric, ""] = FIGURES[metric].direction
    return {by: some for by, some in parts.items() if len(some) >= LEAST_PARTS}


class SiteVectors:
    """Judge every site at every window's end.

    Takes all scores of a tick at once. Memory and cost: those of `SiteModels`, once for each kind of site; nothing is
    kept of a tick.
    """

    def __init__(self, settings: ModelSettings, parts: Parts, step_us: int) -> None:
        self._settings = settings
        self._parts = {by: {_name(*key): side for key, side in some.items()} for by, some in parts.items()}
        self._names = {by: {key: _name(*key) for key in some} for by, some in parts.items()}
        self._per_week = 7 * DAY_US / step_us
        self._kinds = {by: SiteModels(settings, some, self._per_week) for by, some in self._parts.items()}

    def update(self, scored: Sequence[tuple[WindowPoint, Score]]) -> list[Row]:
        """Judge the sites of the points of one tick."""
        if not self._settings.vectors or not self._kinds:
            return []
        sites: dict[tuple[str, str, int], list[tuple[WindowPoint, Score]]] = {}
        for one in scored:
            _, _, by, scope = one[0].point.series
            if by in self._kinds:
                sites.setdefault((by, scope, one[0].point.at_us), []).append(one)
        out: list[Row] = []
        for (by, scope, _), together in sorted(sites.items(), key=_site):
            residuals: dict[str, float] = {}
            known = self._names[by]
            for point, score in together:
                metric, handoff, _, _ = point.point.series
                name, value = known.get((metric, handoff)), _residual(point, score)
                if name is not None:
                    residuals[name] = value
            residuals = {name: value for name, value in residuals.items() if math.isfinite(value)}
            if len(residuals) < _LEAST_KNOWN:
                continue
            is_told = any(score.is_alarm for _, score in together)
            site = self._kinds[by].update(scope, residuals, is_told=is_told)
            if site is not None:
                out.append(_row(together[0][0], site))
                if site.judged.is_alarm:
                    out.append(_signal(together, site))
        return out

    def health(self, minute_us: int, version: int) -> list[ModelHealth]:
        """How the models of each kind of site fare; `metric` is `site` and what scopes it."""
        rows = [self._kinds[by].health(f"site/{by}", minute_us, version) for by in sorted(self._kinds)]
        return [row for row in rows if row is not None]

    def sizes(self) -> dict[str, int]:
        """How many sites have a model."""
        return {"sites": sum(map(len, self._kinds.values()))}

    def snapshot(self) -> SiteVectorsState:
        """All that is known."""
        return SiteVectorsState({by: models.snapshot() for by, models in self._kinds.items()})

    def restore(self, state: SiteVectorsState) -> None:
        """Take over a snapshot; a kind of site that is no more is forgotten.

        Raises:
            StateError: it is of another version.
        """
        for by, kept in state.kinds.items():
            if by in self._parts:
                self._kinds[by] = SiteModels.from_snapshot(kept, self._settings, self._parts[by], self._per_week)


def _site(entry: tuple[tuple[str, str, int], object]) -> tuple[str, str, int]:
    return entry[0]


def _name(metric: str, handoff: str) -> str:
    return f"{metric} of {handoff}" if handoff else metric


def _residual(point: WindowPoint, score: Score) -> float:
    """How far off, in units of half the band, or of what never matters where the band is narrower; NaN without one."""
    half = score.upper - score.expected
    if not 0.0 < half < math.inf:
        return math.nan
    return (score.value - score.expected) / max(half, point.point.least)


def _row(point: WindowPoint, site: SiteScore) -> SeriesScore:
    _, _, by, scope = point.point.series
    judged = site.judged
    return SeriesScore(
        metric=SITE.metric,
        handoff="",
        scope_by=by,
        scope=scope,
        at_us=point.point.at_us,
        value=judged.distance,
        expected=judged.usual,
        lower=0.0,
        upper=judged.threshold,
        score=judged.score,
        confidence=site.confidence,
        method="model",
        alarm="spike" if judged.is_alarm else "",
        arrival_us=point.arrival_us,
        version=point.arrival_us,
    )


def _signal(together: Sequence[tuple[WindowPoint, Score]], site: SiteScore) -> Signal:
    """The signal of an alarm: its evidence are the figures that the distance is mostly made of."""
    point = together[0][0]
    _, _, by, scope = point.point.series
    at_us, judged = point.point.at_us, site.judged
    start_us = max(one.start_us for one, _ in together)
    values = {_name(*one.point.series[:2]): (one.point.series[0], score) for one, score in together}
    shown = [(share, name) for share, name in site.shares()[:_SHOWN] if share >= _LEAST_SHOWN]
    evidence = [f"{share:.0%} {_part_words(name, *values[name])}" for share, name in shown if name in values]
    span = f"{people_time(start_us)} to {people_time(at_us)}"
    observed, expected = value_words(SITE.metric, judged.distance), value_words(SITE.metric, judged.threshold)
    return Signal(
        signal_id=signal_id(DETECTOR, SITE.metric, by, scope, str(at_us)),
        detector=DETECTOR,
        kind=SITE.kind,
        handoff="",
        scope=scope_of(by, scope),
        case_id="",
        opened_at_us=start_us,
        found_at_us=point.arrival_us,
        closed_at_us=at_us,
        severity="low",
        score=judged.score,
        confidence=site.confidence,
        expected=f"at most {expected}",
        observed=observed,
        method="model",
        explanation=(
            f"{by} {scope}, {span}: its figures don't go together as they use to, though none is unusual by itself; "
            f"{SITE.words} is {observed}, 98 % of windows have less than {expected}. Most of it: "
            f"{'; '.join(evidence)} ({judged.score:.1f} powers of ten)."
        ),
        evidence=evidence,
        arrival_us=point.arrival_us,
        version=point.arrival_us,
    )


def _part_words(name: str, metric: str, score: Score) -> str:
    found, expected = value_words(metric, score.value), value_words(metric, max(0.0, score.expected))
    return f"{figure_words(name, metric)} {found}, expected {expected}"
