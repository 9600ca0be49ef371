"""All sites of a key group: what their series' models leave unexplained, judged together."""

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from operators.anomaly.settings import ModelSettings
from operators.anomaly.vector import VectorModel
from operators.anomaly.vector_state import VectorState, model_of, state_of
from schemas.errors import StateError


class SiteScore(msgspec.Struct, frozen=True, gc=False):
    """A site at one time. `shares` says which metrics the distance is made of; they sum to 1."""

    site: str
    at_us: int
    anomaly_score: float
    shares: dict[str, float]
    is_alarm: bool


class SiteModelsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `SiteModels`; sites stand in the order in which they were last heard of."""

    version: int
    metrics: list[str]
    sites: dict[str, VectorState]
    dropped: list[str]


class SiteModels:
    """One vector model a site, over the same metrics.

    Args:
        settings: `vectors` is the kill switch, `max_series` the most sites.
        metrics: what a vector is made of, in this order. A change begins anew.
        points_per_week: how many vectors a site has in a week.

    Memory: metrics² + metrics numbers a site; beyond `max_series` the site that was silent longest is dropped, and
    reported. Cost: some 30 µs a vector.
    """

    VERSION = 1

    def __init__(self, settings: ModelSettings, metrics: Sequence[str], points_per_week: float) -> None:
        self._settings = settings
        self._metrics = tuple(metrics)
        self._points_per_week = points_per_week
        self._sites: dict[str, VectorModel] = {}
        self._dropped: list[str] = []

    def update(self, site: str, at_us: int, residuals: Mapping[str, float]) -> SiteScore | None:
        """Judge what was left unexplained (`Score.residual`) of each metric; None where vectors are turned off.

        A metric that is missing or NaN counts as ordinary; one that the models don't have is refused.

        Raises:
            KeyError: an unknown metric.
        """
        unknown = residuals.keys() - set(self._metrics)
        if unknown:
            raise KeyError(f"metrics {sorted(unknown)}: the models have {list(self._metrics)}")
        if not self._settings.vectors:
            return None
        model = self._sites.pop(site, None)
        if model is None:
            model = VectorModel(len(self._metrics), self._settings.alarms_per_week, self._points_per_week)
            if len(self._sites) >= self._settings.max_series:
                oldest = next(iter(self._sites))
                del self._sites[oldest]
                self._dropped.append(oldest)
        self._sites[site] = model
        vector = np.array([residuals.get(metric, math.nan) for metric in self._metrics])
        score, shares, is_alarm = model.score(vector)
        return SiteScore(site, at_us, score, dict(zip(self._metrics, shares.tolist(), strict=True)), is_alarm)

    def take_dropped(self) -> list[str]:
        """The sites that were dropped to keep the bound, since this was last asked."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def snapshot(self) -> SiteModelsState:
        """All that is known."""
        return SiteModelsState(
            self.VERSION,
            list(self._metrics),
            {site: state_of(model) for site, model in self._sites.items()},
            list(self._dropped),
        )

    @classmethod
    def from_snapshot(
        cls, state: SiteModelsState, settings: ModelSettings, metrics: Sequence[str], points_per_week: float
    ) -> "SiteModels":
        """The models again; of other metrics than today's nothing is taken over.

        Raises:
            StateError: the snapshot is of another version.
        """
        if state.version != cls.VERSION:
            raise StateError(f"site models of version {state.version} can't be read: this one reads {cls.VERSION}")
        models = cls(settings, metrics, points_per_week)
        models._dropped = list(state.dropped)
        if tuple(state.metrics) == models._metrics:
            budget = settings.alarms_per_week
            models._sites = {site: model_of(kept, budget, points_per_week) for site, kept in state.sites.items()}
        return models

    def __len__(self) -> int:
        """How many sites are kept."""
        return len(self._sites)
