"""What the broker has: topics and partitions as they come, and where each is to be begun. Asked from a thread.

The engine's thread must never wait for a broker, so everything that waits for an answer is here.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from logging import Logger
from typing import Literal, Protocol

import msgspec
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
    Uuid,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin import ConfigResource as Resource  # type: ignore[attr-defined] # its own name for it

from dataflows.kafka.client import Properties
from dataflows.kafka.renewal import LOST_S, let_go
from schemas.durations import SECOND_US

#: An answer that takes longer than this is none.
_ANSWER_S = 10.0
_RETRY_S = 1.0
#: How often an answer is looked for.
_LOOK_S = 0.1
#: How long closing waits for an answer that is under way.
_LEAVE_S = 1.0

#: What an old broker says.
_NO_ID = str(Uuid(0, 0))

#: How a partition is begun that has no kept position.
Begin = Literal["earliest", "latest", "stored", "timestamp"]
Place = tuple[str, int]


class Told(Protocol):
    """Who is told of the broker coming and going (logs, readiness)."""

    def reachable(self) -> None:
        """The broker answers."""

    def unreachable(self, why: str) -> None:
        """It doesn't; the job waits."""

    def renewed(self, lane: str) -> None:
        """A client that had no answer for long was made anew: a lane's, or the one that lists the topics ("")."""

    def missing(self, topics: Iterable[str], hidden: Iterable[str]) -> None:
        """Topics that are not there; empty when all are. Of those `hidden` the broker does not say whether they are."""

    def committed(self, error: str | None) -> None:
        """Offsets went to the consumer group, or why not."""


class Listing(msgspec.Struct, frozen=True):
    """What there was when the broker was last asked: the wall clock then (µs), and topic → number of partitions.

    `ids` is what the broker calls a topic beside its name, where it says: one that was made anew has another.
    `appended` are the topics of which it says that their messages carry its own time, as of when they are appended.
    """

    asked_us: int
    partitions: dict[str, int]
    ids: dict[str, str] = {}
    appended: frozenset[str] = frozenset()


class Trouble:
    """Why a client gets no answer: the request says that it failed, the client library why (to its `error_cb`)."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, error: KafkaError) -> None:
        """The library tells of a connection."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the library's name; says less than those before
            self._said = error.str()

    def words_of(self, error: KafkaException) -> str:
        """Why a request failed, and what was the matter with the connection, if that is known."""
        return f"{words_of(error)}: {self._said}" if self._said else words_of(error)

    def clear(self) -> None:
        """The broker answers."""
        self._said = ""


class TopicWatch:
    """List the topics again and again, and find the offsets at which partitions begin.

    Args:
        properties: as a consumer takes them; offsets are committed to the group that they name.
        topics: names; one that does not exist yet is waited for.
        every_s: how often to look.
        now: the wall clock in microseconds.
        begin_at_us: the time that `timestamp` means.
        lost_s: clients that had no answer for so long are made anew.

    Attributes:
        listing: the newest answer, None before the first.
    """

    def __init__(
        self,
        properties: Properties,
        topics: Iterable[str],
        *,
        every_s: float,
        now: Callable[[], int],
        told: Told,
        logger: Logger,
        begin_at_us: int | None = None,
        lost_s: float = LOST_S,
    ) -> None:
        self.listing: Listing | None = None
        self._topics = list(dict.fromkeys(topics))
        self._every_s, self._now, self._told = every_s, now, told
        self._begin_at_us = begin_at_us
        self._properties, self._logger, self._lost_s = properties, logger, lost_s
        self._trouble = Trouble()
        self._consumer, self._admin = self._made_consumer(), self._made_admin()
        self._using = threading.Lock()  # what lanes ask is asked of a consumer that is not let go of meanwhile
        self._heard_s = self._described_s = time.monotonic()
        self._offsets: dict[Place, int] = {}
        self._under_way: dict[Place, int] | None = None
        self._wanted: dict[Place, Begin] = {}
        self._ends: dict[Place, tuple[int, int]] = {}
        self._ends_wanted: set[Place] = set()
        self._found: dict[Place, int] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="topics", daemon=True)
        self._thread.start()

    def _made_consumer(self) -> Consumer:
        callbacks = {"on_commit": self._answered, "error_cb": self._trouble}
        return Consumer({**self._properties, **callbacks}, logger=self._logger)

    def _made_admin(self) -> AdminClient:
        """It logs nothing (nobody takes that from it), and leaves out those properties that are none of its own."""
        known = {name: value for name, value in self._properties.items() if name != "debug"}
        return AdminClient({**known, "log_level": 0})

    def begin_of(self, place: Place, begin: Begin) -> int | None:
        """The offset at which (topic, partition) is to be begun; None while the broker is being asked."""
        with self._lock:
            if place in self._found:
                return self._found.pop(place)
            if place not in self._wanted:
                self._wanted[place] = begin
                self._wake.set()
            return None

    def end_of(self, place: Place, since_us: int) -> int | None:
        """The offset behind the last message, as of then or later; None while the broker is being asked."""
        with self._lock:
            asked_us, end = self._ends.get(place, (-1, -1))
            if asked_us >= since_us:
                return end
            self._ends_wanted.add(place)
        self._wake.set()
        return None

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Tell the consumer group where the job stands, soon; nothing of ours hangs on it but `start = "stored"`.

        Not through the lanes' consumers: one with a commit under way can't be closed while the broker is away.
        """
        with self._lock:
            self._offsets.update(offsets)
        self._wake.set()

    def range_of(self, place: Place) -> tuple[int, int] | None:
        """The first offset in the log and the one after the last; None when the broker does not say. Waits."""
        with self._using:
            try:
                low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=_ANSWER_S)
            except KafkaException:
                return None
        return low, high

    def close(self) -> None:
        """End the thread; where it waits for a broker that is away, it is left to end by itself."""
        self._closed = True
        self._wake.set()
        self._thread.join(_LEAVE_S)

    def _run(self) -> None:
        answers = False
        while not self._closed:
            wait_s = self._every_s
            try:
                self._list()
                while self._wanted and not self._closed:
                    self._find()
                while self._ends_wanted and not self._closed:
                    self._find_end()
                self._consumer.poll(0)  # what was the matter before is over
                self._trouble.clear()
                self._told.reachable()
                answers, self._heard_s = True, time.monotonic()
                self._commit()
            except KafkaException as error:
                self._consumer.poll(0)  # the library says why
                self._told.unreachable(self._trouble.words_of(error))
                answers = False
                wait_s = min(_RETRY_S, self._every_s)
                if time.monotonic() - self._heard_s > self._lost_s:
                    self._begin_anew()
            self._wake.wait(wait_s)
            self._wake.clear()
        if answers:
            self._commit()  # what the last snapshot has made known
        self._consumer.close()

    def _begin_anew(self) -> None:
        """Ask by new clients; what the old one was to commit is committed by the next."""
        with self._using:
            let_go(self._consumer)
            self._consumer, self._admin = self._made_consumer(), self._made_admin()
        if self._under_way is not None:
            with self._lock:
                self._offsets = self._under_way | self._offsets
            self._under_way = None
        self._heard_s = self._described_s = time.monotonic()
        self._told.renewed("")

    def _list(self) -> None:
        asked_us = self._now()
        answer = self._consumer.list_topics(timeout=_ANSWER_S).topics
        found: dict[str, int] = {}
        for topic in self._topics:
            listed = answer.get(topic)
            if listed is not None and listed.error is None and listed.partitions:
                found[topic] = len(listed.partitions)
            elif listed is not None and listed.error is not None:
                raise_unless_passing(listed.error)
        with self._lock:  # nobody can answer for a partition that has gone
            self._wanted = {place: begin for place, begin in self._wanted.items() if place[1] < found.get(place[0], 0)}
        ids, hidden = self._described()
        self.listing = Listing(asked_us, found, ids, self._appended(found))
        self._told.missing([topic for topic in self._topics if topic not in found], hidden)

    def _described(self) -> tuple[dict[str, str], list[str]]:
        """The topics' ids, where the broker is not too old to have any, and the topics that it does not let us see."""
        self._admin.poll(0)  # where it signs in with tokens (OAUTHBEARER), it gets the next one here, and only here
        ids, hidden, lost = dict[str, str](), list[str](), False
        asked = self._admin.describe_topics(TopicCollection(self._topics), request_timeout=_ANSWER_S)
        for topic, answer in asked.items():
            try:
                found = str(answer.result().topic_id)
            except KafkaException as error:  # there is none, mostly; what else is the matter shows where it is listed
                if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    hidden.append(topic)
                lost = lost or error.args[0].code() in _UNANSWERED
                continue
            if found != _NO_ID:
                ids[topic] = found
        if not lost:
            self._described_s = time.monotonic()
        elif time.monotonic() - self._described_s > self._lost_s:  # the consumer has an answer: it is this client
            self._admin, self._described_s = self._made_admin(), time.monotonic()
            self._told.renewed("")
        return ids, hidden

    def _appended(self, topics: Iterable[str]) -> frozenset[str]:
        """The topics that carry the broker's time; none of those of which it does not tell us (a right is missing)."""
        asked = [Resource(Resource.Type.TOPIC, topic) for topic in topics]
        found = set[str]()
        for topic, answer in (self._admin.describe_configs(asked, request_timeout=_ANSWER_S) if asked else {}).items():
            try:
                kind = answer.result().get("message.timestamp.type")
            except KafkaException:  # producers' time is what is taken for granted
                continue
            if kind is not None and kind.value == "LogAppendTime":
                found.add(topic.name)
        return frozenset(found)

    def _find(self) -> None:
        """Answer what is wanted, one partition at a time where the protocol has it so."""
        with self._lock:
            place, begin = next(iter(self._wanted.items()))
            self._wanted[place] = self._wanted.pop(place)  # where there is no answer, the others come first next time
        offset = self._begin(TopicPartition(*place), begin)
        with self._lock:
            del self._wanted[place]
            self._found[place] = offset

    def _find_end(self) -> None:
        """Answer where one partition ends of which that is wanted; without an answer, it will be wanted again."""
        with self._lock:
            place = self._ends_wanted.pop()
        asked_us, limits = self._now(), self.range_of(place)
        if limits is not None:
            with self._lock:
                self._ends[place] = asked_us, limits[1]

    def _commit(self) -> None:
        """Send what is to be committed, and wait a while for the answer; one request is under way at most.

        Not by the library's administrative request, which aborts the process where the group's coordinator goes away
        at the wrong moment (librdkafka 2.16: `rd_kafka_admin_coord_request` frees what its caller still uses).
        """
        if self._under_way is None:
            with self._lock:
                offsets, self._offsets = self._offsets, {}
            if not offsets:
                return
            self._under_way = offsets
            try:
                self._consumer.commit(offsets=[TopicPartition(*place, at) for place, at in offsets.items()])
            except KafkaException as error:
                self._settled(words_of(error))
                return
        until = time.monotonic() + _ANSWER_S
        while self._under_way is not None and time.monotonic() < until:
            self._consumer.poll(_LOOK_S)
        if self._under_way is not None:
            self._told.committed(f"no answer within {_ANSWER_S:g} s")

    def _answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        refused = error or next((one.error for one in partitions if one.error is not None), None)
        self._settled(None if refused is None else refused.str())

    def _settled(self, error: str | None) -> None:
        """The request under way is answered; what was refused is sent again with the next."""
        offsets, self._under_way = self._under_way, None
        if error is not None and offsets is not None:
            with self._lock:
                self._offsets = offsets | self._offsets
        self._told.committed(error)

    def _begin(self, partition: TopicPartition, begin: Begin) -> int:
        if begin == "stored":
            committed = self._consumer.committed([partition], timeout=_ANSWER_S)[0]
            if committed.error is not None:
                raise KafkaException(committed.error)
            if committed.offset != OFFSET_INVALID and committed.offset >= 0:
                return int(committed.offset)
            begin = "earliest"
        low, high = self._consumer.get_watermark_offsets(partition, timeout=_ANSWER_S)
        if begin == "timestamp":  # asked after the end of the log: what is written between the two answers is not older
            assert self._begin_at_us is not None
            partition.offset = self._begin_at_us * 1_000 // SECOND_US
            found = self._consumer.offsets_for_times([partition], timeout=_ANSWER_S)[0]
            if found.error is not None:
                raise KafkaException(found.error)
            return int(found.offset if found.offset >= 0 else high)  # everything before it is older
        return int(low if begin == "earliest" else high)


#: What is said of a request that was not answered.
_UNANSWERED = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}  # noqa: SLF001 - the library's own names for its local errors
#: Errors after which waiting can help: what they are about comes into being or comes back.
_PASSING = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the library's own name for its local error
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - as above
}


def raise_unless_passing(error: KafkaError) -> None:
    """Go on where waiting can help.

    Raises:
        KafkaException: it can't (no right to read the topic, say).
    """
    if error.code() not in _PASSING and not error.retriable():
        raise KafkaException(error)


def words_of(error: KafkaException) -> str:
    """What the client library says, in one piece."""
    first = error.args[0] if error.args else error
    return first.str() if isinstance(first, KafkaError) else str(first)
