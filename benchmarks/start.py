"""How long `andon --help` takes, and `andon run` from its start to the first event that it has processed.

Permanent ids: `start.help`, `start.run.embedded` and `start.run.http` (over a file, into the embedded engine and into
ClickHouse over HTTP), `start.run.kafka` (over a broker with a recovery directory, into HTTP). Each `--repeat` times, in
turn; medians. The database is migrated before, and the job is asked at /metrics every few milliseconds. Then once
more with Python's own clock on its imports: what each package costs a start.
"""

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import msgspec
from inputs import w1
from machine import BUILD, facts, headline, print_table, say, write_document

from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import Broker
from tests.kafka_job import Job, Log, free_ports
from tests.processes import COMMAND, andon, environment

EVENTS = 20_000
_LOOK_S = 0.01
_WAIT_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PACKAGES_SHOWN = 14
_IMPORT = "import time:"


class Start(msgspec.Struct, frozen=True):
    """Seconds of the wall and of the processor."""

    seconds: float
    cpu_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Start and start again, print the tables."""
    parser = argparse.ArgumentParser(description="From a start to the first event.")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="turns (5)")
    parser.add_argument("--json", type=Path, default=BUILD / "start.json", metavar="FILE")
    asked = parser.parse_args(arguments)
    machine = facts()
    print(headline(machine))
    with ExitStack() as open_now:
        folder = Path(open_now.enter_context(tempfile.TemporaryDirectory(prefix="andon-start-")))
        starts = _starts(folder, open_now)
        found: dict[str, list[Start]] = {name: [] for name in starts}
        for turn in range(asked.repeat):
            for name, start in starts.items():
                say(f"turn {turn + 1} of {asked.repeat}: {name}")
                found[name].append(start())
        say("what the imports cost …")
        imports = {
            "andon --help": _imports_of(("--help",), folder),
            "andon run, embedded": _imports_of(("run",), folder / "embedded"),
            "andon run, HTTP": _imports_of(("run",), folder / "http"),
        }
    say("")
    print_table(("benchmark", "wall s", "low-high", "cpu s", ""), [_line(name, some) for name, some in found.items()])
    for command, packages in imports.items():
        whole = sum(packages.values())
        most = ", ".join(f"{name} {us / 1e3:,.0f}" for name, us in packages.most_common(_PACKAGES_SHOWN))
        print(f"\nimports of {command}: {whole / 1e3:,.0f} ms, of which {most}")
    write_document(asked.json, machine, {"starts": msgspec.to_builtins(found), "imports_us": imports})
    return 0


def _line(name: str, starts: Sequence[Start]) -> tuple[str, ...]:
    wall = [start.seconds for start in starts]
    cpu_s = statistics.median(start.cpu_s for start in starts)
    return (name, f"{statistics.median(wall):.2f}", f"{min(wall):.2f}-{max(wall):.2f}", f"{cpu_s:.2f}", "")


def _starts(folder: Path, open_now: ExitStack) -> dict[str, Callable[[], Start]]:
    """What is started, by id; the databases are there."""
    work = w1(folder, EVENTS)
    front = open_now.enter_context(ClickHouseFront(folder / "clickhouse"))
    broker = open_now.enter_context(Broker())
    log = Log.of_files(map(Path, work.files), 2)
    log.produce(broker)
    embedded = _settings(folder / "embedded", f"chdb:///{folder}/andon.db", work.files)
    over_http = _settings(folder / "http", front.dsn_of("start"), work.files)
    jobs = (open_now.enter_context(Job(folder / f"kafka-{turn}", broker, front.dsn_of("kafka"))) for turn in count())
    return {
        "start.help": _help,
        "start.run.embedded": lambda: _run(folder / "embedded", embedded),
        "start.run.http": lambda: _run(folder / "http", over_http),
        "start.run.kafka": lambda: _run_job(next(jobs)),
    }


def _settings(folder: Path, dsn: str, files: Sequence[str]) -> int:
    """A folder with settings and a migrated database; the port at which the job answers."""
    folder.mkdir()
    port = free_ports(1)
    text = (
        f"[clickhouse]\ndsn = {json.dumps(dsn)}\n[source]\nfiles = {json.dumps(list(files))}\n"
        f'[observe]\nlisten = "127.0.0.1:{port}"\n'
    )
    (folder / "andon.toml").write_text(text, encoding="utf-8")
    andon("migrate", cwd=folder)
    return port


def _help() -> Start:
    before = os.times()
    began_s = time.perf_counter()
    subprocess.run([*COMMAND, "--help"], env=environment(), stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.perf_counter() - began_s, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Start(seconds, cpu_s)


def _run(folder: Path, port: int) -> Start:
    began_s = time.perf_counter()
    with subprocess.Popen(
        [*COMMAND, "run"], cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _until_consumed(port, lambda: process.poll() is None)
            done = Start(time.perf_counter() - began_s, _cpu_s(process.pid))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_WAIT_S)
    return done


def _run_job(job: Job) -> Start:
    began_s = time.perf_counter()
    job.start()
    _until_consumed(job.port, lambda: job.code is None)
    done = Start(time.perf_counter() - began_s, _cpu_s(job.pid))
    job.stop()
    return done


def _until_consumed(port: int, runs: Callable[[], bool]) -> None:
    """Ask until the job says that it has processed messages."""
    end_s = time.monotonic() + _WAIT_S
    while time.monotonic() < end_s:
        if not runs():
            raise RuntimeError("the job ended before it had processed anything")
        if _consumed(port):
            return
        time.sleep(_LOOK_S)
    raise TimeoutError(f"nothing was processed within {_WAIT_S:g} s")


def _consumed(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except OSError:  # it does not listen yet
        return False
    finally:
        connection.close()
    series = [line for line in text.splitlines() if line.startswith("andon_messages_total{")]
    return any(float(line.rpartition(" ")[2]) > 0 for line in series)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _imports_of(arguments: Sequence[str], folder: Path) -> Counter[str]:
    """Microseconds that importing takes, its own imports aside, by package."""
    command = [COMMAND[0], "-X", "importtime", *COMMAND[1:], *arguments]
    with (folder / "imports.log").open("wb") as errors:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=errors)
    try:
        if arguments[0] == "run":
            _until_consumed(_port_of(folder), lambda: process.poll() is None)
            process.send_signal(signal.SIGTERM)
        process.wait(_WAIT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    packages: Counter[str] = Counter()
    for line in (folder / "imports.log").read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.removeprefix(_IMPORT).split("|")
        if line.startswith(_IMPORT) and parts[0].strip().isdigit():
            packages[parts[2].strip().partition(".")[0]] += int(parts[0])
    return packages


def _port_of(folder: Path) -> int:
    text = (folder / "andon.toml").read_text(encoding="utf-8")
    return int(text.rpartition(":")[2].strip().rstrip('"'))


if __name__ == "__main__":
    sys.exit(main())
