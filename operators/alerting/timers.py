"""When something is to be looked at again, in order."""

import heapq
from enum import IntEnum


class Timer(IntEnum):
    """What a timer is for; of those due at one time, in this order."""

    HELD_LONG_ENOUGH = 0
    LOOK_AT_GROUP = 1
    FORGET_GROUP = 2
    END_SILENCE = 3


class Timers:
    """Times, with what is to be done then and the key of what it is to be done to.

    A timer is not taken back: what it is for knows what it waits for, and is asked then. Not part of a snapshot, since
    all of it follows from that.

    Memory: an entry for each that was set and has not come. Cost: O(log entries).
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, Timer, str, str]] = []

    def set(self, due_us: int, timer: Timer, key: str, route: str = "") -> None:
        """Do it when time has passed `due_us`."""
        heapq.heappush(self._heap, (due_us, timer, key, route))

    def pop_before(self, before_us: int) -> tuple[int, Timer, str, str] | None:
        """The next one that is due before `before_us`; None where there is none."""
        if self._heap and self._heap[0][0] < before_us:
            return heapq.heappop(self._heap)
        return None

    def clear(self) -> None:
        """Forget all of them."""
        self._heap.clear()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._heap)
