"""Dead letters out to a Kafka topic, each with its raw bytes and headers that say why."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from logging import Logger
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import SettingsError
from schemas.problems import Problem
from schemas.rows import DeadLetter

#: What a message is cut to when the broker finds it too large, and at least tried; ClickHouse has it whole.
SHORTENED_BYTES = 262_144
_LEAST_BYTES = 1_024
_SLICE_S = 0.5
#: A client that delivered nothing for so long is made anew: of a broker that is away that makes no difference.
_LOST_S = 60.0
#: Errors that waiting does not mend.
_REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.MSG_SIZE_TOO_LARGE,
}
#: What is said of messages that we took back.
_PURGED = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001 - the library's own names


class ForwardWatch(Protocol):
    """Who is told; `forwarding` may raise to give up waiting."""

    def forwarded(self, count: int) -> None:
        """So many dead letters are in the topic."""

    def forwarding(self, left: int, error: str | None) -> None:
        """So many are not yet; called twice a second while `flush` waits."""

    def forwarding_anew(self) -> None:
        """The client delivered nothing for long, and was made anew."""


class DeadLetterTopic:
    """Write dead letters to a topic: at least once, under a key that is the same each time.

    The key is `topic/partition/offset` of the message that could not be used. After `flush` everything written before
    is in the topic, acknowledged by all in-sync replicas. A broker that is away holds `flush` back; a client that has
    lost it for good (dataflows/kafka/renewal.py says how) is replaced.

    Headers, UTF-8: `andon-reason`, `andon-path`, `andon-detail`, `andon-topic`, `andon-partition`, `andon-offset`,
    `andon-source`, `andon-channel`, `andon-seen-at` (microseconds since 1970 UTC), and, where the broker found the
    message too large and it was shortened, `andon-bytes` with its true length.

    Memory: what was written since the last `flush`; `write` flushes by itself past `max_pending`.
    """

    def __init__(
        self,
        properties: Mapping[str, str | int | bool],
        topic: str,
        watch: ForwardWatch,
        logger: Logger,
        *,
        max_pending: int = 5_000,
        make: Callable[..., Producer] = Producer,
    ) -> None:
        self._topic, self._watch, self._max_pending = topic, watch, max_pending
        self._again: deque[tuple[DeadLetter, int | None]] = deque()
        self._refused: str | None = None
        self._error: str | None = None
        self._delivered = 0
        self._make: Callable[[], Producer] = partial(make, {**properties, "error_cb": self._on_error}, logger=logger)
        self._producer = self._make()
        self._heard_s = 0.0

    def write(self, letters: Iterable[DeadLetter]) -> None:
        """Send them on; raises as `flush`."""
        for letter in letters:
            if len(self._producer) >= self._max_pending:
                self.flush()
            self._produce(letter, None)

    def flush(self) -> None:
        """Wait until all of them are in the topic.

        Raises:
            SettingsError: the broker will never take them (no such right, no such name).
        """
        self._heard_s = time.monotonic()
        while len(self._producer) or self._again:
            for _ in range(len(self._again)):
                letter, limit = self._again.popleft()
                self._produce(letter, limit)
                if limit is not None:  # alone: it may have been its batch that was too large
                    self._wait()
            self._wait()
        if self._delivered:
            self._watch.forwarded(self._delivered)
            self._delivered = 0

    def _wait(self) -> None:
        """Let the broker answer, for a slice of time, and tell who is watching of what it has not taken by then."""
        left = self._producer.flush(_SLICE_S)
        if self._refused is not None:
            raise SettingsError([Problem("kafka", "dead_letter_topic", f'"{self._topic}"', self._refused)])
        if self._error is not None and self._again and not left:
            self._producer.poll(_SLICE_S)  # it failed at once, and would again
            left = len(self._again)
        if left:
            self._watch.forwarding(left, self._error)
            if time.monotonic() - self._heard_s > _LOST_S:
                self._begin_anew()

    def _begin_anew(self) -> None:
        """Send what is left by a new client; what the old one had sent without an answer may be there twice."""
        self._producer.purge()
        self._producer.flush(_SLICE_S)
        self._producer, self._heard_s = self._make(), time.monotonic()
        self._watch.forwarding_anew()

    def close(self) -> None:
        """Let go of the broker; what was not flushed comes again after a restart."""
        self._producer.purge()
        self._producer.flush(_SLICE_S)

    def _produce(self, letter: DeadLetter, limit: int | None) -> None:
        headers = headers_of(letter)
        raw = letter.raw
        if limit is not None and len(raw) > limit:
            headers.append(("andon-bytes", str(len(raw)).encode()))
            raw = raw[:limit]

        def delivered(error: KafkaError | None, message: Message) -> None:
            del message
            self._answered(letter, limit, error)

        key = f"{letter.topic}/{letter.partition}/{letter.offset}".encode()
        while True:
            try:
                self._producer.produce(self._topic, key=key, value=raw, headers=headers, on_delivery=delivered)
            except BufferError:  # the library's queue is full: let some of it go out
                self._producer.poll(_SLICE_S)
                self._watch.forwarding(len(self._producer), self._error)
            except KafkaException as error:  # larger than the producer itself would send
                self._answered(letter, limit, error.args[0])
                return
            else:
                return

    def _answered(self, letter: DeadLetter, limit: int | None, error: KafkaError | None) -> None:
        """The broker's answer for one dead letter."""
        if error is None:
            self._delivered += 1
            self._error, self._heard_s = None, time.monotonic()
        elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE and (limit is None or limit > _LEAST_BYTES):
            self._again.append((letter, SHORTENED_BYTES if limit is None else limit // 4))
        elif error.code() in _REFUSED:
            self._refused = f"the broker refuses it: {error.str()}"
        else:
            if error.code() not in _PURGED:
                self._error = error.str()
            self._again.append((letter, limit))

    def _on_error(self, error: KafkaError) -> None:
        self._error = error.str()


def headers_of(letter: DeadLetter) -> list[tuple[str, str | bytes | None]]:
    """Why a message could not be used, and where it was."""
    said = {
        "reason": letter.reason,
        "path": letter.path,
        "detail": letter.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "source": letter.source,
        "channel": letter.channel,
        "seen-at": letter.seen_at_us,
    }
    return [(f"andon-{name}", str(value).encode("utf-8", "replace")) for name, value in said.items()]
