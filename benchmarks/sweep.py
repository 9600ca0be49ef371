"""`make bench-sweep`: how cost and memory change with keys, batch size, key groups and processes.

Permanent ids: `sweep.keys.KEYS.OPERATOR` (sweep_keys.py), `sweep.batch.MESSAGES` and `sweep.groups.COUNT` (the whole
replay of W1, rows counted), `sweep.hot.KIND.EVENTS` (one key of which so much is said, sweep_hot.py),
`sweep.processes.SOURCE.COUNT` (sweep_processes.py: over files with rows counted, and over Kafka into ClickHouse). Each
run is a process of its own; those of one sweep are run in turn, `--repeat` times, but for keys, where a run has ten
parts of its own.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from inputs import w1
from machine import BUILD, facts, headline, print_table, say, write_document
from sweep_fed import OPERATORS
from sweep_hot import KINDS
from sweep_keys import Keys
from sweep_processes import SOURCES, Run, over_files, over_kafka
from whole import Measured

KEYS = (10_000, 100_000, 1_000_000, 10_000_000)
BATCHES = (1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
GROUPS = (1, 4, 8, 16, 32, 64)
PROCESSES = (1, 2, 4)
HOT = (2_000, 8_000, 32_000)
#: Of the memory that is free, what a run may need.
_MEMORY_SHARE = 0.8


class Skipped(msgspec.Struct, frozen=True):
    """A run that was left out."""

    id: str
    why: str


def ids() -> list[str]:
    """Every benchmark there is here."""
    return [
        *(f"sweep.keys.{keys}.{operator}" for operator in OPERATORS for keys in KEYS),
        *(f"sweep.batch.{count}" for count in BATCHES),
        *(f"sweep.groups.{count}" for count in GROUPS),
        *(f"sweep.hot.{kind}.{count}" for kind in KINDS for count in HOT),
        *(f"sweep.processes.{source}.{count}" for source in SOURCES for count in PROCESSES),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, print the tables."""
    parser = argparse.ArgumentParser(description="Cost and memory over keys, batch, groups, processes.")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="sweep.keys, sweep.batch.1024, …")
    parser.add_argument("--events", type=int, default=300_000, metavar="N", help="messages of W1 (300000)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="turns (3)")
    parser.add_argument("--json", type=Path, default=BUILD / "sweep.json", metavar="FILE")
    asked = parser.parse_args(arguments)
    there = ids()
    chosen = [one for one in there if not asked.only or any(f"{one}.".startswith(f"{only}.") for only in asked.only)]
    if not chosen:
        print(f"no such benchmark: {', '.join(asked.only)}; there are: {', '.join(there)}", file=sys.stderr)
        return 2
    machine = facts()
    print(headline(machine))
    skipped: list[Skipped] = []
    found: dict[str, object] = {"events": asked.events}

    def keep(part: str, results: object) -> None:
        """What there is so far is not lost when a later sweep fails."""
        found[part] = msgspec.to_builtins(results)
        write_document(asked.json, machine, found)

    with tempfile.TemporaryDirectory(prefix="andon-sweep-") as made:
        folder = Path(made)
        keep("keys", _keys(_of(chosen, "keys"), skipped))
        keep("skipped", skipped)
        replays = _of(chosen, "batch") + _of(chosen, "groups")
        keep("replays", _replays(replays, folder, asked.events, asked.repeat))
        keep("hot", _hot(_of(chosen, "hot"), asked.repeat))
        keep("processes", _processes(_of(chosen, "processes"), folder, asked.events, asked.repeat))
    for one in skipped:
        print(f"{one.id}: skipped, {one.why}")
    return 0


def _of(chosen: Sequence[str], sweep: str) -> list[str]:
    return [one for one in chosen if one.startswith(f"sweep.{sweep}.")]


# --- keys -------------------------------------------------------------------------------------------------------------


def _keys(chosen: Sequence[str], skipped: list[Skipped]) -> dict[str, Keys]:
    found: dict[str, Keys] = {}
    for one in chosen:
        count, operator = int(one.split(".")[2]), one.split(".")[3]
        before = [keys for keys in found.values() if keys.operator == operator]
        needed = (before[-1].resident_bytes + 2 * before[-1].snapshot_bytes) * count if before else 0.0
        if needed > _MEMORY_SHARE * _free():
            skipped.append(Skipped(one, f"some {needed / 1e9:.0f} GB are needed, {_free() / 1e9:.0f} GB are free"))
            continue
        say(one)
        found[one] = msgspec.json.decode(_script("sweep_keys.py", operator, str(count)), type=Keys)
    say("")
    lines = []
    for one, keys in found.items():
        first = next(other for other in found.values() if other.operator == keys.operator)
        lines.append(
            (
                one,
                f"{keys.event_us:.2f}",
                f"{keys.low_us:.2f}-{keys.high_us:.2f}",
                f"{keys.event_us / first.event_us:.2f}",
                f"{keys.fill_us:.2f}",
                f"{keys.rows_an_event:.2f}",
                f"{keys.resident_bytes:,.0f}",
                f"{keys.snapshot_bytes:,.0f}",
                f"{keys.snapshot_s:.2f}",
                OPERATORS[keys.operator],
            )
        )
    head = ("benchmark", "us/event", "low-high", "ratio", "fill us", "out", "bytes/key", "snapshot", "s", "")
    _table(head, lines)
    return found


def _free() -> float:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024


# --- batches and groups -----------------------------------------------------------------------------------------------


def _replays(chosen: Sequence[str], folder: Path, events: int, repeat: int) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {one: [] for one in chosen}
    if chosen:
        say("making the input …")
        w1(folder, events)
    for turn in range(repeat):
        for one in chosen:
            _, sweep, number = one.split(".")
            count = int(number)
            engine = {"batch": count} if sweep == "batch" else {"case_groups": count, "item_groups": count}
            say(f"turn {turn + 1} of {repeat}: {one}")
            told = msgspec.json.encode(engine).decode()
            out = _script("whole.py", "w1", "counting", str(folder), str(events), told)
            found[one].append(msgspec.json.decode(out, type=Measured))
    say("")
    lines = []
    for one, runs in found.items():
        wall, cpu = (statistics.median(times) for times in ([r.seconds for r in runs], [r.cpu_s for r in runs]))
        messages, peak = runs[0].messages, statistics.median(run.peak_mb for run in runs)
        cells = (f"{messages / wall:,.0f}", f"{cpu / messages * 1e6:.2f}", f"{peak:,.0f}", f"{runs[0].rows:,}")
        lines.append((one, *cells, ""))
    _table(("benchmark", "events/s", "cpu us/event", "peak MB", "rows", ""), lines)
    return found


# --- one key ----------------------------------------------------------------------------------------------------------


def _hot(chosen: Sequence[str], repeat: int) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {one: [] for one in chosen}
    for turn in range(repeat):
        for one in chosen:
            _, _, kind, count = one.split(".")
            say(f"turn {turn + 1} of {repeat}: {one}")
            found[one].append(msgspec.json.decode(_script("sweep_hot.py", kind, count), type=Measured))
    say("")
    lines, firsts = [], dict[str, float]()
    for one, runs in found.items():
        event_us = statistics.median(run.cpu_s / run.messages for run in runs) * 1e6
        first_us = firsts.setdefault(one.rpartition(".")[0], event_us)
        cells = (f"{event_us:.1f}", f"{event_us / first_us:.2f}", f"{runs[0].rows / runs[0].messages:.2f}")
        lines.append((one, *cells, ""))
    _table(("benchmark", "cpu us/event", "ratio", "rows/event", ""), lines)
    return found


# --- processes --------------------------------------------------------------------------------------------------------


def _processes(chosen: Sequence[str], folder: Path, events: int, repeat: int) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {one: [] for one in chosen}
    for source in SOURCES:
        counts = [int(one.rpartition(".")[2]) for one in chosen if f".{source}." in one]
        if counts:
            run = over_files if source == "files" else over_kafka
            for done in run(folder, events, counts, repeat):
                found[f"sweep.processes.{source}.{done.processes}"].append(done)
    say("")
    lines = []
    for one, runs in found.items():
        rate = statistics.median(run.rate for run in runs)
        single = found.get(f"{one.rpartition('.')[0]}.1")
        times = by_cpu = ""
        if single:
            times = f"{rate / statistics.median(run.rate for run in single):.2f}"
            by_cpu = f"{_dearest_s(single) / _dearest_s(runs):.2f}"
        last = runs[-1]
        lines.append(
            (
                one,
                f"{rate:,.0f}",
                times,
                by_cpu,
                " ".join(f"{cpu:.1f}" for cpu in last.cpu_s),
                f"{last.seconds:.1f}",
                " ".join(f"{share:.0%}" for share in last.share),
                ", ".join(f"{kind} {size / last.messages:,.0f}" for kind, size in last.packed_bytes.items()),
                _crossing(last),
                last.limits,
            )
        )
    head = (
        *("benchmark", "events/s", "times 1", "by cpu", "cpu s each", "wall s", "events each", "bytes sent/event"),
        *("crossing, cpu us/event", ""),
    )
    _table(head, lines)
    return found


def _crossing(run: Run) -> str:
    """What sending takes of the processors of all processes together; nothing where there is one."""
    if not run.packed_bytes:
        return ""
    return ", ".join(f"{what} {spent / run.messages * 1e6:.2f}" for what, spent in run.crossing_s.items())


def _dearest_s(runs: Sequence[Run]) -> float:
    """Processor seconds of the busiest process: with a core for each, nothing can be over earlier."""
    return statistics.median(max(run.cpu_s) for run in runs)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    if lines:
        print_table(head, lines)
        print()


def _script(name: str, *arguments: str) -> bytes:
    """The last line that a script of this folder prints."""
    command = (sys.executable, str(Path(__file__).with_name(name)), *arguments)
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
