"""`make bench-latency`: how late rows can be seen, table by table, under a live feed.

Broker, ClickHouse, job and feed are those of `make soak`, undisturbed, with default settings of time, and epochs of
10 s; topics carry the broker's time, as they should (`--producer-time`: that of producers, for whom it waits longer).
Two sources say it, over the same minute: the job's own histogram `andon_end_to_end_seconds`, and ClickHouse, which
stamps each row with the time of its insert (`written_at`), held against the arrival that caused the row. A window's row
is caused by the moment at which its grace is over; so for windows what has gone by since their end, grace and all, is
told as well, of first writings.

Then the job is stopped for a while and started again: what it takes of its backlog, the feed going on, is its full
load here, and the feed's rate a share of it. Permanent ids: `latency.metrics.TABLE`, `latency.rows.TABLE`,
`latency.window_end.TABLE`. `--trace` has the job write down what findings and passes wait for (`latency_stages.py`),
which costs it some 3 %: `latency.trace.TABLE`, `latency.trace.TABLE.STAGE`.

Use Apache Kafka (`tests/get_kafka.sh .kafka`, or `ANDON_TEST_KAFKA_HOME`): tansu is fed in batches of a second.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import msgspec
from latency_stages import HEADINGS, Waited, by_stage
from latency_trace import VARIABLE, Trace
from machine import BUILD, facts, headline, print_table, say, write_document
from prometheus_client.parser import text_string_to_metric_families
from soak_parts import LANES, Parts, Scale, running
from soak_watch import quantile

from dataflows.settings import TimeSettings
from schemas import metrics
from tests import kafka_job
from tests.kafka_job import Job
from tests.processes import query

SHARES = (0.5, 0.95, 0.99)
#: Tables that have an arrival, and of these the windows.
TABLES = ("handoff_passes", "handoff_windows", "stock_windows", "signal_log")
WINDOWS = ("handoff_windows", "stock_windows")
#: The soak's settings of a quarter of an hour: windows of seconds, epochs of 10 s.
SCALE = Scale(15)
_LOOK_S = 0.5
_HELD_BY_FEED = "for it the feed holds messages back for up to a second, which is in all of these times."
_START_S = 60.0
#: Full load is what is taken in so long at most, should the backlog not be gone before.
_BACKLOG_S = 60.0

#: Upper bound → rows up to it, by table.
Buckets: TypeAlias = dict[str, dict[float, float]]


class Latency(msgspec.Struct, frozen=True):
    """Seconds below which so many rows were visible; `rows` is how many there were."""

    id: str
    rows: int
    p50_s: float
    p95_s: float
    p99_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the feed, print the table."""
    parser = argparse.ArgumentParser(description="From message to visible row, under a live feed.")
    parser.add_argument("--rate", type=float, default=5_000.0, metavar="N", help="messages a second (5000)")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="how long it is measured (60)")
    parser.add_argument("--settle", type=float, default=30.0, metavar="N", help="seconds before that (30)")
    parser.add_argument("--away", type=float, default=20.0, metavar="N", help="seconds without the job, then (20)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help=f"of the job, at most {LANES} (1)")
    parser.add_argument("--producer-time", action="store_true", help="messages carry the producer's time")
    parser.add_argument("--idle-grace", type=float, metavar="S", help="of the job for all topics (the defaults)")
    parser.add_argument("--trace", action="store_true", help="tell what rows waited for, too (one process)")
    parser.add_argument("--json", type=Path, default=BUILD / "latency.json", metavar="FILE")
    asked = parser.parse_args(arguments)
    if asked.trace and asked.processes > 1:
        parser.error("--trace is for one process")
    machine = facts()
    print(headline(machine))
    say("simulating a day, starting broker, ClickHouse and job …")
    with (
        tempfile.TemporaryDirectory(prefix="andon-latency-") as folder,
        _traced(Path(folder) / "trace.msgpack", asked=asked.trace) as trace,
        running(
            Path(folder), asked.rate, SCALE, asked.processes, asked.idle_grace, appended=not asked.producer_time
        ) as (parts, _),
    ):
        _wait_until_released(parts.job, asked.processes)
        say(f"settling for {asked.settle:g} s …")
        _run_on(parts, asked.settle)
        say(f"measuring for {asked.seconds:g} s …")
        began_s = time.time()
        found, sent = _measured(parts, asked.processes, asked.seconds)
        say(f"without the job for {asked.away:g} s, then its backlog …")
        full = _full_rate(parts, asked.processes, asked.away, asked.rate)
        parts.stop_job()
        stages = _stages(trace, began_s, began_s + asked.seconds) if asked.trace else []
    say("")
    lines = [(one.id, f"{one.rows:,}", *(f"{s:.2f}" for s in (one.p50_s, one.p95_s, one.p99_s)), "") for one in found]
    print_table(("benchmark", "rows", "p50 s", "p95 s", "p99 s", ""), lines)
    if stages:
        print()
        print_table(HEADINGS, [one.line() for one in stages])
    share = sent / full
    print(f"\n{sent:,.0f} messages/s were sent; at full load the job takes {full:,.0f}/s here: a share of {share:.2f}")
    broker = type(parts.broker).__name__
    print(f"The broker is {broker}; {_HELD_BY_FEED if broker == 'Broker' else 'the feed holds messages for 20 ms.'}")
    document = {
        "results": msgspec.to_builtins([*found, *stages]),
        "sent_per_s": sent,
        "full_per_s": full,
        "share": share,
        "broker": broker,
    }
    write_document(asked.json, machine, document)
    return 0


def _measured(parts: Parts, processes: int, seconds: float) -> tuple[list[Latency], float]:
    """Latencies of what was written in so many seconds, and the messages a second that were sent meanwhile."""
    before, sent, began_s = _buckets(parts.job, processes), parts.feeder.told.sent, time.time()
    _run_on(parts, seconds)
    after, ended_s = _buckets(parts.job, processes), time.time()
    rate = (parts.feeder.told.sent - sent) / (ended_s - began_s)
    found = [_by_metrics(table, before.get(table, {}), after[table]) for table in TABLES if table in after]
    cwd = parts.job.folder
    found += [_by_rows("rows", table, "arrival", "1", began_s, ended_s, cwd) for table in TABLES]
    grace_s = TimeSettings().window_grace.seconds
    first = f"arrival < addSeconds(window_end, {grace_s:g} + 1)"
    found += [_by_rows("window_end", table, "window_end", first, began_s, ended_s, cwd) for table in WINDOWS]
    return [one for one in found if one.rows], rate


@contextmanager
def _traced(file: Path, *, asked: bool) -> Iterator[Path]:
    """Have jobs that are started within it trace, where that is asked for; the first one's is kept."""
    command = kafka_job.COMMAND
    if asked:
        os.environ[VARIABLE] = str(file)
        kafka_job.COMMAND = (sys.executable, "-u", str(Path(__file__).with_name("latency_trace.py")))
    try:
        yield file
    finally:
        kafka_job.COMMAND = command


def _stages(file: Path, began_s: float, ended_s: float) -> list[Waited]:
    """What the rows that were written between two times waited for."""
    trace = msgspec.msgpack.decode(file.read_bytes(), type=Trace)
    found: list[Waited] = []
    for table, passed in sorted(trace.passed.items()):
        mine = [row for row in passed if began_s <= row.in_s <= ended_s]
        found += by_stage(f"latency.trace.{table}", mine, trace.course)
    return found


def _run_on(parts: Parts, seconds: float) -> None:
    """Let it run, and say so when something has ended that should not have."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if parts.job.code is not None:
            raise RuntimeError(parts.job.errors())
        if not parts.feeder.running:
            raise RuntimeError("the feed ended by itself")
        time.sleep(_LOOK_S)


def _wait_until_released(job: Job, processes: int) -> float:
    """Until every process has processed something; the messages so far."""
    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s and job.code is None:
        each = [sum(job.metric(metrics.MESSAGES.name, number).values()) for number in range(processes)]
        if all(each):
            return sum(each)
        time.sleep(_LOOK_S)
    raise RuntimeError(f"nothing was processed within {_START_S:g} s:\n{job.errors()}")


# --- what the job says ------------------------------------------------------------------------------------------------


def _buckets(job: Job, processes: int) -> Buckets:
    """The histogram of all processes together."""
    found: Buckets = {}
    for number in range(processes):
        for family in text_string_to_metric_families(job.ask("/metrics", number) or ""):
            for sample in family.samples:
                if sample.name == f"{metrics.END_TO_END.name}_bucket":
                    of_table = found.setdefault(sample.labels["table"], {})
                    bound = float(sample.labels["le"])
                    of_table[bound] = of_table.get(bound, 0.0) + sample.value
    return found


def _by_metrics(table: str, before: Mapping[float, float], after: Mapping[float, float]) -> Latency:
    """Quantiles of what was added between two looks, straight lines between the bounds."""
    upto = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    counts = {bound: upto[bound] - upto.get(below, 0.0) for below, bound in pairwise([-1.0, *sorted(upto)])}
    p50, p95, p99 = (quantile(share, counts) or 0.0 for share in SHARES)
    return Latency(f"latency.metrics.{table}", round(sum(counts.values())), p50, p95, p99)


# --- what ClickHouse says ---------------------------------------------------------------------------------------------


def _by_rows(kind: str, table: str, since: str, condition: str, began_s: float, ended_s: float, cwd: Path) -> Latency:
    """Quantiles of written_at less a column, over rows that were written between two times of the wall clock."""
    quantiles = ", ".join(map(str, SHARES))
    late = f"(toUnixTimestamp64Milli(written_at) - toUnixTimestamp64Milli({since})) / 1000"
    span = f"toUnixTimestamp64Milli(written_at) BETWEEN {began_s * 1e3:.0f} AND {ended_s * 1e3:.0f}"
    sql = (
        f"SELECT count() AS rows, quantilesExact({quantiles})({late}) AS late FROM {table} WHERE {span} AND {condition}"
    )
    (row,) = query(sql, cwd)
    rows, late_s = msgspec.convert((row["rows"], row["late"]), tuple[int, list[float | None]])
    p50, p95, p99 = (value or 0.0 for value in late_s)
    return Latency(f"latency.{kind}.{table}", rows, p50, p95, p99)


# --- full load --------------------------------------------------------------------------------------------------------


def _full_rate(parts: Parts, processes: int, away_s: float, rate: float) -> float:
    """Messages a second that the job takes while it has a backlog."""
    parts.stop_job()
    time.sleep(away_s)
    parts.start_job()
    _wait_until_released(parts.job, processes)
    looks: list[tuple[float, float]] = []
    end_s = time.monotonic() + _BACKLOG_S
    while time.monotonic() < end_s:
        left = parts.job.left(processes)
        looks.append((time.monotonic(), parts.job.messages(processes)))
        if left is not None and left < rate:
            break
        time.sleep(_LOOK_S)
    (first_s, first), (last_s, last) = looks[0], looks[-1]
    if last <= first:
        raise RuntimeError("the backlog was gone at the first look: use a longer --away")
    return (last - first) / (last_s - first_s)


if __name__ == "__main__":
    sys.exit(main())
