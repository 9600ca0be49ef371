"""Dropping what the log delivered twice: by (source, event_id) within a horizon of arrival time."""

from collections.abc import Iterable
from itertools import compress

import msgspec
import numpy as np
import numpy.typing as npt

from operators.dedup_state import DedupState, IdRun, SegmentState
from operators.id_hashes import Hashes, IdHasher
from operators.marks import Marks, Times, marks_of
from operators.seen_ids import NEVER_US, SeenIds
from schemas.errors import StateError
from schemas.events import Arrived, type_name
from schemas.rows import DuplicateEvent

#: Ids that a segment gathers at most before it is closed.
_SEGMENT = 16_384


class _Segment(msgspec.Struct):
    """How many ids were let through one after the other, and when."""

    count: int
    first_us: int
    last_us: int


class Dedup:
    """Remember ids for a horizon of arrival time.

    An event is dropped when the same (source, event_id) was let through at most `horizon_us` of arrival time before.
    An id is remembered as a 64-bit hash: with 2 million ids in a group, one new event in 10^13 is taken for a repeat
    that is none, and stands in `duplicate_events`.

    Ids gather in a segment, which is closed when it is full or half a horizon is over; segments are joined as they
    grow, and let go when their youngest id is older than the horizon. All of that happens at places that the log gives,
    so that what is dropped does not depend on how it was cut.

    Memory: 28 to 56 bytes an id, of those let through in at most two horizons, and never of more than `2 * max_ids`
    (the oldest segment goes early then; `turned_early` counts that, since from then on a repeat may come through).
    Cost: two look-ups in tables, by the batch, and a hash where none is given; 0.3 µs more for a repeat.
    State: 16 bytes an id. The ids are a `Part` of a group's state (operators/increments.py).
    """

    VERSION = 4

    def __init__(self, horizon_us: int, max_ids: int = 1_000_000) -> None:
        self.horizon_us = horizon_us
        self.max_ids = max_ids
        self.turned_early = 0
        self._hasher = IdHasher()
        self._ids = SeenIds()
        self._segments: list[_Segment] = []
        self._young = _Segment(0, 0, 0)
        self._full_us = 0
        self._most = max(1, min(_SEGMENT, max_ids // 2))
        self._span_us = max(1, horizon_us // 2)
        self._first = 0  # the number of the oldest id, and up to which increments have them; None: not kept apart
        self._kept_upto: int | None = None
        self._round = (0, 0)
        self._adopted: list[IdRun] | None = None

    def split(
        self, events: list[Arrived], marks: Marks | None = None
    ) -> tuple[list[Arrived], list[tuple[Arrived, int]]]:
        """The events let through, and those dropped, each with the arrival time of the one let through before.

        `marks` are those of the events, where they are known.
        """
        if not events:
            return [], []
        if marks is None:
            marks = marks_of(events, self._hasher)
        hashes, times = marks.hashes, marks.times_us
        repeats: list[tuple[int, int]] = []
        done = 0
        while done < len(events):
            now = int(times[done])
            if self._young.count and (now > self._full_us or self._young.count >= self._most):
                self._close(now)
            if not self._young.count:
                self._full_us = now - now % self._span_us + self._span_us - 1
            upto = min(len(events), done + self._most - self._young.count)
            if times[upto - 1] > self._full_us:
                upto = done + int(np.searchsorted(times[done:upto], self._full_us, "right"))
            for place, seen in self._let_through(hashes[done:upto], times[done:upto]):
                repeats.append((done + place, seen))
            done = upto
        if not repeats:
            return events, []
        fresh = [True] * len(events)
        for place, _ in repeats:
            fresh[place] = False
        return list(compress(events, fresh)), [(events[place], seen) for place, seen in repeats]

    def _let_through(self, hashes: Hashes, times: Times) -> list[tuple[int, int]]:
        """Remember ids, but for the repeats among them: the places of those, and when they were let through before.

        What was not seen and comes once in the batch is new; only the rest is looked at one by one.
        """
        seen, twice = self._ids.seen_us(hashes), _twice(hashes)
        if seen is None and not len(twice):
            self._remember(hashes, times)
            return []
        if seen is None:
            seen = np.full(len(hashes), NEVER_US)
        is_doubtful = seen != NEVER_US
        is_doubtful[twice] = True
        doubtful = np.flatnonzero(is_doubtful)
        fresh = np.ones(len(hashes), np.bool_)
        repeats, here = [], dict[int, int]()
        columns = (column.tolist() for column in (doubtful, hashes[doubtful], times[doubtful], seen[doubtful]))
        for place, one, now, before in zip(*columns, strict=True):
            last = here.get(one, before)
            if now - last <= self.horizon_us:
                repeats.append((place, last))
                fresh[place] = False
            else:
                here[one] = now
        self._remember(hashes[fresh], times[fresh])
        return repeats

    def _remember(self, hashes: Hashes, times: Times) -> None:
        if not len(hashes):
            return
        self._ids.append(hashes, times)
        young = self._young
        if not young.count:
            young.first_us = int(times[0])
        young.count += len(hashes)
        young.last_us = int(times[-1])

    def _close(self, now_us: int) -> None:
        """Make a segment of what has gathered, join what belongs together, let go of what is over or too much."""
        segments = self._segments
        segments.append(self._young)
        self._young = _Segment(0, 0, 0)
        over = 0
        while segments and segments[0].last_us < now_us - self.horizon_us:
            over += segments.pop(0).count
        while len(segments) > 1 and self._belong_together(segments[-2], segments[-1]):
            last, before = segments.pop(), segments.pop()
            segments.append(_Segment(before.count + last.count, before.first_us, last.last_us))
        total = sum(segment.count for segment in segments)
        while total > 2 * self.max_ids - self._most:
            total -= segments[0].count
            over += segments.pop(0).count
            self.turned_early += 1
        if over:
            self._ids.let_go(over)
            self._first += over

    def _belong_together(self, before: _Segment, last: _Segment) -> bool:
        together = before.count + last.count
        small = before.count < 2 * last.count and together <= max(self.max_ids // 4, self._most)
        return small and last.last_us - before.first_us <= self._span_us

    def __len__(self) -> int:
        """How many ids are remembered."""
        return len(self._ids)

    def sizes(self) -> dict[str, int]:
        """Ids remembered, and how often ids were let go before their horizon for want of room."""
        return {"ids": len(self), "turned_early": self.turned_early}

    def snapshot(self) -> DedupState:
        """The ids of all segments; how many, while they are kept apart."""
        kept, done = [], 0
        for segment in [*self._segments, self._young]:
            upto = done + (segment.count if self._kept_upto is None else 0)
            kept.append(SegmentState(*_packed(*self._ids.between(done, upto)), segment.count))
            done = upto
        return DedupState(self.VERSION, self.turned_early, self._full_us, kept, self._first)

    def restore(self, state: DedupState) -> None:
        """Take over a snapshot, with what was adopted of increments.

        Raises:
            StateError: it is of another version, or the increments don't have its ids.
        """
        if state.version != self.VERSION:
            raise StateError(f"dedup state of version {state.version}; this code reads {self.VERSION}")
        self.turned_early, self._full_us, self._first = state.turned_early, state.full_us, state.first
        self._ids, self._segments = SeenIds(), []
        adopted, self._adopted = self._adopted, None
        is_apart = adopted is not None and not any(one.hashes for one in state.segments)
        hashes, times = _joined(adopted or [], state, self._first) if is_apart else _ids_of(state)
        done = 0
        for one in state.segments:
            upto = done + (one.count or len(one.hashes) // 8)
            self._young = _Segment(0, 0, 0)
            self._segments.append(self._young)
            self._remember(hashes[done:upto], times[done:upto])
            done = upto
        self._young = self._segments.pop()
        self._kept_upto = self._first + len(self) if is_apart else None
        self._round = (0, 0)

    # --- a part of a group's state ------------------------------------------------------------------------------------

    @property
    def is_apart(self) -> bool:
        """Whether the ids are kept in increments."""
        return self._kept_upto is not None

    def join(self) -> None:
        """Keep the ids in snapshots again."""
        self._kept_upto = None

    def changed(self) -> int:
        """How many ids no increment holds."""
        return len(self) if self._kept_upto is None else self._first + len(self) - max(self._first, self._kept_upto)

    def whole(self) -> tuple[int, bytes]:
        """An increment of all ids, and how many there are; they are kept apart from now on."""
        self._kept_upto, self._round = self._first, (0, 0)
        return self.increment(1)

    def begin_round(self) -> None:
        """Repeat all ids, from here on."""
        self._round = (self._first, self._first + len(self))

    def increment(self, left: int) -> tuple[int, bytes]:
        """The ids since the last, with one of `left` shares of what is left of the round; and their number."""
        first, end = self._first, self._first + len(self)
        begin, upto = self._round
        begin = max(begin, first)
        share_end = begin + -(-max(0, upto - begin) // left)
        self._round = (share_end, upto)
        spans = [(begin, share_end), (max(first, self._kept_upto or 0), end)]
        self._kept_upto = end
        runs = [IdRun(a, *_packed(*self._ids.between(a - first, b - first))) for a, b in spans if a < b]
        return sum(len(run.hashes) for run in runs) // 8, msgspec.msgpack.encode(runs)

    def adopt(self, increments: Iterable[bytes]) -> None:
        """The ids that the next snapshot to be taken over goes with."""
        self._adopted = [run for increment in increments for run in _decode_runs(increment)]


_decode_runs = msgspec.msgpack.Decoder(list[IdRun]).decode


def _packed(hashes: Hashes, times: Times) -> tuple[bytes, bytes]:
    return hashes.astype("<u8").tobytes(), times.astype("<i8").tobytes()


def _unpacked(hashes: bytes, times_us: bytes) -> tuple[Hashes, Times]:
    return np.frombuffer(hashes, "<u8").astype(np.uint64), np.frombuffer(times_us, "<i8").astype(np.int64)


def _ids_of(state: DedupState) -> tuple[Hashes, Times]:
    parts = [_unpacked(one.hashes, one.times_us) for one in state.segments]
    return np.concatenate([hashes for hashes, _ in parts]), np.concatenate([times for _, times in parts])


def _joined(runs: Iterable[IdRun], state: DedupState, first: int) -> tuple[Hashes, Times]:
    """The ids from number `first` on that a state goes with, out of runs.

    Raises:
        StateError: one is in no run.
    """
    count = sum(one.count for one in state.segments)
    hashes, times, is_there = np.zeros(count, np.uint64), np.zeros(count, np.int64), np.zeros(count, np.bool_)
    for run in runs:
        some, since = _unpacked(run.hashes, run.times_us)
        over = max(0, first - run.first)
        at = run.first + over - first
        upto = at + len(some) - over
        if over < len(some):
            hashes[at:upto], times[at:upto], is_there[at:upto] = some[over:], since[over:], True
    if not is_there.all():
        raise StateError(f"{count - int(is_there.sum())} of {count} ids of a state are in none of its increments")
    return hashes, times


def _twice(hashes: Hashes) -> npt.NDArray[np.intp]:
    """The places of all that are in a batch more than once, and of some others: those that share a place in a table."""
    count = len(hashes)
    size = 1 << (8 * count).bit_length()
    table = np.empty(size, np.int32)
    numbers = np.arange(count, dtype=np.int32)
    at = (hashes & np.uint64(size - 1)).astype(np.intp)
    table[at] = numbers
    kept = table[at]
    others = np.flatnonzero(kept != numbers)
    return np.concatenate((others, kept[others])) if len(others) else others


def duplicate_row(arrived: Arrived, first_arrival_us: int) -> DuplicateEvent:
    """The record of a dropped event."""
    event = arrived.event
    return DuplicateEvent(
        topic=arrived.topic,
        partition=arrived.partition,
        offset=arrived.offset,
        type=type_name(event),
        source=event.source,
        event_id=event.event_id,
        first_arrival_us=first_arrival_us,
        seen_at_us=arrived.arrival_us,
    )
