"""The parts of `make soak` that run: broker, ClickHouse, the job, whatever feeds them, and the settings they have."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from soak_load import Feed, Told, make_feed
from soak_watch import Watched

from schemas.durations import DAY_US, SECOND_US, Duration
from schemas.events import BUSINESS_TOPICS
from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import HOME_VARIABLE, ApacheKafka, Broker
from tests.kafka_job import Job
from tests.processes import ROOT, environment

#: Where `make test-kafka` puts Apache Kafka.
_KAFKA_HOME = ROOT / ".kafka"
#: A frozen broker answers when it goes on; nothing is given up before.
_PATIENT = {"request.timeout.ms": 290_000, "socket.timeout.ms": 295_000, "message.timeout.ms": 300_000}
LANES = 2
PARTITIONS = 2
_LEAST = Duration(SECOND_US // 10)
_DURATIONS = frozenset({"target", "deadline", "sequence_grace", "abandon_after"})
_SEQUENCE_GRACE = "15m"
#: The detectors' rules whose windows are longer than a quarter of an hour: they would fill all the while.
_WIDE_WINDOWS = (
    "returns.surge",
    "returns.without_receipt",
    "supply.late",
    "supply.unannounced",
    "supply.mismatch",
    "margin.price",
    "margin.below_cost",
    "routing.elsewhere",
    "routing.late",
    "warehouse.backlog",
    "carriers.late",
    "carriers.exceptions",
    "settlement.missing",
    "inventory.phantom",
    "demand.cover",
)
_STOP_S = 30.0


class Scale(msgspec.Struct, frozen=True):
    """How long things last in a run of so many minutes, in seconds: an hour's share of what stands here."""

    minutes: float

    def of(self, seconds_in_an_hour: float, least_s: float) -> float:
        return max(least_s, seconds_in_an_hour * self.minutes / 60)

    @property
    def day_s(self) -> float:
        return self.of(240, 10)

    @property
    def window_s(self) -> float:
        return self.of(20, 2)

    @property
    def stock_window_s(self) -> float:
        return 1.5 * self.window_s

    @property
    def retention_s(self) -> float:
        return self.of(300, 10)

    @property
    def dedup_s(self) -> float:
        return self.of(120, 30)

    @property
    def store_away_s(self) -> float:
        return self.of(60, 3)

    @property
    def broker_frozen_s(self) -> float:
        return self.of(30, 2)

    @property
    def settle_s(self) -> float:
        return self.of(120, 2)

    @property
    def plateau_s(self) -> float:
        return self.of(720, 2)

    @property
    def look_every_s(self) -> float:
        return min(5.0, max(1.0, self.minutes))


class Feeder:
    """The process that plays the feed, and what it said last."""

    def __init__(self, file: Path) -> None:
        script = Path(__file__).with_name("soak_load.py")
        self.told = Told()
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(file)], cwd=ROOT, env=environment(), stdout=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def finish(self, within_s: float) -> Told:
        """Have it send what is under way, and its last word."""
        self._process.terminate()
        self._process.wait(within_s)
        self._reader.join(10)
        return self.told

    def kill(self) -> None:
        """If it still runs."""
        if self.running:
            self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.told = msgspec.json.decode(line, type=Told)


class Parts:
    """Everything, started."""

    def __init__(
        self,
        broker: Broker | ApacheKafka,
        front: ClickHouseFront,
        job: Job,
        feeder: Feeder,
        scale: Scale,
        processes: int,
    ) -> None:
        self.broker, self.front, self.job, self.feeder = broker, front, job, feeder
        self._scale = scale
        self._arguments = () if processes == 1 else ("--processes", str(processes))
        self._processes = processes

    def start_job(self) -> None:
        """Start it, or start it again."""
        self.job.start(*self._arguments)

    def stop_job(self) -> str:
        """SIGTERM, and what came of it: `exit code 0 after 1.2 s`."""
        began_s = time.monotonic()
        os.kill(self.job.pid, signal.SIGTERM)
        while self.job.code is None:
            if time.monotonic() > began_s + _STOP_S:
                self.job.kill()
                return f"not ended within {_STOP_S:.0f} s, killed"
            time.sleep(0.02)
        return f"exit code {self.job.code} after {time.monotonic() - began_s:.1f} s"

    def watched(self) -> Watched:
        """What is there to be looked at."""
        pids = {"broker": self.broker.pid, "feeder": self.feeder.pid}
        if self.front.running:
            pids["clickhouse"] = self.front.pid
        if self.job.code is None:
            pids["job"] = self.job.pid
        ports = [self.job.port + number for number in range(self._processes)]
        return Watched(pids, ports, self.job.folder / "state")

    def described(self, feed: Feed) -> str:
        """The settings that matter, in words."""
        scale, day_s = self._scale, feed.day_us / SECOND_US
        return (
            f"A simulated day lasts {day_s:.0f} s: a second is {DAY_US / feed.day_us / 60:.1f} minutes of the "
            f"retailer. Windows of {scale.window_s:g} s, of stock {scale.stock_window_s:g} s; `window_retention` "
            f"{scale.retention_s:g} s, `dedup_horizon` {scale.dedup_s:g} s; cases are forgotten {day_s / 2:.0f} s "
            f"after their end, given up after {day_s:.0f} s. {LANES} lanes, {self._processes} process(es). "
            f"The broker is {'Apache Kafka' if isinstance(self.broker, ApacheKafka) else 'tansu'}."
        )


@contextmanager
def running(
    out: Path, rate: float, scale: Scale, processes: int, idle_grace_s: float | None = 1.0, *, appended: bool = False
) -> Iterator[tuple[Parts, Feed]]:
    """Start broker, ClickHouse, job and feed; end them all, whatever happens.

    Messages carry the producer's time, or the broker's (`appended`; tansu only says that it were so).
    """
    folder = out / "work"
    folder.mkdir(parents=True)
    feed = make_feed(folder, rate, scale.day_s, PARTITIONS)
    with ExitStack() as open_now:
        broker = open_now.enter_context(_broker())
        front = open_now.enter_context(ClickHouseFront(folder / "clickhouse"))
        open_now.callback(front.kill)
        feed.topics = [broker.topic(topic) for topic in BUSINESS_TOPICS]
        feed.producer = {"bootstrap.servers": broker.bootstrap, **_producing(broker)}
        for topic in feed.topics:
            broker.create(topic, feed.partitions, {"message.timestamp.type": "LogAppendTime"} if appended else {})
        (folder / "feed.msgpack").write_bytes(msgspec.msgpack.encode(feed))
        squeezed = write_map(folder / "soak-map.toml", feed.day_us, scale)
        job = open_now.enter_context(
            Job(folder / "job", broker, front.dsn, **job_settings(scale, squeezed, idle_grace_s))
        )
        feeder = Feeder(folder / "feed.msgpack")
        open_now.callback(feeder.kill)
        open_now.callback(_thaw, broker)
        parts = Parts(broker, front, job, feeder, scale, processes)
        parts.start_job()
        yield parts, feed


def _broker() -> Broker | ApacheKafka:
    """Apache Kafka where there is one, else tansu."""
    if HOME_VARIABLE not in os.environ and (_KAFKA_HOME / "libs").exists():
        os.environ[HOME_VARIABLE] = str(_KAFKA_HOME)
    return ApacheKafka() if HOME_VARIABLE in os.environ else Broker()


def _producing(broker: Broker | ApacheKafka) -> dict[str, str | int | bool]:
    """How to write to it, each message once.

    What a read costs tansu grows with the batches in the log, so it gets few; and it does not know of idempotence,
    so nothing is sent twice.
    """
    if isinstance(broker, ApacheKafka):
        return {"linger.ms": 20, "enable.idempotence": True, **_PATIENT}
    return {"linger.ms": 1_000, "batch.size": 1_000_000, "retries": 0, **_PATIENT}


def _thaw(broker: Broker | ApacheKafka) -> None:
    """A frozen process does not end by itself."""
    try:
        broker.thaw()
    except ProcessLookupError:
        return


def job_settings(scale: Scale, process_map: Path, idle_grace_s: float | None) -> dict[str, dict[str, object]]:
    """Defaults, but for what would not come to its plateau within the run; `idle_grace_s`, if given, is of all."""
    idle = {} if idle_grace_s is None else dict.fromkeys(("idle_grace", "idle_grace_appended"), _text(idle_grace_s))
    return {
        "engine": {"lanes": LANES, "epoch": "10s" if scale.minutes >= 5 else "2s", "batch": 8_192},
        "time": {
            **idle,
            "window_retention": _text(scale.retention_s),
            "dedup_horizon": _text(scale.dedup_s),
        },
        "stock": {"window": _text(scale.stock_window_s), "settle": _text(scale.of(10, 1))},
        "process": {"map": str(process_map)},
        "detectors": _forgetful(scale),
        "models": {"rate_span": _text(scale.of(600, 60))},
        "incidents": {
            "recover_after": "1m",
            "resolve_after": "1m",
            "reopen_within": "2m",
            "most_findings": 1_000,
            "most_orders": 1_000,
        },
        "alerting": {"retention": _text(max(scale.day_s, 60))},
    }


def _forgetful(scale: Scale) -> dict[str, object]:
    """The detectors' memory of cases: half a day after an order's last event, a day of what goes on for longer."""
    half, day = _text(scale.day_s / 2), _text(scale.day_s)
    windows = {f"{rule}.window": _text(scale.of(600, 60)) for rule in _WIDE_WINDOWS}
    return windows | {
        "capture.within": _text(scale.of(240, 30)),
        "order_retention": half,
        "returns.retention": day,
        "supply.retention": day,
        "routing.retention": half,
        "settlement.retention": half,
        "settlement.remembered": half,
        "warehouse.remembered": half,
        "carriers.remembered": half,
    }


def _text(seconds: float) -> str:
    return f"{round(seconds * 1_000)}ms"


# --- the process map --------------------------------------------------------------------------------------------------


def write_map(path: Path, day_us: int, scale: Scale) -> Path:
    """The default map for days that last `day_us`: its durations squeezed as the input is.

    Windows are of the wall clock; a case is remembered for half a day after its end, and given up after one. So no
    deadline is later than that: what waits for it would be kept for hours.
    """
    default = tomllib.loads((ROOT / "dataflows" / "process_maps" / "default.toml").read_text(encoding="utf-8"))

    def squeezed(text: str) -> str:
        return _text(max(_LEAST, Duration.parse(text) * day_us // DAY_US) / SECOND_US)

    lines = [f'name = "soak"\nversion = 1\ntitle = "Soak"\nwindow = "{_text(scale.window_s)}"']
    for kind, rule in default["case"].items():
        rule |= {"retention": squeezed("12h"), "abandon_after": squeezed("1d")}
        lines.append(_table(f"[case.{kind}]", rule))
    for handoff in default["handoff"]:
        handoff.setdefault("sequence_grace", _SEQUENCE_GRACE)
        for key in _DURATIONS & handoff.keys():
            handoff[key] = squeezed(min(handoff[key], "1d", key=Duration.parse))
        at = handoff.get("deadline_at", {})
        if "plus" in at:
            at["plus"] = squeezed(min(at["plus"], "1d", key=Duration.parse))
        lines.append(_table("[[handoff]]", handoff))
    for kind in ("forbidden", "exception"):
        lines += [_table(f"[[{kind}]]", rule) for rule in default[kind]]
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return path


def _table(head: str, table: dict[str, Any]) -> str:
    return "\n".join([head, *(f"{key} = {_toml(value)}" for key, value in table.items())])


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
