"""The parts of the series model, each against a plain definition of what it estimates."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift as river_drift

from operators.anomaly.budget import LEAST, STEP, Budget
from operators.anomaly.clock import Cadence, knots, quarter
from operators.anomaly.drift import PageHinkley
from operators.anomaly.reach import BURN_IN, MEMORY, STEEPNESS, Reach
from operators.anomaly.rule import LimitRule
from operators.anomaly.season import Knots, Pool, Season
from operators.anomaly.stability import BLOCK, Stability, index
from operators.anomaly.tail import SHARE, Tail

HOUR_US = 3_600_000_000


@pytest.mark.parametrize("exponent", [2.0, 4.0])
def test_a_tail_finds_the_exponent_of_a_power_law(exponent: float) -> None:
    draw = random.Random(3)
    tail = Tail()
    for _ in range(60_000):
        tail.surprise(draw.paretovariate(exponent))
    true = SHARE ** (-1 / exponent)
    assert tail.threshold == pytest.approx(true, rel=0.1)
    assert 1 / tail.g == pytest.approx(exponent, rel=0.25)
    far = true * 10 ** (2 / exponent)  # two powers of ten rarer
    assert tail.surprise(far) == pytest.approx(-math.log10(SHARE) + 2, abs=0.6)


@given(
    sizes=st.lists(st.floats(0, 1e9), min_size=30, max_size=200), pair=st.tuples(st.floats(0, 1e9), st.floats(0, 1e9))
)
@settings(deadline=None)
def test_a_larger_magnitude_is_never_less_surprising(sizes: list[float], pair: tuple[float, float]) -> None:
    tails = Tail(), Tail()
    for size in sizes:
        for tail in tails:
            tail.surprise(size)
    low, high = (tail.surprise(size) for tail, size in zip(tails, sorted(pair), strict=True))
    assert 0 <= low <= high < math.inf


def test_surprise_does_not_saturate() -> None:
    said = []
    for far in range(1, 12):
        tail, draw = Tail(), random.Random(1)
        for _ in range(2000):
            tail.surprise(abs(draw.gauss(0, 1)))
        said.append(tail.surprise(10.0**far))
    assert all(after > before + 1 for before, after in pairwise(said))


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=BURN_IN + 1, max_size=BURN_IN + 60), up=st.booleans())
@settings(max_examples=30, deadline=None)
def test_novelty_is_the_excess_over_a_range_that_sinks_back(values: list[float], up: bool) -> None:
    reach = Reach()
    low = high = mean = 0.0
    for number, value in enumerate(values, 1):
        said = reach.novelty(value, up=up, down=not up)
        excess = max(value - high if up else low - value, 0.0)
        if number <= BURN_IN or excess == 0:
            assert said == 0.0
        elif high > low:
            assert said == pytest.approx(math.log10(1 + STEEPNESS * excess / (high - low)))
        else:
            assert said == 1.0
        if number == BURN_IN // 2 + 1:
            low = high = mean = value
        elif number > BURN_IN // 2 + 1:
            mean += (value - mean) / min(number, MEMORY)
            low = min(value, low + (mean - low) / MEMORY)
            high = max(value, high + (mean - high) / MEMORY)


@given(
    scores=st.lists(st.floats(0, 20) | st.just(0.0), max_size=800),
    a_week=st.floats(0.1, 50),
    points=st.floats(100, 10_000),
)
@settings(deadline=None)
def test_a_budget_holds_whatever_the_scores_are(scores: list[float], a_week: float, points: float) -> None:
    budget = Budget(a_week)
    alarms = sum(budget.spend(score, points) for score in scores)
    highest = max([LEAST, *scores])
    assert alarms <= a_week * len(scores) / points + (highest - LEAST) / STEP + 1
    assert budget.threshold >= LEAST


def test_a_budget_is_not_spent_on_dull_scores() -> None:
    budget = Budget(1000.0)
    assert not any(budget.spend(LEAST - 0.1, 2016) for _ in range(5000))


@pytest.mark.parametrize("change_at", [None, 300])
def test_page_hinkley_finds_what_rivers_finds(change_at: int | None) -> None:
    draw = random.Random(5)
    values = [draw.gauss(0 if change_at is None or i < change_at else 2, 0.5) for i in range(600)]
    ours = PageHinkley(tolerance=0.3, limit=8.0, least=30)
    theirs = river_drift.PageHinkley(min_instances=30, delta=0.3, threshold=8.0, alpha=1.0)
    found: tuple[list[int], list[int]] = ([], [])
    for number, value in enumerate(values):
        theirs.update(value)
        if ours.learn(value):
            found[0].append(number)
        if theirs.drift_detected:
            found[1].append(number)
    assert found[0] == found[1]
    assert bool(found[0]) == (change_at is not None)


@given(counts=st.lists(st.integers(0, 500), min_size=16, max_size=16))
@settings(deadline=None)
def test_the_stability_index_is_its_definition(counts: list[int]) -> None:
    one, other = np.array(counts[:8]) + 0.5, np.array(counts[8:]) + 0.5
    a, b = one / one.sum(), other / other.sum()
    assert index([float(n) for n in counts[:8]], [float(n) for n in counts[8:]]) == pytest.approx(
        float(((a - b) * np.log(a / b)).sum()), abs=1e-9
    )


def test_the_bound_on_the_stability_index_is_calibrated() -> None:
    draw = random.Random(11)
    alarms = 0
    for _ in range(60):
        watch = Stability()
        for _ in range(6 * BLOCK):
            watch.learn(draw.gauss(0, 0.5))
        alarms += not watch.is_stable
    assert alarms <= 2  # about one block in a thousand is beyond the bound


def test_a_changed_distribution_is_unstable_until_it_was_calm_twice() -> None:
    draw = random.Random(12)
    watch = Stability()
    for _ in range(10 * BLOCK):
        watch.learn(draw.gauss(0, 0.4))
    assert watch.is_stable
    for _ in range(BLOCK):
        watch.learn(draw.gauss(0.5, 0.8))
    assert not watch.is_stable
    for _ in range(BLOCK):
        watch.learn(draw.gauss(0, 0.4))
    assert not watch.is_stable
    for _ in range(BLOCK):
        watch.learn(draw.gauss(0, 0.4))
    assert watch.is_stable


def test_cadence_is_the_usual_step_and_not_the_gap() -> None:
    cadence = Cadence()
    at_us = 0
    for number in range(200):
        at_us += (3600 if number == 100 else 300) * 1_000_000
        steps = cadence.learn(at_us)
        assert steps == pytest.approx(12 if number == 100 else 1, rel=0.1)
    assert cadence.step_s == pytest.approx(300, rel=0.02)
    assert cadence.learn(at_us) == 1.0  # a time that does not advance
    assert cadence.per_hour == pytest.approx(12, rel=0.02)


@given(at_us=st.integers(0, 4_000_000_000_000_000))
@settings(deadline=None)
def test_knots_are_the_full_hours_around(at_us: int) -> None:
    before, after, share = knots(at_us)
    assert before * HOUR_US <= at_us < after * HOUR_US
    assert (before + share) * HOUR_US == pytest.approx(at_us, abs=1)
    assert quarter(at_us) == at_us // (HOUR_US // 4) % 96


@given(values=st.lists(st.floats(0.01, 10), min_size=1, max_size=3))
@settings(deadline=None)
def test_a_young_knot_is_the_mean(values: list[float]) -> None:
    one = Knots(24)
    for value in values:
        one.learn(5, 1.0, value, 1000.0, 0.0)
    assert one.mean[5] == pytest.approx(np.mean(values), rel=1e-5)
    assert one.weight[5] == len(values)


def test_a_season_is_learnt_and_read_between_hours() -> None:
    season = Season()
    wave = [math.sin(2 * math.pi * hour / 24) for hour in range(24)]
    for hour in range(24 * 28):
        season.learn(hour, hour + 1, 0.0, 100 + 50 * wave[hour % 24], 1.0, 30.0)
    expected, _ = season.expect(24 * 28 + 3, 24 * 28 + 4, 0.5, 1.0, (0.0, 0.0))
    assert expected == pytest.approx(100 + 50 * (wave[3] + wave[4]) / 2, abs=0.5)


def test_a_pool_lends_its_shape_at_the_borrowers_level() -> None:
    pool = Pool()
    lender = [2.0 if hour % 24 in range(8, 20) else 0.2 for hour in range(168)]
    for hour in range(168 * 3):
        pool.learn(hour, hour + 1, 0.0, lender[hour % 168])
    young = Season(pool)
    for hour in range(168 * 3, 168 * 3 + 6):  # six hours of the night
        young.learn(hour, hour + 1, 0.0, 30 * lender[hour % 168], 1.0, 1.0)
    expected, _ = young.expect(168 * 3 + 12, 168 * 3 + 13, 0.0, 1.0, (6.0, 1.0))
    assert expected == pytest.approx(60, rel=0.05)
    assert Season().expect(12, 13, 0.0, 1.0, (6.0, 1.0)) == (6.0, 1.0)


def test_the_rule_alarms_once_until_it_is_clearly_over() -> None:
    rule = LimitRule()
    values = [90, 101, 102, 103, 104, 99, 101, 101, 101, 89, 101, 101, 101]
    assert [rule.judge(value, 100.0, below=False) for value in values].index(True) == 3
    rule = LimitRule()
    assert [number for number, value in enumerate(values) if rule.judge(value, 100.0, below=False)] == [3, 12]
    rule = LimitRule()
    assert [rule.judge(value, 10.0, below=True) for value in (5, 5, 5, 5)] == [False, False, True, False]
