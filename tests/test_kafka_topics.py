"""Offsets reach the consumer group although the broker goes away, stands still and comes back."""

import time
import uuid
from collections.abc import Callable, Iterator
from logging import CRITICAL, getLogger

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions

from dataflows.kafka import topics as topics_module
from dataflows.kafka.client import consumer_properties
from dataflows.kafka.topics import TopicWatch
from dataflows.settings import KafkaSettings
from schemas.durations import SECOND_US
from tests import kafka_fixtures as fixtures
from tests import kafka_lanes as lanes
from tests.kafka_broker import ApacheKafka, Broker
from tests.kafka_job import wait_for
from tests.tcp_proxy import TcpProxy

proxy = fixtures.proxy
broker = fixtures.broker_behind_proxy


class Told(lanes.Told):
    """Told of commits; at an answer of the broker's something is done."""

    def __init__(self) -> None:
        super().__init__()
        self.at_answer: Callable[[], None] = lambda: None

    def reachable(self) -> None:
        super().reachable()
        self.at_answer()


class Group:
    """A consumer group, and a watch that commits for it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.topic = broker.topic(f"group-{uuid.uuid4().hex[:8]}")
        broker.create(self.topic, 1)
        quick: dict[str, str | int | bool] = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100}
        settings = KafkaSettings(bootstrap=broker.bootstrap, group=f"g-{uuid.uuid4().hex}", client=quick)
        self._name, self.told = settings.group, Told()
        self.watch = _watch(settings, self.topic, self.told)

    def commit(self, offset: int) -> None:
        self.watch.commit({(self.topic, 0): offset})

    def has(self, offset: int) -> Callable[[], bool]:
        """Whether that is what the broker has."""

        def asked() -> bool:
            answer = self._broker.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self._name)])
            return [one.offset for one in answer[self._name].result().topic_partitions or []] == [offset]

        return asked


@pytest.fixture
def group(broker: Broker) -> Iterator[Group]:
    one = Group(broker)
    yield one
    one.watch.close()


def test_offsets_reach_the_group_however_often_the_broker_is_cut_off(proxy: TcpProxy, group: Group) -> None:
    """Where this ends the whole process, the library aborted it: see `TopicWatch._commit`."""
    offset = 0
    for _ in range(12):
        for pause_s in (0.02, 0.02, 0.2):
            offset += 1
            group.commit(offset)
            time.sleep(pause_s)  # a cut is to come at another point of a request each time
        proxy.cut()
        offset += 1
        group.commit(offset)
        proxy.restore()
    wait_for(group.has(offset), "the last offset", 60)


def test_a_commit_without_an_answer_is_told_and_no_second_is_sent_meanwhile(
    monkeypatch: pytest.MonkeyPatch, broker: Broker, group: Group
) -> None:
    """The broker stands still between the answer that lists the topics and the commit that follows it."""
    group.commit(1)
    wait_for(group.has(1), "the first offset", 60)
    monkeypatch.setattr(topics_module, "_ANSWER_S", 0.3)
    told, sent = len(group.told.commits), 2

    def freeze() -> None:
        broker.freeze()
        group.commit(sent)

    try:
        group.told.at_answer = freeze
        wait_for(lambda: len(group.told.commits) > told, "the failure to be told", 30)
        group.told.at_answer = lambda: None
        for sent in range(3, 6):
            group.commit(sent)
        assert set(group.told.commits[told:]) == {"no answer within 0.3 s"}
    finally:
        broker.thaw()
    monkeypatch.undo()
    wait_for(group.has(5), "the newest offset", 60)
    assert group.told.commits[-1] is None


def test_topics_are_told_by_their_ids_when_a_token_has_ended_long_ago() -> None:
    """The client that asks for them got no second token: each listing took 20 s from then on, and had no ids."""
    with ApacheKafka(tokens=True) as broker:
        topic = broker.topic("tokens")
        broker.create(topic, 1)
        life_s = 4
        signed_in: dict[str, str | int | bool] = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "OAUTHBEARER",
            "enable.sasl.oauthbearer.unsecure.jwt": True,
            "sasl.oauthbearer.config": f"principal=andon lifeSeconds={life_s}",
        }
        settings = KafkaSettings(bootstrap=broker.by_token, client=signed_in)
        watch = _watch(settings, topic, lanes.Told())
        try:
            wait_for(lambda: watch.listing is not None, "the first listing", 60)
            assert watch.listing is not None
            first = watch.listing
            assert list(first.ids) == [topic]
            ended_us = first.asked_us + 3 * life_s * SECOND_US
            wait_for(lambda: watch.listing is not None and watch.listing.asked_us > ended_us, "later ones", 60)
            assert watch.listing.ids == first.ids
            assert _now_us() - watch.listing.asked_us < 3 * SECOND_US
        finally:
            watch.close()


def _watch(settings: KafkaSettings, topic: str, told: lanes.Told) -> TopicWatch:
    logger = getLogger("andon.kafka.test")
    logger.setLevel(CRITICAL)
    properties = consumer_properties(settings, {})
    return TopicWatch(properties, [topic], every_s=0.05, now=_now_us, told=told, logger=logger)


def _now_us() -> int:
    return time.time_ns() * SECOND_US // 1_000_000_000
