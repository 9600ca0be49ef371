"""The model on the AIOps KPI series: `andon score` over each, then the scorer that is not ours.

    .venv/bin/python benchmarks/anomaly/kpi.py [--jobs N]

Same configuration as for NAB. Three thresholds, each one for all series: the best for F1, the lowest with at most half
a false alarm per series and day, and the one that budgets begin with.
"""

import argparse
import sys
from collections.abc import Sequence

from places import BUILD, DATA, kpi_verdict, scored

from operators.anomaly.budget import LEAST

MOST_FALSE = 0.5
_STEP = 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, judge, print."""
    parser = argparse.ArgumentParser(description="The model on the AIOps KPI series.")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    asked = parser.parse_args(arguments)
    series, out = DATA / "aiops_kpi", BUILD / "kpi"
    scored(series, out, asked.jobs)
    best = kpi_verdict(series, out)
    show("best F1", best)
    threshold = float(best["threshold"])
    while float((calm := kpi_verdict(series, out, threshold))["false_alarms_per_series_day"]) > MOST_FALSE:
        threshold += _STEP
    show("at most 0.5 false", calm)
    show("budget's least", kpi_verdict(series, out, LEAST))
    return 0


def show(name: str, verdict: dict[str, float | str]) -> None:
    """One line."""
    print(
        f"{name:18s} threshold {verdict['threshold']:.2f}  F1 {verdict['f1']:.3f}  precision {verdict['precision']:.3f}"
        f"  recall {verdict['recall']:.3f}  segments {verdict['segments_found']}"
        f"  false alarms per series and day {verdict['false_alarms_per_series_day']:.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
