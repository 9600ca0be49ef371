"""The engine of the simulation: what happens next, in order of time (docs/decisions/0005)."""

import heapq
from collections.abc import Callable
from typing import Any


class Agenda:
    """Callbacks to be made at instants, in order of (instant, order of booking).

    Memory: one tuple for each callback that is still to come. Cost: under 1 µs a callback, and no generator
    or object for each thing that waits, which is what lets a day have millions of messages.
    """

    def __init__(self, now_us: int) -> None:
        self.now = now_us
        self._pending: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._booked = 0

    def at(self, instant_us: int, what: Callable[..., object], *args: Any) -> None:  # noqa: ANN401 - handed through
        """Call `what(*args)` at `instant_us`; an instant that has passed means now."""
        self._booked += 1
        heapq.heappush(self._pending, (max(instant_us, self.now), self._booked, what, args))

    def run_until(self, instant_us: int) -> None:
        """Make all calls due before `instant_us`, then set the time to it."""
        pending, pop = self._pending, heapq.heappop
        while pending and pending[0][0] < instant_us:
            self.now, _, what, args = pop(pending)
            what(*args)
        self.now = instant_us
