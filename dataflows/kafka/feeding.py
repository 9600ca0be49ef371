"""Feeding an event log in files to Kafka, as fast or as slow as somebody wants to see it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from pathlib import Path
from typing import Literal

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from dataflows.kafka.client import admin_properties, producer_properties
from dataflows.kafka.topics import Trouble
from dataflows.settings import KafkaSettings
from schemas.durations import SECOND_US, Instant
from schemas.errors import SourceError, Stopped

#: What a message's own time is: when the log in the files got it, or the present.
Timestamps = Literal["recorded", "now"]

_ANSWER_S = 30.0
#: At most this long nothing is looked at: the broker's answers, or somebody who wants to stop.
_NAP_S = 0.05
#: How many messages are sent between two looks at the clock and at the broker's answers.
_LOOK = 200
_OURS: Mapping[str, str | int | bool] = {
    "linger.ms": 5,
    "queue.buffering.max.messages": 100_000,
    "max.in.flight.requests.per.connection": 1,  # a message that is sent again keeps its place
    "delivery.report.only.error": True,
}
#: What goes wrong is said in words of ours; the library's own lines come only where settings ask for them.
_QUIET: Mapping[str, str | int | bool] = {"log_level": 0}


class _Head(msgspec.Struct):
    """What of a message is needed to send it: its time, and what it is about."""

    occurred_at: str
    event_id: str
    recorded_at: str | None = None
    order_id: str | None = None
    reference: str | None = None
    po_id: str | None = None
    sku: str | None = None
    interface: str | None = None
    queue: str | None = None

    def key(self) -> str:
        """What it is about: messages about the same thing must stay in order, so go to the same partition."""
        about = self.order_id or self.reference or self.po_id or self.sku or self.interface or self.queue
        return about or self.event_id


_Timed = tuple[int, int, str, bytes, bytes]


class Feed:
    """Sends files of canonical events (one a topic, each sorted by `recorded_at`) in the order they were recorded.

    Args:
        settings: the broker and its client properties.
        files: topic → file.
        speed_up: so many seconds of the log pass in one of ours; 0 means as fast as the broker takes them.
        timestamps: what the messages' own time is.

    Memory: one message a topic, and what the client library buffers. Cost: about 5 µs a message beside the library's.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        files: Mapping[str, Path],
        *,
        speed_up: float,
        timestamps: Timestamps = "recorded",
    ) -> None:
        self._settings = settings
        self._files = files
        self._speed_up = speed_up
        self._timestamps = timestamps
        self._failed: KafkaError | None = None
        self.sent = 0

    def make_topics(self, partitions: int) -> None:
        """Make the topics that are missing, with so many partitions; with 0, refuse if any is missing.

        Those made keep messages whatever their time is: that of a simulated log may be long past.

        Raises:
            SourceError: the broker can't be asked, a topic is missing, or it could not be made.
        """
        trouble = Trouble()
        admin = AdminClient({**_QUIET, **admin_properties(self._settings), "error_cb": trouble})  # type: ignore[dict-item] # callbacks, too
        try:
            there = admin.list_topics(timeout=_ANSWER_S).topics
            missing = [topic for topic in self._files if topic not in there]
            if missing and not partitions:
                names = ", ".join(missing)
                raise SourceError(
                    f"{self._settings.bootstrap} has no topic {names}; --partitions N makes what is missing"
                )
            made = [NewTopic(topic, partitions, config={"retention.ms": "-1"}) for topic in missing]
            for done in admin.create_topics(made, request_timeout=_ANSWER_S).values() if made else ():
                done.result()
        except KafkaException as error:
            admin.poll(0)  # the library says why
            raise SourceError(f"can't use {self._settings.bootstrap}: {trouble.words_of(error)}") from error

    def run(self, span_us: tuple[int, int], progress: Callable[[float], None] | None = None) -> int:
        """Send everything; gives the number of messages. `span_us` is the log's begin and end.

        Ctrl-C ends it when what was sent so far is confirmed.

        Raises:
            SourceError: the broker did not take a message.
            Stopped: somebody pressed Ctrl-C.
        """
        properties = {**_QUIET, **producer_properties(self._settings), **_OURS}
        producer = Producer({**properties, "on_delivery": self._told})
        try:
            self._send(producer, span_us, progress or (lambda _share: None))
        except KeyboardInterrupt:
            left = producer.flush(_ANSWER_S)
            raise Stopped(f"stopped: {self.sent - left:,} messages are in the topics") from None
        left = producer.flush(_ANSWER_S)
        self._check()
        if left:
            raise SourceError(f"{self._settings.bootstrap} did not confirm the last {left:,} messages")
        return self.sent

    def _send(self, producer: Producer, span_us: tuple[int, int], progress: Callable[[float], None]) -> None:
        begin_us, end_us = span_us
        began = time.monotonic()
        for recorded_us, _, topic, key, line in merge(*self._logs()):
            if self._speed_up:
                due = began + (recorded_us - begin_us) / SECOND_US / self._speed_up
                while (left := due - time.monotonic()) > 0:
                    producer.poll(min(left, _NAP_S))
            if self.sent % _LOOK == 0:
                producer.poll(0)
                self._check()
                progress((recorded_us - begin_us) / (end_us - begin_us))
            timestamp = recorded_us // 1_000 if self._timestamps == "recorded" else 0
            while True:
                try:
                    producer.produce(topic, line, key, timestamp=timestamp)
                    break
                except BufferError:
                    producer.poll(_NAP_S)
            self.sent += 1
        progress(1.0)

    def _logs(self) -> Iterable[Iterator[_Timed]]:
        return [_timed(number, topic, path) for number, (topic, path) in enumerate(self._files.items())]

    def _told(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None and self._failed is None:
            self._failed = error

    def _check(self) -> None:
        if self._failed is not None:
            raise SourceError(f"{self._settings.bootstrap} did not take a message: {self._failed.str()}")


def _timed(number: int, topic: str, path: Path) -> Iterator[_Timed]:
    """A file's messages with the time they are sent by, and the key they are sent with.

    Raises:
        SourceError: a line that is no message.
    """
    decode = msgspec.json.Decoder(_Head).decode
    with path.open("rb") as file:
        for at, line in enumerate(file, 1):
            try:
                head = decode(line)
                recorded = Instant.parse(head.recorded_at or head.occurred_at)
            except (msgspec.DecodeError, ValueError) as error:
                raise SourceError(f"{path}, line {at}: {error}") from error
            yield int(recorded), number, topic, head.key().encode(), line.rstrip(b"\n")
