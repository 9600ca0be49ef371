"""One partition of the log: what was read and not yet released, stamped with its time of arrival.

Pure: reading and decoding are someone else's (see dataflows/files.py, dataflows/kafka/lane.py).
"""

from bisect import bisect_left

import msgspec

from operators.lane_state import PartitionState, Reads, Tally, TimeRules
from operators.overtaken import Overtaken
from operators.stamping import REFUSED, Stamped, Stamper
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, MINUTE_US, SECOND_US
from schemas.errors import StateError
from schemas.events import Arrived
from schemas.lines import sizes_of
from schemas.rows import DeadLetter, Health


class PartitionQueue:
    """What was read from one partition and not yet released, stamped as `Stamper` does it.

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
        self._stamped = Stamped()
        self._stamper = Stamper(topic, partition, rules, self._stamped)
        self._offsets: list[int] = []
        self._positions: list[int] = []
        self._sizes: list[int] = []
        self._tally: Tally | None = None
        self._read_to = (0, 0)

    def add(self, reads: Reads, *, ended: bool, latest_us: int = END_OF_TIME_US) -> None:
        """Take what was read next; `ended` says that there is no more.

        `latest_us` is the latest arrival that can be true: what a live log claims beyond it has a bad clock.
        """
        self._offsets += reads.offsets
        self._positions += reads.positions
        self._sizes += sizes_of(reads.raws)
        self.ended = ended
        self._stamper.add(reads, ended=ended, latest_us=latest_us)

    def raise_to(self, clock_us: int) -> None:
        """Nothing that comes from now on arrived before `clock_us` (a partition at its end, by the wall clock).

        What was read before keeps its arrival time, after a resume too.
        """
        self._stamper.raise_to(clock_us)
        if not self._offsets:
            self.clock_us = max(self.clock_us, clock_us)

    @property
    def horizon_us(self) -> int:
        """Nothing that is still to be read or stamped arrived before this."""
        return END_OF_TIME_US if self.ended and not self._stamper else self._stamper.last_us

    @property
    def last_us(self) -> int:
        """The largest arrival time so far."""
        return self._stamper.last_us

    @property
    def overtaken(self) -> Overtaken:
        """What came after time had gone on past it."""
        return self._stamper.overtaken

    @property
    def buffered(self) -> int:
        """Messages read and not yet released."""
        return len(self._offsets)

    def count_before(self, at_us: int) -> int:
        """Messages read and not yet released that arrived before then."""
        return bisect_left(self._stamped.arrivals, at_us)

    def take_before(self, watermark_us: int) -> tuple[list[Arrived], list[DeadLetter], list[Health]]:
        """Release what arrived before `watermark_us`: events, dead letters, and the minutes that are complete."""
        stamped = self._stamped
        arrivals = stamped.arrivals
        if not arrivals or arrivals[0] >= watermark_us:
            return [], [], self._over_by(watermark_us)
        count = len(arrivals) if arrivals[-1] < watermark_us else bisect_left(arrivals, watermark_us)
        health = self._account(count)
        self.clock_us = max(self.clock_us, arrivals[count - 1])
        if count < len(self._offsets):
            self.position, self.offset = self._positions[count], self._offsets[count] - 1
        else:
            self.position, self.offset = self._read_to
        taken = stamped.items[:count]
        events: list[Arrived] = taken  # type: ignore[assignment] # looked at in a moment
        dead: list[DeadLetter] = []
        if REFUSED in stamped.delays[:count]:
            events = [item for item in taken if isinstance(item, Arrived)]
            dead = [item for item in taken if isinstance(item, DeadLetter)]
        stamped.drop(count)
        for column in (self._offsets, self._positions, self._sizes):
            del column[:count]
        return events, dead, health + self._over_by(watermark_us)

    def take_health(self) -> list[Health]:
        """The minute that was under way when the partition ended; input that goes on may add to it."""
        return self._told(self._tally)

    def read_to(self, position: int, offset: int) -> None:
        """The reader stands at `position`, behind the message (or line) `offset`."""
        self._read_to = (position, offset)

    def _account(self, count: int) -> list[Health]:
        """Count what is released into its minute of arrival; the minutes that this completes."""
        complete: list[Health] = []
        stamped, arrivals, sizes = self._stamped, self._stamped.arrivals, self._sizes
        tally, done = self._tally, 0
        while done < count:
            first, item = arrivals[done], stamped.items[done]
            if first == BEGIN_OF_TIME_US and isinstance(item, DeadLetter):
                first = item.seen_at_us  # it came before anything that says a time
            if tally is None or not tally.minute_us <= first < tally.minute_us + MINUTE_US:
                complete += self._told(tally)
                tally = self._tally = Tally(first // MINUTE_US * MINUTE_US)
            upto = bisect_left(arrivals, tally.minute_us + MINUTE_US, done, count)
            tally.messages += upto - done
            tally.bytes += sum(sizes[done:upto])
            delays = stamped.delays[done:upto]
            tally.events += len(delays) - delays.count(REFUSED)
            delays.append(tally.delay_us)
            tally.delay_us = max(delays)
            done = upto
        return complete

    def _over_by(self, watermark_us: int) -> list[Health]:
        """The minute under way, where time has come to its end: nothing else would end it in a quiet partition."""
        tally = self._tally
        over = tally is not None and tally.minute_us + MINUTE_US <= watermark_us
        return self._told(tally) if over else []

    def _told(self, tally: Tally | None) -> list[Health]:
        """The row of a minute, unless it was told and nothing has come to it."""
        if tally is None or tally.told == tally.messages:
            return []
        tally.told = tally.messages
        return [self._minute(tally)]

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
        self.clock_us = self._stamper.last_us = state.clock_us
        self._tally = state.tally
