"""The brokers that tests run against: what is written is read, and what is frozen, killed or cut behaves so."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from tests.kafka_broker import SERVER_VARIABLE, ApacheKafka, Broker, NotDeliveredError
from tests.tcp_proxy import TcpProxy

AnyBroker: TypeAlias = Broker | ApacheKafka
T_MS = 1_750_000_000_000


@pytest.fixture(params=[Broker, ApacheKafka])
def broker(request: pytest.FixtureRequest) -> Iterator[AnyBroker]:
    with request.param() as one:
        yield one


class Reader:
    """A consumer of partition 0 as the lanes have theirs."""

    def __init__(self, bootstrap: str, topic: str, offset: int = 0) -> None:
        self.messages: list[Message] = []
        self.errors: list[str] = []
        self.ended_at = -1
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "andon-test",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 50,
                "reconnect.backoff.max.ms": 200,
                "log_level": 0,
            }
        )
        self.consumer.assign([TopicPartition(topic, 0, offset)])

    def until(self, condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
        end = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < end, (len(self.messages), self.ended_at, self.errors)
            for message in self.consumer.consume(1_000, 0.02):
                error = message.error()
                if error is None:
                    self.messages.append(message)
                elif error.name() == "_PARTITION_EOF":
                    self.ended_at = message.offset() or 0
                else:
                    self.errors.append(error.name())


@pytest.fixture
def read() -> Iterator[Callable[..., Reader]]:
    made: list[Reader] = []

    def new(*arguments: str | int) -> Reader:
        made.append(Reader(*arguments))  # type: ignore[arg-type] # checked by those who call
        return made[-1]

    yield new
    for one in made:
        one.consumer.close()


def test_what_is_written_is_read(broker: AnyBroker, read: Callable[..., Reader]) -> None:
    topic = broker.topic("orders")
    broker.create(topic, 2)
    broker.produce(topic, 0, [(b"a", T_MS), (None, T_MS + 1), (b"", T_MS - 5), (b"now", None)])
    broker.produce(topic, 0, [(b"%d" % number, T_MS) for number in range(20_000)])
    reader = read(broker.bootstrap, topic)
    reader.until(lambda: reader.ended_at == 20_004)
    assert [message.value() for message in reader.messages[:4]] == [b"a", None, b"", b"now"]
    assert [message.timestamp()[1] for message in reader.messages[:3]] == [T_MS, T_MS + 1, T_MS - 5]
    assert abs(reader.messages[3].timestamp()[1] - time.time() * 1_000) < 60_000
    assert [message.value() for message in reader.messages[4:]] == [b"%d" % number for number in range(20_000)]
    assert reader.errors == []


def test_a_message_that_is_not_confirmed_is_an_error(broker: AnyBroker) -> None:
    topic = broker.topic("orders")
    broker.create(topic, 1)
    with pytest.raises(NotDeliveredError, match="orders/7: 2 messages"):
        broker.produce(topic, 7, [(b"a", None), (b"b", None)], deadline_s=2)


def test_a_frozen_broker_answers_when_thawed(broker: AnyBroker, read: Callable[..., Reader]) -> None:
    topic = broker.topic("orders")
    broker.create(topic, 1)
    reader = read(broker.bootstrap, topic)
    reader.until(lambda: reader.ended_at == 0)
    broker.freeze()
    with pytest.raises(NotDeliveredError):
        broker.produce(topic, 0, [(b"a", None)], deadline_s=1)
    broker.thaw()
    broker.produce(topic, 0, [(b"b", None)])
    reader.until(lambda: any(message.value() == b"b" for message in reader.messages))


def test_apache_goes_on_with_its_log_after_a_kill(tmp_path: Path, read: Callable[..., Reader]) -> None:
    with ApacheKafka(folder=tmp_path) as broker:
        broker.create("orders", 1)
        broker.produce("orders", 0, [(b"%d" % number, T_MS) for number in range(1_000)])
        reader = read(broker.bootstrap, "orders")
        reader.until(lambda: reader.ended_at == 1_000)
        broker.kill()
        with pytest.raises(NotDeliveredError):
            broker.produce("orders", 0, [(b"lost", None)], deadline_s=1)
        broker.restart()
        broker.produce("orders", 0, [(b"%d" % number, T_MS) for number in range(1_000, 2_000)])
        reader.until(lambda: reader.ended_at == 2_000)
        assert [message.offset() for message in reader.messages] == list(range(2_000))


def test_apache_grows_expires_and_stamps(read: Callable[..., Reader]) -> None:
    with ApacheKafka() as broker:
        broker.create("orders", 1, {"message.timestamp.type": "LogAppendTime"})
        broker.grow("orders", 3)
        broker.produce("orders", 2, [(b"new", T_MS)])
        broker.produce("orders", 0, [(b"%d" % number, T_MS) for number in range(10)])
        broker.expire("orders", 0, 4)
        late = read(broker.bootstrap, "orders", 3)
        late.until(lambda: late.errors == ["_AUTO_OFFSET_RESET"])
        reader = read(broker.bootstrap, "orders", 4)
        reader.until(lambda: reader.ended_at == 10)
        assert [message.offset() for message in reader.messages] == list(range(4, 10))
        assert all(abs(message.timestamp()[1] - time.time() * 1_000) < 60_000 for message in reader.messages)


@pytest.mark.parametrize("kind", [Broker, ApacheKafka])
def test_a_job_behind_a_proxy_can_be_cut_off(kind: type[AnyBroker], read: Callable[..., Reader]) -> None:
    with TcpProxy() as proxy, kind(proxy=proxy) as broker:
        broker.create("orders", 1)
        broker.produce("orders", 0, [(b"before", T_MS)])
        reader = read(broker.bootstrap, "orders")
        reader.until(lambda: reader.ended_at == 1)
        proxy.cut()
        if isinstance(broker, ApacheKafka):  # what the test itself writes does not go through the proxy
            broker.produce("orders", 0, [(b"meanwhile", T_MS)])
        reader.consumer.seek(TopicPartition("orders", 0, 1))
        reader.ended_at = -1
        assert [message for message in reader.consumer.consume(10, 0.5) if message.error() is None] == []
        proxy.restore()
        broker.produce("orders", 0, [(b"after", T_MS)])
        reader.until(lambda: bool(reader.messages) and reader.messages[-1].value() == b"after")
        assert proxy.connections > 0


def test_a_port_that_is_taken_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    with Broker() as first, pytest.raises(OSError, match="in use"), Broker(first.port):
        pass


def test_a_broker_that_ends_at_once_says_why(tmp_path: Path) -> None:
    broker = ApacheKafka(folder=tmp_path)
    (tmp_path / "server.properties").write_text("node.id=none\n")
    with pytest.raises(AssertionError, match=r"ended with 1:\n(.*\n)*.*Not a number"), broker:
        pass


def test_a_server_that_is_there_is_used_and_left_clean(
    monkeypatch: pytest.MonkeyPatch, read: Callable[..., Reader]
) -> None:
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    with Broker() as there:
        monkeypatch.setenv(SERVER_VARIABLE, there.bootstrap)
        with Broker() as given, Broker() as another:
            assert given.bootstrap == another.bootstrap == there.bootstrap
            topic = given.topic("orders")
            assert topic != another.topic("orders")
            given.create(topic, 1)
            given.produce(topic, 0, [(b"a", T_MS)])
            reader = read(given.bootstrap, topic)
            reader.until(lambda: reader.ended_at == 1)
            reader.consumer.close()
            with pytest.raises(pytest.skip.Exception, match="no process of ours"):
                given.freeze()
        assert topic not in there.admin.list_topics(timeout=5).topics


def test_nothing_is_left_running() -> None:
    with Broker() as broker:
        pid, folder = broker.pid, broker.folder
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not folder.exists()
