"""A job over Kafka as real processes: a log in a broker, `andon run` started, watched, killed and stopped."""

import json
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self
from zlib import crc32

import msgspec

from schemas.durations import HOUR_US, Instant
from schemas.events import BUSINESS_TOPICS
from tests.databases import VIEWS, migrated, views_hashed
from tests.kafka_broker import Broker
from tests.processes import COMMAND, environment

#: Idleness moves no time in these tests, only the log does: what comes out must not depend on the day they are run.
PATIENT = {"time": {"idle_grace": "520w"}}
#: The epoch of runs that nothing happens to, and how many messages they take at once. The short epochs of the others
#: keep all state several times a second, and small batches cost half as much again.
CALM = "2s"
CALM_BATCH = 2_000
#: How far a lane is ahead of the slowest in such a run: as the settings have it where nobody says otherwise.
CALM_AHEAD = 50_000
#: How often a job is asked whether it has come to the end of a long log. It spends 3 ms on each answer, and who asks as
#: much: twenty times a second that is an eighth of a processor, and for each process anew.
SELDOM_S = 0.25


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = 60.0, every_s: float = 0.05) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(every_s)


def whole_views(folder: Path) -> dict[str, object]:
    """Row count and hash of each view, and of what the job counted of its input."""
    health = "component, minute, messages, events, dead_letters, bytes, feed_delay_max_s"
    return views_hashed(VIEWS | {"pipeline_health": health}, folder)


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on, and that no outgoing connection is given."""
    while True:
        first = random.randrange(20_000, 32_000 - count)
        with ExitStack() as tried, suppress(OSError):
            for port in range(first, first + count):
                tried.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


class _Times(msgspec.Struct):
    occurred_at: str
    recorded_at: str | None = None
    order_id: str | None = None
    sku: str | None = None
    event_id: str = ""


class Log:
    """Messages by (topic, partition), each (value, timestamp in ms), in the order in which they are written."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.messages: dict[tuple[str, int], list[tuple[bytes | None, int]]] = {
            (topic, number): [] for topic in BUSINESS_TOPICS for number in range(partitions)
        }

    @classmethod
    def of_files(cls, files: Iterable[Path], partitions: int) -> "Log":
        """What the simulator wrote, keyed as producers would, and a last message an hour behind the end of it all.

        Nothing comes after that message, so it is not released itself; everything before it is.
        """
        log = cls(partitions)
        decoder = msgspec.json.Decoder(_Times)
        last_ms = 0
        for file in files:
            for line in file.read_bytes().splitlines():
                event = decoder.decode(line)
                at_ms = Instant.parse(event.recorded_at or event.occurred_at) // 1_000
                last_ms = max(last_ms, at_ms)
                key = event.order_id or event.sku or event.event_id
                log.messages[file.stem, crc32(key.encode()) % partitions].append((line, at_ms))
        for mine in log.messages.values():
            mine.append((b"the end", last_ms + HOUR_US // 1_000))
        return log

    @property
    def count(self) -> int:
        return sum(map(len, self.messages.values()))

    def produce(self, broker: Broker) -> None:
        for topic in BUSINESS_TOPICS:
            broker.create(broker.topic(topic), self.partitions, {"retention.ms": "-1"})
        for (topic, partition), messages in self.messages.items():
            broker.produce(broker.topic(topic), partition, messages)


class Job:
    """`andon run` in a folder of its own, with its settings file and recovery directory."""

    def __init__(self, folder: Path, broker: Broker, dsn: str, **sections: dict[str, object]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_ports(4)
        document: dict[str, dict[str, object]] = {
            "clickhouse": {"dsn": dsn},
            "kafka": {
                "bootstrap": broker.bootstrap,
                "topics": [broker.topic(topic) for topic in BUSINESS_TOPICS],
                "group": f"andon-{folder.name}-{os.getpid()}-{time.monotonic_ns()}",
            },
            "engine": {"recovery": "state", "lanes": 4, "epoch": "200ms", "batch": 2_000, "stop_within": "25s"},
            "observe": {"listen": f"127.0.0.1:{self.port}"},
        }
        for name, section in {**PATIENT, **sections}.items():
            document.setdefault(name, {}).update(section)
        lines = []
        for name, section in document.items():
            lines.append(f"[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in section.items()]
        (folder / "andon.toml").write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = (folder / "errors.log").open("ab")

    def __enter__(self) -> Self:
        migrated(self.folder)
        return self

    def __exit__(self, *failed: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._errors.close()

    def start(
        self,
        *arguments: str,
        epoch: str | None = None,
        batch: int | None = None,
        ahead: int | None = None,
        stop_within: str | None = None,
    ) -> None:
        """Start it; `epoch`, `batch`, `ahead` and `stop_within` win over those of its settings for this time."""
        assert self._process is None or self._process.poll() is not None
        told_for_now = {
            "ANDON_ENGINE_EPOCH": epoch,
            "ANDON_ENGINE_BATCH": batch,
            "ANDON_ENGINE_AHEAD": ahead,
            "ANDON_ENGINE_STOP_WITHIN": stop_within,
        }
        variables = {name: str(value) for name, value in told_for_now.items() if value is not None}
        environ, told = environment(**variables), self._errors
        command = [*COMMAND, "run", *arguments]
        self._process = subprocess.Popen(command, cwd=self.folder, env=environ, stdout=told, stderr=told)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        assert self._process is not None
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL; processes that it started go with it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def stop(self, within_s: float = 30.0) -> float:
        """SIGTERM, and how long it took to exit with 0."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(within_s) == 0, self.errors()
        return time.monotonic() - began

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ends(self, within_s: float) -> int:
        """The code it exits with, which is soon."""
        assert self._process is not None
        return self._process.wait(within_s)

    def errors(self) -> str:
        return (self.folder / "errors.log").read_text()

    def logged(self, event: str) -> list[dict[str, object]]:
        """The lines of its log that tell of `event`, of all starts."""
        lines = [json.loads(line) for line in self.errors().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def rss_mb(self) -> float:
        """The memory that it holds."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def ask(self, path: str, process: int = 0) -> str | None:
        """What the process answers; None where it does not (yet)."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port + process}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def answer(self, path: str, process: int = 0) -> tuple[int, str]:
        """Status and words of its answer, one that says no, too; (0, "") where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port + process}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return 0, ""

    def messages(self, processes: int = 1) -> float:
        """Messages that have been released since it started."""
        return sum(sum(self.metric("andon_messages_total", number).values()) for number in range(processes))

    def metric(self, name: str, process: int = 0) -> dict[str, float]:
        """The series of a metric by their labels, as Prometheus would read them."""
        found = {}
        for line in (self.ask("/metrics", process) or "").splitlines():
            if line.startswith((f"{name}{{", f"{name} ")):
                series, _, value = line.rpartition(" ")
                found[series.removeprefix(name)] = float(value)
        return found

    def left(self, processes: int = 1) -> float | None:
        """Messages of the log that were not released; None while that is unknown."""
        lags = [self.metric("andon_lag_messages", process) for process in range(processes)]
        partitions = sum(map(len, lags))
        if not all(lags) or partitions < len(BUSINESS_TOPICS):
            return None
        return sum(sum(one.values()) for one in lags)

    def at_end(self, log: Log, processes: int = 1) -> bool:
        """Whether all was released but the last message of each partition; fails when the job has ended."""
        assert self.code is None, self.errors()
        lags = [self.metric("andon_lag_messages", process) for process in range(processes)]
        values = [value for one in lags for value in one.values()]
        return len(values) == len(log.messages) and all(value <= 1 for value in values)

    def run_to_end(self, log: Log, *arguments: str, processes: int = 1, deadline_s: float = 900.0) -> None:
        """Start, consume everything, stop with SIGTERM; in few large steps, since nothing is to happen to it."""
        if processes > 1:
            arguments = (*arguments, "--processes", str(processes))
        self.start(*arguments, epoch=CALM, batch=CALM_BATCH, ahead=CALM_AHEAD, stop_within="2m")
        wait_for(lambda: self.at_end(log, processes), "the log to be consumed", deadline_s, SELDOM_S)
        self.stop(within_s=130)  # the work of what was released is done first, beside all that runs here


class Killer:
    """Kills a job at random points: mostly while it consumes, sometimes while it starts."""

    def __init__(self, job: Job, log: Log, seed: int) -> None:
        self.job, self.log = job, log
        self.chance = random.Random(seed)
        self.while_consuming = 0
        self.points: list[float | None] = []

    def once(self, *arguments: str, processes: int = 1, longest_s: float = 0.5) -> None:
        if processes > 1:
            arguments = (*arguments, "--processes", str(processes))
        self.job.start(*arguments)
        if self.chance.random() < 0.15:
            time.sleep(self.chance.uniform(0.0, 1.5))  # a random point of starting: there is nothing to wait for
        else:
            wait_for(
                lambda: self.job.code is not None or bool(self.job.metric("andon_messages_total")),
                "messages to be consumed",
            )
            time.sleep(self.chance.uniform(0.0, longest_s))  # a random point of the run
        left = self.job.left(processes)
        assert self.job.code is None, self.job.errors()
        self.job.kill()
        self.points.append(left)
        self.while_consuming += left is None or left > len(self.log.messages)
