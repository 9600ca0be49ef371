"""What a batch of the client library's messages holds, by partition and in columns."""

from collections.abc import Iterable

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, Message

from dataflows.kafka.topics import Place
from schemas.durations import END_OF_TIME_US

#: A producer's clock may say any 64 bits: nanoseconds taken for milliseconds are more microseconds than those hold.
_LAST_MS = END_OF_TIME_US // 1_000


def by_place(messages: Iterable[Message]) -> tuple[dict[Place, list[Message]], list[tuple[Message, KafkaError]]]:
    """Messages of each partition, in the order in which they came, and those that are errors.

    What the client library fetched of a partition comes in one run: it is looked up once a run.
    """
    parts: dict[Place, list[Message]] = {}
    errors: list[tuple[Message, KafkaError]] = []
    topic, number, mine = None, None, list[Message]()
    for message in messages:
        error = message.error()
        if error is not None:
            errors.append((message, error))
            continue
        if message.partition() != number or message.topic() != topic:
            topic, number = message.topic(), message.partition()
            mine = parts.setdefault((topic, number), [])  # type: ignore[arg-type] # has both without an error
        mine.append(message)
    return parts, errors


def values_of(messages: Iterable[Message]) -> list[bytes]:
    """What the messages say; a tombstone says nothing."""
    return [value or b"" for value in map(Message.value, messages)]


def claims_us(messages: Iterable[Message]) -> list[int | None]:
    """The messages' timestamps in microseconds, where they have one; at most `END_OF_TIME_US`."""
    return [
        None if kind == TIMESTAMP_NOT_AVAILABLE or at_ms < 0 else at_ms * 1_000 if at_ms <= _LAST_MS else END_OF_TIME_US
        for kind, at_ms in map(Message.timestamp, messages)
    ]
