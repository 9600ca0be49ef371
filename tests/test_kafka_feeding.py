"""A simulated log sent to a broker: all of it, in its order, at its pace, and stopped when somebody asks."""

import json
import os
import re
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from dataflows.kafka.feeding import Feed
from dataflows.settings import KafkaSettings
from scenarios.simulate import SimulationResult, SimulationSettings, simulate
from schemas.durations import HOUR_US, Duration, Instant
from schemas.errors import SourceError
from schemas.events import TOPICS
from tests.kafka_broker import SERVER_VARIABLE, Broker
from tests.processes import andon, start
from tests.tcp_proxy import free_port

SMALL = SimulationSettings(
    start=Instant.parse("2026-03-02T11:00:00Z"), stores=2, orders_per_day=600, duration=Duration(2 * HOUR_US)
)
SPAN = (int(SMALL.start), SMALL.end)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> SimulationResult:
    return simulate(SMALL, tmp_path_factory.mktemp("log"))


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


@pytest.fixture
def own_broker(broker: Broker) -> Broker:
    if os.environ.get(SERVER_VARIABLE):
        pytest.skip(f"needs a broker without topics, not the one that {SERVER_VARIABLE} names")
    return broker


def _feed(broker: Broker, day: SimulationResult, **options: object) -> Feed:
    files = {broker.topic(topic): day.files[topic] for topic in day.events}
    return Feed(KafkaSettings(bootstrap=broker.bootstrap), files, **{"speed_up": 0, **options})  # type: ignore[arg-type]


def _read(broker: Broker, topic: str, partitions: int) -> list[list[Message]]:
    """All messages of a topic, by partition."""
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": "test", "enable.partition.eof": True, "log_level": 0}
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found: list[list[Message]] = [[] for _ in range(partitions)]
    ended, deadline = set[int](), time.monotonic() + 60
    while len(ended) < partitions:
        assert time.monotonic() < deadline, (topic, ended)
        for message in consumer.consume(1_000, 0.1):
            partition = message.partition()
            assert partition is not None
            if message.error() is None:
                found[partition].append(message)
            else:
                ended.add(partition)
    consumer.close()
    return found


def _time(message: Message) -> int:
    kind, at_ms = message.timestamp()
    assert kind
    return at_ms


def test_every_message_arrives_once_in_the_order_it_was_recorded_and_with_its_time(
    broker: Broker, day: SimulationResult
) -> None:
    for topic in day.events:
        broker.create(broker.topic(topic), 3, {"retention.ms": "-1"})
    told: list[float] = []
    assert _feed(broker, day).run(SPAN, told.append) == sum(day.events.values())
    assert told == sorted(told)
    assert told[-1] == 1.0
    for topic in day.events:
        places = defaultdict(set)
        values: list[bytes] = []
        for partition, messages in enumerate(_read(broker, broker.topic(topic), 3)):
            recorded = [Instant.parse(json.loads(message.value() or b"")["recorded_at"]) for message in messages]
            assert recorded == sorted(recorded)
            assert [_time(message) for message in messages] == [at // 1_000 for at in recorded]
            values += [message.value() or b"" for message in messages]
            for message in messages:
                places[message.key()].add(partition)
        assert sorted(values) == sorted(day.files[topic].read_bytes().splitlines())
        assert all(len(where) == 1 for where in places.values())


def test_it_keeps_the_pace_it_is_asked_for_and_can_carry_the_present_time(
    own_broker: Broker, day: SimulationResult
) -> None:
    feed = _feed(own_broker, day, speed_up=3_600, timestamps="now")
    feed.make_topics(1)
    began, wall_ms = time.monotonic(), int(time.time() * 1_000)
    feed.run(SPAN)
    assert 1.9 < time.monotonic() - began < 30
    (orders,) = _read(own_broker, "orders", 1)
    assert all(wall_ms - 1_000 <= _time(message) <= int(time.time() * 1_000) + 1_000 for message in orders)
    middle = [m for m in orders if json.loads(m.value() or b"")["recorded_at"] > "2026-03-02T12:00"]
    assert _time(middle[0]) - wall_ms >= 900


def test_missing_topics_are_named_and_a_broker_that_is_not_there_too(
    own_broker: Broker, day: SimulationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_broker.create("orders", 1)
    with pytest.raises(SourceError, match=r"has no topic inventory, reservations, fulfillment.*--partitions"):
        _feed(own_broker, day).make_topics(0)
    monkeypatch.setattr("dataflows.kafka.feeding._ANSWER_S", 0.3)
    away = Feed(KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}"), {"orders": Path()}, speed_up=0)
    with pytest.raises(SourceError, match=r"can't use 127\.0\.0\.1:\d+: .*Connection refused"):
        away.make_topics(1)


def test_the_client_library_writes_nothing_of_its_own_beside_what_we_say(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataflows.kafka.feeding._ANSWER_S", 1.5)
    log = tmp_path / "orders.jsonl"
    log.write_text('{"event_id": "e1", "occurred_at": "2026-03-02T11:00:00Z"}\n')
    settings = KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}")
    feed = Feed(settings, {"orders": log}, speed_up=0)
    with pytest.raises(SourceError, match="Connection refused"):
        feed.make_topics(1)
    with pytest.raises(SourceError, match="did not confirm the last 1 messages"):
        feed.run(SPAN)
    assert capfd.readouterr() == ("", "")


def test_a_line_that_is_no_message_is_named(own_broker: Broker, day: SimulationResult, tmp_path: Path) -> None:
    del day
    broken = tmp_path / "orders.jsonl"
    broken.write_text('{"event_id": "a", "occurred_at": "2026-03-02T00:00:00Z"}\n{"event_id": "b"}\n')
    feed = Feed(KafkaSettings(bootstrap=own_broker.bootstrap), {"orders": broken}, speed_up=0)
    feed.make_topics(1)
    with pytest.raises(SourceError, match=r"orders\.jsonl, line 2: .*occurred_at"):
        feed.run(SPAN)


SIZE = ("--stores", "2", "--orders", "300", "--hours", "2")


def test_the_command_sends_without_keeping_files(own_broker: Broker, tmp_path: Path) -> None:
    place = ("--kafka", own_broker.bootstrap, "--partitions", "2", "--speed-up", "0")
    shown = json.loads(andon("simulate", *SIZE, *place, "--json", cwd=tmp_path).stdout)
    assert shown["sent"] == sum(shown["events"].values()) > 1_000
    assert shown["files"] == {}
    orders = _read(own_broker, "orders", 2)
    assert sum(map(len, orders)) == shown["events"]["orders"]
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_it_in_words_and_what_was_sent_is_there(own_broker: Broker, tmp_path: Path) -> None:
    for topic in TOPICS:
        own_broker.create(topic, 1, {"retention.ms": "-1"})
    process = start("simulate", *SIZE, "--kafka", own_broker.bootstrap, "--speed-up", "200", cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not _read(own_broker, "inventory", 1)[0]:
            assert time.monotonic() < deadline, "nothing was sent"
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    match = re.search(r"stopped: ([\d,]+) messages are in the topics", said)
    assert match, said
    there = sum(len(_read(own_broker, topic, 1)[0]) for topic in TOPICS)
    assert int(match[1].replace(",", "")) == there
