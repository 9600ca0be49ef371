"""Quantiles: exact ones of a window's samples, and a mergeable sketch with a stated error.

The sketch counts samples in buckets whose bounds grow geometrically (DDSketch: Masson, Rim, Lee, PVLDB 12(12),
2019): with relative accuracy a and g = (1 + a) / (1 - a), a sample x > 0 goes to bucket ceil(log_g(x)), and the
bucket's estimate 2 g^i / (g + 1) is within a * x of every sample in it. Merging is adding counts, so sketches of
different key groups, scopes or windows merge without further error (in SQL: `sumMap(latency_buckets)`).

Error bound: the estimate of any quantile is within 1 % (`ACCURACY`) of the exact nearest-rank quantile.
Samples at or below `SMALLEST` (1 ms) count as zero, in bucket `ZERO_BUCKET`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

ACCURACY = 0.01
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
SMALLEST = 0.001
ZERO_BUCKET = -1_000_000

_LOG_GAMMA = math.log(GAMMA)


def rank(q: float, count: int) -> int:
    """The 0-based index of the nearest-rank quantile `q` in `count` sorted samples: ceil(q * count) - 1."""
    return max(0, math.ceil(q * count - 1e-9) - 1)


def exact(q: float, ordered: Sequence[float]) -> float:
    """The nearest-rank quantile of sorted samples.

    Raises:
        ValueError: there are no samples.
    """
    if not ordered:
        raise ValueError("a quantile of no samples")
    return ordered[rank(q, len(ordered))]


def bucket(sample: float) -> int:
    """The bucket of one sample (seconds, not negative)."""
    return ZERO_BUCKET if sample <= SMALLEST else math.ceil(math.log(sample) / _LOG_GAMMA)


def sketch(samples: Iterable[float]) -> dict[int, int]:
    """Bucket → count of samples, buckets ascending."""
    counts: dict[int, int] = {}
    ceil, log, known = math.ceil, math.log, counts.get
    for sample in sorted(samples):  # buckets ascend with their samples
        index = ZERO_BUCKET if sample <= SMALLEST else ceil(log(sample) / _LOG_GAMMA)
        counts[index] = known(index, 0) + 1
    return counts


def middle(index: int) -> float:
    """The estimate of the samples in a bucket, within `ACCURACY` of each."""
    return 0.0 if index <= ZERO_BUCKET else 2 * GAMMA**index / (GAMMA + 1)


def merge(sketches: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """One sketch of all samples that `sketches` counted; order does not matter."""
    counts: dict[int, int] = {}
    for one in sketches:
        for index, count in one.items():
            counts[index] = counts.get(index, 0) + count
    return dict(sorted(counts.items()))


def estimate(q: float, counts: Mapping[int, int]) -> float:
    """The quantile `q` of a sketch, within `ACCURACY` of the exact nearest-rank one.

    Raises:
        ValueError: the sketch is empty.
    """
    total = sum(counts.values())
    if not total:
        raise ValueError("a quantile of no samples")
    wanted = rank(q, total)
    seen = 0
    for index in sorted(counts):
        seen += counts[index]
        if seen > wanted:
            return middle(index)
    raise AssertionError("unreachable: ranks lie below the total")  # pragma: no cover
