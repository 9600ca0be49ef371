"""A lane: several partitions of the log merged into one stream in the order of the log.

`PartitionQueue` stamps what was decoded with its arrival time, monotone within the partition, and refuses what
breaks the rules of time. `LaneMerge` takes from several queues in the order of arrival, as far as all of them are
known. Both are pure: reading and decoding are someone else's (see dataflows/files.py).
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

import msgspec

from schemas.decode import Fault
from schemas.durations import (
    BEGIN_OF_TIME_US,
    DAY_US,
    END_OF_TIME_US,
    MINUTE_US,
    SECOND_US,
    people_duration,
    rfc3339,
    to_us,
)
from schemas.errors import StateError
from schemas.events import Arrived, Event
from schemas.rows import DeadLetter, Health

#: How many messages are looked at to tell a leap of the log's time from one message with a bad clock.
LOOKAHEAD = 100
#: A last message, with nothing behind it to compare it with, is believed up to this many `max_past` ahead.
LAST_LEAP = 12
NO_LEAP_US = 1 << 63


class TimeRules(msgspec.Struct, frozen=True):
    """Which event times are believed, relative to arrival; microseconds.

    `guard_leaps` is for logs that carry no clock of their own (files): see `PartitionQueue`.
    """

    max_future_us: int = 5 * MINUTE_US
    max_past_us: int = 30 * DAY_US
    guard_leaps: bool = True


class Read(msgspec.Struct, frozen=True, gc=False):
    """One message as read: where it stands, how to come back to it, and what decoding made of it.

    `position` is where reading resumes to get this message again; `claim_us` is the arrival time that the log gives
    (None: the event's `recorded_at`, else its `occurred_at`).
    """

    offset: int
    position: int
    raw: bytes
    decoded: Event | Fault
    claim_us: int | None = None


class Tally(msgspec.Struct, array_like=True):
    """What was released in one minute of arrival, still counting."""

    minute_us: int
    messages: int = 0
    events: int = 0
    bytes: int = 0
    delay_us: int = 0


class PartitionState(msgspec.Struct, frozen=True, array_like=True):
    """Where a partition is resumed: the position of the next message, and the offset and arrival time before it."""

    version: int
    position: int
    offset: int
    clock_us: int
    tally: Tally | None


class PartitionQueue:
    """What was read from one partition and not yet released, stamped.

    A message's arrival time is what the log says, raised to the largest before it. An event time too far ahead of
    its arrival (`max_future`) or behind it (`max_past`) is refused with reason `rule`. Where the log has no clock of
    its own (`guard_leaps`), one message with a bad clock would drag the partition's time along; so a claim that leaps
    by more than `max_past` is refused when most of the next `LOOKAHEAD` messages would then lie before `max_past`, or
    when it is the last of all and leaps by more than `LAST_LEAP` times that. What is refused bends nobody's time then.

    Memory: what was read ahead; the reader is asked only when the lane needs more.
    """

    VERSION = 1

    def __init__(self, topic: str, partition: int, rules: TimeRules) -> None:
        self.topic = topic
        self.partition = partition
        self.ended = False
        self.clock_us = BEGIN_OF_TIME_US
        self.position = 0
        self.offset = 0
        self._rules = rules
        self._unstamped: list[Read] = []
        self._items: list[Arrived | DeadLetter] = []
        self._arrivals: list[int] = []
        self._reads: list[Read] = []
        self._stamp_us = BEGIN_OF_TIME_US
        self._tally: Tally | None = None
        self._read_to = (0, 0)
        self._latest_us = END_OF_TIME_US

    def add(self, reads: Sequence[Read], *, ended: bool, latest_us: int = END_OF_TIME_US) -> None:
        """Take what was read next; `ended` says that there is no more.

        `latest_us` is the latest arrival that can be true: what a live log claims beyond it has a bad clock.
        """
        self._latest_us = latest_us
        self._unstamped.extend(reads)
        self.ended = ended
        keep = LOOKAHEAD if self._rules.guard_leaps and not ended else 0
        count = len(self._unstamped) - keep
        if count > 0:
            self._stamp_first(count)
            del self._unstamped[:count]

    def _stamp_first(self, count: int) -> None:
        """Stamp the first `count` of what was read: at once where nothing is odd, else by `_stamp`."""
        topic, partition, latest = self.topic, self.partition, self._latest_us
        future, past = self._rules.max_future_us, self._rules.max_past_us
        leap = past if self._rules.guard_leaps else NO_LEAP_US
        reads = self._unstamped[:count]
        items, arrivals, stamp = self._items, self._arrivals, self._stamp_us
        for index, read in enumerate(reads):
            event = read.decoded
            if not isinstance(event, Fault):
                occurred = to_us(event.occurred_at)
                claim = read.claim_us
                if claim is None:
                    claim = occurred if event.recorded_at is None else to_us(event.recorded_at)
                arrival = claim if claim > stamp else stamp  # noqa: FURB136 - max() costs a call per event
                if claim <= latest and claim - stamp <= leap and arrival - past <= occurred <= arrival + future:
                    stamp = arrival
                    items.append(Arrived(arrival, topic, partition, read.offset, occurred, event))
                    arrivals.append(arrival)
                    continue
            self._stamp_us = stamp
            items.append(self._stamp(read, index))
            stamp = self._stamp_us
            arrivals.append(stamp)
        self._stamp_us = stamp
        self._reads.extend(reads)

    def raise_to(self, clock_us: int) -> None:
        """Nothing that comes from now on arrived before `clock_us` (a partition at its end, by the wall clock).

        What was read before keeps its arrival time, after a resume too.
        """
        self._stamp_us = max(self._stamp_us, clock_us)
        if not self._reads and not self._unstamped:
            self.clock_us = max(self.clock_us, clock_us)

    @property
    def horizon_us(self) -> int:
        """Nothing that is still to be read or stamped arrived before this."""
        return END_OF_TIME_US if self.ended and not self._unstamped else self._stamp_us

    @property
    def last_us(self) -> int:
        """The largest arrival time so far."""
        return self._stamp_us

    @property
    def buffered(self) -> int:
        """Messages read and not yet released."""
        return len(self._reads) + len(self._unstamped)

    def take_before(self, watermark_us: int) -> tuple[list[Arrived], list[DeadLetter], list[Health]]:
        """Release what arrived before `watermark_us`: events, dead letters, and the minutes that are complete."""
        count = bisect_left(self._arrivals, watermark_us)
        if not count:
            return [], [], []
        taken = self._items[:count]
        health = self._account(count)
        self.clock_us = max(self.clock_us, self._arrivals[count - 1])
        following = self._reads[count] if count < len(self._reads) else next(iter(self._unstamped), None)
        if following is None:
            self.position, self.offset = self._read_to
        else:
            self.position, self.offset = following.position, following.offset - 1
        del self._items[:count], self._arrivals[:count], self._reads[:count]
        events = [item for item in taken if type(item) is Arrived]
        dead = [item for item in taken if type(item) is DeadLetter] if len(events) < count else []
        return events, dead, health

    def take_health(self) -> list[Health]:
        """The minute that was under way when the partition ended."""
        tally, self._tally = self._tally, None
        return [self._minute(tally)] if tally is not None else []

    def read_to(self, position: int, offset: int) -> None:
        """The reader stands at `position`, behind the message (or line) `offset`."""
        self._read_to = (position, offset)

    def _stamp(self, read: Read, index: int) -> Arrived | DeadLetter:
        decoded = read.decoded
        if read.claim_us is not None and not self._rules.guard_leaps and read.claim_us <= self._latest_us:
            self._stamp_us = max(self._stamp_us, read.claim_us)  # the log's own clock holds for what is refused, too
        if isinstance(decoded, Fault):
            return self._dead(read, decoded)
        occurred = to_us(decoded.occurred_at)
        claim, field = read.claim_us, "$.recorded_at"
        if claim is None:
            if decoded.recorded_at is not None:
                claim = to_us(decoded.recorded_at)
            else:
                claim, field = occurred, "$.occurred_at"
        if claim > self._latest_us:
            detail = f"{rfc3339(claim)} is ahead of the clock of the machine that reads it"
            return self._dead(read, Fault("rule", field, detail, decoded.source, decoded.channel or ""))
        if (
            self._rules.guard_leaps
            and claim - self._stamp_us > self._rules.max_past_us
            and self._is_stray(claim, index)
        ):
            detail = f"{rfc3339(claim)} leaps ahead of the log, which does not follow"
            return self._dead(read, Fault("rule", field, detail, decoded.source, decoded.channel or ""))
        arrival = max(claim, self._stamp_us)
        if occurred > arrival + self._rules.max_future_us:
            ahead = people_duration(occurred - arrival)
            return self._dead(read, self._fault(decoded, f"{rfc3339(occurred)} is {ahead} ahead of its arrival"))
        if occurred < arrival - self._rules.max_past_us:
            behind = people_duration(arrival - occurred)
            return self._dead(read, self._fault(decoded, f"{rfc3339(occurred)} is {behind} before its arrival"))
        self._stamp_us = arrival
        return Arrived(arrival, self.topic, self.partition, read.offset, occurred, decoded)

    def _is_stray(self, claim: int, index: int) -> bool:
        """Whether most of what follows would be out of reach if this claim were believed."""
        after = before = 0
        for read in self._unstamped[index + 1 : index + 1 + LOOKAHEAD]:
            if not isinstance(read.decoded, Fault):
                at = (
                    read.claim_us
                    if read.claim_us is not None
                    else to_us(read.decoded.recorded_at or read.decoded.occurred_at)
                )
                if at < claim - self._rules.max_past_us:
                    before += 1
                else:
                    after += 1
        if before == after == 0 and self._stamp_us > BEGIN_OF_TIME_US:
            return claim - self._stamp_us > LAST_LEAP * self._rules.max_past_us
        return before > after

    @staticmethod
    def _fault(event: Event, detail: str) -> Fault:
        return Fault("rule", "$.occurred_at", detail, event.source, event.channel or "")

    def _dead(self, read: Read, fault: Fault) -> DeadLetter:
        return DeadLetter(
            topic=self.topic,
            partition=self.partition,
            offset=read.offset,
            reason=fault.reason,
            path=fault.path,
            detail=fault.detail,
            source=fault.source,
            channel=fault.channel,
            raw=read.raw,
            seen_at_us=max(self._stamp_us, 0),
        )

    def _account(self, count: int) -> list[Health]:
        """Count what is released into its minute of arrival; the minutes that this completes."""
        complete: list[Health] = []
        arrivals, items, reads = self._arrivals, self._items, self._reads
        tally, done = self._tally, 0
        while done < count:
            first = max(arrivals[done], 0)  # before the first event, refused messages have no time
            if tally is None or not tally.minute_us <= first < tally.minute_us + MINUTE_US:
                if tally is not None:
                    complete.append(self._minute(tally))
                tally = self._tally = Tally(first // MINUTE_US * MINUTE_US)
            upto = bisect_left(arrivals, tally.minute_us + MINUTE_US, done, count)
            tally.messages += upto - done
            tally.bytes += sum([len(read.raw) for read in reads[done:upto]])
            delays = [one.arrival_us - one.occurred_us for one in items[done:upto] if isinstance(one, Arrived)]
            tally.events += len(delays)
            tally.delay_us = max(tally.delay_us, max(delays, default=0))
            done = upto
        return complete

    def _minute(self, tally: Tally) -> Health:
        return Health(
            component=f"{self.topic}/{self.partition}",
            minute_us=tally.minute_us,
            messages=tally.messages,
            events=tally.events,
            dead_letters=tally.messages - tally.events,
            bytes=tally.bytes,
            feed_delay_max_s=tally.delay_us / SECOND_US,
            version=tally.messages,
        )

    def snapshot(self) -> PartitionState:
        """Where to resume: everything not yet released is read again."""
        tally = None if self._tally is None else msgspec.structs.replace(self._tally)
        return PartitionState(self.VERSION, self.position, self.offset, self.clock_us, tally)

    def restore(self, state: PartitionState) -> None:
        """Take over a snapshot; the reader then starts at its `position`, behind its `offset`.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"partition state of version {state.version}; this code reads {self.VERSION}")
        self.position, self.offset = self._read_to = (state.position, state.offset)
        self.clock_us = self._stamp_us = state.clock_us
        self._tally = state.tally


class LaneState(msgspec.Struct, frozen=True, array_like=True):
    """Where a lane is resumed: how far it had released, and each partition by its name."""

    version: int
    released_us: int
    partitions: dict[str, PartitionState]


class Merged(msgspec.Struct, frozen=True, gc=False):
    """What a lane releases: events in order, dead letters, complete minutes, and how far it has come."""

    events: list[Arrived]
    dead: list[DeadLetter]
    health: list[Health]
    watermark_us: int
    last_us: int
    final: bool


class LaneMerge:
    """Merge the queues of a lane. Only the queues that hold the others back need more to be read."""

    VERSION = 1

    def __init__(self, queues: Iterable[PartitionQueue] = ()) -> None:
        self.queues: list[PartitionQueue] = list(queues)
        self.released_us = BEGIN_OF_TIME_US
        self._final = self._said = False

    def add(self, queue: PartitionQueue) -> None:
        """A partition that was not there before; what it brings arrived after all that was released."""
        queue.raise_to(self.released_us)
        self.queues.append(queue)

    def wanting(self) -> list[PartitionQueue]:
        """The queues that hold the lane back: what they say next decides how far it can go."""
        open_queues = [queue for queue in self.queues if not queue.ended]
        if not open_queues:
            return []
        least = min(queue.horizon_us for queue in open_queues)
        return [queue for queue in open_queues if queue.horizon_us == least]

    def release(self, ceiling_us: int = END_OF_TIME_US) -> Merged | None:
        """What can be released now; None when there is nothing new to say (and for ever once all have ended).

        The first answer is never None: after a resume, too, others have to hear how far this lane is.
        `ceiling_us` bounds the watermark from outside: partitions that nobody knows of yet may hold what arrived since.
        """
        if self._final:
            return None
        watermark = min((queue.horizon_us for queue in self.queues), default=END_OF_TIME_US)
        watermark = max(min(watermark, ceiling_us), self.released_us)
        final = watermark == END_OF_TIME_US
        if watermark == self.released_us and self._said:
            return None
        runs, dead, health = [], [], []
        for queue in self.queues:
            events, refused, minutes = queue.take_before(watermark)
            if events:
                runs.append(events)
            dead.extend(refused)
            health.extend(minutes)
            if final:
                health.extend(queue.take_health())
        if len(runs) == 1:
            merged = runs[0]
        else:  # each run is in order; of equal arrivals, the partition that comes first by name comes first
            runs.sort(key=_partition)
            merged = [event for run in runs for event in run]
            merged.sort(key=_arrival)
        self._final, self._said = final, True
        self.released_us = watermark
        last = max((queue.last_us for queue in self.queues), default=BEGIN_OF_TIME_US)
        return Merged(merged, dead, health, watermark, last, final)

    def snapshot(self) -> LaneState:
        """Where to resume the lane."""
        partitions = {f"{queue.topic}/{queue.partition}": queue.snapshot() for queue in self.queues}
        return LaneState(self.VERSION, self.released_us, partitions)

    def restore(self, state: LaneState) -> Mapping[str, PartitionState]:
        """Take over a snapshot, before any queue is added; what it kept of the partitions, by name.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"lane state of version {state.version}; this code reads {self.VERSION}")
        if state.released_us != END_OF_TIME_US:  # files that had ended may have grown
            self.released_us = state.released_us
        return state.partitions


def _partition(run: list[Arrived]) -> tuple[str, int]:
    return run[0].topic, run[0].partition


_arrival = attrgetter("arrival_us")
