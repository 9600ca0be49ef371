"""A broker for the contestants that read from one, and W1 in its topics before any timer runs.

Each topic has one partition, messages keyed as a producer would (item, order) and stamped with the time at which they
arrived. Behind the last one stands an event of another kind, an hour later: peers whose windows are closed by
what comes next need it, the others ignore it.
"""

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from confluent_kafka import Message, Producer
from entry import SECOND_US, TOPICS

from schemas.durations import HOUR_US, rfc3339
from tests.kafka_broker import Broker, NotDeliveredError

_DELIVERY_S = 120.0


class _Keyed(msgspec.Struct):
    sku: str = ""
    node: str = ""
    order_id: str = ""


class FilledBroker:
    """A broker, and the works whose messages are in it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._filled: set[str] = set()

    @property
    def bootstrap(self) -> str:
        """Where clients connect to."""
        return self._broker.bootstrap

    def fill(self, work: Path) -> str:
        """Have a W1's messages in topics of its own; what their names begin with."""
        prefix = self._broker.topic(f"{work.name}.")
        if work.name not in self._filled:
            for topic in TOPICS:
                self._broker.create(prefix + topic, 1, {"retention.ms": "-1"})
                self._produce(prefix + topic, messages(work, topic))
            self._filled.add(work.name)
        return prefix

    def _produce(self, topic: str, of_topic: Iterator[tuple[str, bytes, int]]) -> None:
        failed: list[str] = []

        def told(error: object, _message: Message) -> None:
            if error is not None:
                failed.append(str(error))

        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "linger.ms": 5,
                "batch.size": 500_000,
                "max.in.flight.requests.per.connection": 1,  # a message sent again keeps its place
                "on_delivery": told,
            }
        )
        for key, value, at_us in of_topic:
            while True:
                try:
                    producer.produce(topic, value, key=key, partition=0, timestamp=at_us // 1_000)
                    break
                except BufferError:
                    producer.poll(0.05)
            producer.poll(0)
        left = producer.flush(_DELIVERY_S)
        if failed or left:
            raise NotDeliveredError(f"{topic}: {len(failed) + left} messages were not confirmed: {failed[:1]}")


def messages(work: Path, topic: str) -> Iterator[tuple[str, bytes, int]]:
    """Key, value and time of arrival of every message, and of the one that ends it."""
    arrivals = array("q")
    arrivals.frombytes((work / f"{topic}.at").read_bytes())
    decode = msgspec.json.Decoder(_Keyed).decode
    for line, at_us in zip((work / f"{topic}.jsonl").read_bytes().splitlines(), arrivals, strict=True):
        keyed = decode(line)
        yield keyed.order_id or f"{keyed.sku}|{keyed.node}", line, at_us
    at_us = arrivals[-1] // HOUR_US * HOUR_US + 2 * HOUR_US
    yield "end", end_of(topic, at_us), at_us


def end_of(topic: str, at_us: int) -> bytes:
    """An event that is no part of the work."""
    event = {
        "type": "queue.depth",
        "version": 1,
        "event_id": f"end-of-{topic}",
        "source": "bench",
        "system": "middleware",
        "occurred_at": rfc3339(at_us // SECOND_US * SECOND_US),
        "queue": topic,
        "depth": 0,
        "order_id": "end",  # no field of its own: a key for peers that key by it
        "node": "end",
    }
    return msgspec.json.encode(event)


@contextmanager
def filled_broker() -> Iterator[FilledBroker]:
    """A broker that ends with the block."""
    with Broker() as broker:
        yield FilledBroker(broker)
