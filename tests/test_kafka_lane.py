"""Lanes over a real broker: the order of the log, resumed anywhere, held back only by what may still come.

Times of the logs are of one day in the past, and the wall clock is the tests' own: it begins at noon of that day and
can be moved ahead. What tansu does not know (offsets by time, new partitions, expired messages, transactions) is
tested over Apache Kafka, and skipped where that is not at hand.
"""

import os
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from logging import CRITICAL, getLogger
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, Producer

from dataflows.flow import Stop
from dataflows.input_limit import InputLimit
from dataflows.kafka import lane as lane_module
from dataflows.kafka import topics as topics_module
from dataflows.kafka.client import consumer_properties
from dataflows.kafka.feeds import LaneReport, lane_of
from dataflows.kafka.lane import KafkaInput, KafkaLane, KafkaLaneState
from dataflows.kafka.topics import Begin, Place, TopicWatch
from dataflows.lane import lane_names
from dataflows.settings import KafkaSettings
from dataflows.telemetry import Telemetry
from dataflows.watch import JobWatch
from operators.lane_state import LaneState, Merged, PartitionState, TimeRules
from schemas.durations import BEGIN_OF_TIME_US, DAY_US, HOUR_US, MINUTE_US, SECOND_US, rfc3339
from schemas.errors import SourceError, StateError
from schemas.events import Arrived
from schemas.rows import DeadLetter
from tests.kafka_broker import ApacheKafka, Broker
from tests.scripts import DAY
from tests.tcp_proxy import free_port

NOON = DAY + 12 * HOUR_US
#: Idleness moves no time: only what is in the log does.
NEVER_US = 520 * 7 * DAY_US
RULES = TimeRules()
#: Where a lane is before it has said anything.
NOWHERE_US = BEGIN_OF_TIME_US - 1
#: A message as it is written: bytes or a tombstone, and the timestamp in microseconds (whole milliseconds).
Message = tuple[bytes | None, int]


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


@pytest.fixture(scope="module")
def apache() -> Iterator[ApacheKafka]:
    with ApacheKafka() as one:
        yield one


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

    def reachable(self) -> None:
        self.answers += 1

    def unreachable(self, why: str) -> None:
        self.unreached.append(why)

    def missing(self, topics: Iterable[str]) -> None:
        self.missed.append(list(topics))

    def committed(self, error: str | None) -> None:
        self.commits.append(error)

    def lane_state(self, report: LaneReport) -> None:
        self.reports[report.lane] = report

    def trouble(self, lane: str, why: str) -> None:
        self.troubles.append(f"{lane}: {why}")

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
        discover_us: int = SECOND_US // 20,
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
            discover_us=discover_us,
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


def made(broker: Broker | ApacheKafka, name: str, *partitions: Sequence[Message]) -> str:
    """A topic with these messages in its partitions."""
    topic = topic_of(broker, name)
    broker.create(topic, len(partitions))
    for number, messages in enumerate(partitions):
        if messages:
            write(broker, topic, number, messages)
    return topic


def offsets(events: Iterable[Arrived | DeadLetter]) -> list[int]:
    return [one.offset for one in events]


# --- the order of the log ------------------------------------------------------------------------------------------


class Written(NamedTuple):
    """A log in the broker, and what must come of it."""

    topics: list[str]
    messages: dict[Place, list[Message]]
    events: list[tuple[int, str, int, int]]
    dead: list[tuple[str, int, int, str]]


class Piece(NamedTuple):
    at_us: int
    kind: str


def random_log(chance: random.Random) -> list[list[list[Piece]]]:
    """Topics of partitions: time mostly goes on, stands still often, and goes back sometimes."""
    topics = []
    for partitions in (3, 2):
        topic = []
        for _ in range(partitions):
            at_us, pieces = DAY + chance.randrange(60) * SECOND_US, []
            for _ in range(chance.choice((0, 50, 100, 150))):
                at_us += chance.choice((0, 0, 0, 0, 1, 1, 3, 60, -20)) * SECOND_US
                kinds = ("good",) * 20 + ("broken", "tombstone", "early", "old", "ahead")
                pieces.append(Piece(at_us, chance.choice(kinds)))
            topic.append(pieces)
        topics.append(topic)
    return topics


def put(broker: Broker, chance: random.Random) -> Written:
    """Write a log, and say by plain rules in which order it is to be read."""
    log = Written([], {}, [], [])
    for index, partitions in enumerate(random_log(chance)):
        topic = topic_of(broker, f"log{index}")
        log.topics.append(topic)
        broker.create(topic, len(partitions))
        for number, pieces in enumerate(partitions):
            messages = log.messages[topic, number] = []
            clock_us = 0
            for offset, (at_us, kind) in enumerate(pieces):
                if kind == "ahead":  # of the clock of the reader, by more than is believed: it moves no time
                    messages.append((event(offset, NOON + DAY_US), NOON + DAY_US))
                    log.dead.append((topic, number, offset, "rule"))
                    continue
                clock_us = max(clock_us, at_us)
                if kind == "good":
                    messages.append((event(offset, at_us - chance.randrange(5) * SECOND_US), at_us))
                    log.events.append((clock_us, topic, number, offset))
                elif kind == "early":
                    messages.append((event(offset, clock_us + RULES.max_future_us + 1_000), at_us))
                    log.dead.append((topic, number, offset, "rule"))
                elif kind == "old":
                    messages.append((event(offset, clock_us - RULES.max_past_us - 1_000), at_us))
                    log.dead.append((topic, number, offset, "rule"))
                else:
                    messages.append((None if kind == "tombstone" else b"[", at_us))
                    log.dead.append((topic, number, offset, "transport"))
            write(broker, topic, number, messages)
    log.events.sort()
    log.dead.sort()
    return log


@pytest.fixture(scope="module")
def logs(broker: Broker) -> list[Written]:
    chance = random.Random(7)
    return [put(broker, chance) for _ in range(3)]


def named(letter: DeadLetter) -> tuple[str, int, int, str]:
    return letter.topic, letter.partition, letter.offset, letter.reason


@pytest.mark.parametrize("seed", range(14))
def test_lanes_release_the_log_in_its_order_however_it_is_read(seed: int, broker: Broker, logs: list[Written]) -> None:
    chance = random.Random(seed)
    log = logs[seed % len(logs)]
    lanes = chance.choice((1, 2, 3, 5))
    batch, buffer = chance.choice((1, 7, 50, 1_000)), chance.choice((1, 5, 30, 1_000))
    processes = chance.choice((1, 2))
    events: dict[str, list[tuple[int, str, int, int]]] = {}
    dead: list[tuple[str, int, int, str]] = []
    for process in range(processes):
        mine = lane_names(lanes)[process::processes]
        with Job(broker.bootstrap, log.topics, lanes=lanes, mine=mine, batch=batch, buffer=buffer) as job:
            if mine:
                job.until_past(DAY + 11 * HOUR_US)
            for name in mine:
                events[name] = [one.position for one in job.events[name]]
                dead += map(named, job.dead[name])
    lane_by_place = {place[1:3]: name for name, places in events.items() for place in places}
    for name, places in events.items():
        assert places == [place for place in log.events if lane_by_place[place[1:3]] == name]
    assert sorted(place for places in events.values() for place in places) == log.events
    assert sorted(dead) == log.dead


def test_a_partition_is_always_in_the_same_lane_and_a_topic_spread_over_all() -> None:
    """Kept positions hang on it: lanes of the past, computed once."""
    lanes = lane_names(4)
    assert [lanes.index(lane_of(("orders", number), lanes)) for number in range(6)] == [2, 3, 0, 1, 2, 3]
    assert [lanes.index(lane_of((topic, 0), lanes)) for topic in ("erp", "supply", "Köln")] == [1, 0, 3]


# --- killed and resumed --------------------------------------------------------------------------------------------


class Kept(NamedTuple):
    """What was there at a snapshot."""

    state: bytes | None
    events: int
    dead: int
    watermark_us: int


def check_state(state: bytes, log: Written, job: Job, name: str) -> None:
    """A snapshot is where the lane has come to: behind what was released of each partition, and behind nothing else."""
    decoded = msgspec.msgpack.decode(state, type=KafkaLaneState)
    assert decoded.lane.released_us == job.watermarks[name]
    assert decoded.topics in ([], sorted(log.topics))
    done = dict.fromkeys(log.messages, 0)
    for one in [*job.events[name], *job.dead[name]]:
        done[one.topic, one.partition] += 1
    kept = {}
    for partition, at in decoded.lane.partitions.items():
        topic, _, number = partition.rpartition("/")
        kept[topic, int(number)] = at.position
    assert kept == {place: count for place, count in done.items() if place in kept}
    assert all(place in kept for place, count in done.items() if count)


def read_killed(broker: Broker, log: Written, kill_every: int, keep_every: int, chance: random.Random) -> int:
    """Read all of a log with lanes that are killed at every k-th release, and now and then when they have nothing.

    What they gave since the last snapshot is forgotten, as the engine forgets it. Gives how often they were killed.
    """
    with Job(broker.bootstrap, log.topics, lanes=2, batch=3, buffer=10) as job:
        kept = {name: Kept(None, 0, 0, BEGIN_OF_TIME_US) for name in job.lanes}
        kills = 0
        for name in job.lanes:
            releases = 0
            end = time.monotonic() + 20
            while job.watermarks[name] < DAY + 11 * HOUR_US:
                assert time.monotonic() < end
                merged = job.next(name)
                if merged is None or not (merged.events or merged.dead):
                    time.sleep(0.001)
                    if chance.random() > 0.01:
                        continue
                else:
                    releases += 1
                    if releases % keep_every == 0:
                        state = job.lanes[name].snapshot()
                        check_state(state, log, job, name)
                        sizes = len(job.events[name]), len(job.dead[name])
                        kept[name] = Kept(state, *sizes, job.watermarks[name])
                    if releases % kill_every:
                        continue
                job.lanes[name].close()
                last = kept[name]
                del job.events[name][last.events :], job.dead[name][last.dead :]
                job.watermarks[name] = last.watermark_us - 1  # a lane says first how far it is, after a resume, too
                job.lanes[name] = job.open(name, last.state)
                kills += 1
        for events in job.events.values():
            assert [one.position for one in events] == sorted(one.position for one in events)
        assert sorted(one.position for events in job.events.values() for one in events) == log.events
        assert sorted(named(one) for letters in job.dead.values() for one in letters) == log.dead
    return kills


@pytest.mark.parametrize(("kill_every", "keep_every"), [(1, 1), (2, 1), (3, 1), (5, 3)])
def test_killed_and_resumed_anywhere_nothing_is_lost_or_repeated(
    kill_every: int, keep_every: int, broker: Broker, logs: list[Written]
) -> None:
    chance = random.Random(kill_every)
    kills = 0
    while kills < 20:
        kills += read_killed(broker, chance.choice(logs), kill_every, keep_every, chance)


def test_state_of_another_shape_is_refused_in_words(broker: Broker) -> None:
    topic = made(broker, "shape", [happened(DAY)])
    place = f"{topic}/0"
    of_files = LaneState(1, 0, {"orders.jsonl/0": PartitionState(1, 0, 0, 0, None)})
    with Job(broker.bootstrap, [topic]) as job:
        for broken in (b"", b"\xc1", msgspec.msgpack.encode({"lane": 1}), msgspec.msgpack.encode(of_files)):
            with pytest.raises(StateError, match=r"a kept position can't be read: .*new recovery directory"):
                job.open(job.names[0], broken)
        later = KafkaLaneState(LaneState(99, 0, {}), [])
        with pytest.raises(StateError, match="lane state of version 99; this code reads 1"):
            job.open(job.names[0], msgspec.msgpack.encode(later))
        later = KafkaLaneState(LaneState(1, 0, {place: PartitionState(99, 0, 0, 0, None)}), [topic])
        job.lane.close()
        job.lanes[job.names[0]] = job.open(job.names[0], msgspec.msgpack.encode(later))
        with pytest.raises(StateError, match="partition state of version 99; this code reads 1"):
            job.until(lambda: False, "the partition to be opened")


# --- where to begin ------------------------------------------------------------------------------------------------


def minutes(count: int, after_us: int = DAY) -> list[Message]:
    return [happened(after_us + index * MINUTE_US) for index in range(count)]


def test_earliest_begins_with_the_first_message(broker: Broker) -> None:
    topic = made(broker, "earliest", minutes(5), [])
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(DAY + HOUR_US)
        assert offsets(job.released) == [0, 1, 2, 3, 4]


def test_latest_begins_behind_what_was_there_and_later_partitions_with_their_first_message(broker: Broker) -> None:
    """Tansu takes the first message of the last batch for the last of all when asked where the log ends, so `latest`
    begins up to one batch early there. Here the last message is a batch of its own, which makes its answer right."""
    topic, later = made(broker, "latest", minutes(5)), topic_of(broker, "later")
    write(broker, topic, 0, [happened(DAY + HOUR_US)])
    with Job(broker.bootstrap, [topic, later], begin="latest") as job:
        job.until_past(DAY + 2 * HOUR_US)
        write(broker, topic, 0, [happened(job.clock.us() // 1_000 * 1_000)])
        broker.create(later, 1)
        write(broker, later, 0, [happened(DAY)])
        job.until(lambda: len(job.released) == 2, "what came since")
        assert {(one.topic, one.offset) for one in job.released} == {(topic, 6), (later, 0)}
        assert max(job.told.missed, key=len) == [later]


def test_latest_begins_at_most_a_batch_early(broker: Broker) -> None:
    """The bound on what tansu's low answer costs: what is read too much is of the last batch."""
    topic = made(broker, "batch", minutes(5))
    write(broker, topic, 0, minutes(7, DAY + HOUR_US))
    with Job(broker.bootstrap, [topic], begin="latest") as job:
        job.until_past(DAY + 2 * HOUR_US)
        assert offsets(job.released) == [*range(12)][12 - len(job.released) :]
        assert len(job.released) < 7


@pytest.mark.parametrize(
    ("at_us", "first"), [(DAY - HOUR_US, 0), (DAY + 90 * SECOND_US, 2), (DAY + 2 * MINUTE_US, 2), (DAY + HOUR_US, 5)]
)
def test_a_time_begins_with_the_first_message_from_then_on(apache: ApacheKafka, at_us: int, first: int) -> None:
    """Tansu does not know offsets by time: it answers 0 to every time."""
    topic = made(apache, "time", minutes(5))
    with Job(apache.bootstrap, [topic], begin="timestamp", begin_at_us=at_us) as job:
        job.until_past(DAY + HOUR_US)
        write(apache, topic, 0, [happened(job.clock.us() // 1_000 * 1_000)])
        job.until(lambda: 5 in offsets(job.released), "what came since")
        assert offsets(job.released) == [*range(first, 6)]


def test_partitions_that_are_added_are_read_from_their_first_message(apache: ApacheKafka) -> None:
    """Tansu can't add partitions to a topic."""
    topic = made(apache, "grows", minutes(5))
    with Job(apache.bootstrap, [topic], begin="latest") as job:
        job.until_past(DAY + HOUR_US)
        apache.grow(topic, 3)
        for number in (1, 2):
            write(apache, topic, number, minutes(2))
        job.until(lambda: len(job.released) == 4, "the new partitions")
        assert {(one.partition, one.offset) for one in job.released} == {(1, 0), (1, 1), (2, 0), (2, 1)}
        kept = job.snapshots()
    apache.grow(topic, 4)
    write(apache, topic, 3, minutes(2))
    with Job(apache.bootstrap, [topic], begin="latest", kept=kept) as job:  # it came while no job ran
        job.until(lambda: len(job.released) == 2, "the new partition")
        assert {(one.partition, one.offset) for one in job.released} == {(3, 0), (3, 1)}


def test_a_partition_that_is_not_there_keeps_no_other_from_being_begun(broker: Broker) -> None:
    topic = made(broker, "asked", minutes(3))
    with Job(broker.bootstrap, [topic], mine=[]) as job:
        assert job.watch.begin_of((topic, 9), "earliest") is None
        wait_for(lambda: job.watch.begin_of((topic, 0), "earliest") == 0, "the partition that is there")
        assert job.watch.begin_of((topic, 9), "earliest") is None
        assert job.told.unreached == []


def test_stored_begins_where_a_former_job_had_committed_and_else_with_the_first_message(broker: Broker) -> None:
    topic = made(broker, "stored", minutes(10), minutes(3, DAY + 30 * MINUTE_US))
    with Job(broker.bootstrap, [topic], begin="stored", idle_grace_us=NEVER_US) as job:
        job.until(lambda: len(job.released) == 9, "all but the last of the partition that holds the other back")
        job.lane.snapshot()
        job.lane.snapshot()
        wait_for(lambda: job.stored(broker) == {(topic, 0): 9, (topic, 1): 0}, "the commit")
    with Job(broker.bootstrap, [topic], begin="stored", group=job.group) as resumed:
        resumed.until_past(DAY + HOUR_US)
        assert [(one.partition, one.offset) for one in resumed.released] == [(0, 9), (1, 0), (1, 1), (1, 2)]
    with Job(broker.bootstrap, [topic], begin="stored") as other:
        other.until_past(DAY + HOUR_US)
        assert len(other.released) == 13


def test_a_topic_that_is_new_beside_kept_state_begins_as_set_and_one_that_is_away_stays_kept(broker: Broker) -> None:
    old, new = made(broker, "old", minutes(3)), made(broker, "new", minutes(3))
    write(broker, new, 0, [happened(DAY + HOUR_US)])
    with Job(broker.bootstrap, [old]) as job:
        job.until_past(DAY + HOUR_US)
        kept = job.snapshots()
    write(broker, old, 0, [happened(DAY + 3 * HOUR_US)])
    with Job(broker.bootstrap, [new], kept=kept, begin="latest") as job:
        job.until(lambda: job.told.answers > 3, "the topic to be listed")
        kept = job.snapshots()
        assert job.released == []
        assert set(msgspec.msgpack.decode(kept[job.names[0]], type=KafkaLaneState).lane.partitions) >= {f"{old}/0"}
    write(broker, new, 0, [happened(DAY + 3 * HOUR_US)])
    with Job(broker.bootstrap, [old, new], kept=kept, begin="latest") as job:
        job.until(lambda: len(job.released) == 2, "what came since")
        assert {(one.topic, one.offset) for one in job.released} == {(old, 3), (new, 4)}


# --- held back -----------------------------------------------------------------------------------------------------


def buffered(lane: KafkaLane) -> list[int]:
    """Of each partition, once it is begun, by its number."""
    return [lane._feeds[place].queue.buffered for place in sorted(lane._feeds)]


def paused(lane: KafkaLane) -> list[Place]:
    return [place for place, feed in lane._feeds.items() if feed.paused]


def test_a_partition_far_ahead_is_paused_and_comes_in_order_when_the_other_moves_on(broker: Broker) -> None:
    seconds = [happened(DAY + HOUR_US + index * SECOND_US) for index in range(3_000)]
    topic = made(broker, "ahead", seconds, [happened(DAY)])
    batch, buffer = 70, 200
    with Job(broker.bootstrap, [topic], idle_grace_us=NEVER_US, batch=batch, buffer=buffer) as job:
        ahead, slow = (topic, 0), (topic, 1)

        def bounded() -> bool:
            assert max(buffered(job.lane), default=0) < buffer + batch
            return paused(job.lane) == [ahead]

        job.until(bounded, "the partition ahead to be paused")
        held = buffered(job.lane)[0]
        assert held >= buffer
        for minute in range(1, 4):  # that these come shows that the client library goes on fetching
            write(broker, topic, 1, [happened(DAY + minute * MINUTE_US)])
            job.until(lambda count=minute: len(job.released) == count, "the slow partition")
            assert buffered(job.lane) == [held, 1]
        job.clock.ahead_us += SECOND_US
        job.step()  # a report is due
        assert job.told.reports[job.names[0]].holding == [slow]
        assert [feed.place for feed in job.told.reports[job.names[0]].feeds if feed.paused] == [ahead]
        write(broker, topic, 1, [happened(DAY + HOUR_US + 2_000 * SECOND_US + SECOND_US // 2)])
        job.until(lambda: len(job.released) == 4 + 2_001 and bounded() in {True, False}, "what the other let go of")
        write(broker, topic, 1, [happened(DAY + 11 * HOUR_US)])
        job.until(lambda: len(job.released) == 5 + 2_999 and bounded() in {True, False}, "all but the last")
        positions = [one.position for one in job.released]
        assert positions == sorted(positions)
        assert [one.offset for one in job.released if one.partition == 0] == [*range(2_999)]


def test_more_messages_of_one_time_than_the_buffer_holds_do_not_stop_their_lane(broker: Broker) -> None:
    """They are released together, so all of them must be read first; a log-append time is that of a whole batch."""
    topic = made(broker, "ties", [(event(index, DAY), DAY) for index in range(1_000)], [happened(DAY + HOUR_US)])
    write(broker, topic, 0, [happened(DAY + HOUR_US)])
    with Job(broker.bootstrap, [topic], idle_grace_us=NEVER_US, batch=50, buffer=100) as job:
        job.until(lambda: len(job.released) == 1_000, "messages of one time")


def test_what_is_ahead_of_the_last_listing_waits_in_bounds(broker: Broker) -> None:
    """A producer whose clock is ahead: the lane waits for its own, and the partition is paused meanwhile."""
    topic = made(broker, "future", [happened(NOON + 2 * MINUTE_US + index * 1_000) for index in range(500)])
    with Job(broker.bootstrap, [topic], batch=50, buffer=100) as job:

        def bounded() -> bool:
            assert sum(buffered(job.lane)) < 150
            return paused(job.lane) == [(topic, 0)]

        job.until(bounded, "the partition to be paused")
        assert job.released == []
        job.clock.ahead_us = 3 * MINUTE_US
        job.until(lambda: len(job.released) == 500, "time to come")


def test_a_partition_at_its_end_holds_nothing_back_after_a_while_but_a_broker_that_does_not_answer_does(
    broker: Broker,
) -> None:
    """With a wide `discover`, so that it is the proof alone that holds the lane back."""
    assert broker.pid
    grace_us = 10 * SECOND_US
    topic = made(broker, "idle", [happened(DAY)], [happened(DAY)])
    with Job(broker.bootstrap, [topic], idle_grace_us=grace_us, discover_us=DAY_US) as job:
        job.until_past(NOON - grace_us - SECOND_US)
        write(broker, topic, 1, [happened(job.clock.us() // 1_000 * 1_000)])
        job.until(lambda: buffered(job.lane) == [0, 1], "the message")
        assert len(job.released) == 2
        job.clock.ahead_us += grace_us + SECOND_US
        job.until(lambda: len(job.released) == 3, "the partition at its end to let go")

        write(broker, topic, 1, [happened(job.clock.us() // 1_000 * 1_000)])
        job.until(lambda: buffered(job.lane) == [0, 1], "the message")
        with frozen(broker):
            for _ in range(200):
                job.clock.ahead_us += SECOND_US
                job.step()
            assert len(job.released) == 3
            assert job.watermarks[job.names[0]] < job.clock.us() - 190 * SECOND_US
            assert job.told.reports[job.names[0]].holding == [(topic, 0)]
        job.until(lambda: len(job.released) == 4, "the broker to answer")
        assert [one.offset for one in job.released if one.partition == 1] == [0, 1, 2]


def test_a_message_older_than_the_time_its_idle_partition_had_reached_arrives_at_that_time(broker: Broker) -> None:
    topic = made(broker, "older", [happened(DAY)])
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(NOON)
        reached_us = job.watermarks[job.names[0]]
        write(broker, topic, 0, [happened(DAY + HOUR_US)])
        job.until(lambda: len(job.released) == 2, "the old message")
        late = job.released[-1]
        assert late.arrival_us >= reached_us
        assert late.occurred_us == DAY + HOUR_US


def test_ends_of_transactions_are_no_messages_and_hold_nothing_back(apache: ApacheKafka) -> None:
    """The log goes on behind the last message then, by the marker. Tansu's transactions are not tried here."""
    topic = made(apache, "transactions", [], minutes(2, DAY + HOUR_US))
    producer = Producer(
        {"bootstrap.servers": apache.bootstrap, "transactional.id": topic, "log_level": 0, "partitioner": "consistent"}
    )
    producer.init_transactions(30)
    for number, commit in enumerate((True, False, True, False)):
        producer.begin_transaction()
        at_us = DAY + number * MINUTE_US
        producer.produce(topic, event(number, at_us), partition=0, timestamp=at_us // 1_000)
        assert producer.flush(30) == 0
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    with Job(apache.bootstrap, [topic]) as job:
        job.until_past(DAY + 2 * HOUR_US)
        assert [(one.partition, one.offset) for one in job.released] == [(0, 0), (0, 4), (1, 0), (1, 1)]
        kept = msgspec.msgpack.decode(job.snapshots()[job.names[0]], type=KafkaLaneState)
        assert kept.lane.partitions[f"{topic}/0"].position == 8


def test_a_lane_that_waits_for_others_takes_nothing_but_begins_new_partitions(broker: Broker) -> None:
    topic = made(broker, "waits", minutes(3))
    with Job(broker.bootstrap, [topic]) as job:

        def waits() -> bool:
            job.lane.wait()
            return bool(job.told.reports) and len(job.told.reports[job.names[0]].feeds) == 1

        wait_for(waits, "the partition to be begun")
        ready_us = (
            job.clock.us() + SECOND_US // 5
        )  # the messages, and that there are no more, wait in the client library
        wait_for(lambda: waits() and job.clock.us() > ready_us, "the client library")
        assert buffered(job.lane) == [0]
        job.until_past(DAY + HOUR_US)
        assert offsets(job.released) == [0, 1, 2]


def test_a_lane_without_partitions_goes_with_the_clock_no_further_than_the_topics_were_listed(broker: Broker) -> None:
    topic = made(broker, "none", minutes(3))
    with Job(broker.bootstrap, [topic], lanes=3) as job:
        job.until_past(NOON)
        assert sorted(map(len, job.events.values())) == [0, 0, 3]
        with frozen(broker):
            for _ in range(100):
                job.clock.ahead_us += SECOND_US
                job.step()
            assert max(job.watermarks.values()) < job.clock.us() - 95 * SECOND_US
        job.until_past(job.clock.us() - SECOND_US)


# --- the broker is away ----------------------------------------------------------------------------------------------


def test_a_broker_that_is_down_at_first_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_module, "_ANSWER_S", 0.2)
    late = Broker(free_port())
    if late._given:
        pytest.skip("the server that is given is up")
    topic = late.topic("orders")
    with Job(late.bootstrap, [topic]) as job:
        job.until(lambda: len(job.told.unreached) > 1, "the broker to be missed")
        assert not job.told.answers
        assert not job.released
        job.until(lambda: bool(job.told.troubles), "the client library to tell of it")
        with late:
            late.create(topic, 1)
            write(late, topic, 0, minutes(3))
            job.until(lambda: len(job.released) == 3, "the messages")
            assert offsets(job.released) == [0, 1, 2]
            assert job.told.answers


def test_topics_that_do_not_exist_yet_are_told_once_and_found(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    topic, absent = made(broker, "there", minutes(1)), topic_of(broker, "absent")
    caplog.set_level("INFO", "andon.source")
    clock = Clock()
    watch = JobWatch(Telemetry(0, stalled_after_s=60, limit=InputLimit(60, 1.0)), Stop(), clock.us, 8.0)
    with Job(broker.bootstrap, [topic, absent], told_of_topics=watch) as job:
        job.until_past(NOON + SECOND_US // 2)  # listed ten times
        assert caplog.messages == [f"waiting for topics that do not exist yet: {absent}"]
        broker.create(absent, 1)
        write(broker, absent, 0, minutes(1))
        job.until(lambda: len(job.released) == 2, "the topic to be found")
        wait_for(lambda: len(caplog.messages) > 1, "the topic to be told of")
        assert caplog.messages[1:] == ["all topics exist now"]


@pytest.mark.parametrize("away", ["frozen", "gone"])
def test_closing_does_not_wait_for_a_broker_that_is_away(away: str, broker: Broker) -> None:
    """Ten seconds are given to an answer; a stop has less."""
    bootstrap = broker.bootstrap if away == "frozen" else f"127.0.0.1:{free_port()}"
    job = Job(bootstrap, ["orders"])
    if away == "frozen":
        wait_for(lambda: job.told.answers > 0, "the broker")
    with frozen(broker) if away == "frozen" else nullcontext():
        for _ in range(50):
            job.step()
        job.snapshots()
        job.snapshots()
        began = time.monotonic()
        with job:
            pass
        assert time.monotonic() - began < 3


# --- positions that are not in the log -----------------------------------------------------------------------------


def state_at(topic: str, position: int) -> dict[str, bytes]:
    """What the only lane kept when it stood at `position` of partition 0."""
    kept = KafkaLaneState(
        LaneState(1, int(DAY), {f"{topic}/0": PartitionState(1, position, position - 1, int(DAY), None)}), [topic]
    )
    return {lane_names(1)[0]: msgspec.msgpack.encode(kept)}


def test_a_position_beyond_the_end_of_the_log_stops_the_job_with_words(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apache Kafka says so; tansu says nothing at all, and it is seen by its silence."""
    monkeypatch.setattr(lane_module, "_SILENT_US", SECOND_US // 5)
    monkeypatch.setattr(lane_module, "_REPORT_US", SECOND_US // 20)
    topic = made(broker, "short", minutes(5))
    words = f"{topic}/0: the job stands at offset 100, but the log ends at 5: .*another kafka.group"
    with Job(broker.bootstrap, [topic], kept=state_at(topic, 100)) as job, pytest.raises(SourceError, match=words):
        job.until(lambda: False, "the end to be seen")


def test_a_position_at_the_end_of_the_log_is_no_error_however_long_nothing_comes(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "_SILENT_US", SECOND_US // 5)
    monkeypatch.setattr(lane_module, "_REPORT_US", SECOND_US // 20)
    assert broker.pid
    topic = made(broker, "end", minutes(5))
    with Job(broker.bootstrap, [topic], kept=state_at(topic, 5)) as job:
        job.until_past(NOON + SECOND_US)
        with frozen(broker):
            for _ in range(100):
                job.clock.ahead_us += SECOND_US
                job.step()
        job.until_past(job.clock.us() - SECOND_US)
        assert job.released == []


def test_messages_that_expired_unread_stop_the_job_with_words(apache: ApacheKafka) -> None:
    """Tansu does not know a beginning of the log other than 0."""
    topic = made(apache, "expired", minutes(10))
    apache.expire(topic, 0, 7)
    words = (
        f"{topic}/0: offset 4 is no longer in the log, which begins at 7: 3 messages have expired unread"
        r".*--on-expired earliest \(kafka.on_expired\)"
    )
    with Job(apache.bootstrap, [topic], kept=state_at(topic, 4)) as job, pytest.raises(SourceError, match=words):
        job.until(lambda: False, "the end of it")


def test_messages_that_expired_unread_are_passed_over_when_told_so_and_on_record(apache: ApacheKafka) -> None:
    topic = made(apache, "expires", minutes(10), minutes(3))
    with Job(apache.bootstrap, [topic], skip_expired=True, buffer=2, batch=1) as job:
        job.until(lambda: bool(job.released), "the first message")
        kept = job.snapshots()
        (position, *_) = [
            one.position
            for name, one in msgspec.msgpack.decode(kept[job.names[0]], type=KafkaLaneState).lane.partitions.items()
            if name == f"{topic}/0"
        ]
    assert position < 7
    apache.expire(topic, 0, 7)
    with Job(apache.bootstrap, [topic], skip_expired=True, kept=kept) as job:
        job.until_past(DAY + HOUR_US)
        (letter,) = job.dead[job.names[0]]
        assert (letter.topic, letter.partition, letter.offset, letter.reason) == (topic, 0, position, "transport")
        assert letter.detail == f"offsets {position} to 6 had expired before they were read"
        assert letter.raw == b""
        assert job.told.passed == [((topic, 0), position, 6)]
        assert [one.offset for one in job.released if one.partition == 0] == [7, 8, 9]
        state = msgspec.msgpack.decode(job.snapshots()[job.names[0]], type=KafkaLaneState)
        assert state.lane.partitions[f"{topic}/0"].position == 10


def test_messages_that_expire_under_a_job_that_reads_are_passed_over(apache: ApacheKafka) -> None:
    """Held back while they expire: what is read already is not lost, and nothing is read twice."""
    topic = made(apache, "expiring", minutes(300, DAY + HOUR_US), [happened(DAY)])
    settings = {"skip_expired": True, "idle_grace_us": NEVER_US, "buffer": 100, "batch": 50}
    with Job(apache.bootstrap, [topic], **settings) as job:
        job.until(lambda: paused(job.lane) == [(topic, 0)], "a pause")
        read = job.lane._feeds[topic, 0].next_offset
        apache.expire(topic, 0, 250)
        write(apache, topic, 1, [happened(DAY + 10 * HOUR_US)])
        job.until(lambda: bool(job.told.passed), "the end of what had been read")
        (passed,) = job.told.passed
        assert passed == ((topic, 0), read, 249)
        write(apache, topic, 0, [happened(DAY + 11 * HOUR_US)])
        job.until(lambda: 299 in [one.offset for one in job.released if one.partition == 0], "the rest")
        assert [one.offset for one in job.released if one.partition == 0] == [*range(read), *range(250, 300)]


def test_a_broker_that_refuses_the_topic_stops_the_job_with_words(broker: Broker) -> None:
    """No broker at hand refuses anybody: the answer is put in the client library's place."""

    class Refused:
        def topic(self) -> str:
            return "orders"

        def partition(self) -> int:
            return 0

    with Job(broker.bootstrap, ["orders"]) as job:
        error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        with pytest.raises(
            SourceError, match=r"orders: the broker refuses to let andon-test-\w+ read it .*; grant READ"
        ):
            job.lane._take_error(Refused(), error)


# --- what the consumer group is told -------------------------------------------------------------------------------


def test_the_group_is_told_of_a_snapshot_when_the_next_one_is_asked_for_and_never_before(broker: Broker) -> None:
    topic = made(broker, "group", minutes(30))
    with Job(broker.bootstrap, [topic], batch=3, idle_grace_us=NEVER_US) as job:
        kept = []
        for count in (5, 12, 20, 29):
            job.until(lambda count=count: len(job.released) >= count, "messages")
            told = len(job.told.commits)
            state = msgspec.msgpack.decode(job.snapshots()[job.names[0]], type=KafkaLaneState)
            kept.append(state.lane.partitions[f"{topic}/0"].position)
            if len(kept) > 1:
                wait_for(lambda told=told: len(job.told.commits) > told, "the commit")
            assert job.stored(broker) == ({(topic, 0): kept[-2]} if len(kept) > 1 else {})
        assert len(set(kept)) == 4
        assert set(job.told.commits) == {None}
        snapshot = job.lane.snapshot()
    with Job(broker.bootstrap, [topic], kept={job.names[0]: snapshot}, group=job.group) as resumed:
        resumed.snapshots()
        wait_for(lambda: bool(resumed.told.commits), "the commit")
        assert resumed.stored(broker) == {(topic, 0): 29}, "what is resumed from is known to be kept"


def test_what_the_last_snapshot_made_known_is_committed_at_a_stop(broker: Broker) -> None:
    """Here the one who commits is busy with the commit before, until the job is being closed."""

    class Busy(Told):
        def committed(self, error: str | None) -> None:
            super().committed(error)
            wait_for(lambda: job.watch._closed, "the job to be closed")

    topic = made(broker, "stops", minutes(30))
    with Job(broker.bootstrap, [topic], batch=3, idle_grace_us=NEVER_US, told=Busy()) as job:
        for count in (5, 29):
            job.until(lambda count=count: len(job.released) >= count, "messages")
            job.snapshots()
            job.snapshots()
            wait_for(lambda: bool(job.told.commits), "the first commit")
        assert len(job.told.commits) == 1
    assert job.stored(broker) == {(topic, 0): 29}


def test_a_commit_that_fails_is_told_and_harms_nothing(broker: Broker) -> None:
    """The broker has no such topic (any more), so it takes no offset for it; the other's it takes."""
    topic, gone = made(broker, "commits", minutes(3)), topic_of(broker, "gone")
    kept = state_at(gone, 4)
    with Job(broker.bootstrap, [topic], kept=kept) as job:
        job.until_past(DAY + HOUR_US)
        job.snapshots()
        job.snapshots()
        job.until(lambda: any(job.told.commits), "the failure")
        assert "Unknown topic" in next(why for why in job.told.commits if why)
        wait_for(lambda: job.stored(broker).get((topic, 0)) == 3, "the commit")
        write(broker, topic, 0, [happened(DAY + HOUR_US)])
        job.until(lambda: len(job.released) == 4, "the next message")


# --- what can't be used ----------------------------------------------------------------------------------------------


def test_what_cannot_be_used_says_where_it_was_and_why(broker: Broker) -> None:
    ahead_us = NOON + 2 * HOUR_US
    messages: list[Message] = [
        happened(DAY + SECOND_US),
        (None, DAY + 2 * SECOND_US),
        (b"", DAY + 3 * SECOND_US),
        (b'{"type": "queue.depth"', DAY + 4 * SECOND_US),
        (b'{"type": "queue.depth"}', DAY + 5 * SECOND_US),
        (event(6, ahead_us), ahead_us),
        (event(7, DAY + HOUR_US), DAY + 7 * SECOND_US),
        (event(8, DAY), DAY + RULES.max_past_us),
        happened(DAY + 9 * SECOND_US),
    ]
    topic = made(broker, "unusable", messages)
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(NOON - SECOND_US)
        letters = {one.offset: one for one in job.dead[job.names[0]]}
        assert {(one.topic, one.partition) for one in letters.values()} == {(topic, 0)}
        assert {offset: one.reason for offset, one in letters.items()} == {
            1: "transport",
            2: "transport",
            3: "transport",
            4: "schema",
            5: "rule",
            6: "rule",
            7: "rule",
        }
        assert [letters[offset].raw for offset in (1, 2, 3)] == [b"", b"", messages[3][0]]
        assert letters[5].path == "$.recorded_at"
        assert "is ahead of the clock of the machine that reads it" in letters[5].detail
        assert "ahead of its arrival" in letters[6].detail
        assert offsets(job.released) == [0, 8]


def test_the_timestamp_of_what_is_refused_moves_its_partitions_time_but_not_one_that_is_ahead_of_the_clock(
    broker: Broker,
) -> None:
    ahead_us = NOON + 2 * HOUR_US
    topic = made(
        broker,
        "moves",
        [(b"[", DAY + HOUR_US), happened(DAY), (None, DAY + 2 * HOUR_US), happened(DAY + 1_000)],
        [(event(0, ahead_us), ahead_us), happened(DAY + SECOND_US)],
    )
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(NOON - SECOND_US)
        assert [one.position[::3] for one in job.released] == [
            (DAY + SECOND_US, 1),
            (DAY + HOUR_US, 1),
            (DAY + 2 * HOUR_US, 3),
        ]
        seen = {(one.partition, one.offset): one.seen_at_us for one in job.dead[job.names[0]]}
        assert seen == {(0, 0): DAY + HOUR_US, (0, 2): DAY + 2 * HOUR_US, (1, 0): 0}


def test_messages_without_a_timestamp_arrive_when_they_say_that_they_were_recorded(broker: Broker) -> None:
    topic = made(broker, "timeless", [])
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    recorded = msgspec.json.decode(event(1, DAY + SECOND_US)) | {"recorded_at": rfc3339(DAY + MINUTE_US)}
    for value in (event(0, DAY), msgspec.json.encode(recorded)):
        producer.produce(topic, value, partition=0, timestamp=-1)
    assert producer.flush(30) == 0
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(DAY + HOUR_US)
        assert [one.position for one in job.released] == [(DAY, topic, 0, 0), (DAY + MINUTE_US, topic, 0, 1)]
