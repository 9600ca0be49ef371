"""Timers of detectors: in order of what is due when, whose it is, and its key."""

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import TypeAlias, TypeVar

from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, MINUTE_US

#: When it is due, the index of its detector, its key.
Timer: TypeAlias = tuple[int, int, str]
T = TypeVar("T")

_SLOT_US = MINUTE_US


class Timers:
    """Timers by slots of a minute, each put in order when time comes to it.

    What is set ahead is appended to its slot; a slot's timers come nearly in order (each age of work that is waited for
    in that of its begin), so that putting them in order is little more than a look at each.

    Memory: a tuple a timer, and some 200 bytes a slot that has any. Cost: an append to set one, an index to fire it;
    what is set in a minute that has begun is put in its place among the rest of that minute.
    """

    def __init__(self) -> None:
        self._slots: dict[int, list[Timer]] = {}
        self._ahead: list[int] = []
        self._open: list[Timer] = []
        self._fired = 0
        self._begun = BEGIN_OF_TIME_US // _SLOT_US
        #: Nothing is due before; what is due first may be later.
        self.next_us = END_OF_TIME_US

    def setter(self, index: int) -> Callable[[int, str], None]:
        """What a detector sets its timers with: when, and the key."""
        slots = self._slots

        def set_timer(due_us: int, key: str) -> None:
            waiting = slots.get(due_us // _SLOT_US)
            if waiting is None:
                self._add((due_us, index, key))
            else:
                waiting.append((due_us, index, key))

        return set_timer

    def fire(self, now_us: int, due: Sequence[Callable[[str, int, T], None]], out: T) -> None:
        """Call `due` of the timers' detectors for what is due by now, and what is set by these and is due by now."""
        while self.next_us <= now_us:
            waiting, at = self._open, self._fired
            while at < len(waiting):
                due_us, index, key = waiting[at]
                if due_us > now_us:
                    self.next_us = due_us
                    return
                at = self._fired = at + 1
                due[index](key, due_us, out)
            if not self._ahead or self._ahead[0] * _SLOT_US > now_us:
                self.next_us = self._ahead[0] * _SLOT_US if self._ahead else END_OF_TIME_US
                return
            self._open_next()

    def _open_next(self) -> None:
        self._begun = heappop(self._ahead)
        self._open = self._slots.pop(self._begun)
        self._open.sort()
        self._fired = 0
        self.next_us = self._open[0][0]

    def _add(self, timer: Timer) -> None:
        """One in a minute that has no timers yet, or that has begun."""
        slot = timer[0] // _SLOT_US
        if slot <= self._begun:
            insort(self._open, timer, self._fired)
            self.next_us = min(self.next_us, timer[0])
            return
        self._slots[slot] = [timer]
        heappush(self._ahead, slot)
        self.next_us = min(self.next_us, slot * _SLOT_US)

    def __len__(self) -> int:
        """How many are set."""
        return len(self._open) - self._fired + sum(map(len, self._slots.values()))

    def all(self) -> list[Timer]:
        """Those that are set, in no order."""
        return [*self._open[self._fired :], *(timer for waiting in self._slots.values() for timer in waiting)]

    def restore(self, timers: Iterable[Timer]) -> None:
        """Take these over, instead of what is set."""
        self._slots.clear()
        self._ahead, self._open, self._fired, self._begun = [], [], 0, BEGIN_OF_TIME_US // _SLOT_US
        self.next_us = END_OF_TIME_US
        set_slots = self._slots
        for timer in timers:
            waiting = set_slots.get(timer[0] // _SLOT_US)
            if waiting is None:
                self._add(timer)
            else:
                waiting.append(timer)
