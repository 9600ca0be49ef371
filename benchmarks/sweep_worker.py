"""One process of `sweep.processes`: `python sweep_worker.py JOB.json NUMBER`, or `… consume BOOTSTRAP PARTITION…`.

The first runs its part of a job over files, rows counted, and prints a line of JSON (`Part`). The second reads
partitions (`topic/number/messages`) of a broker and keeps nothing: what the broker can give, in as many processes.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, TopicPartition
from inputs import w1
from whole import Counting

from dataflows import crossing, engine
from dataflows.crossing import Packed, Sent
from dataflows.engine import run_flow
from dataflows.files import FilePartition
from dataflows.flow import Cluster, Pipeline, Stop, Unwatched
from dataflows.job import pipeline_settings
from dataflows.lane import FileLane, LaneInput
from operators.group_state import Piece
from operators.groups import Group
from operators.lane_state import Merged

_QUIET_S = 30.0


class FileJob(msgspec.Struct, frozen=True):
    """W1 cut into lanes: one list of files for each, each file with its number as a partition."""

    folder: str
    events: int
    lanes: list[list[tuple[str, int]]]
    recovery: str
    addresses: list[str]


class Part(msgspec.Struct, frozen=True):
    """What one process did; `began_s` and `ended_s` are of the machine's monotonic clock."""

    began_s: float
    ended_s: float
    cpu_s: float
    messages: int
    rows: int
    groups: list[str]
    packed_bytes: dict[str, int]
    crossing_s: dict[str, float]


class _Watch(Unwatched):
    """When the first batch was released, and which groups live here."""

    def __init__(self) -> None:
        self.began_s: float | None = None
        self.messages = 0
        self.groups: set[str] = set()

    def released(self, lane: str, merged: Merged) -> None:
        del lane
        if self.began_s is None:
            self.began_s = time.monotonic()
        self.messages += len(merged.events) + len(merged.dead)

    def group_kept(self, group: Group, seconds: float, size: int) -> None:
        del seconds, size
        self.groups.add(group.name)


class _Counted:
    """What goes to other processes: its bytes by type, and the seconds of this processor for packing and reading it."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self.seconds = dict.fromkeys(("packing", "reading"), 0.0)
        self._packed, self._opened = crossing.packed, crossing.opened
        crossing.packed, engine.opened = self._packing, self._reading

    def _packing(self, piece: Piece) -> Packed:
        began_s = time.thread_time()
        made = self._packed(piece)
        self.seconds["packing"] += time.thread_time() - began_s
        self.bytes[type(piece).__name__] += len(made.content)
        return made

    def _reading(self, sent: Sent) -> Piece:
        began_s = time.thread_time()
        piece = self._opened(sent)
        self.seconds["reading"] += time.thread_time() - began_s
        return piece


def run_part(job: FileJob, number: int) -> Part:
    """Run it to the end of the files."""
    work = w1(Path(job.folder), job.events)
    engine = msgspec.structs.replace(work.settings.engine, lanes=len(job.lanes))
    groups = pipeline_settings(msgspec.structs.replace(work.settings, engine=engine), work.process)
    files = dict(zip(groups.lanes, job.lanes, strict=True))
    watch, counting, crossed = _Watch(), Counting(), _Counted()

    def open_lane(name: str, resume: bytes | None) -> FileLane:
        partitions = tuple(FilePartition(path, Path(path).name, part) for path, part in files[name])
        source = LaneInput(partitions=partitions, rules=work.settings.time.rules(), batch=engine.batch)
        return FileLane(name, (name,), source, resume, _unheard)

    pipeline = Pipeline(groups, open_lane, lambda: counting, Stop(), watch, engine.ahead)
    cpu_s = time.process_time()
    run_flow(pipeline, Path(job.recovery), engine.epoch, Cluster(number, tuple(job.addresses)))
    ended_s = time.monotonic()
    if watch.began_s is None:
        raise ValueError(f"process {number} was given no lane")
    spent = time.process_time() - cpu_s
    return Part(
        began_s=watch.began_s,
        ended_s=ended_s,
        cpu_s=spent,
        messages=watch.messages,
        rows=counting.rows,
        groups=sorted(watch.groups),
        packed_bytes=dict(crossed.bytes),
        crossing_s=crossed.seconds,
    )


def _unheard(_lane: str, _share: float) -> None:
    return


def consume(bootstrap: str, partitions: Sequence[str]) -> Part:
    """Read so many messages of each partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "alone", "enable.auto.commit": False})
    left = 0
    assigned = []
    for one in partitions:
        topic, number, messages = one.split("/")
        assigned.append(TopicPartition(topic, int(number), 0))
        left += int(messages)
    total = left
    consumer.assign(assigned)
    began_s = None
    last_s = time.monotonic()
    while left > 0:
        some = consumer.consume(10_000, 0.5)
        now_s = time.monotonic()
        if some:
            began_s, last_s = began_s or now_s, now_s
            left -= len(some)
        elif now_s - last_s > _QUIET_S:
            raise TimeoutError(f"{left} messages did not come within {_QUIET_S:.0f} s")
    consumer.close()
    return Part(began_s or last_s, last_s, time.process_time(), total, 0, [], {}, {})


if __name__ == "__main__":
    if sys.argv[1] == "consume":
        done = consume(sys.argv[2], sys.argv[3:])
    else:
        job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=FileJob)
        done = run_part(job, int(sys.argv[2]))
    print(msgspec.json.encode(done).decode())
