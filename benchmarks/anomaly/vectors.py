"""Vectors that are odd only together: ours and river's LODA and half-space trees over the same vectors.

    .venv/bin/python benchmarks/anomaly/vectors.py [--seeds N]

Six metrics of a site follow two hidden causes (load, and a slow pipe) with noise. In the anomalies (runs of six points)
one metric stops following, or two trade places, while each stays within its own usual range. For each detector,
strictly online: the area under the ROC curve over points, and how many of the runs are found where one point in 500
alarms.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from river import anomaly, preprocessing

from operators.anomaly.vector import VectorModel

POINTS, METRICS, RUN, RUNS = 6000, 6, 6, 20
_FIRST = 1500
_FALSE = 1 / 500

Scorer = Callable[[np.ndarray], float]


def vectors(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Residual vectors and the number of the anomalous run of each point (-1: none)."""
    draw = np.random.default_rng(seed)
    load = draw.normal(0, 1, (POINTS, 2))
    weights = draw.uniform(0.4, 1.0, (2, METRICS)) * draw.choice([-1, 1], (2, METRICS))
    values = load @ weights + draw.normal(0, 0.25, (POINTS, METRICS))
    runs = np.full(POINTS, -1)
    starts = _FIRST + np.arange(RUNS) * ((POINTS - _FIRST) // RUNS) + draw.integers(0, 100, RUNS)
    for number, start in enumerate(starts):
        part = slice(start, start + RUN)
        one, other = draw.choice(METRICS, 2, replace=False)
        if number % 2:
            values[part, one] = draw.permutation(values[_FIRST - 500 : _FIRST, one])[:RUN]
        else:
            values[part, [one, other]] = values[part, [other, one]]
        runs[part] = number
    return values / 3, runs


def ours() -> Scorer:
    """`VectorModel` before its refractory: points are judged here, and it would count each run once."""
    model = VectorModel(METRICS)

    def step(vector: np.ndarray) -> float:
        model.record = 0.0
        return model.score(vector).score

    return step


def rivers(model: object) -> Scorer:
    """A river detector over named features."""
    names = [f"metric_{number}" for number in range(METRICS)]

    def step(vector: np.ndarray) -> float:
        features = dict(zip(names, vector.tolist(), strict=True))
        score = float(model.score_one(features))  # type: ignore[attr-defined]
        model.learn_one(features)  # type: ignore[attr-defined]
        return score

    return step


def judged(scores: np.ndarray, runs: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve, and the share of runs with a point over the threshold."""
    scores, runs = scores[_FIRST:], runs[_FIRST:]
    odd = runs >= 0
    ranks = scores.argsort().argsort() + 1
    below = ranks[odd].sum() - odd.sum() * (odd.sum() + 1) / 2
    area = below / (odd.sum() * (~odd).sum())
    threshold = np.quantile(scores[~odd], 1 - _FALSE)
    found = {int(run) for run in runs[odd & (scores > threshold)]}
    return float(area), len(found) / RUNS


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each, print the table."""
    parser = argparse.ArgumentParser(description="Vectors that are odd only together.")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="data sets (3)")
    asked = parser.parse_args(arguments)
    detectors: dict[str, Callable[[], Scorer]] = {
        "Andon VectorModel": ours,
        "river LODA": lambda: rivers(anomaly.LODA(seed=1)),
        "river HalfSpaceTrees": lambda: rivers(preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=1)),
    }
    print(f"{'':22s} area under ROC  runs found  µs a vector (processor)")
    for name, make in detectors.items():
        results, spent = [], 0.0
        for seed in range(asked.seeds):
            values, runs = vectors(seed)
            step = make()
            begun = time.process_time()
            scores = np.array([step(vector) for vector in values])
            spent += time.process_time() - begun
            results.append(judged(scores, runs))
        area, found = np.mean(results, axis=0)
        print(f"{name:22s} {area:14.3f} {found:11.0%} {spent / asked.seeds / POINTS * 1e6:20.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
