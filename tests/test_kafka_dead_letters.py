"""Dead letters in a topic of a real broker: all of them, whole, under their keys, whatever the broker does."""

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from logging import CRITICAL, getLogger
from typing import Self

import msgspec
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from dataflows.kafka.client import Properties, producer_properties
from dataflows.settings import KafkaSettings
from schemas.errors import SettingsError
from schemas.rows import DeadLetter
from sinks import kafka as module
from sinks.kafka import SHORTENED_BYTES, DeadLetterTopic, headers_of
from tests import kafka_fixtures as fixtures
from tests.kafka_broker import ApacheKafka, Broker
from tests.kafka_lanes import frozen
from tests.tcp_proxy import free_port

QUIET = getLogger("andon.kafka.quiet")
QUIET.setLevel(CRITICAL)


broker = fixtures.broker
apache = fixtures.apache


@pytest.fixture(autouse=True)
def _short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SLICE_S", 0.05)


class GivenUpError(Exception):
    """What the one who watches raises to end a wait."""


class Watch:
    """Keeps what it is told; `then` is called each time there is something to wait for."""

    def __init__(self, then: Callable[[int], None] | None = None) -> None:
        self.sent = 0
        self.waits: list[tuple[int, str | None]] = []
        self._then = then
        self.renewals = 0

    def forwarding_anew(self) -> None:
        self.renewals += 1

    def forwarded(self, count: int) -> None:
        self.sent += count

    def forwarding(self, left: int, error: str | None) -> None:
        self.waits.append((left, error))
        assert len(self.waits) < 600, self.waits[-5:]
        if self._then is not None:
            self._then(len(self.waits))


def properties(bootstrap: str, client: Properties | None = None) -> Properties:
    quick: Properties = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100}
    return producer_properties(KafkaSettings(bootstrap=bootstrap, client={**quick, **(client or {})}), {})


class Out(DeadLetterTopic):
    """As the job has it; closed at the end of a test."""

    def __init__(
        self, bootstrap: str, topic: str, watch: Watch, client: Properties | None = None, max_pending: int = 5_000
    ) -> None:
        super().__init__(properties(bootstrap, client), topic, watch, QUIET, max_pending=max_pending)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failed: object) -> None:
        self.close()


def letter(number: int, raw: bytes = b"{") -> DeadLetter:
    return DeadLetter(
        topic="orders",
        partition=3,
        offset=number,
        reason="schema",
        path="$.order_id",
        detail="must be a text",
        source="oms-1",
        channel="web",
        raw=raw,
        seen_at_us=1_772_409_600_000_000 + number,
    )


def letters(count: int, first: int = 0) -> list[DeadLetter]:
    return [letter(number, b'{"n": %d}' % number) for number in range(first, first + count)]


def made(broker: Broker | ApacheKafka, config: Mapping[str, str] | None = None) -> str:
    topic = broker.topic(f"dead-{uuid.uuid4().hex[:8]}")
    broker.create(topic, 1, config)
    return topic


def read(broker: Broker | ApacheKafka, topic: str) -> list[Message]:
    """All that is in the topic now, in its order (one that the broker made by itself may have several partitions)."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "andon-test",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }
    )
    partitions = len(consumer.list_topics(topic, 20).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found: list[Message] = []
    ended = 0
    end = time.monotonic() + 20
    while ended < partitions:
        assert time.monotonic() < end
        for message in consumer.consume(1_000, 0.1):
            error = message.error()
            if error is None:
                found.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF
                ended += 1
    consumer.close()
    return found


def key(number: int) -> bytes:
    return b"orders/3/%d" % number


def keys(messages: list[Message]) -> list[bytes | None]:
    return [message.key() for message in messages]


def test_a_dead_letter_arrives_with_its_bytes_its_key_and_why(broker: Broker) -> None:
    topic, watch = made(broker), Watch()
    odd = DeadLetter(
        topic="bestellungen.köln",
        partition=0,
        offset=1 << 40,
        reason="transport",
        path="",
        detail='not UTF-8 at byte 0: "ÿ" – ☠\n\ud800',
        source="",
        channel="",
        raw=bytes(range(256)) * 3,
        seen_at_us=0,
    )
    empty = letter(7, b"")
    with Out(broker.bootstrap, topic, watch) as out:
        out.write([odd, empty])
        out.flush()
    first, second = read(broker, topic)
    assert first.key() == f"bestellungen.köln/0/{1 << 40}".encode()
    assert first.value() == odd.raw
    assert dict(first.headers()) == {
        "andon-reason": b"transport",
        "andon-path": b"",
        "andon-detail": 'not UTF-8 at byte 0: "ÿ" – ☠\n?'.encode(),
        "andon-topic": "bestellungen.köln".encode(),
        "andon-partition": b"0",
        "andon-offset": b"1099511627776",
        "andon-source": b"",
        "andon-channel": b"",
        "andon-seen-at": b"0",
    }
    assert (second.key(), second.value()) == (key(7), b"")
    assert dict(second.headers()) == {
        "andon-reason": b"schema",
        "andon-path": b"$.order_id",
        "andon-detail": b"must be a text",
        "andon-topic": b"orders",
        "andon-partition": b"3",
        "andon-offset": b"7",
        "andon-source": b"oms-1",
        "andon-channel": b"web",
        "andon-seen-at": b"1772409600000007",
    }
    assert {name for name, _ in headers_of(odd)} == {
        f"andon-{field.name.removesuffix('_us').replace('_', '-')}"
        for field in msgspec.structs.fields(DeadLetter)
        if field.name not in {"raw", "TABLE"}
    }, "every field that a dead letter has"


def test_after_a_flush_all_of_them_are_there(broker: Broker) -> None:
    topic, watch = made(broker), Watch()
    with Out(broker.bootstrap, topic, watch) as out:
        for count in (1, 10, 3_000):
            before = watch.sent
            out.write(letters(count, first=before))
            out.flush()
            assert watch.sent == before + count
            assert keys(read(broker, topic)) == [key(number) for number in range(before + count)]
        out.flush()
        assert watch.sent == 3_011


def test_what_is_pending_is_bounded(broker: Broker) -> None:
    topic, watch = made(broker), Watch()
    with Out(broker.bootstrap, topic, watch, {"linger.ms": 5}, max_pending=10) as out:
        for number in range(35):
            out.write([letter(number)])
            assert len(out._producer) <= 10
        assert watch.sent >= 20
        out.flush()
    assert keys(read(broker, topic)) == [key(number) for number in range(35)]


def test_a_full_queue_of_the_client_library_is_waited_for(broker: Broker) -> None:
    topic = made(broker)
    watch = Watch()
    with Out(broker.bootstrap, topic, watch, {"queue.buffering.max.messages": 10}) as out:
        out.write(letters(100))
        assert watch.waits, "there is more than the queue holds"
        out.flush()
    assert keys(read(broker, topic)) == [key(number) for number in range(100)]


@pytest.mark.parametrize("client", [{}, {"queue.buffering.max.messages": 10}])
def test_a_broker_that_does_not_answer_is_waited_for_and_nothing_is_lost(client: Properties, broker: Broker) -> None:
    topic = made(broker)
    watch = Watch(lambda count: broker.thaw() if count == 5 else None)
    with Out(broker.bootstrap, topic, watch, client) as out:
        out.write(letters(1))
        out.flush()
        watch.waits.clear()
        with frozen(broker):
            out.write(letters(50, first=1))
            out.flush()
        assert len(watch.waits) >= 5, "told again and again"
        assert watch.waits[0][0] == (10 if client else 50)
        assert watch.sent == 51
    assert set(keys(read(broker, topic))) == {key(number) for number in range(51)}


def test_the_wait_can_be_given_up_and_taken_up_again(broker: Broker) -> None:
    topic, given_up = made(broker), 3

    def raising(count: int) -> None:
        if count == given_up:
            raise GivenUpError

    watch = Watch(raising)
    with Out(broker.bootstrap, topic, watch) as out:
        out.write(letters(1))
        out.flush()
        watch.waits.clear()
        with frozen(broker):
            out.write(letters(20, first=1))
            with pytest.raises(GivenUpError):
                out.flush()
            assert watch.sent == 1
        out.flush()
        assert watch.sent == 21
    assert set(keys(read(broker, topic))) == {key(number) for number in range(21)}


def test_closing_does_not_wait_and_what_was_not_flushed_comes_again_under_the_same_key(broker: Broker) -> None:
    """A crash between two snapshots: the job reads the same messages again."""
    topic = made(broker)
    out = Out(broker.bootstrap, topic, Watch())
    out.write(letters(10))
    out.flush()
    with frozen(broker):
        out.write(letters(10, first=10))
        began = time.monotonic()
        out.close()
        assert time.monotonic() - began < 2
    with Out(broker.bootstrap, topic, Watch()) as again:
        again.write(letters(20))
        again.flush()
    found = read(broker, topic)
    assert len(found) >= 30
    assert set(keys(found)) == {key(number) for number in range(20)}
    by_key: dict[bytes | None, set[tuple[bytes | None, str]]] = {}
    for message in found:
        by_key.setdefault(message.key(), set()).add((message.value(), repr(message.headers())))
    assert {len(one) for one in by_key.values()} == {1}, "what comes twice is the same"


def test_a_broker_that_is_down_at_first_is_waited_for_and_told() -> None:
    late = Broker(free_port())
    if late._given:
        pytest.skip("the server that is given is up")
    topic = late.topic("dead")

    def start(count: int) -> None:
        if count == 5:
            late.start()
            with suppress(KafkaException):  # tansu makes a topic as soon as the producer asks for it
                late.create(topic, 1)

    watch = Watch(start)
    try:
        with Out(late.bootstrap, topic, watch) as out:
            out.write(letters(5))
            out.flush()
        assert any(error for _, error in watch.waits), "what the client library says of it"
        assert sorted(keys(read(late, topic))) == [key(number) for number in range(5)]
    finally:
        late.stop()


def test_a_broker_that_has_forgotten_its_producers_is_written_to_all_the_same() -> None:
    """Tansu forgets everything when it ends, producers too; one that is idempotent would be refused for ever."""
    first = Broker()
    if first._given:
        pytest.skip("the server that is given is not ours to end")
    topic, watch = first.topic("dead"), Watch()
    with first:
        first.create(topic, 1)
        out = Out(first.bootstrap, topic, watch)
        out.write(letters(5))
        out.flush()
    with out, Broker(first.port) as second:
        with suppress(KafkaException):  # as above
            second.create(topic, 1)
        out.write(letters(5, first=5))
        out.flush()
        assert sorted(keys(read(second, topic))) == [key(number) for number in range(5, 10)]


def test_a_topic_that_does_not_exist_is_waited_for(apache: ApacheKafka) -> None:
    """Tansu makes a topic as soon as it is asked for one."""
    topic = apache.topic("dead-later")

    def then(_count: int) -> None:
        if sum(error is not None for _, error in watch.waits) == 10:
            apache.create(topic, 1)

    watch = Watch(then)
    with Out(apache.bootstrap, topic, watch, {"topic.metadata.propagation.max.ms": 200}) as out:
        out.write(letters(3))
        out.flush()
    assert any("nknown topic" in error for _, error in watch.waits if error)
    assert set(keys(read(apache, topic))) == {key(number) for number in range(3)}


# --- too large -------------------------------------------------------------------------------------------------------


def test_what_is_too_large_arrives_shortened_with_its_true_length(broker: Broker) -> None:
    """Here it is the client library that refuses a message of more than a megabyte."""
    topic, watch = made(broker), Watch()
    large = bytes(range(256)) * 8_000
    with Out(broker.bootstrap, topic, watch) as out:
        out.write([letter(1), letter(2, large), letter(3, large[:900_000])])
        out.flush()
    found = {message.key(): message for message in read(broker, topic)}
    assert watch.sent == len(found) == 3
    assert found[key(2)].value() == large[:SHORTENED_BYTES]
    assert dict(found[key(2)].headers()) == {**dict(headers_of(letter(2))), "andon-bytes": b"2048000"}
    for number, size in ((1, 1), (3, 900_000)):
        assert len(found[key(number)].value() or b"") == size
        assert "andon-bytes" not in dict(found[key(number)].headers())


def test_a_topic_for_small_messages_gets_small_ones_whole_and_large_ones_shortened(apache: ApacheKafka) -> None:
    """A broker refuses a batch that is too large with everything in it. Tansu refuses no size."""
    topic, watch = made(apache, {"max.message.bytes": "20000"}), Watch()
    with Out(apache.bootstrap, topic, watch) as out:
        out.write([letter(number, b"x" * 1_000) for number in range(60)])
        out.write([letter(60, b"y" * 30_000)])
        out.flush()
    found = {message.key(): message for message in read(apache, topic)}
    assert watch.sent == len(found) == 61
    assert {len(found[key(number)].value() or b"") for number in range(60)} == {1_000}
    assert not any("andon-bytes" in dict(found[key(number)].headers()) for number in range(60))
    assert found[key(60)].value() == b"y" * (SHORTENED_BYTES // 16)
    assert dict(found[key(60)].headers())["andon-bytes"] == b"30000"


# --- what no broker at hand does -------------------------------------------------------------------------------------


class Scripted:
    """A producer in the library's place, for answers that neither tansu nor Apache Kafka at hand can be made to give.

    `answers` says how each message is answered: with an error, or None when it is taken. It does not answer as often as
    `silent` says.
    """

    def __init__(self, *answers: int | None) -> None:
        self.answers = [None if code is None else KafkaError(code) for code in answers]
        self.taken: list[bytes] = []
        self.tried = 0
        self.slept_s = 0.0
        self.silent = 0
        self._waiting: list[Callable[[], None]] = []

    def __call__(self, config: Mapping[str, object], logger: object) -> Self:
        assert logger is QUIET
        assert callable(config["error_cb"])
        return self

    def __len__(self) -> int:
        return len(self._waiting)

    def produce(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes,
        headers: object,
        on_delivery: Callable[[KafkaError | None, object], None],
    ) -> None:
        assert topic == "dead"
        assert value is not None
        assert headers
        self.tried += 1
        error = self.answers.pop(0) if self.answers else None
        if error is not None and error.code() == KafkaError._FATAL:
            raise KafkaException(error)
        if error is None:
            self.taken.append(key)
        self._waiting.append(lambda: on_delivery(error, None))

    def poll(self, timeout_s: float) -> int:
        self.slept_s += timeout_s
        return 0

    def flush(self, _timeout_s: float) -> int:
        if self.silent:
            self.silent -= 1
            return len(self._waiting)
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer()
        return len(self._waiting)


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
    ],
)
def test_a_broker_that_will_never_take_them_stops_the_job_with_words(code: int) -> None:
    producer, watch = Scripted(None, code, None), Watch()
    out = DeadLetterTopic({}, "dead", watch, QUIET, make=producer)
    out.write(letters(3))
    words = KafkaError(code).str()
    with pytest.raises(SettingsError, match=f'^kafka: dead_letter_topic = "dead": the broker refuses it: {words}$'):
        out.flush()
    assert watch.sent == 0


def test_what_is_too_large_however_short_stops_the_job_with_words() -> None:
    producer = Scripted(*[KafkaError.MSG_SIZE_TOO_LARGE] * 20)
    out = DeadLetterTopic({}, "dead", Watch(), QUIET, make=producer)
    out.write([letter(1, b"x" * 2_000_000)])
    with pytest.raises(SettingsError, match="the broker refuses it: Broker: Message size too large"):
        out.flush()
    assert producer.tried < 10


@pytest.mark.parametrize("code", [KafkaError.NOT_ENOUGH_REPLICAS, KafkaError._MSG_TIMED_OUT, KafkaError._FATAL])
def test_what_fails_at_once_is_tried_again_told_and_not_spun_on(code: int) -> None:
    producer, watch = Scripted(*[code] * 12), Watch()
    out = DeadLetterTopic({}, "dead", watch, QUIET, make=producer)
    out.write(letters(3))
    out.flush()
    assert sorted(producer.taken) == [key(number) for number in range(3)]
    assert producer.tried == 15
    assert len(watch.waits) in {3, 4}, "an error may come of the call already, or with the answer"
    assert set(watch.waits) == {(3, KafkaError(code).str())}
    assert producer.slept_s == pytest.approx(len(watch.waits) * 0.05)
    assert watch.sent == 3


def test_an_error_is_told_until_something_is_taken_again() -> None:
    producer, watch = Scripted(KafkaError.NOT_ENOUGH_REPLICAS), Watch()
    out = DeadLetterTopic({}, "dead", watch, QUIET, make=producer)
    for number in range(2):
        out.write([letter(number)])
        producer.silent = 1
        out.flush()
    words = KafkaError(KafkaError.NOT_ENOUGH_REPLICAS).str()
    assert watch.waits == [(1, None), (1, words), (1, None)]
