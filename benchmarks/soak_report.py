"""report.md, samples.csv and soak.svg of `make soak`."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec
from soak_disturbances import Disturbance
from soak_plot import Band, Curve, Panel, Plot
from soak_verdict import Criterion, calm, latency, memory, states
from soak_watch import STATE, Sample, write_csv

_SAID = {True: "holds", False: "**FAILS**", None: "not judged"}
_STATE_CURVES = 6


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report is written from."""

    minutes: float
    rate: float
    settle_s: float
    plateau_s: float
    began: str
    machine: dict[str, object]
    samples: list[Sample]
    disturbances: list[Disturbance]
    criteria: list[Criterion]
    notes: list[str]
    messages: int


def write_report(out: Path, run: Run) -> None:
    """All three files."""
    write_csv(run.samples, out / "samples.csv")
    (out / "soak.svg").write_text(_plot(run).svg(), encoding="utf-8")
    (out / "report.md").write_text(_report(run), encoding="utf-8")


def _report(run: Run) -> str:
    failed = [one.name for one in run.criteria if one.holds is False]
    verdict = f"Fails: {', '.join(failed)}." if failed else "All criteria hold that were judged."
    machine = run.machine
    quiet = (
        "Medians over the last two thirds of the run, without disturbances, until the job had caught up, and "
        f"{run.settle_s:g} s more."
    )
    full = _late(run, run.plateau_s)
    others = (
        "The broker keeps its whole log in memory; ClickHouse (chDB behind a front for tests) has caches and merges. "
        "Neither is Andon's."
    )
    where = (
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1m']} at the end; {machine['system']}; "
        f"Python {machine['python']}; commit {machine['commit']}."
    )
    parts = [
        f"# Soak: {run.minutes:g} minutes at {run.rate:,.0f} messages a second\n",
        f"{verdict} Begun {run.began}; {run.messages:,} messages.\n",
        "![memory, latency, lag, state, load and rate over time](soak.svg)\n",
        "| criterion | | figures |\n|---|---|---|",
        *(f"| {one.name} | {_SAID[one.holds]} | {one.figures} |" for one in run.criteria),
        "\n## Disturbances\n",
        "| at | what | caught up after | |\n|---|---|---|---|",
        *(_disturbance(one) for one in run.disturbances),
        f"\n## Undisturbed\n\n{quiet}\n",
        "| | median | 5 % to 95 % |\n|---|---|---|",
        *_figures(run),
        f"\n## Memory by process\n\nFrom {run.plateau_s / 60:g} min after the job had caught up.\n",
        "| process | median MB | slope, MB an hour | judged |\n|---|---|---|---|",
        *_memory(run),
        f"\n{others}\n\n## State\n",
        "Entries that were not exceeded nine tenths of the time, in the first and the second half of the same time.\n",
        "| operator and what | first | second | |\n|---|---|---|---|",
        *(f"| {row.name} | {row.first:,.0f} | {row.second:,.0f} | {row.growth:+.1%} |" for row in states(full)),
        "\n## The run\n",
        *(f"{note}\n" for note in run.notes),
        where,
    ]
    return "\n".join(parts) + "\n"


def _late(run: Run, settle_s: float) -> list[Sample]:
    quiet = calm(run.samples, run.disturbances, settle_s)
    return [one for one in quiet if run.minutes * 20 <= one.at_s <= run.minutes * 60]


def _disturbance(one: Disturbance) -> str:
    caught = "not before the end"
    if one.recovered_s is not None and one.end_s is not None:
        caught = f"{one.recovered_s - one.end_s:.0f} s"
    return f"| {one.begin_s / 60:.1f} min | {one.name}: {one.what} | {caught} | {one.detail} |"


def _figures(run: Run) -> list[str]:
    late = _late(run, run.settle_s)
    shown = (
        ("messages_per_s", "messages a second"),
        ("rows_per_s", "rows a second"),
        ("lag_messages", "lag, messages"),
        ("watermark_age_s", "watermark's age, s"),
        ("epoch_s", "epoch, s"),
        ("snapshot_s", "snapshot, s"),
        ("snapshot_bytes", "snapshot, bytes"),
        ("recovery_mb", "recovery directory, MB"),
        ("job_cores", "job, cores"),
        ("job_starved", "job, threads waiting for a core"),
        ("machine_load", "machine, load"),
    )
    lines = []
    for column, title in shown:
        values = sorted(one.values[column] for one in late if column in one.values)
        if values:
            low, high = values[len(values) // 20], values[len(values) * 19 // 20]
            lines.append(f"| {title} | {statistics.median(values):,.4g} | {low:,.4g} to {high:,.4g} |")
    quantiles = [latency(late, share) for share in (0.5, 0.95, 0.99)]
    if None not in quantiles:
        told = ", ".join(f"{value:.2f} s" for value in quantiles)
        lines.append(f"| end to end: p50, p95, p99 of all rows | {told} | |")
    return lines


def _memory(run: Run) -> list[str]:
    lines = []
    for name in ("job", "feeder", "broker", "clickhouse"):
        found = memory(_late(run, run.plateau_s), f"{name}_rss_mb")
        if found is not None:
            median, slope = found
            lines.append(f"| {name} | {median:,.0f} | {slope:+,.1f} | {'yes' if name == 'job' else 'no'} |")
    return lines


def _plot(run: Run) -> Plot:
    samples = run.samples
    end_s = samples[-1].at_s if samples else run.minutes * 60

    def curve(name: str, column: str) -> Curve:
        return Curve(name, [(one.at_s, one.values[column]) for one in samples if column in one.values])

    panels = [
        Panel("Resident memory", "MB", [curve("job", "job_rss_mb"), curve("ClickHouse", "clickhouse_rss_mb")]),
        Panel(
            "From the log to a row that can be queried",
            "seconds, log scale",
            [curve("p50", "end_to_end_p50_s"), curve("p99", "end_to_end_p99_s")],
            log=True,
            least=0.1,
        ),
        Panel("Lag", "messages not processed yet, log scale", [curve("lag", "lag_messages")], log=True, least=100.0),
        Panel("State", "entries, log scale", _state_curves(samples), log=True, least=100.0),
        Panel(
            "Machine",
            "load of one minute: all that runs on it; the job's threads that wait for a core",
            [curve("load", "machine_load"), curve("job waits", "job_starved")],
        ),
        Panel("Rate", "messages a second", [curve("sent", "sent_per_s"), curve("processed", "messages_per_s")]),
    ]
    bands = [
        Band(one.name, one.begin_s, one.recovered_s or one.end_s or end_s) for one in run.disturbances if one.begin_s
    ]
    title = f"Andon under {run.rate:,.0f} messages a second"
    subtitle = f"{run.began}, {run.machine['cpu']}, {run.machine['cores']} cores, commit {run.machine['commit']}"
    return Plot(title, subtitle, end_s, panels, bands, 30.0)


def _state_curves(samples: Sequence[Sample]) -> list[Curve]:
    """Of the largest kinds of state."""
    most: dict[str, float] = {}
    for sample in samples:
        for column, value in sample.values.items():
            if column.startswith(STATE):
                most[column] = max(most.get(column, 0.0), value)
    chosen = sorted(most, key=lambda column: -most[column])[:_STATE_CURVES]
    return [
        Curve(
            column.removeprefix(STATE).replace(".", " "),
            [(one.at_s, one.values[column]) for one in samples if column in one.values],
        )
        for column in chosen
    ]
