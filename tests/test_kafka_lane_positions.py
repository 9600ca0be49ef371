"""Lanes over a real broker: where they begin, positions that are not in the log, and what the group is told of them.

What tansu does not know (offsets by time, new partitions, expired messages) is tested over Apache Kafka, and skipped
where that is not at hand.
"""

import msgspec
import pytest
from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import ClusterMetadata

from dataflows.kafka import lane as lane_module
from dataflows.kafka import topics as topics_module
from dataflows.kafka.positions import KafkaLaneState
from dataflows.kafka.topics import Place
from dataflows.lane import lane_names
from operators.lane_state import LaneState, PartitionState
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US
from schemas.errors import SourceError
from tests import kafka_fixtures as fixtures
from tests.kafka_broker import ApacheKafka, Broker
from tests.kafka_lanes import (
    NEVER_US,
    NOON,
    Job,
    Told,
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

broker = fixtures.broker
apache = fixtures.apache


# --- where to begin ------------------------------------------------------------------------------------------------


def test_earliest_begins_with_the_first_message(broker: Broker) -> None:
    topic = made(broker, "earliest", minutes(5), [])
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(DAY + HOUR_US)
        assert offsets(job.released) == [0, 1, 2, 3, 4]


def test_latest_begins_behind_what_was_there_and_later_partitions_with_their_first_message(broker: Broker) -> None:
    """Tansu takes the first message of the last batch for the last of all when asked where the log ends, so `latest`
    begins up to one batch early there. Here the last message is a batch of its own, which makes its answer right."""
    topic, later = made(broker, "latest", minutes(5)), topic_of(broker, "later")
    write(broker, topic, 0, [happened(DAY + HOUR_US)])
    with Job(broker.bootstrap, [topic, later], begin="latest") as job:
        job.until_past(DAY + 2 * HOUR_US)
        write(broker, topic, 0, [happened(job.clock.us() // 1_000 * 1_000)])
        broker.create(later, 1)
        write(broker, later, 0, [happened(DAY)])
        job.until(lambda: len(job.released) == 2, "what came since")
        assert {(one.topic, one.offset) for one in job.released} == {(topic, 6), (later, 0)}
        assert max(job.told.missed, key=len) == [later]


def test_latest_begins_at_most_a_batch_early(broker: Broker) -> None:
    """The bound on what tansu's low answer costs: what is read too much is of the last batch."""
    topic = made(broker, "batch", minutes(5))
    write(broker, topic, 0, minutes(7, DAY + HOUR_US))
    with Job(broker.bootstrap, [topic], begin="latest") as job:
        job.until_past(DAY + 2 * HOUR_US)
        assert offsets(job.released) == [*range(12)][12 - len(job.released) :]
        assert len(job.released) < 7


@pytest.mark.parametrize(
    ("at_us", "first"), [(DAY - HOUR_US, 0), (DAY + 90 * SECOND_US, 2), (DAY + 2 * MINUTE_US, 2), (DAY + HOUR_US, 5)]
)
def test_a_time_begins_with_the_first_message_from_then_on(apache: ApacheKafka, at_us: int, first: int) -> None:
    """Tansu does not know offsets by time: it answers 0 to every time."""
    topic = made(apache, "time", minutes(5))
    with Job(apache.bootstrap, [topic], begin="timestamp", begin_at_us=at_us) as job:
        job.until_past(DAY + HOUR_US)
        write(apache, topic, 0, [happened(job.clock.us() // 1_000 * 1_000)])
        job.until(lambda: 5 in offsets(job.released), "what came since")
        assert offsets(job.released) == [*range(first, 6)]


def test_a_time_passes_over_nothing_that_comes_while_the_broker_is_asked_for_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker has nothing from that time on yet, and gets it before it is asked anything else.

    Tansu knows no offsets by time; for the end of the log, see above.
    """

    class Meanwhile(Consumer):
        def offsets_for_times(self, partitions: list[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
            del timeout
            write(broker, topic, 0, [happened(DAY + 2 * HOUR_US), happened(DAY + 3 * HOUR_US)])
            return [TopicPartition(one.topic, one.partition, OFFSET_END) for one in partitions]

    topic = made(broker, "meanwhile", [happened(DAY)])
    write(broker, topic, 0, [happened(DAY + MINUTE_US)])
    monkeypatch.setattr(topics_module, "Consumer", Meanwhile)
    with Job(broker.bootstrap, [topic], begin="timestamp", begin_at_us=DAY + HOUR_US) as job:
        job.until_past(NOON)
        assert {2, 3} <= {*offsets(job.released)}


def test_partitions_that_are_added_are_read_from_their_first_message(apache: ApacheKafka) -> None:
    """Tansu can't add partitions to a topic."""
    topic = made(apache, "grows", minutes(5))
    with Job(apache.bootstrap, [topic], begin="latest") as job:
        job.until_past(DAY + HOUR_US)
        apache.grow(topic, 3)
        for number in (1, 2):
            write(apache, topic, number, minutes(2))
        job.until(lambda: len(job.released) == 4, "the new partitions")
        assert {(one.partition, one.offset) for one in job.released} == {(1, 0), (1, 1), (2, 0), (2, 1)}
        kept = job.snapshots()
    apache.grow(topic, 4)
    write(apache, topic, 3, minutes(2))
    with Job(apache.bootstrap, [topic], begin="latest", kept=kept) as job:  # it came while no job ran
        job.until(lambda: len(job.released) == 2, "the new partition")
        assert {(one.partition, one.offset) for one in job.released} == {(3, 0), (3, 1)}


def test_a_partition_that_is_not_there_keeps_no_other_from_being_begun(broker: Broker) -> None:
    topic = made(broker, "asked", minutes(3))
    with Job(broker.bootstrap, [topic], mine=[]) as job:
        assert job.watch.begin_of((topic, 9), "earliest") is None
        wait_for(lambda: job.watch.begin_of((topic, 0), "earliest") == 0, "the partition that is there")
        assert job.watch.begin_of((topic, 9), "earliest") is None
        assert job.told.unreached == []


def test_stored_begins_where_a_former_job_had_committed_and_else_with_the_first_message(broker: Broker) -> None:
    topic = made(broker, "stored", minutes(10), minutes(3, DAY + 30 * MINUTE_US))
    with Job(broker.bootstrap, [topic], begin="stored", idle_grace_us=NEVER_US) as job:
        job.until(lambda: len(job.released) == 9, "all but the last of the partition that holds the other back")
        job.lane.snapshot()
        job.lane.snapshot()
        wait_for(lambda: job.stored(broker) == {(topic, 0): 9, (topic, 1): 0}, "the commit")
    with Job(broker.bootstrap, [topic], begin="stored", group=job.group) as resumed:
        resumed.until_past(DAY + HOUR_US)
        assert [(one.partition, one.offset) for one in resumed.released] == [(0, 9), (1, 0), (1, 1), (1, 2)]
    with Job(broker.bootstrap, [topic], begin="stored") as other:
        other.until_past(DAY + HOUR_US)
        assert len(other.released) == 13


def test_a_topic_that_is_new_beside_kept_state_begins_as_set_and_one_that_is_away_stays_kept(broker: Broker) -> None:
    old, new = made(broker, "old", minutes(3)), made(broker, "new", minutes(3))
    write(broker, new, 0, [happened(DAY + HOUR_US)])
    with Job(broker.bootstrap, [old]) as job:
        job.until_past(DAY + HOUR_US)
        kept = job.snapshots()
    write(broker, old, 0, [happened(DAY + 3 * HOUR_US)])
    with Job(broker.bootstrap, [new], kept=kept, begin="latest") as job:
        job.until(lambda: job.told.answers > 3, "the topic to be listed")
        kept = job.snapshots()
        assert job.released == []
        assert set(msgspec.msgpack.decode(kept[job.names[0]], type=KafkaLaneState).lane.partitions) >= {f"{old}/0"}
    write(broker, new, 0, [happened(DAY + 3 * HOUR_US)])
    with Job(broker.bootstrap, [old, new], kept=kept, begin="latest") as job:
        job.until(lambda: len(job.released) == 2, "what came since")
        assert {(one.topic, one.offset) for one in job.released} == {(old, 3), (new, 4)}


# --- positions that are not in the log -----------------------------------------------------------------------------


def state_at(topic: str, position: int) -> dict[str, bytes]:
    """What the only lane kept when it stood at `position` of partition 0."""
    kept = KafkaLaneState(
        LaneState(1, int(DAY), {f"{topic}/0": PartitionState(1, position, position - 1, int(DAY), None)}), [topic]
    )
    return {lane_names(1)[0]: msgspec.msgpack.encode(kept)}


def test_a_position_beyond_the_end_of_the_log_stops_the_job_with_words(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apache Kafka says so; tansu says nothing at all, and it is seen by its silence."""
    monkeypatch.setattr(lane_module, "_SILENT_US", SECOND_US // 5)
    monkeypatch.setattr(lane_module, "_REPORT_US", SECOND_US // 20)
    topic = made(broker, "short", minutes(5))
    words = f"{topic}/0: the job stands at offset 100, but the log ends at 5: .*another kafka.group"
    with Job(broker.bootstrap, [topic], kept=state_at(topic, 100)) as job, pytest.raises(SourceError, match=words):
        job.until(lambda: False, "the end to be seen")


class Before:
    """The client library after a fetch that found more than there was when the broker took down where the log ends.

    It does not come to the end of the partition.
    """

    def __init__(self, consumer: Consumer, end: int) -> None:
        self._consumer, self._end = consumer, end

    def get_watermark_offsets(self, _partition: TopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached
        return 0, self._end

    def consume(self, most: int, timeout_s: float) -> list[Message]:
        return [message for message in self._consumer.consume(most, timeout_s) if message.error() is None]

    def __getattr__(self, name: str) -> object:
        return getattr(self._consumer, name)


def test_a_partition_that_is_never_at_its_end_is_not_silent(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was last asked long ago, and what was found out about its end is of before its last messages."""
    monkeypatch.setattr(lane_module, "_REPORT_US", 0)
    topic = made(broker, "busy", minutes(5))
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(NOON)
        (feed,) = job.lane._feeds.values()
        monkeypatch.setattr(job.lane, "_consumer", Before(job.lane._consumer, 3))
        monkeypatch.setattr(job.watch, "range_of", lambda _place: (0, 3))
        write(broker, topic, 0, [happened(NOON)])
        job.until(lambda: feed.next_offset == 6, "what comes then")
        feed.asked_us -= HOUR_US
        until_us = job.clock.us() + SECOND_US // 2
        while job.clock.us() < until_us:
            job.step()
            assert not feed.answered


@pytest.mark.parametrize("away", ["the broker", "the lane"])
def test_silence_of_a_broker_or_lane_that_is_away_does_not_mean_that_the_log_has_lost_its_end(
    away: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "_SILENT_US", SECOND_US // 10)
    monkeypatch.setattr(lane_module, "_REPORT_US", SECOND_US // 50)
    topic = made(broker, "silent", minutes(5))
    with Job(broker.bootstrap, [topic], batch=3) as job:
        job.until_past(NOON)
        monkeypatch.setattr(job.lane, "_consumer", Before(job.lane._consumer, 3))
        (feed,) = job.lane._feeds.values()
        until_us = job.clock.us() + SECOND_US
        if away == "the broker":
            asked = job.watch.range_of

            def right(place: Place) -> tuple[int, int] | None:
                """Tansu says too low an end when it is asked."""
                limits = asked(place)
                return limits and (limits[0], max(limits[1], feed.next_offset))

            monkeypatch.setattr(job.watch, "range_of", right)
            with frozen(broker):
                job.until(lambda: not feed.answered, "a question without an answer")
                while job.clock.us() < until_us:
                    job.step()
                assert not feed.answered
        else:
            job.until(lambda: not feed.answered, "a question")
            while job.clock.us() < until_us:
                job.lane.wait()
            assert not feed.answered
        write(broker, topic, 0, [happened(NOON)])
        job.until(lambda: feed.next_offset == 6, "what comes then")


def remade(broker: Broker | ApacheKafka, topic: str, count: int) -> None:
    """Delete a topic and make it again, with so many messages."""
    broker.admin.delete_topics([topic], request_timeout=30)[topic].result()
    del broker._topics[topic]
    wait_for(lambda: topic not in broker.admin.list_topics(timeout=10).topics, "the topic to be gone")
    broker.create(topic, 1)
    write(broker, topic, 0, minutes(count, DAY + HOUR_US))


def test_a_topic_that_was_made_anew_stops_the_job_however_long_it_is_by_now(broker: Broker) -> None:
    topic = made(broker, "anew", minutes(5))
    with Job(broker.bootstrap, [topic]) as job:
        job.until(lambda: len(job.released) == 5, "all of it")
        kept = job.snapshots()
    remade(broker, topic, 8)
    words = f"{topic}: the topic was deleted and made anew since the job has read it, .*another kafka.group"
    with Job(broker.bootstrap, [topic], kept=kept) as job, pytest.raises(SourceError, match=words):
        job.until(lambda: bool(job.released), "what must not be")
    (lane, state), *_ = kept.items()
    of_before = msgspec.msgpack.encode(msgspec.msgpack.decode(state)[:2])  # it did not keep what tells topics apart
    with Job(broker.bootstrap, [topic], kept={lane: of_before}) as job:
        job.until(lambda: offsets(job.released) == [5, 6, 7], "what is new as far as can be seen")


def test_a_topic_that_was_made_anew_before_anything_was_in_it_is_read(broker: Broker) -> None:
    topic = made(broker, "empty", [])
    with Job(broker.bootstrap, [topic]) as job:
        job.until_past(NOON)
        kept = job.snapshots()
    remade(broker, topic, 2)
    with Job(broker.bootstrap, [topic], kept=kept) as job:
        job.until(lambda: offsets(job.released) == [0, 1], "all of it")
        assert job.snapshots() != kept


def test_a_topic_that_is_made_anew_under_a_job_that_reads_stops_it(apache: ApacheKafka) -> None:
    topic = made(apache, "under", minutes(5))
    with Job(apache.bootstrap, [topic]) as job:
        job.until(lambda: len(job.released) == 5, "all of it")
        remade(apache, topic, 5)
        with pytest.raises(SourceError, match=f"{topic}: the topic was deleted and made anew"):
            job.until(lambda: False, "the other topic to be seen")


def test_what_was_read_and_is_not_listed_after_a_start_holds_the_lane_back_until_it_is(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that has just been started may not know all topics yet, and says that there are none of the name.

    Tansu knows them at once, so what it lists is cut short here.
    """
    hidden: list[str] = []

    class Forgetful(Consumer):
        def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
            answer = super().list_topics(topic, timeout) if topic else super().list_topics(timeout=timeout)
            for one in hidden:
                del answer.topics[one]
            return answer

    orders, stock = made(broker, "orders", minutes(3)), made(broker, "stock", minutes(3))
    monkeypatch.setattr(topics_module, "Consumer", Forgetful)
    with Job(broker.bootstrap, [orders, stock]) as job:
        job.until(lambda: len(job.released) == 6, "all of it")
        kept = job.snapshots()
    began = job.watermarks["lane-0000"]
    write(broker, orders, 0, [happened(NOON + SECOND_US)])
    write(broker, stock, 0, [happened(NOON + 2 * SECOND_US)])
    hidden.append(orders)
    with Job(broker.bootstrap, [orders, stock], kept=kept) as job:
        job.clock.ahead_us = HOUR_US
        job.until(lambda: (stock, 0) in job.lane._feeds and job.lane._feeds[stock, 0].next_offset == 4, "the others")
        job.until(lambda: job.told.reports["lane-0000"].holding == [(orders, 0)], "to be told who holds back")
        assert job.released == []
        assert job.watermarks["lane-0000"] <= began
        words = f"lane-0000: {orders}/0: read before, and not there now; time stands still until the broker tells of it"
        assert any(trouble.startswith(words) for trouble in job.told.troubles)
        again = job.snapshots()
    with Job(broker.bootstrap, [stock], kept=again) as job:  # the way on where it is not to come back
        job.clock.ahead_us = HOUR_US
        job.until(lambda: [(one.topic, one.offset) for one in job.released] == [(stock, 3)], "the others")
    with Job(broker.bootstrap, [orders, stock], kept=again) as job:
        job.clock.ahead_us = HOUR_US
        job.until(lambda: job.lane._feeds.keys() == {(stock, 0)}, "the others")
        hidden.clear()
        job.until(lambda: len(job.released) == 2, "all of it")
        assert [(one.topic, one.arrival_us - NOON) for one in job.released] == [
            (orders, SECOND_US),
            (stock, 2 * SECOND_US),
        ]


def test_a_position_at_the_end_of_the_log_is_no_error_however_long_nothing_comes(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "_SILENT_US", SECOND_US // 5)
    monkeypatch.setattr(lane_module, "_REPORT_US", SECOND_US // 20)
    assert broker.pid
    topic = made(broker, "end", minutes(5))
    with Job(broker.bootstrap, [topic], kept=state_at(topic, 5)) as job:
        job.until_past(NOON + SECOND_US)
        with frozen(broker):
            for _ in range(100):
                job.clock.ahead_us += SECOND_US
                job.step()
        job.until_past(job.clock.us() - SECOND_US)
        assert job.released == []


def test_messages_that_expired_unread_stop_the_job_with_words(apache: ApacheKafka) -> None:
    """Tansu does not know a beginning of the log other than 0."""
    topic = made(apache, "expired", minutes(10))
    apache.expire(topic, 0, 7)
    words = (
        f"{topic}/0: offset 4 is no longer in the log, which begins at 7: 3 messages have expired unread"
        r".*--on-expired earliest \(kafka.on_expired\)"
    )
    with Job(apache.bootstrap, [topic], kept=state_at(topic, 4)) as job, pytest.raises(SourceError, match=words):
        job.until(lambda: False, "the end of it")


def test_messages_that_expired_unread_are_passed_over_when_told_so_and_on_record(apache: ApacheKafka) -> None:
    topic = made(apache, "expires", minutes(10), minutes(3))
    with Job(apache.bootstrap, [topic], skip_expired=True, buffer=2, batch=1) as job:
        job.until(lambda: bool(job.released), "the first message")
        kept = job.snapshots()
        (position, *_) = [
            one.position
            for name, one in msgspec.msgpack.decode(kept[job.names[0]], type=KafkaLaneState).lane.partitions.items()
            if name == f"{topic}/0"
        ]
    assert position < 7
    apache.expire(topic, 0, 7)
    with Job(apache.bootstrap, [topic], skip_expired=True, kept=kept) as job:
        job.until_past(DAY + HOUR_US)
        (letter,) = job.dead[job.names[0]]
        assert (letter.topic, letter.partition, letter.offset, letter.reason) == (topic, 0, position, "transport")
        assert letter.detail == f"offsets {position} to 6 had expired before they were read"
        assert letter.raw == b""
        assert job.told.passed == [((topic, 0), position, 6)]
        assert [one.offset for one in job.released if one.partition == 0] == [7, 8, 9]
        state = msgspec.msgpack.decode(job.snapshots()[job.names[0]], type=KafkaLaneState)
        assert state.lane.partitions[f"{topic}/0"].position == 10


def test_messages_that_expire_under_a_job_that_reads_are_passed_over(apache: ApacheKafka) -> None:
    """Held back while they expire: what is read already is not lost, and nothing is read twice."""
    topic = made(apache, "expiring", minutes(300, DAY + HOUR_US), [happened(DAY)])
    settings = {"skip_expired": True, "idle_grace_us": NEVER_US, "buffer": 100, "batch": 50}
    with Job(apache.bootstrap, [topic], **settings) as job:
        job.until(lambda: paused(job.lane) == [(topic, 0)], "a pause")
        read = job.lane._feeds[topic, 0].next_offset
        apache.expire(topic, 0, 250)
        write(apache, topic, 1, [happened(DAY + 10 * HOUR_US)])
        job.until(lambda: bool(job.told.passed), "the end of what had been read")
        (passed,) = job.told.passed
        assert passed == ((topic, 0), read, 249)
        write(apache, topic, 0, [happened(DAY + 11 * HOUR_US)])
        job.until(lambda: 299 in [one.offset for one in job.released if one.partition == 0], "the rest")
        assert [one.offset for one in job.released if one.partition == 0] == [*range(read), *range(250, 300)]


def test_a_broker_that_refuses_the_topic_stops_the_job_with_words(broker: Broker) -> None:
    """No broker at hand refuses anybody: the answer is put in the client library's place."""

    class Refused:
        def topic(self) -> str:
            return "orders"

        def partition(self) -> int:
            return 0

    with Job(broker.bootstrap, ["orders"]) as job:
        error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        with pytest.raises(
            SourceError, match=r"orders: the broker refuses to let andon-test-\w+ read it .*; grant READ"
        ):
            job.lane._take_error(Refused(), error)


# --- what the consumer group is told -------------------------------------------------------------------------------


def test_the_group_is_told_of_a_snapshot_when_the_next_one_is_asked_for_and_never_before(broker: Broker) -> None:
    topic = made(broker, "group", minutes(30))
    with Job(broker.bootstrap, [topic], batch=3, idle_grace_us=NEVER_US) as job:
        kept = []
        for count in (5, 12, 20, 29):
            job.until(lambda count=count: len(job.released) >= count, "messages")
            told = len(job.told.commits)
            state = msgspec.msgpack.decode(job.snapshots()[job.names[0]], type=KafkaLaneState)
            kept.append(state.lane.partitions[f"{topic}/0"].position)
            if len(kept) > 1:
                wait_for(lambda told=told: len(job.told.commits) > told, "the commit")
            assert job.stored(broker) == ({(topic, 0): kept[-2]} if len(kept) > 1 else {})
        assert len(set(kept)) == 4
        assert set(job.told.commits) == {None}
        snapshot = job.lane.snapshot()
    with Job(broker.bootstrap, [topic], kept={job.names[0]: snapshot}, group=job.group) as resumed:
        resumed.snapshots()
        wait_for(lambda: bool(resumed.told.commits), "the commit")
        assert resumed.stored(broker) == {(topic, 0): 29}, "what is resumed from is known to be kept"


def test_what_the_last_snapshot_made_known_is_committed_at_a_stop(broker: Broker) -> None:
    """Here the one who commits is busy with the commit before, until the job is being closed."""

    class Busy(Told):
        def committed(self, error: str | None) -> None:
            super().committed(error)
            wait_for(lambda: job.watch._closed, "the job to be closed")

    topic = made(broker, "stops", minutes(30))
    with Job(broker.bootstrap, [topic], batch=3, idle_grace_us=NEVER_US, told=Busy()) as job:
        for count in (5, 29):
            job.until(lambda count=count: len(job.released) >= count, "messages")
            job.snapshots()
            job.snapshots()
            wait_for(lambda: bool(job.told.commits), "the first commit")
        assert len(job.told.commits) == 1
    assert job.stored(broker) == {(topic, 0): 29}


def test_a_commit_that_fails_is_told_and_harms_nothing(broker: Broker) -> None:
    """The broker has no such topic (any more), so it takes no offset for it; the other's it takes."""
    topic, gone = made(broker, "commits", minutes(3)), topic_of(broker, "gone")
    kept = state_at(gone, 4)
    with Job(broker.bootstrap, [topic], kept=kept) as job:
        job.until_past(DAY + HOUR_US)
        job.snapshots()
        job.snapshots()
        job.until(lambda: any(job.told.commits), "the failure")
        assert "Unknown topic" in next(why for why in job.told.commits if why)
        wait_for(lambda: job.stored(broker).get((topic, 0)) == 3, "the commit")
        write(broker, topic, 0, [happened(DAY + HOUR_US)])
        job.until(lambda: len(job.released) == 4, "the next message")
