"""The model of a site's vector: against numpy's own mean and covariance, and on what no single metric shows."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.anomaly.score import Direction
from operators.anomaly.settings import ModelSettings
from operators.anomaly.site_models import SiteModels, SiteModelsState
from operators.anomaly.vector import YOUNG, VectorModel
from operators.anomaly.vector_state import VectorState, model_of, state_of
from schemas.errors import StateError


def together(count: int, seed: int = 1) -> np.ndarray:
    """Three metrics that follow one cause."""
    draw = np.random.default_rng(seed)
    return (draw.normal(0, 0.3, (count, 1)) * [1.0, -1.0, 0.8]) + draw.normal(0, 0.03, (count, 3))


@given(seed=st.integers(0, 1000), count=st.integers(2, 200))
@settings(deadline=None)
def test_means_and_covariances_are_those_of_all_vectors(seed: int, count: int) -> None:
    model = VectorModel(3)
    values = together(count, seed)
    for vector in values:
        model.score(vector)
    prior = np.vstack([np.zeros(3), values])  # it begins with one vector of zeros
    assert model.mean == pytest.approx(prior.mean(axis=0), abs=1e-9)
    sample = np.cov(prior.T, bias=True) + np.eye(3) / (count + 1)  # and a covariance of one on the diagonal
    assert model.covariance == pytest.approx(sample, abs=1e-9)


def test_metrics_that_part_alarm_though_each_is_usual() -> None:
    model = VectorModel(3)
    for vector in together(3000):
        model.score(vector)
    apart = np.array([0.3, 0.3, 0.24])  # the second has the wrong sign
    said = model.score(apart)
    assert said.is_alarm
    assert said.score > 4
    assert said.distance > said.threshold > said.usual > 0
    assert said.shares.sum() == pytest.approx(1.0)
    assert said.shares[1] > 0.3
    assert not model.score(apart).is_alarm  # told once
    assert not VectorModel(3).score(apart).is_alarm


@pytest.mark.parametrize(("sides", "is_news"), [([0, 0, 0], True), ([0, -1, 0], False), ([-1, 1, -1], True)])
def test_what_is_better_than_expected_is_no_news(sides: list[int], is_news: bool) -> None:
    model = VectorModel(3, sides=sides)
    for vector in together(3000):
        model.score(vector)
    said = model.score(np.array([0.0, 0.6, 0.0]))  # the second alone is high
    assert said.distance > said.threshold
    assert said.is_alarm is is_news
    assert (said.score > 0) is is_news


def test_what_one_metric_tells_by_itself_is_not_told_again() -> None:
    model = VectorModel(3)
    for vector in together(3000):
        model.score(vector)
    before = model.budget.threshold
    said = model.score(np.array([0.3, 0.3, 0.24]), is_told=True)
    assert (said.score, said.is_alarm) == (0.0, False)
    assert model.budget.threshold <= before, "nothing is spent on it"


def test_what_is_usual_together_does_not_alarm() -> None:
    model = VectorModel(3, alarms_per_week=1.0, points_per_week=2016.0)
    found = [model.score(vector).is_alarm for vector in together(10_000)]
    assert sum(found[YOUNG:]) <= 6  # five weeks' budget, and one to begin with


def test_missing_metrics_count_as_ordinary() -> None:
    model = VectorModel(3)
    for vector in together(1000):
        model.score(vector)
    said = model.score(np.array([np.nan, np.nan, np.nan]))
    assert (said.score, said.is_alarm, said.distance) == (0.0, False, 0.0)
    assert not said.shares.any()


@given(cut=st.integers(0, 120))
@settings(deadline=None)
def test_a_resumed_model_scores_the_same(cut: int) -> None:
    values = together(120)
    whole, first = VectorModel(3), VectorModel(3)
    expected = [judged(whole, vector) for vector in values]
    before = [judged(first, vector) for vector in values[:cut]]
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(state_of(first)), type=VectorState)
    resumed = model_of(kept, 1.0, 2016.0)
    assert before + [judged(resumed, vector) for vector in values[cut:]] == expected
    assert state_of(resumed) == state_of(whole)


def judged(model: VectorModel, vector: np.ndarray) -> tuple[object, ...]:
    said = model.score(vector)
    return said.distance, said.usual, said.threshold, said.score, said.shares.tolist(), said.is_alarm


def test_state_of_another_version_or_shape_is_refused() -> None:
    state = state_of(VectorModel(2))
    for bad in (msgspec.structs.replace(state, version=9), msgspec.structs.replace(state, covariance=b"12345678")):
        with pytest.raises(StateError, match="reads version"):
            model_of(bad, 1.0, 2016.0)


METRICS: dict[str, Direction] = {"backlog": "both", "latency": "both", "rejects": "both"}


def fed(models: SiteModels, values: np.ndarray, site: str = "dc-1") -> list[tuple[object, ...]]:
    out = []
    for vector in values:
        said = models.update(site, dict(zip(METRICS, vector.tolist(), strict=True)))
        assert said is not None
        assert [name for _, name in said.shares()] != []
        out.append((said.site, said.confidence, said.judged.distance, said.judged.score, said.shares()))
    return out


def test_sites_are_judged_apart_and_resume() -> None:
    values = together(400)
    chosen = ModelSettings()
    whole = SiteModels(chosen, METRICS, 2016.0)
    fed(whole, together(400, seed=7) * 5, "other")
    expected = fed(whole, values)
    first = SiteModels(chosen, METRICS, 2016.0)
    before = fed(first, values[:250])
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(first.snapshot()), type=SiteModelsState)
    resumed = SiteModels.from_snapshot(kept, chosen, METRICS, 2016.0)
    assert before + fed(resumed, values[250:]) == expected
    row = resumed.health("site/node", 60_000_000, 7)
    assert row is not None
    assert (row.model, row.metric, row.series, row.young, row.points) == ("vectors", "site/node", 1, 0, 400)
    fewer: dict[str, Direction] = {"backlog": "both", "latency": "both"}
    assert len(SiteModels.from_snapshot(kept, chosen, fewer, 2016.0)) == 0
    with pytest.raises(StateError, match="version 5"):
        SiteModels.from_snapshot(msgspec.structs.replace(kept, version=5), chosen, METRICS, 2016.0)


def test_shares_come_largest_first() -> None:
    models = SiteModels(ModelSettings(), METRICS, 2016.0)
    fed(models, together(1000))
    said = models.update("dc-1", {"backlog": 0.0, "latency": 0.6, "rejects": 0.0})
    assert said is not None
    assert said.shares()[0][1] == "latency"
    assert said.shares() == sorted(said.shares(), key=lambda one: (-one[0], one[1]))
    assert said.confidence == pytest.approx(1000 / 1200)


def test_sites_are_bounded_and_can_be_turned_off() -> None:
    models = SiteModels(ModelSettings(max_series=2), METRICS, 2016.0)
    assert models.health("site/node", 0, 1) is None
    for site in ("a", "b", "a", "c"):
        models.update(site, {"backlog": 0.1})
    assert models.take_dropped() == ["b"]
    assert len(models) == 2
    models.update("b", {"backlog": 0.1})
    row = models.health("site/node", 0, 1)
    assert row is not None
    assert (row.state, row.young, row.points) == ("young", 2, 5)
    assert "2 of 2 sites have seen too little; 1 sites dropped" in row.detail
    assert SiteModels(ModelSettings(vectors=False), METRICS, 2016.0).update("a", {"backlog": 1.0}) is None
    with pytest.raises(KeyError, match="the models have"):
        models.update("a", {"speed": 1.0})
