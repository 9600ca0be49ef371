"""Lanes of a process over a real broker, called as the engine calls them, and the topics that they read.

Times of the logs are of one day in the past, and the wall clock is the tests' own: it begins at noon of that day and
can be moved ahead.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from logging import CRITICAL, getLogger
from types import TracebackType
from typing import Self

import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions

from dataflows.kafka.client import consumer_properties
from dataflows.kafka.feeds import LaneReport
from dataflows.kafka.input import KafkaInput
from dataflows.kafka.lane import KafkaLane
from dataflows.kafka.topics import Begin, Place, TopicWatch
from dataflows.lane import lane_names
from dataflows.settings import KafkaSettings
from dataflows.watch import JobWatch
from operators.lane_state import Merged, TimeRules
from schemas.durations import BEGIN_OF_TIME_US, DAY_US, HOUR_US, MINUTE_US, SECOND_US, rfc3339
from schemas.events import Arrived
from schemas.rows import DeadLetter
from tests.kafka_broker import ApacheKafka, Broker
from tests.scripts import DAY

NOON = DAY + 12 * HOUR_US
#: Idleness moves no time: only what is in the log does.
NEVER_US = 520 * 7 * DAY_US
RULES = TimeRules()
#: Where a lane is before it has said anything.
NOWHERE_US = BEGIN_OF_TIME_US - 1
#: A message as it is written: bytes or a tombstone, and the timestamp in microseconds (whole milliseconds).
Message = tuple[bytes | None, int]


@contextmanager
def frozen(broker: Broker) -> Iterator[None]:
    """A broker that keeps its connections and does not answer, from now on and not a little later."""
    broker.freeze()
    os.waitid(os.P_PID, broker.pid, os.WSTOPPED)
    try:
        yield
    finally:
        broker.thaw()


class Clock:
    """A wall clock that begins at noon, goes on as clocks do, and can be moved ahead."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self.ahead_us = 0

    def us(self) -> int:
        return NOON + self.ahead_us + int((time.monotonic() - self._began_s) * SECOND_US)

    def __call__(self) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.us())


class Told:
    """Keeps what lanes and the one who lists the topics tell."""

    def __init__(self) -> None:
        self.answers = 0
        self.unreached: list[str] = []
        self.missed: list[list[str]] = []
        self.commits: list[str | None] = []
        self.troubles: list[str] = []
        self.passed: list[tuple[Place, int, int]] = []
        self.reports: dict[str, LaneReport] = {}
        self.renewals: list[str] = []

    def reachable(self) -> None:
        self.answers += 1

    def unreachable(self, why: str) -> None:
        self.unreached.append(why)

    def missing(self, topics: Iterable[str], hidden: Iterable[str]) -> None:
        assert not [*hidden]
        self.missed.append(list(topics))

    def committed(self, error: str | None) -> None:
        self.commits.append(error)

    def lane_state(self, report: LaneReport) -> None:
        self.reports[report.lane] = report

    def trouble(self, lane: str, why: str) -> None:
        self.troubles.append(f"{lane}: {why}")

    def renewed(self, lane: str) -> None:
        self.renewals.append(lane)

    def passed_over(self, lane: str, place: Place, first: int, last: int) -> None:
        assert lane
        self.passed.append((place, first, last))


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.002)


class Job:
    """Lanes of one process, called as the engine calls them, and all that they have released.

    Args:
        kept: snapshots by lane; `mine` are the lanes that this process has of all.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Sequence[str],
        *,
        lanes: int = 1,
        mine: Sequence[str] | None = None,
        kept: Mapping[str, bytes] | None = None,
        group: str | None = None,
        told: Told | None = None,
        told_of_topics: JobWatch | None = None,
        begin: Begin = "earliest",
        begin_at_us: int | None = None,
        skip_expired: bool = False,
        batch: int = 100,
        buffer: int = 1_000,
        idle_grace_us: int = 0,
        idle_grace_appended_us: int = 0,
        discover_us: int = SECOND_US // 20,
        lost_us: int = MINUTE_US,
    ) -> None:
        self.clock = Clock()
        self.told = told or Told()
        self.group = group or f"andon-test-{uuid.uuid4().hex}"
        self.topics = [*topics]
        quick: dict[str, str | int | bool] = {
            "fetch.wait.max.ms": 10,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
        }
        settings = KafkaSettings(bootstrap=bootstrap, group=self.group, client=quick)
        properties, logger = consumer_properties(settings, {}), getLogger("andon.kafka.test")
        logger.setLevel(CRITICAL)
        self.watch = TopicWatch(
            properties,
            topics,
            every_s=0.05,
            now=self.clock.us,
            told=told_of_topics or self.told,
            logger=logger,
            begin_at_us=begin_at_us,
            lost_s=lost_us / SECOND_US,
        )
        self.source = KafkaInput(
            properties=properties,
            topics=tuple(topics),
            begin=begin,
            skip_expired=skip_expired,
            rules=RULES,
            batch=batch,
            buffer=buffer,
            idle_grace_us=idle_grace_us,
            idle_grace_appended_us=idle_grace_appended_us,
            discover_us=discover_us,
            lost_us=lost_us,
            now=self.clock,
            watch=self.told,
            logger=logger,
        )
        self.names = lane_names(lanes)
        kept = kept or {}
        self.lanes = {name: self.open(name, kept.get(name)) for name in (self.names if mine is None else mine)}
        self.events: dict[str, list[Arrived]] = {name: [] for name in self.lanes}
        self.dead: dict[str, list[DeadLetter]] = {name: [] for name in self.lanes}
        self.watermarks = dict.fromkeys(self.lanes, NOWHERE_US)

    def open(self, name: str, kept: bytes | None) -> KafkaLane:
        return KafkaLane(name, self.names, self.source, self.watch, kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in self.lanes.values():
            lane.close()
        self.watch.close()

    @property
    def lane(self) -> KafkaLane:
        (one,) = self.lanes.values()
        return one

    @property
    def released(self) -> list[Arrived]:
        """What the only lane has released."""
        (one,) = self.events.values()
        return one

    def next(self, name: str) -> Merged | None:
        """Let a lane read on; what it releases is of the time that passed by that."""
        merged = self.lanes[name].next()
        if merged is not None:
            before = self.watermarks[name]
            assert merged.watermark_us > before or (merged.watermark_us == before and not merged.events)
            assert all(before <= event.arrival_us < merged.watermark_us for event in merged.events)
            assert not merged.final
            self.watermarks[name] = merged.watermark_us
            self.events[name] += merged.events
            self.dead[name] += merged.dead
        return merged

    def step(self) -> None:
        for name in self.lanes:
            self.next(name)

    def until(self, condition: Callable[[], bool], what: str, deadline_s: float = 20.0) -> None:
        def stepped() -> bool:
            self.step()
            return condition()

        wait_for(stepped, what, deadline_s)

    def until_past(self, at_us: int) -> None:
        """All that arrived up to `at_us` is released."""
        self.until(lambda: min(self.watermarks.values()) > at_us, "time to pass")

    def snapshots(self) -> dict[str, bytes]:
        return {name: lane.snapshot() for name, lane in self.lanes.items()}

    def stored(self, broker: Broker | ApacheKafka) -> dict[Place, int]:
        """What the consumer group has committed."""
        asked = broker.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group)])
        answer = asked[self.group].result().topic_partitions or []
        return {(one.topic, one.partition): one.offset for one in answer}


def topic_of(broker: Broker | ApacheKafka, name: str) -> str:
    """A name that no other test has used."""
    return broker.topic(f"{name}-{uuid.uuid4().hex[:8]}")


def event(number: int, occurred_us: int) -> bytes:
    return msgspec.json.encode(
        {
            "type": "queue.depth",
            "event_id": f"e{number}",
            "source": "mq-1",
            "system": "middleware",
            "queue": "q",
            "depth": number,
            "occurred_at": rfc3339(occurred_us),
        }
    )


def happened(at_us: int) -> Message:
    """An event that arrived as it happened."""
    return event(at_us // 1_000 % 1_000_000, at_us), at_us


def write(broker: Broker | ApacheKafka, topic: str, partition: int, messages: Iterable[Message]) -> None:
    broker.produce(topic, partition, [(value, at_us // 1_000) for value, at_us in messages])


def made(
    broker: Broker | ApacheKafka, name: str, *partitions: Sequence[Message], config: Mapping[str, str] | None = None
) -> str:
    """A topic with these messages in its partitions."""
    topic = topic_of(broker, name)
    broker.create(topic, len(partitions), config)
    for number, messages in enumerate(partitions):
        if messages:
            write(broker, topic, number, messages)
    return topic


def offsets(events: Iterable[Arrived | DeadLetter]) -> list[int]:
    return [one.offset for one in events]


def minutes(count: int, after_us: int = DAY) -> list[Message]:
    return [happened(after_us + index * MINUTE_US) for index in range(count)]


def paused(lane: KafkaLane) -> list[Place]:
    return [place for place, feed in lane._feeds.items() if feed.paused]
