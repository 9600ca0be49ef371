"""A backfill knows no more than the live job knew: a stretch of a day live at 200×, and the same as a backlog.

An hour unless `ANDON_TEST_LIVE_HOURS` says more: 24 take eight minutes.
"""

import os
import time
from pathlib import Path

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from scenarios.settings import BreakdownSpec
from scenarios.simulate import demo_settings, simulate
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US, Duration, Instant
from schemas.events import BUSINESS_TOPICS
from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import Broker
from tests.kafka_job import SELDOM_S, Job, Log, wait_for, whole_views
from tests.processes import allocator_heaps

HOURS = int(os.environ.get("ANDON_TEST_LIVE_HOURS", "1"))
SPEED = 200
#: How far each topic is behind the others, in seconds of the wall clock: 200 times as much of the log's time.
BEHIND_S = dict(zip(sorted(BUSINESS_TOPICS), (0.0, 2.5, 0.5, 1.5, 0.25, 1.0, 2.0, 0.0), strict=True))
#: Topics that come in bursts, and how far apart those are.
BURSTS_S = {"erp": 1.5, "inventory": 0.75}


def _stretch(folder: Path) -> Log:
    """Some hours from noon on, with a queue that saturates in the first."""
    settings = msgspec.structs.replace(
        demo_settings(9),
        start=Instant.parse("2026-03-02T11:40:00Z"),
        duration=Duration(HOURS * HOUR_US),
        breakdowns=(
            BreakdownSpec(kind="queue_saturation", begin=Duration(10 * MINUTE_US), end=Duration(50 * MINUTE_US)),
        ),
    )
    simulate(settings, folder)
    return Log.of_files([folder / f"{topic}.jsonl" for topic in BUSINESS_TOPICS], 2)


def _produce_live(log: Log, broker: Broker) -> float:
    """Write each message when its time has come, and its topic's delay is over; gives how long that took."""
    first_ms = min(at_ms for mine in log.messages.values() for _, at_ms in mine)
    due = []
    for (topic, partition), mine in log.messages.items():
        last_ms = mine[-2][1] if len(mine) > 1 else first_ms
        for value, at_ms in mine:
            at_s = (min(at_ms, last_ms) - first_ms) / 1_000 / SPEED + BEHIND_S[topic]  # the last one comes at once
            burst_s = BURSTS_S.get(topic)
            due.append((at_s if burst_s is None else -(-at_s // burst_s) * burst_s, topic, partition, value, at_ms))
    due.sort(key=lambda one: one[0])  # what is due at one time keeps the order of its partition
    failed: list[KafkaError] = []

    def told(error: KafkaError | None, message: Message) -> None:
        del message
        if error is not None:
            failed.append(error)

    one_at_a_time = {"max.in.flight.requests.per.connection": 1, "linger.ms": 2}
    producer = Producer({"bootstrap.servers": broker.bootstrap, **one_at_a_time})
    began = time.monotonic()
    for at_s, topic, partition, value, at_ms in due:
        while (wait_s := began + at_s - time.monotonic()) > 0:
            producer.poll(min(wait_s, 0.02))
        producer.produce(broker.topic(topic), value, partition=partition, timestamp=at_ms, on_delivery=told)
    assert producer.flush(30) == 0
    assert not failed
    return time.monotonic() - began


def test_live_and_backlog_give_the_same_rows(tmp_path: Path) -> None:
    log = _stretch(tmp_path / "log")
    live = {"epoch": "1s", "lanes": 3}
    with Broker() as broker, ClickHouseFront(tmp_path / "clickhouse") as front:
        for topic in BUSINESS_TOPICS:
            broker.create(broker.topic(topic), log.partitions, {"retention.ms": "-1"})
        with (
            Job(tmp_path / "one", broker, front.dsn_of("one"), engine=live) as one,
            Job(tmp_path / "two", broker, front.dsn_of("two"), engine=live) as two,
        ):
            one.start()
            two.start("--processes", "2")
            for job in (one, two):
                wait_for(lambda job=job: job.ask("/readyz") is not None, "the job to begin")
            assert _produce_live(log, broker) > HOURS * HOUR_US / SECOND_US / SPEED - 3
            for job, processes in ((one, 1), (two, 2)):
                assert job.messages(processes) > log.count / 2, "it was live"
            assert allocator_heaps(one.pid) <= 1, "the client library's threads have no arenas of their own"
            for job, processes in ((one, 1), (two, 2)):
                wait_for(lambda job=job, n=processes: job.at_end(log, n), "the log to be consumed", every_s=SELDOM_S)
                job.stop()
            found = [whole_views(job.folder) for job in (one, two)]
        with Job(tmp_path / "backlog", broker, front.dsn_of("backlog"), engine={"lanes": 2}) as backlog:
            backlog.run_to_end(log)
            expected = whole_views(backlog.folder)
    assert expected["signals"][0] > 0  # type: ignore[index] # (rows, hash)
    for view in ("handoff_latency", "series_scores", "incidents", "incident_orders", "alerts"):
        assert expected[view][0] > 0, view  # type: ignore[index]
    assert found[0] == expected
    assert found[1] == expected
