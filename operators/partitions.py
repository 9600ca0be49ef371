"""One partition of the log: what was read and not yet released, stamped with its time of arrival.

Pure: reading and decoding are someone else's (see dataflows/files.py, dataflows/kafka/lane.py).
"""

from bisect import bisect_left
from datetime import UTC, datetime
from itertools import repeat
from operator import attrgetter

import msgspec
import numpy as np

from operators.instants import Instants, to_us_all
from operators.lane_state import PartitionState, Reads, Tally, TimeRules
from schemas.decode import Fault
from schemas.durations import (
    BEGIN_OF_TIME_US,
    END_OF_TIME_US,
    MINUTE_US,
    SECOND_US,
    people_duration,
    rfc3339,
    to_us,
)
from schemas.errors import StateError
from schemas.events import Arrived, Event
from schemas.lines import Runs, sizes_of
from schemas.rows import DeadLetter, Health

#: How many messages are looked at to tell a leap of the log's time from one message with a bad clock.
LOOKAHEAD = 100
#: A last message, with nothing behind it to compare it with, is believed up to this many `max_past` ahead.
LAST_LEAP = 12
NO_LEAP_US = 1 << 63

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The delay of what is no event.
_REFUSED = -(1 << 63)


#: So many messages at least are worth being stamped together; after one that is odd so many are stamped one by one.
_FEW = 48

_occurred_at, _recorded_at = attrgetter("occurred_at"), attrgetter("recorded_at")


class _Unstamped:
    """What was read and not yet stamped, in columns of one length."""

    __slots__ = ("claims_us", "decoded", "offsets", "raws")

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.raws = Runs()
        self.decoded: list[Event | Fault] = []
        self.claims_us: list[int | None] = []

    def __len__(self) -> int:
        return len(self.offsets)

    def add(self, reads: Reads) -> None:
        """Take what was read next."""
        self.offsets += reads.offsets
        self.raws.extend(reads.raws)
        self.decoded += reads.decoded
        self.claims_us += reads.claims_us or repeat(None, len(reads.offsets))

    def drop(self, count: int) -> None:
        """Let go of the first `count`."""
        for column in (self.offsets, self.decoded, self.claims_us):
            del column[:count]
        self.raws.drop(count)


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
        self._unstamped = _Unstamped()
        self._items: list[Arrived | DeadLetter] = []
        self._arrivals: list[int] = []
        self._delays: list[int] = []
        self._offsets: list[int] = []
        self._positions: list[int] = []
        self._sizes: list[int] = []
        self._stamp_us = BEGIN_OF_TIME_US
        self._tally: Tally | None = None
        self._read_to = (0, 0)
        self._latest_us = END_OF_TIME_US

    def add(self, reads: Reads, *, ended: bool, latest_us: int = END_OF_TIME_US) -> None:
        """Take what was read next; `ended` says that there is no more.

        `latest_us` is the latest arrival that can be true: what a live log claims beyond it has a bad clock.
        """
        self._latest_us = latest_us
        self._offsets += reads.offsets
        self._positions += reads.positions
        self._sizes += sizes_of(reads.raws)
        self._unstamped.add(reads)
        self.ended = ended
        keep = LOOKAHEAD if self._rules.guard_leaps and not ended else 0
        count = len(self._unstamped) - keep
        if count > 0:
            self._stamp_first(count)
            self._unstamped.drop(count)

    def _stamp_first(self, count: int) -> None:
        """Stamp the first `count` of what was read: together as far as nothing is odd.

        After an odd one, no more than four times as many as went well are tried together: what is tried in vain is
        bounded by what went well.
        """
        done, most = 0, count
        while done < count:
            together = 0
            if count - done >= _FEW:
                upto = min(count, done + most)
                together = self._stamp_together(done, upto)
                done += together
                if done == upto:
                    most *= 4
                    continue
            self._stamp_each(done, min(count, done + _FEW))
            done = min(count, done + _FEW)
            most = max(_FEW, 4 * together)

    def _stamp_together(self, begin: int, end: int) -> int:
        """Stamp what was read from `begin` on, up to the first that is odd; how many."""
        offsets, waiting = self._unstamped.offsets[begin:end], self._unstamped.decoded[begin:end]
        try:
            said = list(map(_occurred_at, waiting))
        except AttributeError:
            end = begin + next(at for at, one in enumerate(waiting) if isinstance(one, Fault))
            if end - begin < _FEW:
                return 0
            offsets, waiting = offsets[: end - begin], waiting[: end - begin]
            said = list(map(_occurred_at, waiting))
        occurred = to_us_all(said)
        claims = self._claims(begin, end, occurred)
        if claims is None:
            return 0
        arrivals = np.maximum.accumulate(np.append(self._stamp_us, claims))
        stamps, arrivals = arrivals[:-1], arrivals[1:]
        delays = arrivals - occurred
        odd = (delays < -self._rules.max_future_us) | (delays > self._rules.max_past_us) | (claims > self._latest_us)
        if self._rules.guard_leaps:
            odd |= claims - stamps > self._rules.max_past_us
        count = int(odd.argmax()) if odd.any() else end - begin
        if count == 0:
            return 0
        stamped = arrivals[:count].tolist()
        self._items += map(
            Arrived, stamped, repeat(self.topic), repeat(self.partition), offsets, occurred[:count].tolist(), waiting
        )
        self._arrivals += stamped
        self._delays += delays[:count].tolist()
        self._stamp_us = stamped[-1]
        return count

    def _claims(self, begin: int, end: int, occurred: Instants) -> Instants | None:
        """When these say that they arrived, None where they say it in different ways: what the log gives, or they."""
        given, count = self._unstamped.claims_us[begin:end], end - begin
        silent = given.count(None)
        if silent == 0:
            return np.fromiter(given, np.int64, count)
        if silent < count:
            return None
        recorded = list(map(_recorded_at, self._unstamped.decoded[begin:end]))
        if all(recorded):  # a moment is true
            return to_us_all(recorded)
        return occurred if recorded.count(None) == count else None

    def _stamp_each(self, begin: int, end: int) -> None:
        """Stamp one by one: at once where nothing is odd, else by `_stamp`."""
        topic, partition, latest = self.topic, self.partition, self._latest_us
        future, past = self._rules.max_future_us, self._rules.max_past_us
        leap = past if self._rules.guard_leaps else NO_LEAP_US
        items, arrivals, delays, stamp = self._items, self._arrivals, self._delays, self._stamp_us
        epoch, waiting = _EPOCH, self._unstamped
        columns = waiting.offsets[begin:end], waiting.decoded[begin:end], waiting.claims_us[begin:end]
        for index, (offset, event, said) in enumerate(zip(*columns, strict=True), begin):
            if not isinstance(event, Fault):
                since = event.occurred_at - epoch
                occurred = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
                if said is not None:
                    claim = said
                else:
                    claim = occurred if event.recorded_at is None else to_us(event.recorded_at)
                arrival = claim if claim > stamp else stamp  # noqa: FURB136 - max() costs a call per event
                if claim <= latest and claim - stamp <= leap and arrival - past <= occurred <= arrival + future:
                    stamp = arrival
                    items.append(Arrived(arrival, topic, partition, offset, occurred, event))
                    arrivals.append(arrival)
                    delays.append(arrival - occurred)
                    continue
            self._stamp_us = stamp
            item = self._stamp(index)
            stamp = self._stamp_us
            items.append(item)
            arrivals.append(stamp)
            delays.append(stamp - item.occurred_us if isinstance(item, Arrived) else _REFUSED)
        self._stamp_us = stamp

    def raise_to(self, clock_us: int) -> None:
        """Nothing that comes from now on arrived before `clock_us` (a partition at its end, by the wall clock).

        What was read before keeps its arrival time, after a resume too.
        """
        self._stamp_us = max(self._stamp_us, clock_us)
        if not self._offsets:
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
        return len(self._offsets)

    def count_before(self, at_us: int) -> int:
        """Messages read and not yet released that arrived before then."""
        return bisect_left(self._arrivals, at_us)

    def take_before(self, watermark_us: int) -> tuple[list[Arrived], list[DeadLetter], list[Health]]:
        """Release what arrived before `watermark_us`: events, dead letters, and the minutes that are complete."""
        arrivals = self._arrivals
        if not arrivals or arrivals[0] >= watermark_us:
            return [], [], []
        count = len(arrivals) if arrivals[-1] < watermark_us else bisect_left(arrivals, watermark_us)
        health = self._account(count)
        self.clock_us = max(self.clock_us, arrivals[count - 1])
        if count < len(self._offsets):
            self.position, self.offset = self._positions[count], self._offsets[count] - 1
        else:
            self.position, self.offset = self._read_to
        taken = self._items[:count]
        events: list[Arrived] = taken  # type: ignore[assignment] # looked at in a moment
        dead: list[DeadLetter] = []
        if _REFUSED in self._delays[:count]:
            events = [item for item in taken if isinstance(item, Arrived)]
            dead = [item for item in taken if isinstance(item, DeadLetter)]
        for column in (self._items, arrivals, self._delays, self._offsets, self._positions, self._sizes):
            del column[:count]
        return events, dead, health

    def take_health(self) -> list[Health]:
        """The minute that was under way when the partition ended."""
        tally, self._tally = self._tally, None
        return [self._minute(tally)] if tally is not None else []

    def read_to(self, position: int, offset: int) -> None:
        """The reader stands at `position`, behind the message (or line) `offset`."""
        self._read_to = (position, offset)

    def _stamp(self, index: int) -> Arrived | DeadLetter:
        """Judge the message at `index` of the unstamped."""
        waiting = self._unstamped
        offset, said_us, decoded = waiting.offsets[index], waiting.claims_us[index], waiting.decoded[index]
        if said_us is not None and not self._rules.guard_leaps and said_us <= self._latest_us:
            self._stamp_us = max(self._stamp_us, said_us)  # the log's own clock holds for what is refused, too
        if isinstance(decoded, Fault):
            return self._dead(index, decoded)
        occurred = to_us(decoded.occurred_at)
        claim, field = said_us, "$.recorded_at"
        if claim is None:
            if decoded.recorded_at is not None:
                claim = to_us(decoded.recorded_at)
            else:
                claim, field = occurred, "$.occurred_at"
        if claim > self._latest_us:
            detail = f"{rfc3339(claim)} is ahead of the clock of the machine that reads it"
            return self._dead(index, Fault("rule", field, detail, decoded.source, decoded.channel or ""))
        if (
            self._rules.guard_leaps
            and claim - self._stamp_us > self._rules.max_past_us
            and self._is_stray(claim, index)
        ):
            detail = f"{rfc3339(claim)} leaps ahead of the log, which does not follow"
            return self._dead(index, Fault("rule", field, detail, decoded.source, decoded.channel or ""))
        arrival = max(claim, self._stamp_us)
        if occurred > arrival + self._rules.max_future_us:
            ahead = people_duration(occurred - arrival)
            return self._dead(index, self._fault(decoded, f"{rfc3339(occurred)} is {ahead} ahead of its arrival"))
        if occurred < arrival - self._rules.max_past_us:
            behind = people_duration(arrival - occurred)
            return self._dead(index, self._fault(decoded, f"{rfc3339(occurred)} is {behind} before its arrival"))
        self._stamp_us = arrival
        return Arrived(arrival, self.topic, self.partition, offset, occurred, decoded)

    def _is_stray(self, claim: int, index: int) -> bool:
        """Whether most of what follows would be out of reach if this claim were believed."""
        after = before = 0
        ahead = slice(index + 1, index + 1 + LOOKAHEAD)
        for decoded, said_us in zip(self._unstamped.decoded[ahead], self._unstamped.claims_us[ahead], strict=True):
            if not isinstance(decoded, Fault):
                at = said_us if said_us is not None else to_us(decoded.recorded_at or decoded.occurred_at)
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

    def _dead(self, index: int, fault: Fault) -> DeadLetter:
        return DeadLetter(
            topic=self.topic,
            partition=self.partition,
            offset=self._unstamped.offsets[index],
            reason=fault.reason,
            path=fault.path,
            detail=fault.detail,
            source=fault.source,
            channel=fault.channel,
            raw=self._unstamped.raws[index],
            seen_at_us=self._stamp_us if self._stamp_us > BEGIN_OF_TIME_US else self._first_claim(index + 1),
        )

    def _first_claim(self, begin: int) -> int:
        """The least time that the next messages say, for those before the first event, which say none; else 0.

        It is 0, too, where the next ones need not have been read yet: it would depend on that.
        """
        ahead = slice(begin, begin + LOOKAHEAD if self._rules.guard_leaps else begin)
        claims = (
            said_us if said_us is not None else to_us(decoded.recorded_at or decoded.occurred_at)
            for decoded, said_us in zip(self._unstamped.decoded[ahead], self._unstamped.claims_us[ahead], strict=True)
            if not isinstance(decoded, Fault)
        )
        return max(0, min(claims, default=0))

    def _account(self, count: int) -> list[Health]:
        """Count what is released into its minute of arrival; the minutes that this completes."""
        complete: list[Health] = []
        arrivals, sizes = self._arrivals, self._sizes
        tally, done = self._tally, 0
        while done < count:
            first, item = arrivals[done], self._items[done]
            if first == BEGIN_OF_TIME_US and isinstance(item, DeadLetter):
                first = item.seen_at_us  # it came before anything that says a time
            if tally is None or not tally.minute_us <= first < tally.minute_us + MINUTE_US:
                if tally is not None:
                    complete.append(self._minute(tally))
                tally = self._tally = Tally(first // MINUTE_US * MINUTE_US)
            upto = bisect_left(arrivals, tally.minute_us + MINUTE_US, done, count)
            tally.messages += upto - done
            tally.bytes += sum(sizes[done:upto])
            delays = self._delays[done:upto]
            tally.events += len(delays) - delays.count(_REFUSED)
            delays.append(tally.delay_us)
            tally.delay_us = max(delays)
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
