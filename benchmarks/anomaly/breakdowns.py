"""Breakdowns with the models on and off: time to detection, false findings, and how soon a model said something.

    nice -n 5 .venv/bin/python benchmarks/anomaly/breakdowns.py [--seeds N] [--kind KIND …] [--preset small|forty]

Each seed is one log of a simulated retailer: clean days, in which the models grow up, then for each kind a day with
that breakdown and a clean day after it. The log goes through the job, engine and all, but with a list in place of the
database; once with the models and once without.

What is printed of each breakdown: when the first incident of its kind was said (as `andon evaluate` judges), with and
without models; when the first signal of a model was found in its scope, and how many of those a clean day has. What is
said on clean days: false incidents, and models' signals in the whole network. A model's signal can't make an incident
come sooner than it comes itself: a star marks the breakdowns in which one in scope came before the rule.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from dataflows.engine import run_flow
from dataflows.evaluation import Found, Report, Truth, judge, read_truth
from dataflows.files import partitions_of
from dataflows.flow import Pipeline, Stop
from dataflows.job import pipeline_settings, process_map_of
from dataflows.lane import FileLane, LaneInput
from dataflows.settings import Settings
from operators.anomaly.settings import ModelSettings
from scenarios.breakdowns.registry import KINDS
from scenarios.settings import PRESETS, BreakdownSpec
from scenarios.simulate import simulate
from schemas.durations import DAY_US, MINUTE_US, Duration
from schemas.incident_rows import Incident, IncidentOrder, SeriesScore
from schemas.rows import Row, Signal

DEFAULT = (
    "picking_backlog",
    "carrier_delay",
    "queue_saturation",
    "refund_lag",
    "posting_interface_down",
    "feed_stopped",
)


class Rows:
    """In place of the database: what was said of incidents and by models, and how many points were scored."""

    def __init__(self) -> None:
        self.incidents: dict[str, Incident] = {}
        self.orders: dict[tuple[str, str], IncidentOrder] = {}
        self.signals: list[Signal] = []
        self.points: dict[str, int] = {}

    def write(self, rows: Sequence[Row]) -> None:
        """Keep the last version of each."""
        for row in rows:
            if isinstance(row, Incident):
                self.incidents[row.incident_id] = row
            elif isinstance(row, IncidentOrder):
                self.orders[row.incident_id, row.order_id] = row
            elif isinstance(row, SeriesScore):
                self.points[row.metric] = self.points.get(row.metric, 0) + 1
            elif isinstance(row, Signal) and row.detector == "models":
                self.signals.append(row)

    def flush(self) -> None:
        """Nothing waits."""

    def found(self) -> list[Found]:
        """The incidents as `andon evaluate` reads them."""
        orders: dict[str, list[IncidentOrder]] = {}
        for row in self.orders.values():
            orders.setdefault(row.incident_id, []).append(row)
        return [
            Found(
                incident_id=one.incident_id,
                kind=one.kind,
                scope=one.scope,
                opened_us=one.opened_at_us,
                found_us=one.found_at_us,
                orders=frozenset(row.order_id for row in orders.get(one.incident_id, [])),
                cases=frozenset(row.case_id for row in orders.get(one.incident_id, []) if row.case_id),
            )
            for one in self.incidents.values()
            if one.signals > 0
        ]


def simulated(preset: str, seed: int, kinds: Sequence[str], before: int, out: Path) -> None:
    """A log with `before` clean days, then a day of each kind and a clean one after it."""
    specs = []
    for number, kind in enumerate(kinds):
        later = (before + 2 * number) * DAY_US
        usual = KINDS[kind]
        specs.append(BreakdownSpec(kind=kind, begin=Duration(usual.begins + later), end=Duration(usual.ends + later)))
    days = before + 2 * len(kinds)
    settings = msgspec.structs.replace(
        PRESETS[preset], seed=seed, duration=Duration(days * DAY_US), breakdowns=tuple(specs), hazards=()
    )
    simulate(settings, out)


def replayed(log: Path, models: ModelSettings) -> tuple[Rows, float]:
    """What the job says of the log, and the processor time that it took (s)."""
    settings = msgspec.structs.replace(Settings(), models=models)
    groups = pipeline_settings(settings, process_map_of(settings, None))
    files = sorted(str(path) for path in log.glob("*.jsonl") if path.name != "truth.jsonl")
    source = LaneInput(partitions=tuple(partitions_of(files)), rules=settings.time.rules(), batch=settings.engine.batch)
    rows, begun = Rows(), time.process_time()

    def open_lane(name: str, resume: bytes | None) -> FileLane:
        return FileLane(name, groups.lanes, source, resume, _unheard)

    run_flow(Pipeline(groups, open_lane, lambda: rows, Stop()), None, settings.engine.epoch)
    return rows, time.process_time() - begun


def _unheard(lane: str, share: float) -> None:
    """Of the progress nobody is told."""


def in_scope(truth: Truth, signal: Signal) -> bool:
    """Whether a signal is about a place that the breakdown is about: they share a value of a dimension."""
    values = truth.values()
    if truth.cause is not None:
        for name, value in truth.cause.scope.items():
            values.setdefault(name, set()).update({value} if isinstance(value, str) else value)
    return any(value in values.get(name, ()) for name, value in signal.scope.items())


def minutes_to(truth: Truth, signals: Sequence[Signal]) -> tuple[float | None, str]:
    """From the begin to the first of the signals while it lasted (min), and of which kind that was."""
    mine = [one for one in signals if truth.begin_us <= one.opened_at_us and one.found_at_us <= truth.over_us]
    if not mine:
        return None, ""
    first = min(mine, key=lambda one: (one.found_at_us, one.signal_id))
    return (first.found_at_us - truth.begin_us) / MINUTE_US, first.kind


def one_seed(seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Both runs of one log."""
    with tempfile.TemporaryDirectory(prefix="andon-scenarios-") as place:
        simulated(asked.preset, seed, asked.kinds, asked.before, Path(place))
        truths = read_truth(Path(place) / "truth.jsonl")
        on, with_s = replayed(Path(place), ModelSettings(alarms_per_week=asked.budget))
        off, without_s = replayed(Path(place), ModelSettings(enabled=False))
    reports: dict[str, Report] = {"on": judge(truths, on.found()), "off": judge(truths, off.found())}
    clean = [one for one in truths if one.kind == "none" and one.over_us - one.begin_us > 0]
    grown_us = min(one.begin_us for one in truths if one.kind != "none") - 3 * DAY_US
    quiet = [
        signal
        for signal in on.signals
        if signal.found_at_us >= grown_us and any(one.begin_us <= signal.found_at_us < one.over_us for one in clean)
    ]
    clean_days = sum(max(0, one.over_us - max(one.begin_us, grown_us)) for one in clean) / DAY_US
    broken = []
    for truth in truths:
        if truth.kind == "none":
            continue
        verdicts = {
            name: next(one for one in report.verdicts if one.breakdown_id == truth.breakdown_id)
            for name, report in reports.items()
        }
        there = [one for one in on.signals if in_scope(truth, one)]
        scope_quiet = sum(in_scope(truth, one) for one in quiet)
        after, kind = minutes_to(truth, there)
        anywhere, other = minutes_to(truth, on.signals)
        broken.append(
            {
                "kind": truth.kind,
                "seed": seed,
                **{name: _minutes(verdict.detection_s) for name, verdict in verdicts.items()},
                "model": after,
                "model_kind": kind,
                "anywhere": anywhere,
                "anywhere_kind": other,
                "quiet_in_scope": scope_quiet,
            }
        )
    return {
        "seed": seed,
        "points": on.points,
        "processor_s": {"on": with_s, "off": without_s},
        "false_per_clean_day": {name: report.false_per_clean_day for name, report in reports.items()},
        "false": {name: len(report.false) for name, report in reports.items()},
        "clean_days": clean_days,
        "signals_per_clean_day": len(quiet) / clean_days,
        "signals_by_kind": {kind: sum(one.kind == kind for one in quiet) for kind in sorted({s.kind for s in quiet})},
        "breakdowns": broken,
    }


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 60


def _shown(minutes: float | None) -> str:
    return "-" if minutes is None else f"{minutes:.0f}"


def show(runs: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    print(f"{'':29s} {'rules alone':>11s} {'with models':>11s}   first model signal in scope (a day when clean)")
    sooner = count = 0
    for run in runs:
        for one in run["breakdowns"]:
            count += 1
            is_sooner = one["model"] is not None and (one["off"] is None or one["model"] < one["off"])
            sooner += is_sooner
            said = f"{_shown(one['model']):>5s} {one['model_kind']} ({one['quiet_in_scope'] / run['clean_days']:.2f})"
            said += " *" if is_sooner else ""
            print(f"{one['kind']:24s} {one['seed']:4d} {_shown(one['off']):>11s} {_shown(one['on']):>11s}   {said}")
    print(f"(minutes from begin to finding; *: a model's signal in scope came before the rule, {sooner} of {count})")
    for run in runs:
        false, spent = run["false_per_clean_day"], run["processor_s"]
        print(
            f"seed {run['seed']}: false a clean day {false['off']:.2f} without models, {false['on']:.2f} with; "
            f"models' signals a clean day {run['signals_per_clean_day']:.1f} {run['signals_by_kind']}; "
            f"{sum(run['points'].values()):,} points, processor {spent['off']:.0f} s without, {spent['on']:.0f} s with"
        )
    for name in ("off", "on"):
        times = [one[name] for run in runs for one in run["breakdowns"] if one[name] is not None]
        print(
            f"models {name}: {len(times)} of {count} found, median {median(times):.0f} min" if times else "none found"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all seeds, print."""
    parser = argparse.ArgumentParser(description="Breakdowns with the models on and off.")
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="logs (2)")
    parser.add_argument("--first-seed", type=int, default=501, metavar="N")
    parser.add_argument("--kind", action="append", dest="kinds", choices=sorted(KINDS), metavar="KIND")
    parser.add_argument("--before", type=int, default=7, metavar="DAYS", help="clean days before the first (7)")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small")
    parser.add_argument("--budget", type=float, default=1.0, metavar="N", help="alarms per series and week (1)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args(arguments)
    asked.kinds = asked.kinds or list(DEFAULT)
    runs = []
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        runs.append(one_seed(seed, asked))
        print(f"seed {seed} is done", file=sys.stderr, flush=True)
        if asked.json is not None:  # after each, since a seed takes minutes
            asked.json.write_text(json.dumps({"preset": asked.preset, "runs": runs}, indent=1), encoding="utf-8")
    show(runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
