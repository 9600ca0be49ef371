"""The rights on the broker that the guide gives: what the job uses, all of it, and nothing that it does not."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition

from dataflows.settings import Settings, load_settings
from tests.infra_kafka_rights import ApacheWithRights, Right, of_commands, of_table
from tests.infra_manifests import manifests, settings_file
from tests.kafka_job import Job, wait_for

LETTERS = "andon.dead-letters"


def production(folder: Path) -> Settings:
    return load_settings(str(settings_file(manifests("production"), folder)), {})


_OF_INPUT = ("Read", "Describe", "DescribeConfigs")


def test_the_guide_gives_what_production_uses(tmp_path: Path) -> None:
    kafka = production(tmp_path).kafka
    assert kafka.dead_letter_topic
    read = {Right(operation, "topic", topic) for topic in kafka.topics for operation in _OF_INPUT}
    write = {Right(operation, "topic", kafka.dead_letter_topic) for operation in ("Write", "Describe")}
    assert of_commands() == of_table() == read | write | {Right("Read", "group", kafka.group)}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheWithRights]:
    topics = production(tmp_path_factory.mktemp("settings")).kafka.topics
    with ApacheWithRights() as one:
        for topic in (*topics, LETTERS):
            one.create(topic, 1)
        yield one


def job_of(folder: Path, broker: ApacheWithRights) -> Job:
    """With the topics, group and dead letters of production."""
    folder.mkdir()
    kafka = production(folder).kafka
    secret = {"sasl.password.file": str(broker.password_file(folder))}
    client = {f'"{name}"': value for name, value in (broker.client | secret).items()}
    told = {"topics": kafka.topics, "group": kafka.group, "dead_letter_topic": kafka.dead_letter_topic}
    live = {"idle_grace": "1s"}
    return Job(folder, broker, "chdb:///./andon.db", kafka=told, time=live, **{"kafka.client": client})


def produce(broker: ApacheWithRights, topic: str) -> None:
    """An event that can be used, and a message that can't."""
    now = datetime.now(UTC)
    level = {"event_id": f"e-{now.timestamp()}", "type": "inventory.level", "version": 1, "source": "wms-1"}
    level |= {"system": "wms", "occurred_at": now.isoformat(), "sku": "s-1", "node": "n-1", "on_hand": 3}
    broker.produce(topic, 0, [(value, time.time_ns() // 1_000_000) for value in (json.dumps(level).encode(), b"{")])


def committed(broker: ApacheWithRights, group: str) -> dict[str, int]:
    """What the group says it has read of each topic."""
    (asked,) = broker.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    found = asked.result(60).topic_partitions or []
    return {one.topic: one.offset for one in found if one.offset > 0}


def letters(broker: ApacheWithRights) -> int:
    """Messages in the topic of the dead letters."""
    reading = Consumer({"bootstrap.servers": broker.direct, "group.id": "test", "log_level": 0})
    try:
        return reading.get_watermark_offsets(TopicPartition(LETTERS, 0), timeout=30)[1]
    finally:
        reading.close()


def test_with_these_rights_the_job_reads_writes_dead_letters_and_notes_where_it_is(
    tmp_path: Path, broker: ApacheWithRights
) -> None:
    broker.give(of_commands())
    before = letters(broker)
    with job_of(tmp_path / "job", broker) as job:
        job.start()
        wait_for(lambda: job.answer("/readyz") == (200, "ok\n"), "the job to be ready")
        for topic in ("orders", "controls", "inventory"):
            produce(broker, topic)
        wait_for(lambda: job.messages() >= 6, "the messages to be read")
        wait_for(lambda: letters(broker) > before, "the dead letters to be there")
        group = production(tmp_path).kafka.group
        wait_for(lambda: {"orders", "controls", "inventory"} <= committed(broker, group).keys(), "the group's offsets")
        job.stop()
        assert "uthorization" not in job.errors()


@pytest.mark.parametrize(
    ("missing", "code", "words"),
    [
        (Right("Read", "topic", "orders"), 1, "orders: the broker refuses to let andon read it"),
        (Right("Read", "group", "andon"), 1, "group andon: the broker refuses to let andon read it"),
        (Right("Write", "topic", LETTERS), 2, f'dead_letter_topic = "{LETTERS}": the broker refuses it'),
    ],
    ids=str,
)
def test_without_one_of_them_it_says_which_and_ends(
    tmp_path: Path, broker: ApacheWithRights, missing: Right, code: int, words: str
) -> None:
    given = of_commands() - {missing}
    if missing.operation == "Write":
        given.discard(Right("Describe", "topic", LETTERS))
    broker.give(given)
    with job_of(tmp_path / "job", broker) as job:
        job.start()
        for topic in ("orders", "inventory"):
            produce(broker, topic)
        wait_for(lambda: job.code is not None, "the job to end")
        assert job.code == code
        assert words in job.errors()
        assert "None" not in job.errors()


def test_a_topic_that_it_has_no_right_to_is_not_taken_for_one_that_is_still_to_come(
    tmp_path: Path, broker: ApacheWithRights
) -> None:
    """Without any right to a topic the job does not even see it in the list of all."""
    broker.give(right for right in of_commands() if right.name != "erp")
    with job_of(tmp_path / "job", broker) as job:
        job.start()
        wait_for(lambda: "does not let this job see erp; grant READ and DESCRIBE" in job.errors(), "a word of it")
        job.stop()
        assert "do not exist yet" not in job.errors()
