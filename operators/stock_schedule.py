"""Which windows of which items are to be written at which tick.

The rules are those of operators/windows.py (first writing at end + grace, corrections gathered until the next tick,
nothing after `retention`). Kept apart from it because there are millions of items: a tick holds, for each window end,
the keys of items in the order in which they were first touched; nearly all touches are of the window that is open, and
cost one look-up.

Memory: a key (shared with the item) for each touched window that is still to be written.
"""

import heapq
from collections.abc import Iterator
from typing import TypeAlias

from operators.windows import NEVER_US, WindowSettings
from schemas.durations import BEGIN_OF_TIME_US

#: (tick, [(window end, keys)])
ScheduleState: TypeAlias = list[tuple[int, list[tuple[int, list[str]]]]]

_NONE: list[int] = []


class StockSchedule:
    """What is to be written at which tick; `next_us` is the earliest, `NEVER_US` where there is none.

    Windows that ended before `closed_us` are late, however long the retention is: they were when it was shorter.
    """

    def __init__(self, settings: WindowSettings) -> None:
        self.next_us, self.closed_us = NEVER_US, BEGIN_OF_TIME_US
        self._slide_us, self._size_us, self._grace_us = settings.slide_us, settings.size_us, settings.grace_us
        self._kept_us = settings.kept_us
        self._due: dict[int, dict[int, dict[str, None]]] = {}
        self._ticks: list[int] = []

    def touch(self, key: str, instant_us: int, now_us: int) -> list[int]:
        """Schedule all windows of `key` that hold `instant_us`; `now_us` is the arrival time of the cause.

        Returns the ends of those windows that are too old to be corrected (empty nearly always).
        """
        first = instant_us - instant_us % self._slide_us + self._slide_us
        if self._size_us == self._slide_us:
            return _NONE if self.touch_window(key, first, now_us) else [first]
        ends = range(first, first + self._size_us, self._slide_us)
        return [end for end in ends if not self.touch_window(key, end, now_us)]

    def touch_window(self, key: str, end_us: int, now_us: int) -> bool:
        """Schedule one window of `key`; False where it is too old to be corrected."""
        tick = end_us + self._grace_us
        if tick < now_us:
            if now_us > end_us + self._kept_us or end_us < self.closed_us:
                return False
            slide = self._slide_us
            tick = -(-(now_us - self._grace_us) // slide) * slide + self._grace_us
        ends = self._due.get(tick)
        if ends is not None and end_us in ends:
            ends[end_us][key] = None
        else:
            self.keys_at(tick, end_us)[key] = None
        return True

    def keys_at(self, tick_us: int, end_us: int) -> dict[str, None]:
        """The items whose window that ends at `end_us` is written at `tick_us`, to add to."""
        ends = self._due.get(tick_us)
        if ends is None:
            ends = self._due[tick_us] = {}
            heapq.heappush(self._ticks, tick_us)
            self.next_us = self._ticks[0]
        keys = ends.get(end_us)
        if keys is None:
            keys = ends[end_us] = {}
        return keys

    def due(self) -> tuple[int, Iterator[tuple[int, dict[str, None]]]]:
        """Take the earliest tick, with the window ends to be written then, in order, and their items."""
        tick = heapq.heappop(self._ticks)
        self.next_us = self._ticks[0] if self._ticks else NEVER_US
        return tick, iter(sorted(self._due.pop(tick).items()))

    def sizes(self) -> dict[str, int]:
        """How many windows of items wait to be written."""
        return {"windows": sum(len(keys) for ends in self._due.values() for keys in ends.values())}

    def snapshot(self) -> ScheduleState:
        """Plain lists, in order."""
        return [
            (tick, [(end, list(keys)) for end, keys in sorted(self._due[tick].items())]) for tick in sorted(self._due)
        ]

    def restore(self, state: ScheduleState) -> None:
        """Take over what `snapshot` gave."""
        self._due = {tick: {end: dict.fromkeys(keys) for end, keys in ends} for tick, ends in state}
        self._ticks = sorted(self._due)
        self.next_us = self._ticks[0] if self._ticks else NEVER_US
