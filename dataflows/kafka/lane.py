"""A lane over Kafka: one consumer for its share of all topics' partitions, merged by message time.

**Which partitions.** Those of topic t whose (hash of t + number) modulo the number of lanes is the lane's: a topic's
partitions are spread evenly, and a partition stays with its lane whatever the number of processes.

**Back-pressure.** A partition of which more than `buffer` messages wait for the others is paused until three quarters
of them are released, unless the lane itself waits for it; the client library holds no more than
`queued.max.messages.kbytes` for the lane.

**A backlog** that has come together while the engine was busy goes in growing pieces (`pieces.py`).

**A partition at its end** must not hold the others back, but that it is at its end is believed only when it was asked:
the consumer is sent to where it stands, and when the broker then answers with nothing, there was nothing at the time of
asking. A broker that does not answer holds the lane back.

**Partitions that come later** are begun at their first message; what they bring counts as arrived no earlier than what
was released before. The lane does not run further ahead of the last listing of the topics than the listings are apart.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from dataflows.kafka.feeds import (
    Feed,
    LaneReport,
    beyond,
    expired,
    expired_letter,
    lane_of,
    made_anew,
    name_of,
    not_there,
    put_back,
)
from dataflows.kafka.input import KafkaInput
from dataflows.kafka.messages import by_place, claims_us, values_of
from dataflows.kafka.pieces import Pieces
from dataflows.kafka.positions import KafkaLaneState, positions_of
from dataflows.kafka.renewal import let_go
from dataflows.kafka.topics import Begin, Listing, Place, TopicWatch
from dataflows.lane import lane_state
from operators.lane_state import Merged, PartitionState, Reads
from operators.lanes import LaneMerge
from operators.partitions import PartitionQueue
from schemas.decode import EventDecoder
from schemas.durations import BEGIN_OF_TIME_US, SECOND_US, to_us
from schemas.errors import SourceError
from schemas.rows import DeadLetter

_POLL_US = 20_000
#: How old the proof that a partition is at its end may be before it is asked for again: this share (1 / n) of
#: `idle_grace`, by which what was found is late as well, and so much at most.
_PROOF_SHARE = 8
_PROOF_US = SECOND_US
_REPORT_US = SECOND_US // 2
_SILENT_US = 10 * SECOND_US


class KafkaLane:
    """The partitions that fall to one lane.

    Memory: `buffer` messages and one batch of each partition (more where more than that arrived at one time), and what
    the client library holds.

    Args:
        topics: asks the broker what there is; shared by the lanes of a process.
        resume: what `snapshot` gave.
    """

    ended = False

    def __init__(
        self, name: str, lanes: Sequence[str], source: KafkaInput, topics: TopicWatch, resume: bytes | None
    ) -> None:
        self._name, self._lanes, self._source, self._topics = name, lanes, source, topics
        self._merge = LaneMerge()
        self._pieces = Pieces(source.batch)
        self._kept: dict[str, PartitionState] = {}
        self._known: frozenset[str] = frozenset()
        self._ids: dict[str, str] = {}
        if resume is not None:
            state = lane_state(resume, KafkaLaneState)
            self._kept = dict(self._merge.restore(state.lane))
            self._known, self._ids = frozenset(state.topics), state.ids
        self._feeds: dict[Place, Feed] = {}
        self._by_queue: dict[int, Feed] = {}
        self._decoder = EventDecoder()
        self._consumer = self._made_consumer()
        self._listed_us = 0
        self._any_topic = False
        self._away: list[Place] = []
        self._durable = positions_of(self._kept)
        self._quiet = False
        self._dead: list[DeadLetter] = []
        self._reported_us = 0
        self._drained_us = 0  # when all that the client library had was taken

    def _made_consumer(self) -> Consumer:
        return Consumer(self._source.properties | {"error_cb": self._on_error}, logger=self._source.logger)

    def next(self) -> Merged | None:
        """Take what has come, and release what that allows."""
        now_us = to_us(self._source.now())
        self._open_new(now_us)
        if self._ahead_us(now_us):  # true times would be taken for those of a bad clock; nothing is released anyway
            self._quiet = True
        elif not self._pieces.left:
            messages = self._consumer.consume(self._source.batch, 0)
            self._quiet = not messages
            if len(messages) < self._source.batch:
                self._drained_us = now_us
            if messages:
                self._take(messages, now_us)
            self._ask_for_ends(now_us)
        merged = self._merge.release(self._pieces.ceiling_us(self._merge, self._ceiling_us()))
        self._let_flow()
        self._report(now_us)
        if not self._dead:
            return merged
        dead, self._dead = self._dead, []
        if merged is None:
            return Merged([], dead, [], self._merge.released_us, self._merge.released_us, final=False)
        return msgspec.structs.replace(merged, dead=[*dead, *merged.dead])

    def wait(self) -> None:
        """Take nothing: other lanes catch up. What the client library has fetched waits in it."""
        now_us = to_us(self._source.now())
        self._open_new(now_us)
        self._report(now_us)

    def next_awake(self) -> datetime | None:
        """After a poll that found nothing, when to look again."""
        if not self._quiet or self._pieces.left:
            return None
        return self._source.now() + timedelta(microseconds=_POLL_US)

    def snapshot(self) -> bytes:
        """Where to resume. The engine asks when what the last one gave has been kept: that goes to the group now."""
        self._topics.commit(self._durable)
        state = self._merge.snapshot()
        waiting = {name: kept for name, kept in self._kept.items() if name not in state.partitions}
        state = msgspec.structs.replace(state, partitions=state.partitions | waiting)
        self._durable = positions_of(state.partitions)
        return msgspec.msgpack.encode(KafkaLaneState(state, sorted(self._known), self._ids))

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()

    def _report(self, now_us: int) -> None:
        """Tell how the lane stands, twice a second."""
        if 0 <= now_us - self._reported_us < _REPORT_US:
            return
        self._reported_us = now_us
        ahead_us = self._ahead_us(now_us)
        if ahead_us:
            self._source.watch.trouble(self._name, put_back(ahead_us))
        if self._away:
            self._source.watch.trouble(self._name, not_there(self._away))
        feeds = list(self._feeds.values())
        holding = self._away or [self._by_queue[id(queue)].place for queue in self._merge.wanting()]
        ends = {feed.place: self._consumer.get_watermark_offsets(feed.partition(), cached=True)[1] for feed in feeds}
        report = LaneReport(self._name, now_us, feeds, holding, ends)
        self._source.watch.lane_state(report)
        self._check_silent(report)

    # --- partitions ---------------------------------------------------------------------------------------------------

    def _open_new(self, now_us: int) -> None:
        """Begin the partitions of the newest listing that are this lane's and not yet read."""
        listing = self._topics.listing
        if listing is None or listing.asked_us == self._listed_us:
            return
        self._check_ids(listing)
        complete = True
        for topic, count in listing.partitions.items():
            for number in range(count):
                place = (topic, number)
                if place not in self._feeds and lane_of(place, self._lanes) == self._name:
                    complete = self._open(place, now_us) and complete
        kept = positions_of(self._kept)
        self._away = [place for place in kept if place not in self._feeds and place[0] in self._source.topics]
        if complete:
            self._listed_us, self._any_topic = listing.asked_us, bool(listing.partitions)
            self._known = frozenset(self._source.topics)

    def _check_ids(self, listing: Listing) -> None:
        """Some of its messages would be passed over in silence where the new topic is as long as the former was.

        Raises:
            SourceError: a topic of which something was read is not the one any more that it was.
        """
        for topic, found in listing.ids.items():
            if self._ids.get(topic, found) != found and self._has_read(topic):
                raise SourceError(made_anew(topic))
        self._ids = self._ids | listing.ids

    def _has_read(self, topic: str) -> bool:
        places = positions_of(self._kept) | {place: feed.next_offset for place, feed in self._feeds.items()}
        return any(offset > 0 for place, offset in places.items() if place[0] == topic)

    def _open(self, place: Place, now_us: int) -> bool:
        """Begin a partition where it was left, or where the broker says; False while it has not said."""
        queue = PartitionQueue(*place, msgspec.structs.replace(self._source.rules, guard_leaps=False))
        kept = self._kept.get(name_of(place))
        if kept is not None:
            queue.restore(kept)
            offset = kept.position
        else:
            begun = self._topics.begin_of(place, self._begin(place))
            if begun is None:
                return False
            offset = begun
            queue.read_to(offset, offset - 1)
            queue.position, queue.offset = offset, offset - 1
        self._merge.add(queue)
        feed = self._feeds[place] = Feed(place, queue, offset, now_us)
        self._by_queue[id(queue)] = feed
        self._consumer.incremental_assign([feed.partition(offset)])
        return True

    def _begin(self, place: Place) -> Begin:
        """As the settings say for what is there when its topic is first read; what comes later is all new."""
        first = self._listed_us == 0 and place[0] not in self._known
        return self._source.begin if first else "earliest"

    # --- messages -----------------------------------------------------------------------------------------------------

    def _take(self, messages: Iterable[Message], now_us: int) -> None:
        """Put messages into their partitions' queues, decoded in one go."""
        parts, errors = by_place(messages)
        latest_us = now_us + self._source.rules.max_future_us
        for place, mine in parts.items():
            feed = self._feeds[place]
            raws = values_of(mine)
            offsets: list[int] = list(map(Message.offset, mine))  # type: ignore[arg-type] # has one without an error
            reads = Reads(offsets, offsets, raws, self._decoder.decode(raws), claims_us(mine))
            feed.next_offset = offsets[-1] + 1
            feed.answered, feed.heard_us = False, now_us
            feed.queue.read_to(feed.next_offset, offsets[-1])
            feed.queue.add(reads, ended=False, latest_us=latest_us)
        for message, error in errors:  # an end of partition comes behind its messages
            self._take_error(message, error)

    def _take_error(self, message: Message, error: KafkaError) -> None:
        code = error.code()
        feed = self._feeds.get((message.topic() or "", message.partition() or 0))
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name for its local error
            end: int = message.offset()  # type: ignore[assignment] # has one
            if feed is not None and end >= feed.next_offset:
                if end > feed.next_offset:  # a transaction's marker, say, or what was compacted away
                    feed.pass_over(end)
                feed.ended_us, feed.answered = feed.asked_us, True
        elif feed is not None and code in _OUT_OF_RANGE:
            self._expired(feed)
        elif code in _REFUSED:
            group = self._source.properties.get("group.id")
            what = message.topic() or f"group {group}"  # where the group is refused, no topic is named
            words = f"{what}: the broker refuses to let {group} read it"
            raise SourceError(f"{words} ({error.str()}); grant READ and DESCRIBE on the topic and READ on the group")
        else:
            self._source.watch.trouble(self._name, error.str())

    def _expired(self, feed: Feed) -> None:
        """The offset to be read next is not in the log (any more): nothing comes until we say what to do.

        Raises:
            SourceError: unless the settings say to pass over what is lost.
        """
        limits = self._topics.range_of(feed.place)
        name, offset = name_of(feed.place), feed.next_offset
        if limits is None:
            self._source.watch.trouble(self._name, f"{name}: offset {offset} is out of range, and the range is unknown")
            self._begin_again(feed, offset)
            return
        low, high = limits
        if low <= offset <= high:  # it was a moment of the broker's, or its leader's
            self._begin_again(feed, offset)
            return
        if offset > high:
            raise SourceError(beyond(name, offset, high))
        if not self._source.skip_expired:
            raise SourceError(expired(name, offset, low))
        self._source.watch.passed_over(self._name, feed.place, offset, low - 1)
        self._dead.append(expired_letter(feed, offset, low))
        feed.pass_over(low)
        self._begin_again(feed, low)

    def _begin_again(self, feed: Feed, offset: int) -> None:
        """Read a partition from `offset`; after an error of its offset the library has let go of it."""
        self._consumer.incremental_unassign([feed.partition()])
        self._consumer.incremental_assign([feed.partition(offset)])
        if feed.paused:
            self._consumer.pause([feed.partition()])

    def _check_silent(self, report: LaneReport) -> None:
        """Of what the broker says nothing to this lane it is asked elsewhere, and not waited for.

        Some brokers say nothing at all to one who stands beyond the end of the log. A fetch says where the log ended
        before it was read, so messages that come with it may lie beyond that: what the last one said is no proof. Nor
        is it one that nothing was said, where nobody took what had come, or the broker is away. Where it goes on
        answering elsewhere, and not here, the lane's client has lost it, and gets a successor.

        Raises:
            SourceError: the log ends before where the job stands.
        """
        is_lost = False
        for feed in report.feeds:
            since_us = max(feed.asked_us, feed.heard_us) + _SILENT_US
            silent = not feed.answered and not feed.paused and self._drained_us > since_us
            asked, end = self._topics.end_of(feed.place, since_us) if silent else None, report.ends[feed.place]
            if asked is not None and asked < feed.next_offset and 0 <= end < feed.next_offset:
                raise SourceError(beyond(name_of(feed.place), feed.next_offset, end))
            alone_us = feed.alone_for_us(report.now_us, is_alone=asked is not None)
            is_lost = is_lost or alone_us > self._source.lost_us
        if is_lost:
            self._begin_all_anew(report.now_us)

    def _begin_all_anew(self, now_us: int) -> None:
        """Go on by a new client, from where the lane stands: what the old one had and did not give is read again."""
        let_go(self._consumer)
        self._consumer = self._made_consumer()
        feeds = list(self._feeds.values())
        self._consumer.incremental_assign([feed.partition(feed.next_offset) for feed in feeds])
        for feed in feeds:
            feed.begin_anew(now_us)
        self._source.watch.renewed(self._name)

    # --- flow ---------------------------------------------------------------------------------------------------------

    def _ceiling_us(self) -> int:
        """How far to go: partitions new since the last listing may hold what came since, those away what is older.

        As long as there is no topic at all, it is as far as partitions that are at their end would let it: what the
        first ones bring is older than now where `idle_grace` says so, and would else have come too late for good.
        """
        if self._away or not self._listed_us:
            return BEGIN_OF_TIME_US
        return self._listed_us + (self._source.discover_us if self._any_topic else -self._source.idle_grace_us)

    def _ahead_us(self, now_us: int) -> int:
        """How much further time has come than this machine's clock, which was put back; 0 where it was not."""
        ahead_us = self._merge.released_us - now_us
        return ahead_us if ahead_us > self._source.discover_us else 0  # further than any ceiling was, by this clock

    def _ask_for_ends(self, now_us: int) -> None:
        """Let go of the partitions that hold the lane back and are proven to be at their end; ask the others."""
        source, listing = self._source, self._topics.listing
        appended = frozenset[str]() if listing is None else listing.appended
        for queue in self._merge.wanting():
            feed = self._by_queue[id(queue)]
            grace_us = source.idle_grace_appended_us if feed.place[0] in appended else source.idle_grace_us
            if feed.ended_us and feed.answered:
                queue.raise_to(feed.ended_us - grace_us)
            if feed.answered and now_us - feed.asked_us >= min(_PROOF_US, max(grace_us // _PROOF_SHARE, _POLL_US)):
                feed.asked_us, feed.answered = now_us, False
                try:
                    self._consumer.seek(feed.partition(feed.next_offset))
                except KafkaException as error:  # an error of this partition is on its way to us
                    self._source.watch.trouble(self._name, str(error))

    def _let_flow(self) -> None:
        """Pause what has run ahead; resume what has been used up, and what the lane waits for.

        A partition that the lane waits for is full only where more than `buffer` messages arrived at one time.
        """
        limit = self._source.buffer
        waits = self._merge.released_us < self._ceiling_us()
        needed = set(map(id, self._merge.wanting())) if waits else set()
        pause, resume = [], []
        for feed in self._feeds.values():
            if feed.paused:
                if feed.queue.buffered <= limit // 4 or id(feed.queue) in needed:
                    resume.append(feed)
            elif feed.queue.buffered >= limit and id(feed.queue) not in needed:
                pause.append(feed)
        for feeds, act in ((pause, self._consumer.pause), (resume, self._consumer.resume)):
            if feeds:
                act([feed.partition() for feed in feeds])
                for feed in feeds:
                    feed.paused = not feed.paused

    def _on_error(self, error: KafkaError) -> None:
        self._source.watch.trouble(self._name, error.str())


_OUT_OF_RANGE = {KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET}  # noqa: SLF001 - the library's own name
_REFUSED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
