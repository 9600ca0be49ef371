"""The feed of `latency_played.py`: a clock of its own, and what stands in for the broker and its client library."""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from confluent_kafka import KafkaError, Message, TopicPartition
from soak_load import Feed, Player, Told

from dataflows.kafka.topics import Listing, Place
from scenarios.journal import Stamps
from schemas.durations import HOUR_US, SECOND_US, Instant

BEGIN_US = int(Instant.parse("2026-03-02T06:00:00Z"))
#: From a producer to the client library, and until a partition at its end says so.
_FETCH_US, _END_US = 40_000, 20_000


class Clock:
    """Processor time of this thread from `BEGIN_US` on, and what was leapt over."""

    def __init__(self, slower: float) -> None:
        self._slower, self._began_s, self._leapt_s = slower, time.thread_time(), 0.0

    def s(self) -> float:
        """Seconds since the begin."""
        return (time.thread_time() - self._began_s) * self._slower + self._leapt_s

    def us(self) -> int:
        """Microseconds since 1970."""
        return BEGIN_US + round(self.s() * SECOND_US)

    def __call__(self) -> datetime:
        """The wall clock, for whoever wants one."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.us())

    def leap(self, seconds: float) -> None:
        """Wait."""
        self._leapt_s += max(seconds, 0.0)


class Recorder(Player):
    """Writes the feed down instead of sending it."""

    def __init__(self, feed: Feed, log: dict[Place, list[tuple[int, bytes]]]) -> None:
        self._feed, self._stamp, self._begin_us, self._log = feed, Stamps(), BEGIN_US, log
        self.told = Told(injected=dict.fromkeys(("transport", "schema", "rule"), 0))

    def record(self, seconds: float) -> None:
        """What is sent within so many seconds."""
        for at, zone, wave, line in self._due():
            if at >= BEGIN_US + seconds * SECOND_US:
                return
            self._send(zone, wave, line, at)

    def _produce(self, topic: str, partition: int, value: bytes, now_us: int) -> None:
        self._log.setdefault((topic, partition), []).append((now_us, value))
        self.told.sent += 1


class PlayedConsumer:
    """Stands in for the client library's: a message is there `_FETCH_US` after it was sent."""

    def __init__(self, log: dict[Place, list[tuple[int, bytes]]], clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._next: dict[Place, int] = {}
        self._asked_us: dict[Place, int | None] = {}
        self._paused: set[Place] = set()

    def consume(self, count: int, timeout: float) -> list[Message]:
        """As the library: what has come of each partition in a run, then what has come to its end."""
        del timeout
        now_us, found = self._clock.us(), list[Message]()
        for place, first in self._next.items():
            if place in self._paused or len(found) >= count:
                continue
            log, at = self._log[place], first
            while at < len(log) and log[at][0] + _FETCH_US <= now_us and len(found) < count:
                sent_us, value = log[at]
                found.append(Message(*place, offset=at, value=value, timestamp=(1, sent_us // 1_000)))
                at += 1
            self._next[place] = at
            asked_us = self._asked_us[place]
            if at > first:
                self._asked_us[place] = now_us
            elif asked_us is not None and now_us >= asked_us + _END_US:
                self._asked_us[place] = None
                found.append(Message(*place, offset=at, error=KafkaError(KafkaError._PARTITION_EOF)))  # noqa: SLF001
        return found

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        """As the library."""
        for one in partitions:
            self._next[one.topic, one.partition], self._asked_us[one.topic, one.partition] = one.offset, 0

    def seek(self, partition: TopicPartition) -> None:
        """As the library; whoever seeks asks whether there is more."""
        self._asked_us[partition.topic, partition.partition] = self._clock.us()

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """As the library."""
        self._paused |= {(one.topic, one.partition) for one in partitions}

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """As the library."""
        self._paused -= {(one.topic, one.partition) for one in partitions}

    def get_watermark_offsets(self, partition: TopicPartition, *, cached: bool) -> tuple[int, int]:
        """As the library, which does not know the end."""
        del partition, cached
        return 0, -1


class PlayedTopics:
    """Stands in for the one who lists the topics."""

    def __init__(self, log: Iterable[Place]) -> None:
        counts: dict[str, int] = {}
        for topic, number in log:
            counts[topic] = max(counts.get(topic, 0), number + 1)
        self.listing = Listing(BEGIN_US + HOUR_US, counts)

    def begin_of(self, place: Place, begin: str) -> int:
        """All from the first message on."""
        del place, begin
        return 0

    def commit(self, offsets: object) -> None:
        """To nobody."""
        del offsets


class Untold:
    """Is told of lanes, and tells nobody."""

    def lane_state(self, report: object) -> None:
        """As `LaneWatch`."""

    def trouble(self, lane: str, why: str) -> None:
        """As `LaneWatch`."""

    def passed_over(self, lane: str, place: Place, first: int, last: int) -> None:
        """As `LaneWatch`."""
