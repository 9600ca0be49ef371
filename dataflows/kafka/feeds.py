"""One partition of a lane: where it stands, what is said when it can't go on, and who is told how lanes do."""

from collections.abc import Sequence
from typing import Protocol
from zlib import crc32

import msgspec
from confluent_kafka import TopicPartition

from dataflows.kafka.topics import Place
from operators.partitions import PartitionQueue
from schemas.durations import people_duration
from schemas.rows import DeadLetter


def name_of(place: Place) -> str:
    """`orders/3`."""
    return f"{place[0]}/{place[1]}"


class Feed:
    """One partition: its queue, and what is known of where it stands.

    `next_offset` is that of the message to be read next. `asked_us` is when the broker was last asked whether there is
    more, `ended_us` the time as of which there was none; `heard_us` is when messages last came.
    """

    def __init__(self, place: Place, queue: PartitionQueue, offset: int, asked_us: int) -> None:
        self.place = place
        self.queue = queue
        self.next_offset = offset
        self.asked_us = self.heard_us = asked_us
        self.ended_us = self._alone_us = 0
        self.answered = False
        self.paused = False

    def pass_over(self, offset: int) -> None:
        """What is to be read next is at `offset`: there is no message in between."""
        self.next_offset = offset
        self.queue.read_to(offset, offset - 1)
        if not self.queue.buffered:
            self.queue.position, self.queue.offset = offset, offset - 1

    def alone_for_us(self, now_us: int, *, is_alone: bool) -> int:
        """For how long the broker has told others of it, and nothing to this lane."""
        if not is_alone:
            self._alone_us = 0
        elif not self._alone_us:
            self._alone_us = now_us
        return now_us - self._alone_us if self._alone_us else 0

    def begin_anew(self, now_us: int) -> None:
        """A new client reads it from `next_offset` on."""
        self.asked_us = self.heard_us = now_us
        self._alone_us = 0
        self.answered = self.paused = False

    def partition(self, offset: int | None = None) -> TopicPartition:
        """As the client library names it."""
        return TopicPartition(*self.place) if offset is None else TopicPartition(*self.place, offset)


class LaneReport(msgspec.Struct, frozen=True):
    """How a lane stands: its partitions, those that hold it back, and where the log ends as far as that is known."""

    lane: str
    now_us: int
    feeds: list[Feed]
    holding: list[Place]
    ends: dict[Place, int]


def lane_of(place: Place, lanes: Sequence[str]) -> str:
    """The lane that a partition belongs to."""
    topic, number = place
    return lanes[(crc32(topic.encode()) + number) % len(lanes)]


class LaneWatch(Protocol):
    """Who is told how a lane does (metrics, logs)."""

    def lane_state(self, report: LaneReport) -> None:
        """How it stands, about once a second."""

    def trouble(self, lane: str, why: str) -> None:
        """The client library reports what it will get over by itself."""

    def renewed(self, lane: str) -> None:
        """Its client had no answer for long, and was made anew."""

    def passed_over(self, lane: str, place: Place, first: int, last: int) -> None:
        """Messages that had expired were passed over, as the settings say."""


def made_anew(topic: str) -> str:
    """What is said when the topic is another one than the job has read."""
    return (
        f"{topic}: the topic was deleted and made anew since the job has read it, so its kept positions mean nothing. "
        f"To read it from its beginning, start with a new recovery directory and another kafka.group"
    )


def not_there(places: Sequence[Place]) -> str:
    """What is said while partitions that were read are none that the broker tells of."""
    topics = ", ".join(sorted({topic for topic, _ in places}))
    return (
        f"{', '.join(map(name_of, places))}: read before, and not there now; time stands still until the broker tells "
        f"of it again, or {topics} is out of kafka.topics"
    )


def put_back(ahead_us: int) -> str:
    """What is said while the clock is behind the time that was reached."""
    words = f"time has come {people_duration(ahead_us)} further than this machine's clock, which was put back"
    return f"{words}: nothing is read and found until the clock is there again"


def beyond(name: str, offset: int, end: int) -> str:
    """What is said when the log has become shorter than what was read of it."""
    return (
        f"{name}: the job stands at offset {offset}, but the log ends at {end}: the topic was made anew, or has lost "
        f"its end. To read it from its beginning, start with a new recovery directory and another kafka.group"
    )


def expired(name: str, offset: int, low: int) -> str:
    """What is said when messages are gone that were not read."""
    return (
        f"{name}: offset {offset} is no longer in the log, which begins at {low}: {low - offset} messages have "
        f"expired unread. Bring them back, or accept that they are lost and go on with --on-expired earliest "
        f"(kafka.on_expired); they will be on record in the dead letters"
    )


def expired_letter(feed: Feed, offset: int, low: int) -> DeadLetter:
    """The record of messages that nobody will read any more."""
    return DeadLetter(
        topic=feed.place[0],
        partition=feed.place[1],
        offset=offset,
        reason="transport",
        path="",
        detail=f"offsets {offset} to {low - 1} had expired before they were read",
        source="",
        channel="",
        raw=b"",
        seen_at_us=max(feed.queue.last_us, 0),
    )
