"""`sweep.processes`: one job in 1, 2 and 4 processes on this machine, in turn, over the same log of four lanes.

`files`: every process reads its own files and counts its rows; nothing but the job itself uses a processor, so the
ratio is the engine's and ours. `kafka`: `andon run --processes N` with its recovery directory, over a log that is
there, into ClickHouse over HTTP. In the same turn as many processes do nothing but consume: while their rate, and the
broker's share of a core, stay far above what the job takes, the broker is not what limits. All of these share this
machine's cores, and the processor seconds of each are told. `by cpu` is what they would allow if nothing had to wait
for a core: the seconds of one process over those of the busiest of several.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
from inputs import W1_MAP, Work, w1
from machine import say
from sweep_worker import FileJob, Part

from dataflows.engine import init_recovery
from dataflows.files import partitions_of
from dataflows.job import pipeline_settings
from dataflows.lane import FileLane, LaneInput
from dataflows.processes import free_addresses
from operators.pipeline import CASE, ITEM
from operators.routing import Router
from schemas import metrics
from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import Broker
from tests.kafka_job import Job, Log

SOURCES = ("files", "kafka")
LANES = 4
_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_S = 0.1
_MESSAGES = re.compile(rf"^{metrics.MESSAGES.name}\{{.*\}} (\S+)$", re.MULTILINE)
_START_S, _RUN_S = 60.0, 1_800.0
_WORKER = Path(__file__).with_name("sweep_worker.py")


class Run(msgspec.Struct, frozen=True):
    """One run: seconds from the first to the last message processed, and what each process had in it.

    `share` is of the events that groups get; `groups` the number of case and item groups; `packed_bytes` what the
    processes sent to one another, by type of value, and `crossing_s` what packing and reading it took of `cpu_s`.
    `limits` says in words what else ran.
    """

    processes: int
    messages: int
    seconds: float
    cpu_s: list[float]
    share: list[float] = []
    groups: list[int] = []
    packed_bytes: dict[str, int] = {}
    crossing_s: dict[str, float] = {}
    limits: str = ""

    @property
    def rate(self) -> float:
        return self.messages / self.seconds


# --- files ------------------------------------------------------------------------------------------------------------


def over_files(folder: Path, events: int, counts: Sequence[int], repeat: int) -> Iterator[Run]:
    """Every count once, then all again."""
    work = w1(folder, events)
    lanes = _cut(work, folder / "lanes")
    weights = _events_by_group(work)
    for turn in range(repeat):
        for count in counts:
            say(f"turn {turn + 1} of {repeat}: sweep.processes.files.{count}")
            recovery = folder / f"recovery-{turn}-{count}"
            job = FileJob(str(folder), events, lanes, str(recovery), free_addresses(count) if count > 1 else [])
            yield _over_files(job, folder / "job.json", count, weights, work.messages)


def _over_files(job: FileJob, file: Path, count: int, weights: Counter[str], messages: int) -> Run:
    init_recovery(Path(job.recovery), LANES)
    file.write_bytes(msgspec.json.encode(job))
    commands = [(sys.executable, str(_WORKER), str(file), str(number)) for number in range(count)]
    parts = _together(commands)
    whole = sum(weights.values())
    return Run(
        processes=count,
        messages=messages,
        seconds=max(part.ended_s for part in parts) - min(part.began_s for part in parts),
        cpu_s=[part.cpu_s for part in parts],
        share=[sum(weights[name] for name in part.groups) / whole for part in parts],
        groups=[sum(name.startswith((CASE, ITEM)) for name in part.groups) for part in parts],
        packed_bytes=dict(sum((Counter(part.packed_bytes) for part in parts), Counter())),
        crossing_s={what: sum(part.crossing_s[what] for part in parts) for what in parts[0].crossing_s},
        limits=f"{sum(part.rows for part in parts):,} rows",
    )


def _together(commands: Sequence[Sequence[str]]) -> list[Part]:
    with ExitStack() as open_now:
        started = [open_now.enter_context(subprocess.Popen(one, stdout=subprocess.PIPE)) for one in commands]
        for process in started:
            open_now.callback(_end, process)
        outs = [process.communicate(timeout=_RUN_S)[0] for process in started]
    for process in started:
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return [msgspec.json.decode(out.splitlines()[-1], type=Part) for out in outs]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()


def _cut(work: Work, folder: Path) -> list[list[tuple[str, int]]]:
    """Every file in as many parts as there are lanes, lines dealt out in turn; each lane's parts."""
    folder.mkdir(exist_ok=True)
    lanes: list[list[tuple[str, int]]] = [[] for _ in range(LANES)]
    for name in work.files:
        lines = Path(name).read_bytes().splitlines(keepends=True)
        for number, lane in enumerate(lanes):
            path = folder / str(number) / Path(name).name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"".join(lines[number::LANES]))
            lane.append((str(path), number))
    return lanes


def _events_by_group(work: Work) -> Counter[str]:
    """How many events each key group gets."""
    groups = pipeline_settings(work.settings, work.process)
    source = LaneInput(
        partitions=tuple(partitions_of(work.files)), rules=work.settings.time.rules(), batch=work.settings.engine.batch
    )
    lane = FileLane(groups.lanes[0], groups.lanes, source, None, lambda _lane, _share: None)
    router = Router(groups)
    found: Counter[str] = Counter()
    while not lane.ended:
        merged = lane.next()
        if merged is not None:
            for name, piece in router.slices(groups.lanes[0], merged):
                found[name] += len(piece.events)
    lane.close()
    return found


# --- kafka ------------------------------------------------------------------------------------------------------------


def over_kafka(folder: Path, events: int, counts: Sequence[int], repeat: int) -> Iterator[Run]:
    """As `over_files`; each run in a new database, with new state."""
    log = Log.of_files(map(Path, w1(folder, events).files), LANES)
    (folder / "w1.toml").write_text(W1_MAP, encoding="utf-8")
    with ExitStack() as open_now:
        broker = open_now.enter_context(Broker())
        front = open_now.enter_context(ClickHouseFront(folder / "clickhouse"))
        log.produce(broker)
        for turn in range(repeat):
            for count in counts:
                say(f"turn {turn + 1} of {repeat}: sweep.processes.kafka.{count}")
                alone = _consumed(broker, log, count)
                name = f"run_{turn}_{count}"
                sections: dict[str, dict[str, object]] = {
                    "engine": {"lanes": LANES, "epoch": "10s", "batch": 8_192},
                    "process": {"map": str(folder / "w1.toml")},
                    "stock": {"window": "1m"},
                    "detectors": {"enabled": False},
                    "models": {"enabled": False},
                }
                with Job(folder / name, broker, front.dsn_of(name), **sections) as job:
                    yield _over_kafka(job, log, count, {"broker": broker.pid, "ClickHouse": front.pid}, alone)


def _over_kafka(job: Job, log: Log, count: int, others: dict[str, int], alone: float) -> Run:
    job.start(*(("--processes", str(count)) if count > 1 else ()))
    wanted = log.count - len(log.messages)  # of each partition the last one is never released
    first = _wait(job, count, 1, _START_S)
    began_s, pids = time.monotonic(), _workers(job.pid, count)
    before = {pid: _cpu_s(pid) for pid in [*pids, *others.values()]}
    _wait(job, count, wanted, _RUN_S)
    seconds = time.monotonic() - began_s
    spent = {pid: _cpu_s(pid) - was for pid, was in before.items()}
    beside = ", ".join(f"{name} {spent[pid] / seconds:.2f}" for name, pid in others.items())
    job.stop()
    return Run(
        processes=count,
        messages=int(wanted - first),
        seconds=seconds,
        cpu_s=[spent[pid] for pid in pids],
        limits=f"cores of {beside}; consuming alone {alone:,.0f}/s; timed from {first / wanted:.0%} of the log on",
    )


def _wait(job: Job, count: int, wanted: float, within_s: float) -> float:
    """Wait until every process answers, and they have processed so many messages; how many they have."""
    end_s = time.monotonic() + within_s
    while True:
        answers = [job.ask("/metrics", number) for number in range(count)]
        messages = sum(float(found) for text in answers for found in _MESSAGES.findall(text or ""))
        if all(answers) and messages >= wanted:
            return messages
        if job.code is not None:
            raise RuntimeError(job.errors())
        if time.monotonic() > end_s:
            raise TimeoutError(f"{messages:,.0f} of {wanted:,.0f} messages were processed:\n{job.errors()}")
        time.sleep(_LOOK_S)


def _workers(pid: int, count: int) -> list[int]:
    """The processes that do the work: the one that was started, or its children."""
    if count == 1:
        return [pid]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(one) for one in re.findall(r"\d+", children)]


def _cpu_s(pid: int) -> float:
    """Processor seconds that a process has used, children aside."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _consumed(broker: Broker, log: Log, count: int) -> float:
    """Messages a second that so many consumers read when they do nothing else."""
    mine: list[list[str]] = [[] for _ in range(count)]
    for topic, number in log.messages:
        messages = len(log.messages[topic, number])
        if messages > 1:
            mine[number % count].append(f"{broker.topic(topic)}/{number}/{messages}")
    parts = _together([(sys.executable, str(_WORKER), "consume", broker.bootstrap, *some) for some in mine])
    seconds = max(part.ended_s for part in parts) - min(part.began_s for part in parts)
    return sum(part.messages for part in parts) / seconds
