"""`make bench`: what an event costs, stage by stage and as a whole.

Every benchmark has a permanent id, WORK.STAGE. Inputs are seeded and made before any timer runs. Repetitions are run
in turn (all benchmarks once, then all again), and what is printed are medians with the lowest and the highest: on a
shared machine compare ratios, not numbers. A stage is timed by the processor's clock, which stands still while others
run; a whole replay, in a process of its own, by that of the wall, with the processor's seconds beside it (`cpu_s`).

`x decode` says how many times bare msgspec decoding of the same messages a stage costs, per message of the log.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from inputs import WORKS
from machine import BUILD, facts, headline, print_table, say, write_document
from stages import Prepared, Sample, prepare, quiet_collector, stages
from whole import SINKS, Measured

#: The works' shares of `--events`.
SHARES = {"w1": 1.0, "day": 0.5}
BARE = "msgspec"
STAGES = {
    BARE: "the limit: msgspec alone, typed, nothing kept",
    "decode": "messages to events or dead letters",
    "lane": "files: read, decode, stamp, merge",
    "route": "events to key groups",
    "reorder": "key groups: hold back and release",
    "dedup": "key groups: drop repeats",
    "handoffs": "HandoffTracker",
    "handoff_windows": "HandoffWindows, per change of a pass",
    "stock": "StockReconciler",
    "groups": "all key groups, everything on: slices to rows",
    "snapshot_cases": "HandoffTracker to bytes, per case",
    "snapshot_items": "StockReconciler to bytes, per item",
    "replay.counting": "the whole replay, rows only counted",
    "replay.chdb": "the whole replay, into embedded ClickHouse",
}


class Result(msgspec.Struct):
    """All repetitions of one benchmark. `events` is what one repetition counts, `messages` the log behind it.

    `seconds` are by `clock`: the processor's for a stage, the wall's for a whole replay, which has `cpu_s` as well.
    """

    id: str
    what: str
    messages: int
    events: int = 0
    out: int = 0
    seconds: list[float] = []
    cpu_s: list[float] = []
    clock: str = "cpu"
    peak_mb: list[float] = []
    note: str = ""

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    def take(self, sample: Sample | Measured) -> None:
        """Add one repetition."""
        self.seconds.append(sample.seconds)
        if isinstance(sample, Measured):
            self.events, self.out = sample.messages, sample.rows
            self.cpu_s.append(sample.cpu_s)
            self.clock = "wall"
            self.peak_mb.append(sample.peak_mb)
            self.note = f"{sample.rows:,} rows"
        else:
            self.events, self.out, self.note = sample.events, sample.out, sample.note


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, print the table."""
    asked = _asked(arguments)
    ids = [f"{work}.{stage}" for work in WORKS for stage in STAGES]
    chosen = [
        one for one in ids if not asked.only or any(one == only or one.startswith(f"{only}.") for only in asked.only)
    ]
    if not chosen:
        print(f"no such benchmark: {', '.join(asked.only)}; there are: {', '.join(ids)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="andon-bench-") as made:
        results = _measure(chosen, asked.inputs or Path(made), asked.events, asked.repeat)
    machine = facts()
    _print(results, machine)
    told = [{**msgspec.to_builtins(one), "median_s": one.median_s} for one in results]
    write_document(asked.json, machine, {"events": asked.events, "results": told})
    return 0


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What an event costs, stage by stage and as a whole.")
    parser.add_argument("--events", type=int, default=200_000, metavar="N", help="messages of W1; the day has half")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="repetitions, run in turn")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ID", help="w1, day.stock, w1.replay, …; repeatable"
    )
    parser.add_argument(
        "--json", type=Path, default=BUILD / "bench.json", metavar="FILE", help="every repetition, with machine facts"
    )
    parser.add_argument("--inputs", type=Path, metavar="DIR", help="keep the inputs here, and use them again")
    return parser.parse_args(arguments)


def _measure(ids: Sequence[str], folder: Path, events: int, repeat: int) -> list[Result]:
    runs: dict[str, Callable[[], Sample | Measured]] = {}
    results: dict[str, Result] = {}
    for name, make in WORKS.items():
        mine = [one.partition(".")[2] for one in ids if one.startswith(f"{name}.")]
        if not mine:
            continue
        say(f"making the input of {name} …")
        count = round(events * SHARES[name])
        work = make(folder, count)
        prepared: Prepared | None = None
        for stage in mine:
            results[f"{name}.{stage}"] = Result(f"{name}.{stage}", STAGES[stage], work.messages)
            if stage.startswith("replay."):
                runs[f"{name}.{stage}"] = _apart(name, stage.partition(".")[2], folder, count)
            else:
                prepared = prepared or prepare(work)
                runs[f"{name}.{stage}"] = stages(prepared)[stage]
    with quiet_collector():
        for turn in range(repeat):
            for number, (one, run) in enumerate(runs.items(), 1):
                say(f"turn {turn + 1} of {repeat}, {number} of {len(runs)}: {one}")
                results[one].take(run())
    say("")
    return list(results.values())


def _apart(work: str, sink: str, folder: Path, events: int) -> Callable[[], Measured]:
    """A whole replay in a process of its own."""
    assert sink in SINKS
    script = Path(__file__).with_name("whole.py")

    def run() -> Measured:
        command = (sys.executable, str(script), work, sink, str(folder), str(events))
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)

    return run


def _print(results: Sequence[Result], machine: dict[str, object]) -> None:
    print(headline(machine))
    head = ("benchmark", "events/s", "us/event", "low-high", "x decode", "peak MB", "")
    print_table(head, [_line(one, _bare_s(results, one)) for one in results])


def _line(one: Result, bare_s: float | None) -> tuple[str, ...]:
    micros = [seconds / one.events * 1e6 for seconds in one.seconds]
    times = (
        one.median_s / bare_s if bare_s is not None and not one.id.rpartition(".")[2].startswith("snapshot") else None
    )
    return (
        one.id,
        f"{one.events / one.median_s:,.0f}",
        f"{statistics.median(micros):.2f}",
        f"{min(micros):.2f}-{max(micros):.2f}",
        f"{times:.1f}" if times is not None else "",
        f"{statistics.median(one.peak_mb):,.0f}" if one.peak_mb else "",
        f"{one.what}{': ' if one.note else ''}{one.note}",
    )


def _bare_s(results: Sequence[Result], one: Result) -> float | None:
    """What bare decoding of the same messages takes."""
    wanted = f"{one.id.partition('.')[0]}.{BARE}"
    return next((bare.median_s for bare in results if bare.id == wanted), None)


if __name__ == "__main__":
    sys.exit(main())
