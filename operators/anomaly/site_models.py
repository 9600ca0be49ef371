"""All sites of one kind: what their series' models leave unexplained, judged together."""

import math
from collections.abc import Mapping

import msgspec
import numpy as np

from operators.anomaly.score import Direction
from operators.anomaly.settings import ModelSettings
from operators.anomaly.vector import YOUNG, VectorModel, VectorScore
from operators.anomaly.vector_state import VectorState, model_of, state_of
from schemas.errors import StateError
from schemas.incident_rows import ModelHealth

FAMILY = "vectors"
_SIDES: dict[Direction, int] = {"up": 1, "down": -1, "both": 0}


class SiteScore(msgspec.Struct, frozen=True, gc=False):
    """A site at one time; `confidence` grows with what its model has seen."""

    site: str
    judged: VectorScore
    confidence: float
    metrics: tuple[str, ...]

    def shares(self) -> list[tuple[float, str]]:
        """What the distance is made of, largest first."""
        return sorted(zip(self.judged.shares.tolist(), self.metrics, strict=True), key=lambda one: (-one[0], one[1]))


class SiteModelsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `SiteModels`; sites stand in the order in which they were last heard of."""

    version: int
    metrics: list[str]
    sites: dict[str, VectorState]
    dropped: list[str]
    counts: tuple[int, int]


class SiteModels:
    """One vector model a site, over the same metrics.

    Args:
        settings: `vectors` is the kill switch, `max_series` the most sites.
        metrics: what a vector is made of, in this order, and which side of each is bad. A change begins anew.
        points_per_week: how many vectors a site has in a week.

    Memory: (metrics² + 3 metrics) / 2 numbers a site; beyond `max_series` the site that was silent longest is dropped,
    and reported. Cost: some 30 µs a vector of ten, 40 µs of thirty-five.
    """

    VERSION = 2

    def __init__(self, settings: ModelSettings, metrics: Mapping[str, Direction], points_per_week: float) -> None:
        self._settings = settings
        self._metrics, self._known = tuple(metrics), frozenset(metrics)
        self._sides = np.array([_SIDES[direction] for direction in metrics.values()], np.float64)
        self._points_per_week = points_per_week
        self._sites: dict[str, VectorModel] = {}
        self._dropped: list[str] = []
        self._counts = (0, 0)

    def update(self, site: str, residuals: Mapping[str, float], *, is_told: bool = False) -> SiteScore | None:
        """Judge what was left unexplained of each metric, in units of half its band; None where vectors are off.

        A metric that is missing or NaN counts as ordinary; one that the models don't have is refused. `is_told`: one
        of them alarms by itself.

        Raises:
            KeyError: an unknown metric.
        """
        if not residuals.keys() <= self._known:
            unknown = residuals.keys() - self._known
            raise KeyError(f"metrics {sorted(unknown)}: the models have {list(self._metrics)}")
        if not self._settings.vectors:
            return None
        model = self._sites.pop(site, None)
        if model is None:
            budget = self._settings.alarms_per_week
            model = VectorModel(len(self._metrics), budget, self._points_per_week, self._sides)
            if len(self._sites) >= self._settings.max_series:
                oldest = next(iter(self._sites))
                del self._sites[oldest]
                self._dropped.append(oldest)
        self._sites[site] = model
        confidence = model.seen / (model.seen + YOUNG)
        known, missing = residuals.get, math.nan
        vector = np.array([known(metric, missing) for metric in self._metrics])
        judged = model.score(vector, is_told=is_told)
        points, alarms = self._counts
        self._counts = points + 1, alarms + judged.is_alarm
        return SiteScore(site, judged, confidence, self._metrics)

    def take_dropped(self) -> list[str]:
        """The sites that were dropped to keep the bound, since this was last asked."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def health(self, metric: str, minute_us: int, version: int) -> ModelHealth | None:
        """How the models fare, with vectors and alarms since this was last asked; then count anew. None without any."""
        if not self._sites:
            return None
        (points, alarms), self._counts = self._counts, (0, 0)
        sites, young = len(self._sites), sum(model.seen < YOUNG for model in self._sites.values())
        dropped = len(self.take_dropped())
        words = [f"{young} of {sites} sites have seen too little"] if 2 * young > sites else []
        if dropped:
            words.append(f"{dropped} sites dropped, those that were silent longest: more than models.max_series")
        state = "young" if 2 * young > sites else "healthy"
        row = (FAMILY, metric, minute_us, sites, young, 0, points, alarms, state, "; ".join(words), version)
        return ModelHealth(*row)

    def snapshot(self) -> SiteModelsState:
        """All that is known."""
        return SiteModelsState(
            self.VERSION,
            list(self._metrics),
            {site: state_of(model) for site, model in self._sites.items()},
            list(self._dropped),
            self._counts,
        )

    @classmethod
    def from_snapshot(
        cls,
        state: SiteModelsState,
        settings: ModelSettings,
        metrics: Mapping[str, Direction],
        points_per_week: float,
    ) -> "SiteModels":
        """The models again; of other metrics than today's nothing is taken over.

        Raises:
            StateError: the snapshot is of another version.
        """
        if state.version != cls.VERSION:
            raise StateError(f"site models of version {state.version} can't be read: this one reads {cls.VERSION}")
        models = cls(settings, metrics, points_per_week)
        if tuple(state.metrics) == models._metrics:
            models._dropped, models._counts = list(state.dropped), state.counts
            budget, sides = settings.alarms_per_week, models._sides
            models._sites = {site: model_of(kept, budget, points_per_week, sides) for site, kept in state.sites.items()}
        return models

    def __len__(self) -> int:
        """How many sites are kept."""
        return len(self._sites)
