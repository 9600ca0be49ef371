"""Do budgets hold on unlabelled series, and what do the alarms find? After nab.py and kpi.py, over their scores.

    .venv/bin/python benchmarks/anomaly/budgets.py

For each budget: alarms per series and week, over all series and of the series with most; for KPI also F1, recall and
false alarms per series and day of the alarms themselves, by the scorer that is not ours. No label chose a threshold.
"""

import csv
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from places import BUILD, DATA, kpi_verdict

from dataflows.cli.score import read_csv
from operators.anomaly.budget import Budget
from operators.anomaly.reach import BURN_IN

BUDGETS = (0.5, 1.0, 3.5, 7.0)
WEEK_S = 604_800.0
Scores = tuple[str, list[float], float, float]


def nab() -> Iterator[Scores]:
    """Name, scores, points a week and weeks of each NAB series."""
    for file in sorted((BUILD / "nab").rglob("*.csv")):
        with file.open(newline="", encoding="utf-8") as lines:
            scores = [float(row["anomaly_score"] or 0.0) for row in csv.DictReader(lines)]
        times = np.array([point[0] for point in read_csv(file).points]) / 1e6
        yield file.stem, scores, WEEK_S / float(np.median(np.diff(times))), float(times[-1] - times[0]) / WEEK_S


def kpi() -> Iterator[Scores]:
    """The same of each KPI series."""
    for file in sorted((DATA / "aiops_kpi").glob("*.npz")):
        with np.load(file) as data:
            times = data["timestamp_s"].astype(float)
        scores = np.load(BUILD / "kpi" / f"{file.stem}.npy").tolist()
        yield file.stem, scores, WEEK_S / float(np.median(np.diff(times))), float(times[-1] - times[0]) / WEEK_S


def spent(scores: list[float], points_per_week: float, alarms_per_week: float) -> list[bool]:
    """Which points are alarms under a budget."""
    budget = Budget(alarms_per_week)
    return [number >= BURN_IN and budget.spend(score, points_per_week) for number, score in enumerate(scores)]


def main() -> int:
    """Spend each budget, print the table."""
    sets = {"NAB": list(nab()), "KPI": list(kpi())}
    print("set  budget  alarms per series and week  (most)      F1  recall  false per series and day")
    for name, series in sets.items():
        for alarms_per_week in BUDGETS:
            alarms = {key: spent(scores, often, alarms_per_week) for key, scores, often, _ in series}
            total = sum(sum(one) for one in alarms.values()) / sum(weeks for *_, weeks in series)
            most = max(sum(alarms[key]) / weeks for key, _, _, weeks in series)
            line = f"{name}  {alarms_per_week:6.1f}  {total:26.2f}  {most:6.2f}"
            if name == "KPI":
                line += verdict(alarms)
            print(line, flush=True)
    return 0


def verdict(alarms: dict[str, list[bool]]) -> str:
    """What the scorer says of the alarms themselves."""
    with tempfile.TemporaryDirectory() as folder:
        for key, one in alarms.items():
            np.save(Path(folder, f"{key}.npy"), np.array(one, dtype=float))
        said = kpi_verdict(DATA / "aiops_kpi", Path(folder), 1.0)
    return f"  {said['f1']:6.3f}  {said['recall']:6.3f}  {said['false_alarms_per_series_day']:24.2f}"


if __name__ == "__main__":
    sys.exit(main())
