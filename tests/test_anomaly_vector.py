"""The model of a site's vector: against numpy's own mean and covariance, and on what no single metric shows."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.anomaly.settings import ModelSettings
from operators.anomaly.site_models import SiteModels, SiteModelsState, SiteScore
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
    score, shares, is_alarm = model.score(apart)
    assert is_alarm
    assert score > 4
    assert shares.sum() == pytest.approx(1.0)
    assert shares[1] > 0.3
    assert not model.score(apart)[2]  # told once
    assert not VectorModel(3).score(apart)[2]


def test_what_is_usual_together_does_not_alarm() -> None:
    model = VectorModel(3, alarms_per_week=1.0, points_per_week=2016.0)
    found = [model.score(vector)[2] for vector in together(10_000)]
    assert sum(found[YOUNG:]) <= 6  # five weeks' budget, and one to begin with


def test_missing_metrics_count_as_ordinary() -> None:
    model = VectorModel(3)
    for vector in together(1000):
        model.score(vector)
    score, shares, is_alarm = model.score(np.array([np.nan, np.nan, np.nan]))
    assert (score, is_alarm) == (0.0, False)
    assert not shares.any()


@given(cut=st.integers(0, 120))
@settings(deadline=None)
def test_a_resumed_model_scores_the_same(cut: int) -> None:
    values = together(120)
    whole, first = VectorModel(3), VectorModel(3)
    expected = [whole.score(vector)[0] for vector in values]
    before = [first.score(vector)[0] for vector in values[:cut]]
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(state_of(first)), type=VectorState)
    resumed = model_of(kept, 1.0, 2016.0)
    assert before + [resumed.score(vector)[0] for vector in values[cut:]] == expected


def test_state_of_another_version_or_shape_is_refused() -> None:
    state = state_of(VectorModel(2))
    for bad in (msgspec.structs.replace(state, version=9), msgspec.structs.replace(state, covariance=[1.0])):
        with pytest.raises(StateError, match="reads version"):
            model_of(bad, 1.0, 2016.0)


METRICS = ("backlog", "latency", "rejects")


def fed(models: SiteModels, values: np.ndarray, site: str = "dc-1") -> list[SiteScore | None]:
    return [
        models.update(site, number, dict(zip(METRICS, vector.tolist(), strict=True)))
        for number, vector in enumerate(values)
    ]


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
    after = [
        resumed.update("dc-1", 250 + n, dict(zip(METRICS, v.tolist(), strict=True))) for n, v in enumerate(values[250:])
    ]
    assert before + after == expected
    assert len(SiteModels.from_snapshot(kept, chosen, METRICS[:2], 2016.0)) == 0
    with pytest.raises(StateError, match="version 5"):
        SiteModels.from_snapshot(msgspec.structs.replace(kept, version=5), chosen, METRICS, 2016.0)


def test_sites_are_bounded_and_can_be_turned_off() -> None:
    models = SiteModels(ModelSettings(max_series=2), METRICS, 2016.0)
    for site in ("a", "b", "a", "c"):
        models.update(site, 0, {"backlog": 0.1})
    assert models.take_dropped() == ["b"]
    assert len(models) == 2
    assert SiteModels(ModelSettings(vectors=False), METRICS, 2016.0).update("a", 0, {"backlog": 1.0}) is None
    with pytest.raises(KeyError, match="the models have"):
        models.update("a", 1, {"speed": 1.0})
