"""When conditions of items come of age, and when an item is to be looked at again."""

import heapq
from collections import deque
from typing import TypeAlias

from operators.windows import NEVER_US

#: (when, what for, key)
Timer: TypeAlias = tuple[int, int, str]

#: What a timer is for; of one time looks come first.
LOOK, SHORT, DIFFERS = 0, 1, 2


class StockTimers:
    """Timers, given back in order; `next_us` is when the next is due, `NEVER_US` where there is none.

    All conditions of a kind wait equally long, so their timers are set in the order in which they are due, and stand in
    a queue; looks may be for any time.

    Memory: what is set, until it is due. Cost: O(1) for a condition, O(log n) for a look.
    """

    def __init__(self) -> None:
        self.next_us = NEVER_US
        self._looks: list[Timer] = []
        self._queues: tuple[deque[Timer], deque[Timer]] = (deque(), deque())

    def put(self, at_us: int, kind: int, key: str) -> None:
        """Set a timer."""
        timer = (at_us, kind, key)
        if kind == LOOK:
            heapq.heappush(self._looks, timer)
        else:
            queue = self._queues[kind - SHORT]
            later: list[Timer] = []
            while queue and queue[-1] > timer:  # of the same time, or set when settle times were longer
                later.append(queue.pop())
            queue.append(timer)
            queue.extend(reversed(later))
        self.next_us = min(self.next_us, at_us)

    def take(self) -> Timer:
        """The next timer, which is not set any more."""
        looks, (short, differs) = self._looks, self._queues
        queue = differs if not short or (differs and differs[0] < short[0]) else short
        timer = heapq.heappop(looks) if not queue or (looks and looks[0] < queue[0]) else queue.popleft()
        next_us = looks[0][0] if looks else NEVER_US
        if short and short[0][0] < next_us:
            next_us = short[0][0]
        if differs and differs[0][0] < next_us:
            next_us = differs[0][0]
        self.next_us = next_us
        return timer

    def sizes(self) -> dict[str, int]:
        """How many are set."""
        return {"timers": len(self._looks) + sum(map(len, self._queues))}

    def snapshot(self) -> list[Timer]:
        """All of them, in order."""
        return sorted([*self._looks, *self._queues[0], *self._queues[1]])

    def restore(self, timers: list[Timer]) -> None:
        """Take over what `snapshot` gave."""
        timers = sorted(timers)
        self._looks = [timer for timer in timers if timer[1] == LOOK]  # in order, so a heap
        self._queues = (
            deque(timer for timer in timers if timer[1] == SHORT),
            deque(timer for timer in timers if timer[1] == DIFFERS),
        )
        self.next_us = timers[0][0] if timers else NEVER_US
