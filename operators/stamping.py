"""When messages of one partition arrived, and which of them can't be believed.

Pure: reading and decoding are someone else's.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import repeat
from operator import attrgetter

import msgspec
import numpy as np

from operators.instants import Instants, to_us_all
from operators.lane_state import Reads, TimeRules
from operators.overtaken import Overtaken
from schemas.decode import Fault
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, people_duration, rfc3339, to_us
from schemas.events import Arrived, Event
from schemas.lines import Runs
from schemas.rows import DeadLetter

#: How many messages are looked at to tell a leap of the log's time from one message with a bad clock.
LOOKAHEAD = 100
#: A last message, with nothing behind it to compare it with, is believed up to this many `max_past` ahead.
LAST_LEAP = 12
NO_LEAP_US = 1 << 63

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The delay of what is no event.
REFUSED = -(1 << 63)

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


class Stamped(msgspec.Struct):
    """What was stamped, in columns of one length.

    When it arrived, and how long after it happened (of a dead letter `REFUSED`), are in microseconds.
    """

    items: list[Arrived | DeadLetter] = []
    arrivals: list[int] = []
    delays: list[int] = []

    def drop(self, count: int) -> None:
        """Let go of the first `count`."""
        for column in (self.items, self.arrivals, self.delays):
            del column[:count]


class Stamper:
    """Stamps what is read of one partition, in order, and puts it behind what is in `into`.

    A message's arrival time is what the log says, raised to the largest before it. An event time too far ahead of
    its arrival (`max_future`) or behind it (`max_past`) is refused with reason `rule`. Where the log has no clock of
    its own (`guard_leaps`), one message with a bad clock would drag the partition's time along; so a claim that leaps
    by more than `max_past` is refused when most of the next `LOOKAHEAD` messages would then lie before `max_past`, or
    when it is the last of all and leaps by more than `LAST_LEAP` times that. What is refused bends nobody's time then.

    Memory: at most `LOOKAHEAD` messages that wait for what follows them.
    """

    def __init__(self, topic: str, partition: int, rules: TimeRules, into: Stamped) -> None:
        self.topic, self.partition = topic, partition
        #: The largest arrival time so far.
        self.last_us = BEGIN_OF_TIME_US
        self.overtaken = Overtaken()
        self._rules = rules
        self._into = into
        self._unstamped = _Unstamped()
        self._latest_us = END_OF_TIME_US

    def __len__(self) -> int:
        """How many wait for what follows them."""
        return len(self._unstamped)

    def raise_to(self, clock_us: int) -> None:
        """Nothing that comes from now on arrived before `clock_us`."""
        if clock_us > self.last_us:
            self.overtaken.passed(self.last_us)
            self.last_us = clock_us

    def add(self, reads: Reads, *, ended: bool, latest_us: int = END_OF_TIME_US) -> None:
        """Take what was read next; see `PartitionQueue.add`."""
        self._latest_us = latest_us
        self._unstamped.add(reads)
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
        if self.overtaken.possible:
            self.overtaken.look(self._claimed(count), self.last_us)
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

    def _claimed(self, count: int) -> Iterator[int]:
        """When each of the first `count` says that it arrived, where it can be believed."""
        for decoded, said_us in zip(self._unstamped.decoded[:count], self._unstamped.claims_us[:count], strict=True):
            claim = said_us
            if claim is None and not isinstance(decoded, Fault):
                claim = to_us(decoded.recorded_at or decoded.occurred_at)
            if claim is not None and claim <= self._latest_us:
                yield claim

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
        arrivals = np.maximum.accumulate(np.append(self.last_us, claims))
        stamps, arrivals = arrivals[:-1], arrivals[1:]
        delays = arrivals - occurred
        odd = (delays < -self._rules.max_future_us) | (delays > self._rules.max_past_us) | (claims > self._latest_us)
        if self._rules.guard_leaps:
            odd |= claims - stamps > self._rules.max_past_us
        count = int(odd.argmax()) if odd.any() else end - begin
        if count == 0:
            return 0
        stamped = arrivals[:count].tolist()
        self._into.items += map(
            Arrived, stamped, repeat(self.topic), repeat(self.partition), offsets, occurred[:count].tolist(), waiting
        )
        self._into.arrivals += stamped
        self._into.delays += delays[:count].tolist()
        self.last_us = stamped[-1]
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
        items, arrivals, delays, stamp = self._into.items, self._into.arrivals, self._into.delays, self.last_us
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
            self.last_us = stamp
            item = self._stamp(index)
            stamp = self.last_us
            items.append(item)
            arrivals.append(stamp)
            delays.append(stamp - item.occurred_us if isinstance(item, Arrived) else REFUSED)
        self.last_us = stamp

    def _stamp(self, index: int) -> Arrived | DeadLetter:
        """Judge the message at `index` of the unstamped."""
        waiting = self._unstamped
        offset, said_us, decoded = waiting.offsets[index], waiting.claims_us[index], waiting.decoded[index]
        if said_us is not None and not self._rules.guard_leaps and said_us <= self._latest_us:
            self.last_us = max(self.last_us, said_us)  # the log's own clock holds for what is refused, too
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
        if self._rules.guard_leaps and claim - self.last_us > self._rules.max_past_us and self._is_stray(claim, index):
            detail = f"{rfc3339(claim)} leaps ahead of the log, which does not follow"
            return self._dead(index, Fault("rule", field, detail, decoded.source, decoded.channel or ""))
        arrival = max(claim, self.last_us)
        if occurred > arrival + self._rules.max_future_us:
            ahead = people_duration(occurred - arrival)
            return self._dead(index, self._fault(decoded, f"{rfc3339(occurred)} is {ahead} ahead of its arrival"))
        if occurred < arrival - self._rules.max_past_us:
            behind = people_duration(arrival - occurred)
            return self._dead(index, self._fault(decoded, f"{rfc3339(occurred)} is {behind} before its arrival"))
        self.last_us = arrival
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
        if before == after == 0 and self.last_us > BEGIN_OF_TIME_US:
            return claim - self.last_us > LAST_LEAP * self._rules.max_past_us
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
            seen_at_us=self.last_us if self.last_us > BEGIN_OF_TIME_US else self._first_claim(index + 1),
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
