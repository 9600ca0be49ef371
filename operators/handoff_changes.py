"""Changes of passes on their way to windows: columns for what happens most, records for the rest.

Nearly every change is of two shapes: a pass has begun, or one that was open is over. Such a change is five numbers and
the series that it belongs to, without an object of its own from the case that it happened to to the window that counts
it. What corrects something, or came so late that a window may miss it, is a `PassChange` that names its cause.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias

import msgspec
import numpy as np

from operators.findings import Doubt, LateStart, PassChange, Span
from schemas.durations import BEGIN_OF_TIME_US, DAY_US

#: In a column: there is no such time.
NEVER_US = BEGIN_OF_TIME_US
#: Arrival, start, end (none: it has begun), deadline, and whether it is completed; a row of `PassRun.times`.
WIDTH = 5

#: A handoff (an index into the process map) in a scope.
SeriesKey: TypeAlias = tuple[int, str]
#: Where the changes of a series are noted: its key, and the two columns that take keys and times.
Place: TypeAlias = tuple[SeriesKey, list[SeriesKey], list[int]]


class PassRun(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Changes of passes, in the order in which they were found, which is not that of time.

    `keys`: the series of each change that is in columns; `times`: `WIDTH` 64-bit numbers for each. `odd`: the others,
    with how many of those in columns were found before. `first_us` and `last_us` are the earliest and latest arrival.
    `doubts` are no changes, and come in a run without any, to the first site group: sequence findings to be told there;
    with them `late_starts`, by which it knows late messages from wrong clocks.
    """

    keys: list[SeriesKey]
    times: bytes
    odd: list[tuple[int, PassChange]]
    first_us: int
    last_us: int
    doubts: list[Doubt] = []
    late_starts: list[LateStart] = []

    def __len__(self) -> int:
        """How many changes there are."""
        return len(self.keys) + len(self.odd)

    def changes(self, only: AbstractSet[SeriesKey] | None = None) -> Iterator[PassChange]:
        """Those of some series, or all, as records; those in columns need no cause."""
        times, odd, at = array("q", self.times), self.odd, 0
        for place, key in enumerate(self.keys):
            if only is None or key in only:
                while at < len(odd) and odd[at][0] <= place:
                    yield odd[at][1]
                    at += 1
                yield change_at(key, times, place)
        for _, change in odd[at:]:
            yield change

    def split(self, watermark: int) -> "tuple[PassRun, PassRun]":
        """What arrived before `watermark`, and the rest."""
        before, after = PassChanges(), PassChanges()
        times, at, odd = array("q", self.times), 0, [*self.odd, (len(self.keys), None)]
        for upto, change in odd:
            for place in range(at, upto):
                row = times[place * WIDTH : (place + 1) * WIDTH]
                _, keys, columns = (before if row[0] < watermark else after).place(*self.keys[place])
                keys.append(self.keys[place])
                columns.extend(row)
            if change is not None:
                (before if change.arrival_us < watermark else after).add_odd(change)
            at = upto
        return before.run(), after.run()


def change_at(key: SeriesKey, times: Sequence[int], place: int) -> PassChange:
    """The change at a place of the columns, as a record."""
    handoff, scope = key
    arrival_us, start_us, end_us, due_us, completed = times[place * WIDTH : (place + 1) * WIDTH]
    deadline_us = None if due_us == NEVER_US else due_us
    opened = Span(start_us, None, deadline_us, completed=False)
    if end_us == NEVER_US:
        return PassChange(arrival_us, handoff, scope, None, opened, None)
    return PassChange(arrival_us, handoff, scope, opened, Span(start_us, end_us, deadline_us, bool(completed)), None)


class _Part:
    """What is on its way to one site group."""

    __slots__ = ("keys", "odd", "times")

    def __init__(self) -> None:
        self.keys: list[SeriesKey] = []
        self.times: list[int] = []
        self.odd: list[tuple[int, PassChange]] = []

    def taken(self) -> PassRun:
        times = np.array(self.times, np.int64)
        arrivals_us = [change.arrival_us for _, change in self.odd]
        if self.keys:
            arrivals_us += [int(times[::WIDTH].min()), int(times[::WIDTH].max())]
        first_us, last_us = min(arrivals_us, default=NEVER_US), max(arrivals_us, default=NEVER_US)
        run = PassRun(list(self.keys), times.tobytes(), self.odd, first_us, last_us)
        self.keys.clear()
        self.times.clear()
        self.odd = []
        return run


def _one_part(_: SeriesKey) -> int:
    return 0


class PassChanges:
    """Changes as they are found, dealt out to site groups.

    Args:
        parts: how many site groups there are.
        part_of: the one that a series belongs to; asked once for each.
        correctable_us: windows can be corrected for this long after they end. What happened longer than this before it
            arrived goes with its cause, since a window may miss it.

    `doubts` are sequence findings that are told at the first site group, if they are; `taken` takes them too, and
    `late_starts`.

    Memory: an entry for each series that was ever seen, and the changes until they are taken. Cost: O(1) a change.
    """

    def __init__(
        self, parts: int = 1, part_of: Callable[[SeriesKey], int] = _one_part, correctable_us: int = DAY_US
    ) -> None:
        self.correctable_us = correctable_us
        self.doubts: list[Doubt] = []
        self.late_starts: list[LateStart] = []
        self._parts = [_Part() for _ in range(parts)]
        self._part_of = part_of
        self._places: dict[int, dict[str, Place]] = {}

    def places(self, handoff: int) -> dict[str, Place]:
        """The places of a handoff, by scope; for those in a hurry, who ask `place` for one that is missing."""
        return self._places.setdefault(handoff, {})

    def place(self, handoff: int, scope: str) -> Place:
        """Where the changes of a series are noted."""
        places = self.places(handoff)
        known = places.get(scope)
        if known is None:
            key = handoff, scope
            part = self._parts[self._part_of(key)]
            known = places[scope] = key, part.keys, part.times
        return known

    def add(self, change: PassChange) -> None:
        """Note a change, in columns where it fits."""
        old, new = change.old, change.new
        if new is None or (old is None) != (new.end_us is None):
            self.add_odd(change)
            return
        happened_us, due_us = new.start_us if new.end_us is None else new.end_us, new.deadline_us
        if old is not None and (old.end_us is not None or old.start_us != new.start_us or old.deadline_us != due_us):
            self.add_odd(change)
            return
        least_us = happened_us if old is not None or due_us is None else min(happened_us, due_us)
        if least_us < change.arrival_us - self.correctable_us and change.cause is not None:
            self.add_odd(change)
            return
        end_us = NEVER_US if new.end_us is None else new.end_us
        key, keys, times = self.place(change.handoff, change.scope)
        keys.append(key)
        times += (change.arrival_us, new.start_us, end_us, NEVER_US if due_us is None else due_us, int(new.completed))

    def add_odd(self, change: PassChange) -> None:
        """Note a change as a record."""
        part = self._parts[self._part_of((change.handoff, change.scope))]
        part.odd.append((len(part.keys), change))

    def completed(self) -> Iterator[tuple[SeriesKey, int]]:
        """Of the passes that are completed now, and were not before: the series, and when that arrived."""
        for part in self._parts:
            arrivals, ends = part.times[::WIDTH], part.times[WIDTH - 1 :: WIDTH]
            for key, arrival_us, completed in zip(part.keys, arrivals, ends, strict=True):
                if completed:
                    yield key, arrival_us
            for _, change in part.odd:
                if change.new is not None and change.new.completed and not (change.old and change.old.completed):
                    yield (change.handoff, change.scope), change.arrival_us

    def taken(self) -> list[list[PassRun]]:
        """What was noted since this was last asked: for each site group a run, or none."""
        taken = [[part.taken()] if part.keys or part.odd else [] for part in self._parts]
        if self.doubts or self.late_starts:
            taken[0].append(PassRun([], b"", [], NEVER_US, NEVER_US, self.doubts, self.late_starts))
            self.doubts, self.late_starts = [], []
        return taken

    def run(self) -> PassRun:
        """What was noted since this was last asked, where there is one site group."""
        (part,) = self._parts
        return part.taken()
