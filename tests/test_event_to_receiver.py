"""From the messages of a broker to the receiver of an alert, every part of it real, and killed on the way.

A day in which the queue of store reservations saturates is written to a broker part by part. `andon run` reads it into
ClickHouse, `andon deliver` takes the alerts from there to an HTTP receiver. What the receiver gets is the one incident,
begun, changed and over: in order, signed, byte for byte what an undisturbed run tells under the same keys, and
nothing else.
"""

import base64
import hashlib
import hmac
import random
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from scenarios.settings import BreakdownSpec
from scenarios.simulate import demo_settings, simulate
from schemas.durations import Instant
from schemas.events import BUSINESS_TOPICS
from tests.clickhouse_front import ClickHouseFront
from tests.databases import rows_of
from tests.kafka_broker import Broker
from tests.kafka_job import CALM, CALM_BATCH, PATIENT, SELDOM_S, Job, Log, wait_for
from tests.webhook_process import OLD, SECRET, Process
from tests.webhook_receiver import Received, ScriptedReceiver, until

#: The parts end after the trigger, after the first update, and with the day.
NOON, AFTERNOON = Instant.parse("2026-03-02T12:30:00Z"), Instant.parse("2026-03-02T14:20:00Z")
ACTIONS = ["trigger", "update", "update", "resolve"]
_DEADLINE_S = 240.0  # for machines that do much else


class Feed:
    """A log that is written part by part."""

    def __init__(self, log: Log, broker: Broker) -> None:
        self._broker = broker
        self._left = {place: deque(messages) for place, messages in log.messages.items()}
        for topic in BUSINESS_TOPICS:
            broker.create(broker.topic(topic), log.partitions, {"retention.ms": "-1"})

    def write(self, before: Instant | None = None) -> None:
        """What came before then. Each partition says its last message again at that time, so that time goes on in it:
        a duplicate, which is dropped.
        """
        for (topic, partition), left in self._left.items():
            part: list[tuple[bytes | None, int | None]] = []
            while left and (before is None or left[0][1] < before // 1_000):
                part.append(left.popleft())
            if before is not None:
                assert part, f"{topic} has nothing to say again"
                part.append((part[-1][0], before // 1_000))
            self._broker.produce(self._broker.topic(topic), partition, part)


class Run:
    """`andon run` and `andon deliver` over one database, and the receiver of its alerts."""

    def __init__(self, folder: Path, broker: Broker, front: ClickHouseFront, *steps: str) -> None:
        dsn = front.dsn_of(folder.name)
        self.receiver = ScriptedReceiver(*steps)
        self.job = Job(
            folder,
            broker,
            dsn,
            time=PATIENT["time"] | {"dedup_horizon": "2d"},
            engine={"batch": 500, "epoch": "200ms", "lanes": 2},
            stock={"currency": "EUR"},
            alerting={"receiver": "ops"},
            # it would be told for a quarter of an hour as an incident of its own, until it turns out to be the queue's
            detectors={"settlement.missing.least": 1_000},
        )
        (folder / "deliver").mkdir()
        self.deliver = Process(folder / "deliver", dsn, ops=self.receiver.url)

    def __enter__(self) -> Self:
        self.job.__enter__()
        return self

    def __exit__(self, *failed: object) -> None:
        self.deliver.close()
        self.job.__exit__(*failed)
        self.receiver.__exit__(None, None, None)

    def start(self, *, epoch: str | None = None, batch: int | None = None) -> None:
        self.job.start(epoch=epoch, batch=batch)
        self.deliver.start()

    def kill_job_while_it_consumes(self, drawn: random.Random) -> None:
        read = self.job.messages()
        wait_for(
            lambda: self.job.messages() > read or self.job.code is not None, "messages to be consumed", _DEADLINE_S
        )
        time.sleep(drawn.uniform(0.0, 0.3))  # a random point of the run: nothing is waited for
        assert self.job.code is None, self.job.errors()
        self.job.kill()

    def end(self, log: Log) -> list[dict[str, object]]:
        """Let all of the log be processed and all of the alerts be delivered, then stop both; gives the alerts."""
        wait_for(lambda: self.job.at_end(log), "the log to be consumed", _DEADLINE_S, SELDOM_S)
        assert self.job.stop() < 10
        columns = "alert_id, receiver, action, sequence, incident_ids, sent_at"
        alerts = rows_of(f"SELECT {columns} FROM alerts ORDER BY sequence", self.job.folder)
        until(lambda: self.deliver.outbox.figures.counts() == {"ops": {"delivered": len(alerts)}}, _DEADLINE_S)
        until(lambda: self.deliver.outbox.figures.unrecorded() == 0, _DEADLINE_S)
        assert self.deliver.end(signal.SIGTERM) == 0
        return alerts


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("day")
    day = msgspec.structs.replace(
        demo_settings(7),
        breakdowns=(BreakdownSpec(kind="queue_saturation"),),
        orders_per_day=400,
        counter_sales_per_day=400,
    )
    simulate(day, folder)
    return Log.of_files([folder / f"{topic}.jsonl" for topic in BUSINESS_TOPICS], 1)


def _check_signed(request: Received) -> None:
    """As Standard Webhooks 1.0 has it, with each of the secrets."""
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = set()
    for secret in (SECRET, OLD):
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected.add(f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}")
    assert set(request.headers["webhook-signature"].split(" ")) == expected


def _once(requests: list[Received]) -> dict[str, bytes]:
    """Key → body, in the order of their first coming; what came again came with the same body."""
    bodies: dict[str, bytes] = {}
    for one in requests:
        assert bodies.setdefault(one.key, one.body) == one.body
        assert one.headers["webhook-id"] == one.key
        _check_signed(one)
    return bodies


def _told(requests: list[Received]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(body) for body in _once(requests).values()]


def test_one_breakdown_is_one_incident_told_in_order_whatever_is_killed(tmp_path: Path, log: Log) -> None:
    drawn = random.Random(7)
    with Broker() as broker, ClickHouseFront(tmp_path / "clickhouse") as front:
        feed = Feed(log, broker)
        with Run(tmp_path / "killed", broker, front, "hang", "200", "503", "reset") as run:
            feed.write(NOON)
            run.start()
            run.receiver.wait(lambda came: len(came) == 1, _DEADLINE_S)
            run.deliver.end(signal.SIGKILL)  # the receiver may have acted on it, and nobody noted that
            feed.write(AFTERNOON)
            run.kill_job_while_it_consumes(drawn)
            run.start()
            run.receiver.wait(lambda _: len(run.receiver.keys) == 2, _DEADLINE_S)
            run.deliver.end(signal.SIGKILL)
            feed.write()
            for _ in range(3):
                run.kill_job_while_it_consumes(drawn)
                run.job.start()
            run.deliver.start()
            run.receiver.wait(lambda _: len(run.receiver.keys) >= len(ACTIONS), _DEADLINE_S)
            run.deliver.end(signal.SIGKILL)
            run.deliver.start()
            alerts = run.end(log)
            requests = run.receiver.received
            outcomes = rows_of("SELECT outcome FROM alert_deliveries ORDER BY attempted_at", run.job.folder)
        with Run(tmp_path / "undisturbed", broker, front) as run:
            run.start(epoch=CALM, batch=CALM_BATCH)
            undisturbed_alerts = run.end(log)
            undisturbed = run.receiver.received
    assert [one["action"] for one in alerts] == ACTIONS
    assert [one["sequence"] for one in alerts] == [1, 2, 3, 4]
    (incident,) = {name for one in alerts for name in one["incident_ids"]}  # type: ignore[attr-defined] # a list
    assert list(_once(requests)) == [one["alert_id"] for one in alerts], "each under its key, in order, nothing else"
    assert [one.step for one in requests][:1] == ["hang"]
    for said, action in zip(_told(requests), ACTIONS, strict=True):
        assert said["type"] == f"alert.{action}"
        assert said["data"]["details"]["incident_ids"] == [incident]
        assert said["data"]["details"]["labels"]["kind"] == "queue_saturation"
    assert int(_told(requests)[-1]["data"]["details"]["annotations"]["orders_affected"]) > 100
    # at least once: only what was under way at a kill of the delivery can have come twice
    assert len([one for one in requests if one.taken]) <= len(alerts) + 3
    assert [one["outcome"] for one in outcomes].count("delivered") == len(alerts)
    assert undisturbed_alerts == alerts
    assert _once(undisturbed) == _once(requests), "byte for byte"
    assert [one.key for one in undisturbed] == list(_once(undisturbed)), "each once"
