"""The starts of the passes of one series that are still open: how many, and the oldest, at any point of event time."""

from bisect import bisect_left
from collections.abc import Iterable


class OpenPasses:
    """A multiset of event times that is added to and taken from much more often than it is looked at.

    Both are noted, and put in order when somebody asks: what is new apart from what was known, until questions have
    walked over as many new ones as there are others. So a pass that stays open for weeks is not looked at again with
    every window.

    Memory: one number for each open pass, and up to half as many for those that are over. Cost: O(1) a change; with `c`
    changes from question to question and `n` open passes, a question O(sqrt(c n)) on average.
    """

    __slots__ = (
        "_ended",
        "_ended_gone",
        "_is_sorted",
        "_new_ended",
        "_new_started",
        "_started",
        "_started_gone",
        "_walked",
    )

    def __init__(self, starts_us: Iterable[int] = ()) -> None:
        self._started: list[int] = sorted(starts_us)
        self._ended: list[int] = []
        self._started_gone = self._ended_gone = 0  # so many of these two stand for nothing any more
        self._new_started: list[int] = []
        self._new_ended: list[int] = []
        self._walked, self._is_sorted = 0, True

    def add(self, start_us: int) -> None:
        """A pass has begun."""
        self._new_started.append(start_us)
        self._is_sorted = False

    def remove(self, start_us: int) -> None:
        """A pass that was added is open no longer."""
        self._new_ended.append(start_us)
        self._is_sorted = False

    def begun(self, starts_us: Iterable[int]) -> None:
        """Passes have begun."""
        self._new_started.extend(starts_us)
        self._is_sorted = False

    def ended(self, starts_us: Iterable[int]) -> None:
        """Passes that were added are open no longer."""
        self._new_ended.extend(starts_us)
        self._is_sorted = False

    def __len__(self) -> int:
        """How many there are."""
        known = len(self._started) - self._started_gone - len(self._ended) + self._ended_gone
        return known + len(self._new_started) - len(self._new_ended)

    def before(self, end_us: int) -> tuple[int, int | None]:
        """How many began before `end_us`, and when the first of them did."""
        if not self._is_sorted:
            self._settle()
        gone, new_started = self._started_gone, self._new_started
        count = bisect_left(self._started, end_us, gone) - gone
        oldest = self._started[gone] if count else None
        if new_started and new_started[0] < end_us:
            count += bisect_left(new_started, end_us)
            oldest = new_started[0] if oldest is None else min(oldest, new_started[0])
        if self._ended:
            count -= bisect_left(self._ended, end_us, self._ended_gone) - self._ended_gone
        if self._new_ended:
            count -= bisect_left(self._new_ended, end_us)
        return (count, oldest) if count else (0, None)

    def starts_us(self) -> list[int]:
        """All of them, in order."""
        self._merge()
        self._started, self._ended = _without(self._started, self._ended), []
        return list(self._started)

    def _settle(self) -> None:
        """Put all in order, so that the first that began is open."""
        self._new_started.sort()
        self._new_ended.sort()
        self._walked += len(self._new_started) + len(self._new_ended)
        if self._walked > len(self._started) + len(self._ended):
            self._merge()
        self._let_go()
        self._is_sorted = True

    def _merge(self) -> None:
        """What is new is so no longer."""
        started, ended = self._started, self._ended
        del started[: self._started_gone], ended[: self._ended_gone]
        started += self._new_started
        ended += self._new_ended
        started.sort()
        ended.sort()
        if 2 * len(ended) > len(started):
            self._started, self._ended = _without(started, ended), []
        self._started_gone = self._ended_gone = self._walked = 0
        self._new_started, self._new_ended = [], []

    def _let_go(self) -> None:
        """Of those that began first, leave out all that are over."""
        started, ended, new_started, new_ended = self._started, self._ended, self._new_started, self._new_ended
        at, over_at, new_at, new_over_at = self._started_gone, self._ended_gone, 0, 0
        while over_at < len(ended) or new_over_at < len(new_ended):
            is_old = new_at == len(new_started) or (at < len(started) and started[at] <= new_started[new_at])
            first = started[at] if is_old else new_started[new_at]
            if over_at < len(ended) and ended[over_at] == first:
                over_at += 1
            elif new_over_at < len(new_ended) and new_ended[new_over_at] == first:
                new_over_at += 1
            else:
                break
            if is_old:
                at += 1
            else:
                new_at += 1
        self._started_gone, self._ended_gone = at, over_at
        del new_started[:new_at], new_ended[:new_over_at]


def _without(started: list[int], ended: list[int]) -> list[int]:
    """Sorted numbers without others that are among them."""
    if not ended:
        return started
    out: list[int] = []
    at = 0
    for number in ended:
        found = bisect_left(started, number, at)
        out += started[at:found]
        at = found + 1
    return out + started[at:]
