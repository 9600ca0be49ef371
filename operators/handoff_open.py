"""The starts of the passes of one series that are still open: how many, and the oldest, at any point of event time."""

from bisect import bisect_left
from collections.abc import Iterable


class OpenPasses:
    """A multiset of event times that is added to and taken from much more often than it is looked at.

    Both are noted, and put in order when somebody asks.

    Memory: one number for each open pass, and up to half as many for those that are over. Cost: O(1) a change; a
    question O(changes since the last one), and moving memory in proportion to the open passes.
    """

    __slots__ = ("_ended", "_is_sorted", "_started")

    def __init__(self, starts_us: Iterable[int] = ()) -> None:
        self._started = list(starts_us)
        self._ended: list[int] = []
        self._is_sorted = False

    def add(self, start_us: int) -> None:
        """A pass has begun."""
        self._started.append(start_us)
        self._is_sorted = False

    def remove(self, start_us: int) -> None:
        """A pass that was added is open no longer."""
        self._ended.append(start_us)
        self._is_sorted = False

    def begun(self, starts_us: Iterable[int]) -> None:
        """Passes have begun."""
        self._started.extend(starts_us)
        self._is_sorted = False

    def ended(self, starts_us: Iterable[int]) -> None:
        """Passes that were added are open no longer."""
        self._ended.extend(starts_us)
        self._is_sorted = False

    def __len__(self) -> int:
        """How many there are."""
        return len(self._started) - len(self._ended)

    def before(self, end_us: int) -> tuple[int, int | None]:
        """How many began before `end_us`, and when the first of them did."""
        if not self._is_sorted:
            self._settle()
        count = bisect_left(self._started, end_us) - bisect_left(self._ended, end_us)
        return count, self._started[0] if count else None

    def starts_us(self) -> list[int]:
        """All of them, in order."""
        self._started, self._ended = _without(sorted(self._started), sorted(self._ended)), []
        self._is_sorted = True
        return list(self._started)

    def _settle(self) -> None:
        """Put all in order, so that the first that began is open."""
        started, ended = self._started, self._ended
        started.sort()
        ended.sort()
        gone = 0
        for one, other in zip(started, ended, strict=False):
            if one != other:
                break
            gone += 1
        del started[:gone], ended[:gone]
        if 2 * len(ended) > len(started):
            self._started, self._ended = _without(started, ended), []
        self._is_sorted = True


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
