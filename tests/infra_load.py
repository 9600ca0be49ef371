"""A log that is written to a broker while a job reads it, for as long as a test takes; then the rest at once."""

import heapq
import math
import threading
import time
from typing import Self

from confluent_kafka import Producer

from schemas.events import BUSINESS_TOPICS
from tests.kafka_broker import Broker
from tests.kafka_job import Log

_LOOK_S = 0.02


class Load:
    """Writes a `Log` in the order of its times; a context manager.

    Args:
        share_per_s: so much of what is left is written in a second, so there is always more to come, until `finish`.
    """

    def __init__(self, log: Log, broker: Broker, share_per_s: float) -> None:
        self.log, self.share_per_s = log, share_per_s
        self.written = 0
        self._all = threading.Event()
        self._over = threading.Event()
        self._failed: list[str] = []
        for topic in BUSINESS_TOPICS:
            broker.create(broker.topic(topic), log.partitions, {"retention.ms": "-1"})
        self._names = {topic: broker.topic(topic) for topic in BUSINESS_TOPICS}
        self._producer = Producer(
            {
                "bootstrap.servers": broker.direct,
                "log_level": 0,
                "linger.ms": 5,
                "max.in.flight.requests.per.connection": 1,
                "on_delivery": lambda error, _: self._failed.append(error.str()) if error is not None else None,
            }
        )
        self._thread = threading.Thread(target=self._write, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failed: object) -> None:
        self._over.set()
        self._thread.join(30)

    @property
    def under_way(self) -> bool:
        """Whether messages come all the time."""
        return 0 < self.written < self.log.count - 1_000 and self._thread.is_alive() and not self._failed

    def finish(self) -> None:
        """The rest at once; returns when the broker has confirmed everything."""
        self._all.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the broker takes no more"
        assert not self._failed, self._failed[:3]
        assert self.written == self.log.count

    def _write(self) -> None:
        rows = [
            [(at_ms, number, topic, partition, value) for number, (value, at_ms) in enumerate(messages)]
            for (topic, partition), messages in self.log.messages.items()
        ]
        began_s = time.monotonic()
        for at_ms, _, topic, partition, value in heapq.merge(*rows, key=lambda row: row[:2]):
            while not self._all.is_set() and self.written >= self._due(time.monotonic() - began_s):
                self._producer.poll(0)
                if self._over.wait(_LOOK_S):
                    return
            while True:
                try:
                    self._producer.produce(self._names[topic], value, partition=partition, timestamp=at_ms)
                    break
                except BufferError:
                    self._producer.poll(0.05)
            self.written += 1
        self._producer.flush(60)

    def _due(self, after_s: float) -> float:
        return self.log.count * (1 - math.exp(-self.share_per_s * after_s))
