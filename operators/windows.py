"""Event-time windows that converge: which windows must be written, or written again, and when.

`WindowSchedule` holds no values. An operator keeps its values per pane (a pane is one `slide` long), tells the
schedule which keys were touched at which event time, and is told in time order which (key, window end) to write.

A window [end - size, end) is first written when arrival time passes `end + grace`. What arrives for it later is
gathered and written as one correction at the next such tick, until `end + retention` has passed; later still it
is late and not scheduled. Writing at ticks only makes the rows a function of the log, however it was cut into
batches, and bounds corrections to one row per key, window and tick.

Memory: one entry for each touched (key, window) that is still to be written. Cost: O(size / slide) per touch.
"""

import heapq
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from schemas.durations import BEGIN_OF_TIME_US

Key: TypeAlias = tuple[str, ...]
Due: TypeAlias = tuple[int, list[tuple[int, Key]]]
ScheduleState: TypeAlias = list[tuple[int, list[tuple[int, tuple[str, ...]]]]]

#: Later than any tick.
NEVER_US = 1 << 62
_NONE: list[int] = []


class WindowSettings(msgspec.Struct, frozen=True):
    """Size and slide of windows, and how long they wait and can be corrected; all in microseconds."""

    size_us: int
    slide_us: int
    grace_us: int
    retention_us: int

    def __post_init__(self) -> None:
        """Refuse what can't be a window.

        Raises:
            ValueError: `size_us` is not a positive multiple of `slide_us`, or a wait is negative.
        """
        if self.slide_us <= 0 or self.size_us <= 0 or self.size_us % self.slide_us:
            raise ValueError(f"window of {self.size_us} us is not a multiple of its slide of {self.slide_us} us")
        if self.grace_us < 0 or self.retention_us < 0:
            raise ValueError("window grace and retention can't be negative")

    @property
    def kept_us(self) -> int:
        """How long after its end a window can be corrected."""
        return max(self.retention_us, self.grace_us)

    def pane(self, instant_us: int) -> int:
        """The start of the pane that `instant_us` falls into."""
        return instant_us - instant_us % self.slide_us

    def first_end(self, instant_us: int) -> int:
        """The end of the first window that `instant_us` falls into."""
        return self.pane(instant_us) + self.slide_us

    def ends(self, instant_us: int) -> range:
        """The ends of all windows that `instant_us` falls into, ascending."""
        first = self.first_end(instant_us)
        return range(first, first + self.size_us, self.slide_us)

    def panes(self, end_us: int) -> range:
        """The starts of the panes of the window that ends at `end_us`, ascending."""
        return range(end_us - self.size_us, end_us, self.slide_us)


class WindowSchedule:
    """What is to be written at which tick. Snapshots are plain lists; restoring gives identical results.

    `next_us` is the earliest tick at which something is to be written, `NEVER_US` where nothing is. Windows that ended
    before `closed_us` are late, however long the retention is: they were when it was shorter.
    """

    def __init__(self, settings: WindowSettings) -> None:
        self.settings = settings
        self.next_us = NEVER_US
        self.closed_us = BEGIN_OF_TIME_US
        self._due: dict[int, set[tuple[int, Key]]] = {}
        self._ticks: list[int] = []

    def touch(self, key: Key, instant_us: int, now_us: int) -> list[int]:
        """Schedule all windows of `key` that hold `instant_us`; `now_us` is the arrival time of the cause.

        Returns the ends of those windows that are too old to be corrected (empty nearly always).
        """
        settings = self.settings
        if settings.slide_us == settings.size_us:
            end = instant_us - instant_us % settings.slide_us + settings.slide_us
            tick = end + settings.grace_us
            if tick >= now_us and tick in self._due:  # nearly always
                self._due[tick].add((end, key))
                return _NONE
            return _NONE if self.touch_window(key, end, now_us) else [end]
        return [end for end in settings.ends(instant_us) if not self.touch_window(key, end, now_us)]

    def touch_window(self, key: Key, end_us: int, now_us: int) -> bool:
        """Schedule one window of `key`; False where it is too old to be corrected."""
        tick = end_us + self.settings.grace_us
        if tick < now_us:
            if self.is_late(end_us, now_us):
                return False
            tick = self.tick_after(now_us)
        entries = self._due.get(tick)
        if entries is None:
            self._due[tick] = {(end_us, key)}
            heapq.heappush(self._ticks, tick)
            self.next_us = self._ticks[0]
        else:
            entries.add((end_us, key))
        return True

    def is_late(self, end_us: int, now_us: int) -> bool:
        """Whether the window that ends at `end_us` can no longer be corrected at arrival time `now_us`."""
        return end_us < self.closed_us or now_us > end_us + self.settings.kept_us

    def last_late(self, now_us: int) -> int:
        """The end of the last window that can no longer be corrected at arrival time `now_us`."""
        before_us = max(self.closed_us, now_us - self.settings.kept_us)
        return (before_us - 1) // self.settings.slide_us * self.settings.slide_us

    def is_written(self, end_us: int, now_us: int) -> bool:
        """Whether the window that ends at `end_us` has had its first writing at arrival time `now_us`."""
        return end_us + self.settings.grace_us < now_us

    def tick_after(self, now_us: int) -> int:
        """The first tick at or after arrival time `now_us`."""
        slide = self.settings.slide_us
        return -(-(now_us - self.settings.grace_us) // slide) * slide + self.settings.grace_us

    def next_tick(self) -> int | None:
        """The earliest tick at which something is to be written."""
        return self._ticks[0] if self._ticks else None

    def due(self, before_us: int) -> Iterator[Due]:
        """Take the ticks before `before_us`, in order, each with its (window end, key) pairs in order."""
        while self._ticks and self._ticks[0] < before_us:
            tick = heapq.heappop(self._ticks)
            self.next_us = self._ticks[0] if self._ticks else NEVER_US
            yield tick, sorted(self._due.pop(tick))

    def __len__(self) -> int:
        """How many (key, window) entries wait to be written."""
        return sum(len(entries) for entries in self._due.values())

    def snapshot(self) -> ScheduleState:
        """Plain lists, in order."""
        return [(tick, sorted(self._due[tick])) for tick in sorted(self._due)]

    def restore(self, state: ScheduleState) -> None:
        """Take over what `snapshot` gave."""
        self._due = {tick: set(entries) for tick, entries in state}
        self._ticks = sorted(self._due)
        self.next_us = self._ticks[0] if self._ticks else NEVER_US
