"""Dropping what the log delivered twice: by (source, event_id) within a horizon of arrival time."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import compress
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from operators.dedup_state import DedupState, SegmentState
from operators.id_hashes import Hashes, IdHasher
from schemas.errors import StateError
from schemas.events import Arrived, type_name
from schemas.rows import DuplicateEvent

#: Ids that a segment gathers at most before it is closed.
_SEGMENT = 16_384
#: Longer ago than any horizon.
_NEVER_US = -(1 << 62)
_Times = npt.NDArray[np.int64]

_arrival, _event, _source, _event_id = map(attrgetter, ("arrival_us", "event", "source", "event_id"))


class _Segment:
    """Ids that were let through one after the other: sorted, each once."""

    __slots__ = ("first_us", "hashes", "last_us", "times_us")

    def __init__(self, hashes: Hashes, times_us: _Times) -> None:
        self.hashes = hashes
        self.times_us = times_us
        self.first_us = int(times_us.min())
        self.last_us = int(times_us.max())

    def __len__(self) -> int:
        return len(self.hashes)

    def seen_us(self, wanted: Hashes) -> _Times:
        """When each of `wanted` was let through, `_NEVER_US` where it was not."""
        at = np.searchsorted(self.hashes, wanted)
        at[at == len(self.hashes)] = 0
        return np.where(self.hashes[at] == wanted, self.times_us[at], _NEVER_US)


class _Filter:
    """Which hashes were surely never marked: a byte for each of their possible beginnings.

    Memory: 8 to 16 bytes for each hash that there is room for.
    """

    def __init__(self, room: int, hashes: Sequence[Hashes]) -> None:
        self.room = room
        bits = (8 * room - 1).bit_length()
        self._shift = np.uint64(64 - bits)
        self._marks = np.zeros(1 << bits, np.bool_)
        for some in hashes:
            self.mark(some)

    def mark(self, hashes: Hashes) -> None:
        """Take more in; with more than `room`, too many seem known."""
        self._marks[hashes >> self._shift] = True

    def knows(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Which of `hashes` may have been marked; one in ten of these was not."""
        known: npt.NDArray[np.bool_] = self._marks[hashes >> self._shift]
        return known


class Dedup:
    """Remember ids for a horizon of arrival time.

    An event is dropped when the same (source, event_id) was let through at most `horizon_us` of arrival time before.
    An id is remembered as a 64-bit hash: with 2 million ids in a group, one new event in 10^13 is taken for a repeat
    that is none, and stands in `duplicate_events`.

    Ids gather in a dictionary, which is closed to a sorted segment when it is full or half a horizon is over; segments
    are merged as they grow, and let go when their youngest id is older than the horizon. All of that happens at places
    that the log gives, so that what is dropped does not depend on how it was cut.

    Memory: 16 bytes an id and as many for the filter, of those let through in at most two horizons, and never more than
    `2 * max_ids` (the oldest segment goes early then; `turned_early` counts that, since from then on a repeat may come
    through). Cost: a hash and a look into a filter, by the batch; for repeats and the one in ten that the filter can't
    tell, a dictionary look-up and a binary search in each of some 5 segments. State: 16 bytes an id.
    """

    VERSION = 3

    def __init__(self, horizon_us: int, max_ids: int = 1_000_000) -> None:
        self.horizon_us = horizon_us
        self.max_ids = max_ids
        self.turned_early = 0
        self._hasher = IdHasher()
        self._segments: list[_Segment] = []
        self._filter = _Filter(_SEGMENT, ())
        self._young: dict[int, int] = {}
        self._full_us = 0
        self._most = max(1, min(_SEGMENT, max_ids // 2))
        self._span_us = max(1, horizon_us // 2)

    def split(self, events: Sequence[Arrived]) -> tuple[list[Arrived], list[tuple[Arrived, int]]]:
        """The events let through, and those dropped, each with the arrival time of the one let through before."""
        kept: list[Arrived] = []
        dropped: list[tuple[Arrived, int]] = []
        if not events:
            return kept, dropped
        said = list(map(_event, events))
        hashes = self._hasher.hashes(list(map(_source, said)), list(map(_event_id, said)))
        times = list(map(_arrival, events))
        done = 0
        while done < len(events):
            now = times[done]
            if self._young and (now > self._full_us or len(self._young) >= self._most):
                self._close(now)
            if not self._young:
                self._full_us = now - now % self._span_us + self._span_us - 1
            upto = min(len(events), done + self._most - len(self._young))
            if times[upto - 1] > self._full_us:
                upto = bisect_right(times, self._full_us, done, upto)
            repeats = self._let_through(hashes[done:upto], times[done:upto])
            if repeats:
                fresh = [True] * (upto - done)
                for place, seen in repeats:
                    fresh[place] = False
                    dropped.append((events[done + place], seen))
                kept.extend(compress(events[done:upto], fresh))
            else:
                kept.extend(events[done:upto])
            done = upto
        return kept, dropped

    def _let_through(self, hashes: Hashes, times: list[int]) -> list[tuple[int, int]]:
        """Remember ids, but for the repeats among them: the places of those, and when they were let through before.

        What the filter does not know and what comes once in the batch is new; only the rest is looked at one by one.
        """
        young, horizon = self._young, self.horizon_us
        doubtful = self._filter.knows(hashes)
        order = np.argsort(hashes)
        ordered = hashes[order]
        again = ordered[1:] == ordered[:-1]
        doubtful[order[1:][again]] = doubtful[order[:-1][again]] = True
        places = np.flatnonzero(doubtful)
        self._filter.mark(hashes)
        if not len(places):
            young.update(zip(hashes.tolist(), times, strict=True))
            return []
        sure = ~doubtful
        young.update(zip(hashes[sure].tolist(), compress(times, sure.tolist()), strict=False))
        repeats = []
        wanted = hashes[places]
        for place, one, old in zip(places.tolist(), wanted.tolist(), self._older(wanted), strict=True):
            now = times[place]
            seen = young.get(one, old)
            if now - seen <= horizon:
                repeats.append((place, seen))
            else:
                young[one] = now
        return repeats

    def _older(self, wanted: Hashes) -> list[int]:
        """When each was last let through, as far as closed segments know."""
        if not self._segments:
            return [_NEVER_US] * len(wanted)
        latest: list[int] = np.max([segment.seen_us(wanted) for segment in self._segments], axis=0).tolist()
        return latest

    def _close(self, now_us: int) -> None:
        """Make a segment of what has gathered, merge what belongs together, let go of what is over or too much."""
        segments, young = self._segments, self._young
        segments.append(_sorted(self._gathered(), np.fromiter(young.values(), np.int64, len(young))))
        self._young = {}
        while segments and segments[0].last_us < now_us - self.horizon_us:
            del segments[0]
        while len(segments) > 1 and self._belong_together(segments[-2], segments[-1]):
            last, before = segments.pop(), segments.pop()
            hashes = np.concatenate((before.hashes, last.hashes))
            segments.append(_sorted(hashes, np.concatenate((before.times_us, last.times_us))))
        total = sum(map(len, segments))
        while total > 2 * self.max_ids - self._most:
            total -= len(segments.pop(0))
            self.turned_early += 1
        self._sift(total)

    def _sift(self, total: int) -> None:
        """Make the filter anew where there is too little room for what is remembered, or much too much."""
        wanted = total + self._most
        if not wanted <= self._filter.room <= 8 * max(wanted, _SEGMENT):
            self._filter = _Filter(
                max(_SEGMENT, 2 * wanted), [*(one.hashes for one in self._segments), self._gathered()]
            )

    def _gathered(self) -> Hashes:
        return np.fromiter(self._young, np.uint64, len(self._young))

    def _belong_together(self, before: _Segment, last: _Segment) -> bool:
        small = len(before) < 2 * len(last) and len(before) + len(last) <= max(self.max_ids // 4, self._most)
        return small and last.last_us - before.first_us <= self._span_us

    def __len__(self) -> int:
        """How many ids are remembered."""
        return sum(map(len, self._segments)) + len(self._young)

    def sizes(self) -> dict[str, int]:
        """Ids remembered, and how often ids were let go before their horizon for want of room."""
        return {"ids": len(self), "turned_early": self.turned_early}

    def snapshot(self) -> DedupState:
        """The ids of all segments."""
        young = self._gathered(), np.fromiter(self._young.values(), np.int64, len(self._young))
        parts = [*((one.hashes, one.times_us) for one in self._segments), young]
        kept = [SegmentState(hashes.astype("<u8").tobytes(), times.astype("<i8").tobytes()) for hashes, times in parts]
        return DedupState(self.VERSION, self.turned_early, self._full_us, kept)

    def restore(self, state: DedupState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"dedup state of version {state.version}; this code reads {self.VERSION}")
        self.turned_early, self._full_us = state.turned_early, state.full_us
        parts = [
            (np.frombuffer(one.hashes, "<u8").astype(np.uint64), np.frombuffer(one.times_us, "<i8").astype(np.int64))
            for one in state.segments
        ]
        hashes, times = parts.pop()
        self._young = dict(zip(hashes.tolist(), times.tolist(), strict=True))
        self._segments = [_Segment(*part) for part in parts]
        self._filter = _Filter(_SEGMENT, [self._gathered()])
        self._sift(sum(map(len, self._segments)))
        self._filter.mark(np.concatenate([self._gathered(), *(one.hashes for one in self._segments)]))


def _sorted(hashes: Hashes, times_us: _Times) -> _Segment:
    """A segment of ids in the order in which they were let through; of one that was twice, the later time."""
    order = np.argsort(hashes, kind="stable")
    hashes, times_us = hashes[order], times_us[order]
    last = np.append(hashes[1:] != hashes[:-1], True)
    return _Segment(hashes[last], times_us[last])


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
