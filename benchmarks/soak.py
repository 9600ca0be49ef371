"""`make soak`: an hour of live input, with kills and outages in it; memory and latency must be flat, nothing lost.

A broker, ClickHouse and `andon run` as real processes; a simulated retailer feeds them at a steady rate (see
soak_load.py). What is measured, what is judged, and why: docs/soak.md. Into `--out` go `report.md`, `samples.csv` and
`soak.svg`. The exit code is 0 when all criteria hold.
"""

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import msgspec
from machine import facts
from rich.console import Console
from rich.status import Status
from soak_disturbances import Disturbance, deeds
from soak_load import Feed, Told
from soak_loss import counted, in_views, losses
from soak_parts import LANES, Parts, Scale, running
from soak_report import Run, write_report
from soak_verdict import Criterion, flatness, steadiness
from soak_watch import Sample, Watch, write_csv

from schemas.durations import MINUTE_US, SECOND_US, rfc3339

_CAUGHT_UP_S = 300.0
_FEED_ENDS_S = 150.0
#: The last minute's counts are written within so long of its end.
_COUNTED_S = 60.0
_SAID_EVERY_S = 60.0
#: The job has caught up when its watermark is no older, and no more than so many seconds of input are left.
_WATERMARK_S, _LEFT_S = 5.0, 4.0
#: From how long on the last minute's counts are waited for.
_WHOLE_MINUTES = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, judge, write; 0 when all criteria hold."""
    asked = _asked(arguments)
    if (asked.out / "work").exists():
        print(f"{asked.out} holds an earlier run: name another directory, or remove it", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _as_interrupt)
    soak = Soak(asked.out, asked.minutes, asked.rate, asked.processes)
    try:
        soak.run()
    except KeyboardInterrupt:
        print("interrupted: nothing is judged", file=sys.stderr)
        return 130
    finally:
        if not asked.keep:
            shutil.rmtree(asked.out / "work" / "clickhouse", ignore_errors=True)
    run = soak.result()
    write_report(asked.out, run)
    print((asked.out / "report.md").read_text(encoding="utf-8"))
    return 0 if all(one.holds is not False for one in run.criteria) else 1


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A long run under live load, with kills and outages.")
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="how long the input lasts (60)")
    parser.add_argument("--rate", type=float, default=1_500.0, metavar="N", help="messages a second (1500)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help=f"of the job, at most {LANES} (1)")
    parser.add_argument("--out", type=Path, default=Path("soak-out"), metavar="DIR", help="for report, samples, plot")
    parser.add_argument("--keep", action="store_true", help="keep ClickHouse's files as well")
    asked = parser.parse_args(arguments)
    for name, low, high in (("minutes", 0.3, 1_440), ("rate", 10, 50_000), ("processes", 1, LANES)):
        if not low <= getattr(asked, name) <= high:
            parser.error(f"--{name} must be {low:,} to {high:,}")
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
        self._began = datetime.now(UTC)
        self._watch = Watch()
        self._samples: list[Sample] = []
        self._disturbances: list[Disturbance] = []
        self._criteria: list[Criterion] = []
        self._notes: list[str] = []
        self._trouble: list[str] = []
        self._told = Told()
        self._console = Console(stderr=True)
        self._line: Status | None = None
        self._said_s = -_SAID_EVERY_S

    def run(self) -> None:
        """From the first process to the last one's end."""
        self._say("simulating a day, starting broker, ClickHouse and job …")
        with running(self._out, self._rate, self._scale, self._processes) as (parts, feed):
            self._notes.append(parts.described(feed))
            self._watch = Watch()
            with self._console.status("") as self._line:
                self._play(parts)
                self._told = parts.feeder.finish(_FEED_ENDS_S)
                left = self._drain(parts, feed)
            said = parts.stop_job()
            self._expect_stopped(said)
            self._say("asking ClickHouse what there is …")
            cwd = parts.job.folder
            whole = self._scale.minutes >= _WHOLE_MINUTES
            self._criteria = losses(self._told, cwd, left, whole_minutes=whole)
            self._notes.append(in_views(cwd))
        codes = "; ".join(self._trouble) or f"each SIGTERM gave 0 (the last: {said}); nothing ended by itself"
        self._criteria.append(Criterion("exit codes", not self._trouble, codes))

    def result(self) -> Run:
        """What the report is written from."""
        minutes, settle_s = self._scale.minutes, self._scale.settle_s
        steady = steadiness(self._samples, self._disturbances, self._rate, minutes, settle_s)
        flat = flatness(self._samples, self._disturbances, minutes, settle_s, self._scale.plateau_s)
        return Run(
            minutes=minutes,
            rate=self._rate,
            settle_s=settle_s,
            plateau_s=self._scale.plateau_s,
            began=rfc3339(int(self._began.timestamp()) * SECOND_US),
            machine=facts(),
            samples=self._samples,
            disturbances=self._disturbances,
            criteria=[steady, *self._criteria, *flat],
            notes=self._notes,
            messages=self._told.acked,
        )

    # --- while the input comes ----------------------------------------------------------------------------------------

    def _play(self, parts: Parts) -> None:
        length_s = self._scale.minutes * 60
        planned = list(deeds(parts, self._scale))
        while (now_s := self._watch.now_s) < length_s:
            while planned and planned[0].at_s <= now_s:
                deed = planned.pop(0)
                one = deed.disturbance
                if deed.begins:
                    one.begin_s = self._watch.now_s
                    self._disturbances.append(one)
                    self._say(f"{one.begin_s / 60:5.1f} min  {one.name}: {one.what}")
                deed.act()
                if deed.ends:
                    one.end_s = self._watch.now_s
                    if one.name == "SIGTERM":
                        self._expect_stopped(one.detail)
            self._look(parts)
            if not parts.feeder.running:
                self._trouble.append("the feed ended by itself")
                return
            if parts.job.code is not None:
                self._trouble.append(f"the job ended by itself with {parts.job.code}")
                return
            wait_s = self._scale.look_every_s - (self._watch.now_s - now_s)
            due_s = planned[0].at_s - self._watch.now_s if planned else wait_s
            time.sleep(max(0.05, min(wait_s, due_s)))

    def _look(self, parts: Parts, disturbed: str = "") -> Sample:
        sample = self._watch.look(parts.watched())
        told, values = parts.feeder.told, sample.values
        values |= {"sent": told.sent, "acked": told.acked, "feed_behind_s": told.behind_s, "feed_waiting": told.waiting}
        if self._samples:
            values["sent_per_s"] = (told.sent - self._told.sent) / max(0.1, sample.at_s - self._samples[-1].at_s)
        self._told = told
        going = [one for one in self._disturbances if one.recovered_s is None]
        sample.disturbed = disturbed or (going[0].name if going else "")
        self._samples.append(sample)
        if self._caught_up(sample):
            for one in going:
                if one.end_s is not None and sample.at_s > one.end_s:
                    one.recovered_s = sample.at_s
        self._progress(sample)
        return sample

    def _caught_up(self, sample: Sample) -> bool:
        lag, age = sample.values.get("lag_messages"), sample.values.get("watermark_age_s")
        return lag is not None and age is not None and age < _WATERMARK_S and lag < _LEFT_S * self._rate

    # --- at its end ---------------------------------------------------------------------------------------------------

    def _drain(self, parts: Parts, feed: Feed) -> float:
        """Have everything processed, and the last minute's counts written; the messages that are left.

        A minute is counted when something of a later one was processed: in that one, a last event for each partition.
        """
        left = self._wait_for_the_end(parts)
        if self._scale.minutes < _WHOLE_MINUTES:
            return left
        time.sleep((MINUTE_US - time.time_ns() // 1_000 % MINUTE_US) / SECOND_US + 3)
        for topic in feed.topics:
            for partition in range(feed.partitions):
                parts.broker.produce(topic, partition, [(_closing(topic, partition), time.time_ns() // 1_000_000)])
        time.sleep(3)
        left = self._wait_for_the_end(parts)
        end_s = time.monotonic() + _COUNTED_S
        while counted(parts.job.folder) < self._told.acked and time.monotonic() < end_s:
            time.sleep(1)
        return left

    def _wait_for_the_end(self, parts: Parts) -> float:
        end_s = time.monotonic() + _CAUGHT_UP_S
        quiet, left = 0, -1.0
        while quiet < 3 and time.monotonic() < end_s and parts.job.code is None:
            left = self._look(parts, "end").values.get("lag_messages", -1.0)
            quiet = quiet + 1 if left == 0 else 0
            time.sleep(0.5)
        if quiet < 3:
            self._trouble.append(f"not everything was processed within {_CAUGHT_UP_S:.0f} s")
        return left

    def _expect_stopped(self, said: str) -> None:
        if not said.startswith("exit code 0 "):
            self._trouble.append(f"SIGTERM: {said}")

    # --- for whoever watches ------------------------------------------------------------------------------------------

    def _progress(self, sample: Sample) -> None:
        """A line that is kept up to date, or one a minute where there is no terminal."""

        def of(column: str, form: str) -> str:
            value = sample.values.get(column)
            return "–" if value is None else format(value, form)

        words = (
            f"{sample.at_s / 60:5.1f} of {self._scale.minutes:g} min  sent {of('sent_per_s', ',.0f')}/s  "
            f"lag {of('lag_messages', ',.0f')}  watermark {of('watermark_age_s', '.1f')} s  "
            f"p99 {of('end_to_end_p99_s', '.1f')} s  job {of('job_rss_mb', ',.0f')} MB, {of('job_cores', '.2f')} cores"
            f"  {sample.disturbed}"
        )
        if self._line is not None:
            self._line.update(words)
        if sample.at_s - self._said_s >= _SAID_EVERY_S:
            self._said_s = sample.at_s
            write_csv(self._samples, self._out / "samples.csv")  # to be looked at meanwhile
            if not self._console.is_terminal:
                self._say(words)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _closing(topic: str, partition: int) -> bytes:
    """An event of now that belongs to no case."""
    head = {"type": "price.changed", "event_id": f"closing-{topic}-{partition}", "source": "soak", "system": "erp"}
    own = {"occurred_at": rfc3339(time.time_ns() // 1_000), "sku": "s", "price": "1.00", "currency": "EUR"}
    return msgspec.json.encode(head | own)


if __name__ == "__main__":
    sys.exit(main())
