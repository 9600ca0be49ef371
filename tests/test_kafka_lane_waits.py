"""Lanes over a real broker: held back only by what may still come, and by a broker that is away.

What tansu does not know (transactions) is tested over Apache Kafka, and skipped where that is not at hand.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import nullcontext

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined] # its own name for it

from dataflows.flow import Stop
from dataflows.input_limit import InputLimit
from dataflows.kafka import topics as topics_module
from dataflows.kafka.lane import KafkaLane
from dataflows.kafka.positions import KafkaLaneState
from dataflows.status import ProcessStatus
from dataflows.telemetry import Telemetry
from dataflows.watch import JobWatch
from operators.lane_state import Merged
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from schemas.metric import Metric
from schemas.metrics import LAG_MESSAGES, SOURCE_UP
from tests import kafka_fixtures as fixtures
from tests.kafka_broker import ApacheKafka, Broker
from tests.kafka_lanes import (
    NEVER_US,
    NOON,
    Clock,
    Job,
    event,
    frozen,
    happened,
    made,
    minutes,
    offsets,
    paused,
    topic_of,
    wait_for,
    write,
)
from tests.scripts import DAY
from tests.tcp_proxy import free_port

broker = fixtures.broker
apache = fixtures.apache


# --- held back -----------------------------------------------------------------------------------------------------


def buffered(lane: KafkaLane) -> list[int]:
    """Of each partition, once it is begun, by its number."""
    return [lane._feeds[place].queue.buffered for place in sorted(lane._feeds)]


def test_a_partition_far_ahead_is_paused_and_comes_in_order_when_the_other_moves_on(broker: Broker) -> None:
    seconds = [happened(DAY + HOUR_US + index * SECOND_US) for index in range(3_000)]
    topic = made(broker, "ahead", seconds, [happened(DAY)])
    batch, buffer = 70, 200
    with Job(broker.bootstrap, [topic], idle_grace_us=NEVER_US, batch=batch, buffer=buffer) as job:
        ahead, slow = (topic, 0), (topic, 1)

        def bounded() -> bool:
            assert max(buffered(job.lane), default=0) < buffer + batch
            return paused(job.lane) == [ahead]

        job.until(bounded, "the partition ahead to be paused")
        held = buffered(job.lane)[0]
        assert held >= buffer
        for minute in range(1, 4):  # that these come shows that the client library goes on fetching
            write(broker, topic, 1, [happened(DAY + minute * MINUTE_US)])
            job.until(lambda count=minute: len(job.released) == count, "the slow partition")
            assert buffered(job.lane) == [held, 1]
        job.clock.ahead_us += SECOND_US
        job.step()  # a report is due
        assert job.told.reports[job.names[0]].holding == [slow]
        assert [feed.place for feed in job.told.reports[job.names[0]].feeds if feed.paused] == [ahead]
        write(broker, topic, 1, [happened(DAY + HOUR_US + 2_000 * SECOND_US + SECOND_US // 2)])
        job.until(lambda: len(job.released) == 4 + 2_001 and bounded() in {True, False}, "what the other let go of")
        write(broker, topic, 1, [happened(DAY + 11 * HOUR_US)])
        job.until(lambda: len(job.released) == 5 + 2_999 and bounded() in {True, False}, "all but the last")
        positions = [one.position for one in job.released]
        assert positions == sorted(positions)
        assert [one.offset for one in job.released if one.partition == 0] == [*range(2_999)]


def sizes_and_pauses(job: Job, count: int) -> tuple[list[int], list[bool]]:
    """Of all releases until so many messages have come: how many each brought, and whether a pause is to follow."""
    sizes: list[int] = []
    pauses: list[bool] = []

    def released() -> bool:
        merged = job.next(job.names[0])
        if merged is not None and merged.events:
            sizes.append(len(merged.events))
            pauses.append(job.lane.next_awake() is not None)
        return sum(sizes) >= count

    wait_for(released, "all of them")
    return sizes, pauses


def test_pieces_that_only_time_sets_free_follow_without_a_pause(broker: Broker) -> None:
    """No message comes with them, after which the lane would be asked at once in any case."""
    topic = made(broker, "pieces", [happened(NOON + 2 * MINUTE_US + index * 1_000) for index in range(3_500)])
    with Job(broker.bootstrap, [topic], batch=8_192, buffer=20_000) as job:
        job.until(lambda: buffered(job.lane) == [3_500], "all to be read")
        job.clock.ahead_us = 3 * MINUTE_US
        sizes, pauses = sizes_and_pauses(job, 3_500)
        assert sizes[0] == 1_024
        assert pauses[:2] == [False, False]


def test_what_came_together_while_the_lane_was_held_back_goes_in_growing_pieces(broker: Broker) -> None:
    seconds = [happened(DAY + HOUR_US + index * SECOND_US) for index in range(3_500)]
    topic = made(broker, "pieces", seconds, [happened(DAY)])
    with Job(broker.bootstrap, [topic], idle_grace_us=NEVER_US, batch=8_192, buffer=20_000) as job:
        job.until(lambda: buffered(job.lane) == [3_500, 1], "all to be read")
        write(broker, topic, 1, [happened(DAY + 2 * HOUR_US)])
        assert sizes_and_pauses(job, 3_500)[0] == [1_024, 2_048, 3_500 - 3 * 1_024]
        held_on = 1  # the last one: another may have come at its time
        assert [one.offset for one in job.released if one.partition == 0] == [*range(3_500 - held_on)]


def test_more_messages_of_one_time_than_the_buffer_holds_do_not_stop_their_lane(broker: Broker) -> None:
    """They are released together, so all of them must be read first; a log-append time is that of a whole batch."""
    topic = made(broker, "ties", [(event(index, DAY), DAY) for index in range(1_000)], [happened(DAY + HOUR_US)])
    write(broker, topic, 0, [happened(DAY + HOUR_US)])
    with Job(broker.bootstrap, [topic], idle_grace_us=NEVER_US, batch=50, buffer=100) as job:
        job.until(lambda: len(job.released) == 1_000, "messages of one time")


def test_what_is_ahead_of_the_last_listing_waits_in_bounds(broker: Broker) -> None:
    """A producer whose clock is ahead: the lane waits for its own, and the partition is paused meanwhile."""
    topic = made(broker, "future", [happened(NOON + 2 * MINUTE_US + index * 1_000) for index in range(500)])
    with Job(broker.bootstrap, [topic], batch=50, buffer=100) as job:

        def bounded() -> bool:
            assert sum(buffered(job.lane)) < 150
            return paused(job.lane) == [(topic, 0)]

        job.until(bounded, "the partition to be paused")
        assert job.released == []
        job.clock.ahead_us = 3 * MINUTE_US
        job.until(lambda: len(job.released) == 500, "time to come")


def test_a_partition_at_its_end_holds_nothing_back_after_a_while_but_a_broker_that_does_not_answer_does(
    broker: Broker,
) -> None:
    """With a wide `discover`, so that it is the proof alone that holds the lane back."""
    assert broker.pid
    grace_us = 10 * SECOND_US
    topic = made(broker, "idle", [happened(DAY)], [happened(DAY)])
    with Job(broker.bootstrap, [topic], idle_grace_us=grace_us, discover_us=DAY_US) as job:
        job.until_past(NOON - grace_us - SECOND_US)
        write(broker, topic, 1, [happened(job.clock.us() // 1_000 * 1_000)])
        job.until(lambda: buffered(job.lane) == [0, 1], "the message")
        assert len(job.released) == 2
        job.clock.ahead_us += grace_us + SECOND_US
        job.until(lambda: len(job.released) == 3, "the partition at its end to let go")

        write(broker, topic, 1, [happened(job.clock.us() // 1_000 * 1_000)])
        job.until(lambda: buffered(job.lane) == [0, 1], "the message")
        with frozen(broker):
            for _ in range(200):
                job.clock.ahead_us += SECOND_US
                job.step()
            assert len(job.released) == 3
            assert job.watermarks[job.names[0]] < job.clock.us() - 190 * SECOND_US
            assert job.told.reports[job.names[0]].holding == [(topic, 0)]
        job.until(lambda: len(job.released) == 4, "the broker to answer")
        assert [one.offset for one in job.released if one.partition == 1] == [0, 1, 2]


def test_a_message_older_than_the_time_its_idle_partition_had_reached_arrives_at_that_time(broker: Broker) -> None:
    topic = made(broker, "older", [happened(DAY)])
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(NOON)
        reached_us = job.watermarks[job.names[0]]
        write(broker, topic, 0, [happened(DAY + HOUR_US)])
        job.until(lambda: len(job.released) == 2, "the old message")
        late = job.released[-1]
        assert late.arrival_us >= reached_us
        assert late.occurred_us == DAY + HOUR_US


def test_messages_after_time_had_gone_on_past_them_are_counted_and_told(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "andon.source")
    topic = made(broker, "overtaken", [happened(DAY)])
    telemetry = Telemetry(0, stalled_after_s=60, limit=InputLimit(60, 1.0))
    with Job(broker.bootstrap, [topic]) as job:
        watch = JobWatch(telemetry, Stop(), job.clock.us, 8.0)
        job.until_past(NOON)
        write(broker, topic, 0, [happened(NOON - 3 * MINUTE_US), happened(NOON - HOUR_US), happened(NOON + DAY_US)])
        job.until(lambda: buffered(job.lane) == [0] and len(job.released) == 3, "the old messages")
        for _ in range(2):
            job.lane._reported_us = 0
            job.step()
            watch.lane_state(job.told.reports[job.names[0]])
        assert f'andon_overtaken_messages_total{{topic="{topic}"}} 2.0' in telemetry.render().decode()
        assert [one.getMessage() for one in caplog.records] == [
            f"{topic}/0 was taken to be quiet, and then brought messages of up to 3 min before that"
        ]


def test_topics_that_carry_the_brokers_time_hold_others_back_for_as_long_as_is_set_for_them(broker: Broker) -> None:
    """Tansu says of a topic what it was made with; that it stamps no message by itself does not matter here."""
    theirs = made(broker, "theirs", [happened(DAY)], config={"message.timestamp.type": "CreateTime"})
    ours = made(broker, "ours", [happened(DAY)], config={"message.timestamp.type": "LogAppendTime"})
    for topics, held_us in (([ours], MINUTE_US), ([theirs], HOUR_US), ([ours, theirs], HOUR_US)):
        with Job(broker.bootstrap, topics, idle_grace_us=HOUR_US, idle_grace_appended_us=MINUTE_US) as job:
            job.until_past(NOON - held_us)
            assert job.watermarks[job.names[0]] < job.clock.us() - held_us


def test_where_the_broker_tells_nothing_of_a_topic_its_time_is_taken_for_that_of_producers(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right to be told (DESCRIBE_CONFIGS) is one that the job does not need."""

    def refused(_admin: object, asked: Sequence[ConfigResource], **_: object) -> dict[ConfigResource, Future[None]]:
        answer = Future[None]()
        answer.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
        return dict.fromkeys(asked, answer)

    monkeypatch.setattr(topics_module.AdminClient, "describe_configs", refused)
    ours = made(broker, "ours", [happened(DAY)], config={"message.timestamp.type": "LogAppendTime"})
    with Job(broker.bootstrap, [ours], idle_grace_us=HOUR_US, idle_grace_appended_us=MINUTE_US) as job:
        job.until_past(NOON - HOUR_US)
        assert job.watermarks[job.names[0]] < job.clock.us() - HOUR_US
        assert job.told.answers
        assert not job.told.unreached


def test_ends_of_transactions_are_no_messages_and_hold_nothing_back(apache: ApacheKafka) -> None:
    """The log goes on behind the last message then, by the marker. Tansu's transactions are not tried here."""
    topic = made(apache, "transactions", [], minutes(2, DAY + HOUR_US))
    producer = Producer(
        {"bootstrap.servers": apache.bootstrap, "transactional.id": topic, "log_level": 0, "partitioner": "consistent"}
    )
    producer.init_transactions(30)
    for number, commit in enumerate((True, False, True, False)):
        producer.begin_transaction()
        at_us = DAY + number * MINUTE_US
        producer.produce(topic, event(number, at_us), partition=0, timestamp=at_us // 1_000)
        assert producer.flush(30) == 0
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    with Job(apache.bootstrap, [topic]) as job:
        job.until_past(DAY + 2 * HOUR_US)
        assert [(one.partition, one.offset) for one in job.released] == [(0, 0), (0, 4), (1, 0), (1, 1)]
        kept = msgspec.msgpack.decode(job.snapshots()[job.names[0]], type=KafkaLaneState)
        assert kept.lane.partitions[f"{topic}/0"].position == 8


def test_what_waits_behind_an_open_transaction_holds_nothing_back_and_counts_as_behind(apache: ApacheKafka) -> None:
    """Its producer may have died: the broker says that there is no more, and has it."""
    topic = made(apache, "open", minutes(2), minutes(1, DAY + HOUR_US))
    producer = Producer({"bootstrap.servers": apache.bootstrap, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, event(0, DAY), partition=0, timestamp=DAY // 1_000)
    assert producer.flush(30) == 0
    write(apache, topic, 0, minutes(3, DAY + HOUR_US))
    telemetry = Telemetry()
    with Job(apache.bootstrap, [topic]) as job:
        watch = JobWatch(telemetry, Stop(), job.clock.us, 8.0)

        def behind() -> set[tuple[str, float | None]]:
            if job.told.reports:
                watch.lane_state(job.told.reports[job.names[0]])
            lags = msgspec.convert(telemetry.status(), ProcessStatus).metrics[LAG_MESSAGES.name]
            return {(one.labels["partition"], one.value) for one in lags}

        job.until_past(NOON)
        assert len(job.released) == 3
        job.until(lambda: behind() == {("0", 4), ("1", 0)}, "what waits to be told")
        job.until(lambda: all(feed.answered for feed in job.told.reports[job.names[0]].feeds), "the broker to say so")
        assert behind() == {("0", 4), ("1", 0)}
        producer.abort_transaction()
        job.until(lambda: len(job.released) == 6, "what waited behind it")
        job.until(lambda: behind() == {("0", 0), ("1", 0)}, "that nothing waits")


def test_a_lane_that_waits_for_others_takes_nothing_but_begins_new_partitions(broker: Broker) -> None:
    topic = made(broker, "waits", minutes(3))
    with Job(broker.bootstrap, [topic]) as job:

        def waits() -> bool:
            job.lane.wait()
            return bool(job.told.reports) and len(job.told.reports[job.names[0]].feeds) == 1

        wait_for(waits, "the partition to be begun")
        ready_us = (
            job.clock.us() + SECOND_US // 5
        )  # the messages, and that there are no more, wait in the client library
        wait_for(lambda: waits() and job.clock.us() > ready_us, "the client library")
        assert buffered(job.lane) == [0]
        job.until_past(DAY + HOUR_US)
        assert offsets(job.released) == [0, 1, 2]


def test_a_lane_without_partitions_goes_with_the_clock_no_further_than_the_topics_were_listed(broker: Broker) -> None:
    topic = made(broker, "none", minutes(3))
    with Job(broker.bootstrap, [topic], lanes=3) as job:
        job.until_past(NOON)
        assert sorted(map(len, job.events.values())) == [0, 0, 3]
        with frozen(broker):
            for _ in range(100):
                job.clock.ahead_us += SECOND_US
                job.step()
            assert max(job.watermarks.values()) < job.clock.us() - 95 * SECOND_US
        job.until_past(job.clock.us() - SECOND_US)


def test_a_clock_that_is_put_back_holds_time_back_and_that_is_told(broker: Broker) -> None:
    """What has been said of a time can't be taken back."""
    topic = made(broker, "back", minutes(3))
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(NOON)
        job.clock.ahead_us -= HOUR_US
        write(broker, topic, 0, [happened(job.clock.us() // 1_000 * 1_000)])
        job.until(lambda: bool(job.told.troubles), "a word of it")
        assert "further than this machine's clock, which was put back" in job.told.troubles[0]
        assert job.told.reports[job.names[0]].now_us < NOON, "how it stands is told on"
        assert len(job.released) == 3
        job.clock.ahead_us += HOUR_US
        job.until(lambda: len(job.released) == 4, "what came meanwhile")


def test_what_comes_while_the_clock_is_behind_is_not_taken_for_a_bad_clocks(broker: Broker) -> None:
    """A machine that starts with its clock an hour behind, over a log whose times are right."""
    topic = made(broker, "behind", minutes(3))
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(NOON)
        kept = job.snapshots()
    true_us = NOON + MINUTE_US
    write(broker, topic, 0, [happened(true_us), happened(true_us + SECOND_US)])
    with Job(broker.bootstrap, [topic], kept=kept) as job:
        job.clock.ahead_us -= HOUR_US
        job.until(lambda: bool(job.told.troubles and job.lane._feeds), "a word of it")
        feed = job.lane._feeds[topic, 0]
        wait_for(lambda: job.lane._consumer.get_watermark_offsets(feed.partition(), cached=True)[1] == 5, "a fetch")
        for _ in range(20):
            job.step()
        assert feed.next_offset == 3
        job.clock.ahead_us += HOUR_US + 2 * MINUTE_US
        job.until(lambda: len(job.released) == 2, "what came meanwhile")
        assert [one.arrival_us for one in job.released] == [true_us, true_us + SECOND_US]
        assert job.dead == {"lane-0000": []}


# --- the broker is away ----------------------------------------------------------------------------------------------


def test_a_broker_that_is_down_at_first_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_module, "_ANSWER_S", 0.2)
    late = Broker(free_port())
    if late._given:
        pytest.skip("the server that is given is up")
    topic = late.topic("orders")
    with Job(late.bootstrap, [topic]) as job:
        job.until(lambda: len(job.told.unreached) > 1, "the broker to be missed")
        assert not job.told.answers
        assert not job.released
        job.until(lambda: bool(job.told.troubles), "the client library to tell of it")
        job.until(lambda: "Connection refused" in job.told.unreached[-1], "the reason to be told")
        with late:
            late.create(topic, 1)
            write(late, topic, 0, minutes(3))
            job.until(lambda: len(job.released) == 3, "the messages")
            assert offsets(job.released) == [0, 1, 2]
            assert job.told.answers


def test_lanes_that_begin_while_the_broker_is_told_of_are_no_error() -> None:
    """Lanes and the one who lists the topics run in threads of their own; it would end, and the job stand still."""

    class Slow(Telemetry):
        """Between what is told of two lanes another one begins."""

        def set(self, metric: Metric, value: float, *labels: str | int) -> None:
            super().set(metric, value, *labels)
            begins = next(late, None) if metric is SOURCE_UP else None
            if begins is not None:
                watch.released(begins, nothing)

    nothing, late = Merged([], [], [], NOON, NOON, final=False), iter(["lane-0001", "lane-0002"])
    watch = JobWatch(Slow(), Stop(), Clock().us, 8.0)
    watch.released("lane-0000", nothing)
    watch.reachable()
    watch.unreachable("it is away")
    assert next(late, None) is None, "both began while that was told"


def test_topics_that_do_not_exist_yet_are_told_once_and_found(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    topic, absent = made(broker, "there", minutes(1)), topic_of(broker, "absent")
    caplog.set_level("INFO", "andon.source")
    clock = Clock()
    telemetry = Telemetry(0, stalled_after_s=60, limit=InputLimit(60, 1.0))
    watch = JobWatch(telemetry, Stop(), clock.us, 8.0)
    with Job(broker.bootstrap, [topic, absent], told_of_topics=watch) as job:
        job.until_past(NOON + SECOND_US // 2)  # listed ten times
        assert caplog.messages == [f"waiting for topics that do not exist yet: {absent}"]
        assert f'andon_topic_missing{{topic="{absent}"}} 1.0' in telemetry.render().decode()
        broker.create(absent, 1)
        write(broker, absent, 0, minutes(1))
        job.until(lambda: len(job.released) == 2, "the topic to be found")
        wait_for(lambda: len(caplog.messages) > 1, "the topic to be told of")
        assert caplog.messages[1:] == ["all topics exist now"]
        assert "andon_topic_missing{" not in telemetry.render().decode()


def test_a_job_that_was_there_before_any_topic_reads_a_log_of_the_past_in_its_own_time(broker: Broker) -> None:
    """As the laptop's stack begins: with an `idle_grace` as long as the log is old, its messages alone move time."""
    absent = topic_of(broker, "absent")
    with Job(broker.bootstrap, [absent], lanes=2, idle_grace_us=DAY_US) as job:
        job.until(lambda: job.told.missed == [[absent]] and min(job.watermarks.values()) > 0, "time to pass")
        broker.create(absent, 2)
        for partition in range(2):
            write(broker, absent, partition, minutes(3))
        job.until(lambda: all(len(events) == 2 for events in job.events.values()), "the log to be read")
        for events in job.events.values():
            assert [event.arrival_us for event in events] == [DAY, DAY + MINUTE_US]


def test_topics_that_go_away_and_those_that_may_not_be_seen_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "andon.source")
    watch = JobWatch(Telemetry(), Stop(), Clock().us, 8.0)
    rounds: list[tuple[list[str], list[str]]] = [(["erp", "supply"], ["erp"]), (["erp"], ["erp"]), ([], [])]
    for topics, hidden in [*rounds, (["orders"], []), (["orders"], []), ([], [])]:
        watch.missing(topics, hidden)
    seen = "the broker does not let this job see erp; grant READ and DESCRIBE on what is read"
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("WARNING", seen),
        ("INFO", "waiting for topics that do not exist yet: supply"),
        ("INFO", "all topics exist now"),
        ("WARNING", "orders: no longer there; time stands still until they are back, or out of kafka.topics"),
        ("INFO", "all topics exist now"),
    ]


@pytest.mark.parametrize("away", ["frozen", "gone"])
def test_closing_does_not_wait_for_a_broker_that_is_away(away: str, broker: Broker) -> None:
    """Ten seconds are given to an answer; a stop has less."""
    bootstrap = broker.bootstrap if away == "frozen" else f"127.0.0.1:{free_port()}"
    job = Job(bootstrap, ["orders"])
    if away == "frozen":
        wait_for(lambda: job.told.answers > 0, "the broker")
    with frozen(broker) if away == "frozen" else nullcontext():
        for _ in range(50):
            job.step()
        job.snapshots()
        job.snapshots()
        began = time.monotonic()
        with job:
            pass
        assert time.monotonic() - began < 3
