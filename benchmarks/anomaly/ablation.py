"""What each term of the model buys on each set: the model as it is, and without one term at a time.

    .venv/bin/python benchmarks/anomaly/ablation.py [--points N] [--jobs N]

NAB in full (standard, leave-category-out); of each KPI series the first `--points` (F1 at the best threshold, and at
the lowest with at most half a false alarm per series and day). `range rule`: how far a value leaves the range seen.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from places import DATA, kpi_verdict, nab_verdict

from dataflows.cli.score import read_csv
from operators.anomaly.detector import SeriesDetector
from operators.anomaly.score import Terms
from operators.anomaly.season import Season

Points = Iterable[tuple[int, float]]
Variant = Callable[[Points], list[float]]
_STEP = 0.05


class NoSeason(Season):
    """Knows no hours: what is expected is the overall mean."""

    __slots__ = ()

    def expect(
        self, before: int, after: int, share: float, per_hour: float, unknown: tuple[float, float]
    ) -> tuple[float, float]:
        """The unknown."""
        del before, after, share, per_hour
        return unknown


class NoWildness(Season):
    """Takes each quarter of an hour for as calm as the others."""

    __slots__ = ()

    def wildness(self, quarter: int) -> float:
        """Always the same."""
        del quarter
        return 1.0


class Without(SeriesDetector):
    """The model without some terms."""

    __slots__ = ("missing",)

    def __init__(self, missing: frozenset[str]) -> None:
        super().__init__()
        self.missing = missing

    def _terms(self, value: float, residual: float, step_scale: float, part: int, *, up: bool, down: bool) -> Terms:
        """The terms, the missing ones nothing."""
        terms = super()._terms(value, residual, step_scale, part, up=up, down=down)
        names = terms.__struct_fields__
        return Terms(*(0.0 if name in self.missing else getattr(terms, name) for name in names))


def model(
    points: Points, missing: Iterable[str] = (), season: type[Season] = Season, *, is_lasting: bool = True
) -> list[float]:
    """Scores of the model, less what is named."""
    detector = Without(frozenset(missing))
    detector.season = season()
    out = []
    for at_us, value in points:
        if not is_lasting:
            detector.record = -1.0
        out.append(detector.score(at_us, value).anomaly_score)
    return out


def range_rule(points: Points) -> list[float]:
    """How far a value leaves the range seen so far, relative to that range."""
    low = high = None
    out = []
    for _, value in points:
        if low is None or high is None:
            low = high = value
        width = high - low
        excess = max(value - high, low - value, 0.0)
        out.append(excess / width if width else float(excess > 0))
        low, high = min(low, value), max(high, value)
    return out


def variants() -> dict[str, Variant]:
    """Name → how it scores a series."""
    return {
        "everything": model,
        "without novelty": lambda points: model(points, ["novelty"]),
        "without innovation": lambda points: model(points, ["innovation"]),
        "without level": lambda points: model(points, ["level"]),
        "without sustained": lambda points: model(points, ["sustained"]),
        "without all tails": lambda points: model(points, ["innovation", "level", "sustained"]),
        "without season": lambda points: model(points, season=NoSeason),
        "without wild quarters": lambda points: model(points, season=NoWildness),
        "without refractory": lambda points: model(points, is_lasting=False),
        "range rule": range_rule,
    }


def measured(name: str, points: int) -> tuple[str, float, float, float, float]:
    """NAB standard and leave-category-out, KPI F1 and F1 with few false alarms."""
    variant = variants()[name]
    with tempfile.TemporaryDirectory() as folder:
        nab, series, scores = Path(folder, "nab"), Path(folder, "series"), Path(folder, "scores")
        series.mkdir()
        scores.mkdir()
        corpus = DATA / "nab"
        for file in sorted((corpus / "data").rglob("*.csv")):
            target = nab / file.relative_to(corpus / "data")
            target.parent.mkdir(parents=True, exist_ok=True)
            table = read_csv(file)
            said = variant([(at_us, value) for at_us, value, _ in table.points])
            when = table.head.index("timestamp")
            lines = [f"{row[when]},{score!r}" for row, score in zip(table.rows, said, strict=True)]
            target.write_text("\n".join(["timestamp,anomaly_score", *lines]) + "\n", encoding="utf-8")
        for file in sorted((DATA / "aiops_kpi").glob("*.npz")):
            with np.load(file) as data:
                part = {key: data[key][:points] for key in ("timestamp_s", "value", "label")}
            np.savez(series / file.name, **part)
            times_us = (part["timestamp_s"].astype(np.int64) * 1_000_000).tolist()
            np.save(
                scores / f"{file.stem}.npy", np.array(variant(list(zip(times_us, part["value"].tolist(), strict=True))))
            )
        found = nab_verdict(nab, corpus)["standard"]
        best = kpi_verdict(series, scores)
        threshold, calm = float(best["threshold"]), best
        while float(calm["false_alarms_per_series_day"]) > 0.5:
            threshold += _STEP
            calm = kpi_verdict(series, scores, threshold)
    return name, found["score"], found["loo_score"], float(best["f1"]), float(calm["f1"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each variant, print the table."""
    parser = argparse.ArgumentParser(description="What each term of the model buys.")
    parser.add_argument("--points", type=int, default=60_000, metavar="N", help="of each KPI series (60000)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    asked = parser.parse_args(arguments)
    names = list(variants())
    print(f"{'':22s} NAB standard  leave-category-out  KPI F1  F1 at <= 0.5 false a day")
    with ProcessPoolExecutor(asked.jobs) as pool:
        for name, nab, loo, best, calm in pool.map(measured, names, [asked.points] * len(names)):
            print(f"{name:22s} {nab:12.1f} {loo:19.1f} {best:7.3f} {calm:25.3f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
