"""What judging many series of a window's end at once saves: both paths, one after the other, on the same points.

    nice -n 5 .venv/bin/python benchmarks/anomaly/vectorised.py [--series N …] [--ticks N]

`SeriesModels` judges few points one by one and many as columns (operators/anomaly/batch/). Here each path is forced, on
grown series that share pools of 40, with everything on; scores and snapshots of the two are held against each other
before a time is told. `FEW` is where the columns begin to pay.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from operators.anomaly import series_models
from operators.anomaly.point import Point
from operators.anomaly.series_models import SeriesModels, SeriesModelsState
from operators.anomaly.settings import ModelSettings

_STEP_US = 300_000_000
_SIBLINGS = 40
_DAY = 288
GROWN = 8 * _DAY


def values(ticks: int, count: int, begin: int) -> np.ndarray:
    """A day's season with noise and a spike now and then, (ticks, series)."""
    draw = np.random.default_rng([3, begin])
    hours = (begin + np.arange(ticks))[:, None] * (_STEP_US / 3.6e9)
    season = 50 + 30 * np.sin(hours / 24 * 2 * np.pi + np.linspace(0, 6, count))
    return np.round(season + draw.normal(0, 5, (ticks, count)) + 60 * (draw.random((ticks, count)) < 0.002), 1)


def points(ticks: int, count: int, begin: int = 0) -> list[list[Point]]:
    """Points of each tick."""
    return [
        [
            Point(("backlog", f"s{at}"), f"p{at // _SIBLINGS}", number * _STEP_US, value, "up", 5.0, 200.0)
            for at, value in enumerate(row.tolist())
        ]
        for number, row in enumerate(values(ticks, count, begin), begin)
    ]


def grown(count: int) -> SeriesModelsState:
    """So many series after a week, when siblings teach their pool; beyond the first 40 copies of those."""
    models, few = SeriesModels(ModelSettings()), min(count, _SIBLINGS)
    for tick in points(GROWN, few):
        models.update(tick)
    kept = models.snapshot()
    series = sorted(kept.series, key=lambda one: int(one.series[1][1:]))
    copies = [
        msgspec.structs.replace(series[at % few], series=("backlog", f"s{at}"), pool=f"p{at // _SIBLINGS}")
        for at in range(count)
    ]
    pools = {one.pool: kept.pools["p0"] for one in copies}
    return msgspec.structs.replace(kept, series=copies, pools=pools)


def forced(models: SeriesModels, ticks: Sequence[Sequence[Point]], few: int) -> tuple[float, list[object]]:
    """Processor time (s) and scores, by columns from so many points on."""
    usual, series_models.FEW = series_models.FEW, few
    try:
        begun = time.process_time()
        said = [models.update(tick) for tick in ticks]
        return time.process_time() - begun, [one.score for tick in said for one in tick]
    finally:
        series_models.FEW = usual


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where the two paths differ."""
    parser = argparse.ArgumentParser(description="Judging many series at once.")
    parser.add_argument("--series", type=int, nargs="+", default=[4, 8, 12, 16, 24, 40, 300, 1500, 6000], metavar="N")
    parser.add_argument("--ticks", type=int, default=40, metavar="N", help="that are timed (40)")
    asked = parser.parse_args(arguments)
    print(f"{'series a tick':>13s} {'one by one, µs a point':>23s} {'columns':>8s} {'ratio':>6s}")
    found = 0
    for size in asked.series:
        state = grown(size)
        timed = points(asked.ticks, size, GROWN)
        one, other = (SeriesModels.from_snapshot(state, ModelSettings()) for _ in range(2))
        plain_s, expected = forced(one, timed, 10**9)
        columns_s, said = forced(other, timed, 1)
        found += (said != expected) + (one.snapshot() != other.snapshot())
        per = 1e6 / (size * asked.ticks)
        print(f"{size:13,d} {plain_s * per:23.1f} {columns_s * per:8.1f} {plain_s / columns_s:6.1f}", flush=True)
    print("scores and snapshots are the same" if not found else f"{found} of {2 * len(asked.series)} differ")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
