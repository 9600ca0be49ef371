"""Processor time per point and bytes per series: ours and river's detectors, one after the other in this process.

    .venv/bin/python benchmarks/anomaly/cost.py [--points N]

Over the first points of one KPI series. Bytes are those of a snapshot: ours as it is kept, river's as a pickle.
river's detectors get what they need by their documentation: scaled inputs for half-space trees, three lags for LODA.
"""

import argparse
import gc
import os
import pickle
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from places import DATA
from river import anomaly, preprocessing, time_series

from dataflows.process_maps import load_process_map
from operators.anomaly.detector import SeriesDetector
from operators.anomaly.detector_state import pack
from operators.anomaly.point import Point
from operators.anomaly.series_models import SeriesModels
from operators.anomaly.settings import ModelSettings
from operators.series_points import WindowPoint
from operators.series_scores import SeriesScores
from operators.series_sites import site_parts

Made = tuple[Callable[[int, float], object], Callable[[], int]]
_STEP_US = 60_000_000


def ours() -> Made:
    """The detector of one series."""
    detector = SeriesDetector()
    return detector.score, lambda: len(pack(detector))


def ours_with_everything() -> Made:
    """As the job runs it: pool, rule, drift watch, counts."""
    models = SeriesModels(ModelSettings())

    def step(at_us: int, value: float) -> object:
        return models.update([Point(("backlog", "a"), "all", at_us, value, limit=1e9)])

    return step, lambda: sum(len(one.model) for one in models.snapshot().series)


def of_features(model: object, names: Sequence[str]) -> Made:
    """A river detector over the last values."""
    last = [0.0] * len(names)

    def step(at_us: int, value: float) -> object:
        del at_us
        last.insert(0, value)
        last.pop()
        features = dict(zip(names, last, strict=True))
        score = model.score_one(features)  # type: ignore[attr-defined]
        model.learn_one(features)  # type: ignore[attr-defined]
        return score

    return step, lambda: len(pickle.dumps(model))


def of_target(model: object) -> Made:
    """A river detector over the value alone."""

    def step(at_us: int, value: float) -> object:
        del at_us
        try:
            return model.score_one(None, value)  # type: ignore[attr-defined]
        finally:
            model.learn_one(None, value)  # type: ignore[attr-defined]

    return step, lambda: len(pickle.dumps(model))


def grown_sites(nodes: int, ticks: int) -> SeriesScores:
    """So many nodes with all the series that a node has under the default process map, and their vectors."""
    handoffs = load_process_map("default").handoff
    series = sorted(site_parts(handoffs)["node"])
    scores = SeriesScores(ModelSettings(), handoffs)
    for tick in range(1, ticks + 1):
        at_us = tick * _STEP_US
        points = [
            Point((metric, name, "node", f"s{node}"), f"{metric}/{name}", at_us, tick + 0.5)
            for metric, name in series
            for node in range(nodes)
        ]
        scores.update([WindowPoint(at_us, at_us - _STEP_US, point) for point in points])
    return scores


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def live(nodes: int) -> tuple[int, float, float, float]:
    """How many series nodes have; bytes of each in memory, of its part of a site in it, and in a snapshot."""
    gc.collect()
    tracemalloc.start()
    scores = grown_sites(nodes, 6)
    gc.collect()
    size, count = tracemalloc.get_traced_memory()[0], scores.sizes()["series"]
    tracemalloc.stop()
    metrics = count // nodes
    sites = scores.sizes()["sites"] * 4 * metrics * (metrics + 1)
    kept = scores.snapshot()
    return count, size / count, sites / count, (len(kept.models) + len(kept.sites)) / count


def main(arguments: Sequence[str] | None = None) -> int:
    """Time each, print the table."""
    parser = argparse.ArgumentParser(description="Cost per point and bytes per series.")
    parser.add_argument("--points", type=int, default=10_000, metavar="N", help="(10000)")
    asked = parser.parse_args(arguments)
    with np.load(min((DATA / "aiops_kpi").glob("*.npz"))) as data:
        values = data["value"][: asked.points].astype(float).tolist()
    lags = ("now", "before", "earlier")
    scaled = preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=1)
    holt = time_series.HoltWinters(alpha=0.3, beta=0.1)
    detectors: dict[str, Callable[[], Made]] = {
        "Andon, one series": ours,
        "Andon, everything on": ours_with_everything,
        "river GaussianScorer": lambda: of_target(anomaly.GaussianScorer()),
        "river StandardAbsoluteDeviation": lambda: of_target(anomaly.StandardAbsoluteDeviation()),
        "river PredictiveAnomalyDetection": lambda: of_target(anomaly.PredictiveAnomalyDetection(holt)),
        "river HalfSpaceTrees": lambda: of_features(scaled, lags),
        "river LODA, 3 lags": lambda: of_features(anomaly.LODA(seed=1), lags),
    }
    print(f"{'':34s} µs a point (processor)   bytes a series")
    for name, make in detectors.items():
        step, size = make()
        begun = time.process_time()
        failed = 0
        for number, value in enumerate(values):
            try:
                step(number * _STEP_US, value)
            except (IndexError, ZeroDivisionError, OverflowError):
                failed += 1
        spent = time.process_time() - begun
        note = f"   {failed} points raised" if failed else ""
        print(f"{name:34s} {spent / len(values) * 1e6:22.1f} {size():16,d}{note}", flush=True)
    for nodes in (20, 600):
        count, size, sites, kept = live(nodes)
        print(f"{nodes} nodes, {count:,} series with pools and sites: {size:,.0f} bytes each in memory, of which")
        print(f"{sites:,.0f} are the covariances of its site; {kept:,.0f} in a snapshot")
    before = resident()
    scores = grown_sites(600, 6)
    count = scores.sizes()["series"]
    print(
        f"resident memory of {count:,} series: {(resident() - before) / count:,.0f} bytes each, with what scoring needs"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
