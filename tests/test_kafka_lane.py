"""Lanes over a real broker: the order of the log, resumed anywhere, with what can't be used at its place.

The times are those of tests/kafka_lanes.py.
"""

import random
import time
from typing import NamedTuple

import msgspec
import pytest
from confluent_kafka import Producer

from dataflows.kafka.feeds import lane_of
from dataflows.kafka.positions import KafkaLaneState
from dataflows.kafka.topics import Place
from dataflows.lane import lane_names
from operators.lane_state import LaneState, PartitionState
from schemas.durations import BEGIN_OF_TIME_US, DAY_US, HOUR_US, MINUTE_US, SECOND_US, rfc3339
from schemas.errors import StateError
from schemas.rows import DeadLetter
from tests import kafka_fixtures as fixtures
from tests.kafka_broker import Broker
from tests.kafka_lanes import NOON, RULES, Job, Message, event, happened, made, offsets, topic_of, write
from tests.scripts import DAY

broker = fixtures.broker


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


def test_timestamps_of_no_calendar_are_dead_letters_and_stop_nothing(broker: Broker) -> None:
    """A producer whose library wants milliseconds, and got microseconds, nanoseconds, or anything."""
    odd_ms = [NOON, NOON * 1_000, (1 << 63) - 1]
    topic = topic_of(broker, "calendar")
    broker.create(topic, 1)
    broker.produce(topic, 0, [(event(number, DAY), at_ms) for number, at_ms in enumerate(odd_ms * 40)])
    write(broker, topic, 0, [happened(DAY + SECOND_US)])
    with Job(broker.bootstrap, [topic], batch=200) as job:
        job.until(lambda: bool(job.released), "what comes behind them")
        letters = job.dead[job.names[0]]
        assert offsets(letters) == list(range(120))
        assert offsets(job.released) == [120]
        assert all("is ahead of the clock of the machine that reads it" in letter.detail for letter in letters)


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
