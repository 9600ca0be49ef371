"""Quantiles: exact ones by nearest rank, and the sketch within its stated error, merged in any order."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.quantiles import ACCURACY, SMALLEST, ZERO_BUCKET, bucket, estimate, exact, merge, sketch

SAMPLES = st.lists(st.floats(0, 1e10, allow_subnormal=False) | st.sampled_from([0.0, SMALLEST, 1.0, 60.0]), min_size=1)
LEVELS = st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0]) | st.floats(0, 1)


def nearest_rank(q: float, samples: list[float]) -> float:
    """By the definition: the smallest sample that at least the share `q` of all are not above."""
    for sample in sorted(samples):
        if sum(one <= sample for one in samples) >= q * len(samples) - 1e-6:
            return sample
    raise AssertionError(samples)


@given(samples=SAMPLES, q=LEVELS)
def test_exact_is_the_nearest_rank(samples: list[float], q: float) -> None:
    assert exact(q, sorted(samples)) == nearest_rank(q, samples)


@pytest.mark.parametrize(("q", "value"), [(0.5, 10), (0.95, 19), (0.99, 20), (1.0, 20), (0.05, 1), (0.051, 2), (0, 1)])
def test_exact_of_twenty(q: float, value: float) -> None:
    assert exact(q, list(range(1, 21))) == value


@given(samples=SAMPLES, q=LEVELS)
def test_an_estimate_is_within_its_accuracy(samples: list[float], q: float) -> None:
    true = exact(q, sorted(samples))
    guess = estimate(q, sketch(samples))
    if true <= SMALLEST:
        assert guess == 0.0
    else:
        assert abs(guess - true) <= ACCURACY * true * (1 + 1e-9)


@given(parts=st.lists(SAMPLES, min_size=1, max_size=5))
def test_the_sketch_of_all_is_the_merge_of_the_sketches(parts: list[list[float]]) -> None:
    everything = [sample for part in parts for sample in part]
    sketches = [sketch(part) for part in parts]
    assert merge(sketches) == sketch(everything)
    assert merge(reversed(sketches)) == merge(sketches)
    assert merge([merge(sketches[:2]), *sketches[2:]]) == merge([*sketches[:1], merge(sketches[1:])])
    assert list(merge(sketches)) == sorted(merge(sketches))
    assert sum(merge(sketches).values()) == len(everything)


@given(sample=st.floats(SMALLEST, 1e12, exclude_min=True))
def test_a_bucket_holds_what_lies_between_its_bounds(sample: float) -> None:
    gamma = (1 + ACCURACY) / (1 - ACCURACY)
    index = bucket(sample)
    assert gamma ** (index - 1) * (1 - 1e-9) <= sample <= gamma**index * (1 + 1e-9)


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        exact(0.5, [])
    with pytest.raises(ValueError, match="no samples"):
        estimate(0.5, {})
    assert sketch([]) == merge([]) == {}
    assert estimate(0.5, {ZERO_BUCKET: 3}) == 0.0
    assert math.isclose(estimate(0.9, sketch([0.0, 100.0])), 100.0, rel_tol=ACCURACY)
