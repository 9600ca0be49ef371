"""`make soak`: an hour of live input, with kills and outages in it; memory and latency must be flat, nothing lost.

A broker, ClickHouse and `andon run` as real processes; a simulated retailer feeds them at a steady rate (see
soak_load.py). What is measured, judged and why: docs/soak.md. Into `--out` go `report.md`, `samples.csv` and
`soak.svg`. The exit code is 0 when all criteria hold.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import msgspec
from machine import facts
from rich.console import Console
from soak_load import MARK, Feed, Told
from soak_parts import LANES, Parts, Scale, running
from soak_report import Run, write_report
from soak_verdict import Criterion, Disturbance, flatness
from soak_watch import Sample, Watch

from schemas.durations import DAY_US, SECOND_US, rfc3339
from tests.processes import query

_CAUGHT_UP_S = 300.0
_UNUSED_WORK = ("clickhouse",)
#: When things happen, as shares of the run: the last two thirds are one process, from the middle of its life on.
_KILL_AT, _STORE_AT, _BROKER_AT, _STOP_AT = 0.09, 0.16, 0.23, 0.30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, judge, write; 0 when all criteria hold."""
    asked = _asked(arguments)
    out: Path = asked.out
    if (out / "work").exists():
        print(f"{out} holds an earlier run: name another, or remove it", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _as_interrupt)
    soak = Soak(out, asked.minutes, asked.rate, asked.processes)
    try:
        soak.run()
    except KeyboardInterrupt:
        print("interrupted; nothing is judged", file=sys.stderr)
        return 130
    finally:
        if not asked.keep:
            for name in _UNUSED_WORK:
                shutil.rmtree(out / "work" / name, ignore_errors=True)
    run = soak.result()
    write_report(out, run)
    print((out / "report.md").read_text(encoding="utf-8"))
    return 0 if all(one.holds is not False for one in run.criteria) else 1


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A long run under live load, with disturbances.")
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="how long the input lasts")
    parser.add_argument("--rate", type=float, default=1_500.0, metavar="N", help="events a second")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="of the job, at most its 2 lanes")
    parser.add_argument("--out", type=Path, default=Path("soak-out"), metavar="DIR", help="report, samples and plot")
    parser.add_argument("--keep", action="store_true", help="keep ClickHouse's files as well")
    asked = parser.parse_args(arguments)
    if not 0.2 <= asked.minutes <= 24 * 60 or not 10 <= asked.rate <= 50_000 or not 1 <= asked.processes <= LANES:
        parser.error(f"minutes must be 0.2 to 1440, rate 10 to 50000, processes 1 to {LANES}")
    asked.out = asked.out.resolve()
    return asked


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


class Soak:
    """One run."""

    def __init__(self, out: Path, minutes: float, rate: float, processes: int) -> None:
        self._out, self._rate, self._processes = out, rate, processes
        self._scale = Scale(minutes)
        self._console = Console(stderr=True)
        self._samples: list[Sample] = []
        self._disturbances: list[Disturbance] = []
        self._criteria: list[Criterion] = []
        self._notes: list[str] = []
        self._told = Told()
        self._said_s = 0.0
        self._unasked: list[str] = []

    def run(self) -> None:
        """From the first process to the last one's end."""
        self._say("simulating, starting the parts …")
        self._began = datetime.now(UTC)
        with running(self._out, self._rate, self._scale, self._processes) as (parts, feed):
            self._note(feed)
            self._watch = Watch()
            self._play(parts)
            self._told = parts.feeder.finish(150)
            self._drain(parts, feed)
            self._judge(parts)

    def result(self) -> Run:
        """What the report is written from."""
        scale = self._scale
        flat = flatness(self._samples, self._disturbances, scale.minutes, scale.settle_s)
        return Run(
            minutes=scale.minutes,
            rate=self._rate,
            settle_s=scale.settle_s,
            began=rfc3339(int(self._began.timestamp()) * SECOND_US),
            machine=facts(),
            samples=self._samples,
            disturbances=self._disturbances,
            criteria=[*self._criteria, *flat],
            notes=self._notes,
            told=self._told,
        )

    # --- while it runs ------------------------------------------------------------------------------------------------

    def _play(self, parts: Parts) -> None:
        length_s = self._scale.minutes * 60
        planned = self._planned(parts, length_s)
        while (now_s := self._watch.now_s) < length_s:
            while planned and planned[0][0] <= now_s:
                planned.pop(0)[1]()
            self._look(parts)
            if not parts.feeder.running:
                self._unasked.append("the feed ended")
                return
            if parts.job.code is not None:
                self._unasked.append(f"the job ended by itself with {parts.job.code}")
                return
            wait_s = self._scale.look_every_s - (self._watch.now_s - now_s)
            due_s = planned[0][0] - self._watch.now_s if planned else wait_s
            time.sleep(max(0.05, min(wait_s, due_s)))
        for _, action in planned:
            action()

    def _look(self, parts: Parts) -> None:
        sample = self._watch.look(parts.watched())
        told, last = parts.feeder.told, self._told
        values = sample.values
        values |= {"sent": told.sent, "acked": told.acked, "feed_behind_s": told.behind_s, "feed_waiting": told.waiting}
        if self._samples:
            values["sent_per_s"] = (told.sent - last.sent) / max(0.1, sample.at_s - self._samples[-1].at_s)
        self._told = told
        going = [one for one in self._disturbances if one.recovered_s is None]
        sample.disturbed = going[0].name if going else ""
        self._samples.append(sample)
        lag, age = values.get("lag_messages"), values.get("watermark_age_s")
        for one in going:
            ended = one.end_s is not None and sample.at_s > one.end_s
            if ended and lag is not None and age is not None and age < 5 and lag < max(500.0, 4 * self._rate):
                one.recovered_s = sample.at_s
        self._progress(sample)

    def _planned(self, parts: Parts, length_s: float) -> list[tuple[float, Callable[[], None]]]:
        """What is done to the job, when."""
        scale = self._scale
        store = Disturbance("ClickHouse away", f"its front killed for {scale.store_away_s:.0f} s", 0.0)
        broker = Disturbance("broker frozen", f"SIGSTOP for {scale.broker_frozen_s:.0f} s", 0.0)

        def begin(one: Disturbance, act: Callable[[], None]) -> Callable[[], None]:
            def done() -> None:
                one.begin_s = self._watch.now_s
                self._disturbances.append(one)
                self._say(f"{one.begin_s / 60:.1f} min: {one.name}, {one.what}")
                act()

            return done

        def end(one: Disturbance, act: Callable[[], None]) -> Callable[[], None]:
            def done() -> None:
                act()
                one.end_s = self._watch.now_s

            return done

        def killed(one: Disturbance) -> Callable[[], None]:
            def act() -> None:
                parts.job.kill()
                one.detail = f"exit code {parts.job.code}"
                parts.start_job()
                one.end_s = self._watch.now_s

            return act

        def stopped(one: Disturbance) -> Callable[[], None]:
            def act() -> None:
                self._stop(parts, one)
                parts.start_job()
                one.end_s = self._watch.now_s

            return act

        kill = Disturbance("SIGKILL", "of the job, and started again", 0.0)
        stop = Disturbance("SIGTERM", "to the job, and started again", 0.0)
        return [
            (_KILL_AT * length_s, begin(kill, killed(kill))),
            (_STORE_AT * length_s, begin(store, parts.front.kill)),
            (_STORE_AT * length_s + scale.store_away_s, end(store, parts.front.start)),
            (_BROKER_AT * length_s, begin(broker, parts.broker.freeze)),
            (_BROKER_AT * length_s + scale.broker_frozen_s, end(broker, parts.broker.thaw)),
            (_STOP_AT * length_s, begin(stop, stopped(stop))),
        ]

    def _stop(self, parts: Parts, into: Disturbance | None = None) -> None:
        """SIGTERM to the job, and what came of it."""
        began_s = time.monotonic()
        code = parts.stop_job()
        detail = f"exit code {code} after {time.monotonic() - began_s:.1f} s"
        if into is not None:
            into.detail = detail
        if code != 0:
            self._unasked.append(f"SIGTERM: {detail}")

    # --- at its end ---------------------------------------------------------------------------------------------------

    def _drain(self, parts: Parts, feed: Feed) -> None:
        """Have everything processed, and the last minute's counts written, by messages of a minute after it."""
        self._caught_up(parts)
        if self._scale.minutes >= 2:
            time.sleep(63 - time.time() % 60)
            closing = {
                "type": "price.changed", "event_id": "closing", "source": "soak", "system": "erp",
                "occurred_at": rfc3339(time.time_ns() // 1_000), "sku": "s", "price": "1.00", "currency": "EUR",
            }  # fmt: skip
            value = msgspec.json.encode(closing)
            for topic in feed.topics:
                for partition in range(feed.partitions):
                    parts.broker.produce(topic, partition, [(value, time.time_ns() // 1_000_000)])
            time.sleep(3)
            self._caught_up(parts)
        self._last = self._samples[-1].values.copy()
        self._stop(parts)

    def _caught_up(self, parts: Parts) -> None:
        end_s = time.monotonic() + _CAUGHT_UP_S
        calm = 0
        while calm < 3 and time.monotonic() < end_s and parts.job.code is None:
            self._look(parts)
            self._samples[-1].disturbed = "end"
            calm = calm + 1 if self._samples[-1].values.get("lag_messages") == 0 else 0
            time.sleep(0.5)
        if calm < 3:
            self._unasked.append(f"not everything was processed within {_CAUGHT_UP_S:.0f} s")

    def _judge(self, parts: Parts) -> None:
        """Hold what is in ClickHouse against what was sent."""
        self._say("asking ClickHouse …")
        told, cwd = self._told, parts.job.folder
        produced = told.acked
        usable = produced - sum(told.injected.values())
        self._hold("all was sent", told.final and not told.failed and told.sent == told.acked, f"{produced:,} messages")
        left = self._last.get("lag_messages", -1.0)
        self._hold("all was processed", left == 0, f"{left:,.0f} messages left behind")

        if self._scale.minutes >= 2:
            health = query("SELECT sum(messages) AS m, sum(events) AS e FROM pipeline_health", cwd)[0]
            figures = f"{produced:,} sent, {int(str(health['m'])):,} counted; {usable:,} usable, {int(str(health['e'])):,} events"
            holds = (int(str(health["m"])), int(str(health["e"]))) == (produced, usable)
        else:
            holds, figures = None, "not judged: whole minutes are counted, and the run is too short"
        self._hold("every message was counted once", holds, figures)

        for kind, what, sql in (
            ("order_id", "orders", "case_id AS id FROM handoffs WHERE handoff = 'order_approval'"),
            ("shipment_id", "shipments", "pass_key AS id FROM handoffs WHERE handoff = 'delivery'"),
        ):
            ids = f"SELECT count() AS n, uniqExact(id) AS u, sum(CRC32(id)) AS s FROM (SELECT {sql} AND started_at IS NOT NULL)"
            found = {name: int(str(value)) for name, value in query(ids, cwd)[0].items()}
            wanted = {"n": told.ids[kind], "u": told.ids[kind], "s": told.sums[kind]}
            figures = f"{wanted['n']:,} sent, {found['n']:,} rows of {found['u']:,} in `handoffs`; sums of ids {'differ' if found['s'] != wanted['s'] else 'agree'}"
            self._hold(f"no {what} lost or made up", found == wanted, figures)

        repeats = int(str(query("SELECT count() AS n FROM duplicate_events", cwd)[0]["n"]))
        self._hold("repeats, and nothing else, were dropped", repeats == told.repeated, f"{told.repeated:,} sent, {repeats:,} dropped")

        letters = query(f"SELECT reason, count() AS n, countIf(position(raw, '{MARK}') = 0) AS others FROM dead_letters GROUP BY reason", cwd)
        by_reason = {str(row["reason"]): int(str(row["n"])) for row in letters}
        others = sum(int(str(row["others"])) for row in letters)
        wanted_letters = {reason: count for reason, count in told.injected.items() if count}
        figures = f"{wanted_letters} injected, {by_reason} found, {others} others"
        self._hold("dead letters are those injected", by_reason == wanted_letters and not others, figures)

        codes = "; ".join(self._unasked) or "SIGTERM gave 0 each time; nothing ended by itself"
        self._hold("exit codes", not self._unasked, codes)
        late = query("SELECT count() AS n FROM late_events", cwd)[0]["n"]
        rows = query("SELECT (SELECT count() FROM handoffs) AS h, (SELECT count() FROM signals) AS s, (SELECT count() FROM stock_deltas) AS d", cwd)[0]
        self._notes.append(f"In the views at the end: {rows['h']:,} handoffs, {rows['s']:,} signals, {rows['d']:,} stock windows, {late} late events.")

    def _hold(self, name: str, holds: bool | None, figures: str) -> None:
        self._criteria.append(Criterion(name, holds, figures))

    # --- said to whoever watches --------------------------------------------------------------------------------------

    def _note(self, feed: Feed) -> None:
        day_s = feed.day_us / SECOND_US
        scale = self._scale
        self._notes.append(
            f"A simulated day lasts {day_s:.0f} s (1 s is {DAY_US / feed.day_us / 60:.1f} simulated minutes). Windows of {scale.window_s:g} s "
            f"and stock windows of {scale.window_s * 1.5:g} s, `window_retention` {scale.retention_s:g} s, `dedup_horizon` {scale.dedup_s:g} s; "
            f"cases are forgotten {day_s / 2:.0f} s after their end, given up after {day_s:.0f} s. {LANES} lanes, {self._processes} process(es)."
        )

    def _progress(self, sample: Sample) -> None:
        every_s = 10.0 if self._console.is_terminal else 60.0
        if sample.at_s - self._said_s < every_s and self._said_s:
            return
        self._said_s = sample.at_s
        value = sample.values.get
        self._say(
            f"{sample.at_s / 60:5.1f} of {self._scale.minutes:g} min  {value('sent_per_s', 0):6,.0f} sent/s  "
            f"lag {value('lag_messages', float('nan')):6,.0f}  watermark {value('watermark_age_s', float('nan')):5.1f} s  "
            f"p99 {value('end_to_end_p99_s', float('nan')):5.1f} s  job {value('job_rss_mb', 0):5,.0f} MB {value('job_cores', 0):.2f} cores  "
            f"broker {value('broker_rss_mb', 0):5,.0f} MB  {sample.disturbed}"
        )

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as error:
        print(f"a part did not end: {error}", file=sys.stderr)
        sys.exit(1)
