"""Queues between the systems: servers with a rate, so that load beyond it delays messages by itself."""

from collections import deque
from collections.abc import Callable

from schemas.durations import SECOND_US

#: Called with the case of a message, the instant it was put in and the instant it leaves.
Watcher = Callable[[object, int, int], None]


class MiddlewareQueue:
    """A first-in-first-out queue with one server, whose rate may change at known instants.

    The instant at which a message leaves follows from Lindley's recursion, worked out as it is put in:
    service begins when it arrives or when the one before has left, whichever is later. A change of rate in
    the midst of a service is honoured: the rest of the work is done at the new rate. Messages must be put in
    in order of time.

    Cost: constant for each message. Memory: one pair for each message that waits.
    """

    def __init__(self, name: str, per_second: float) -> None:
        self.name = name
        self.per_second = per_second
        self._service_us = max(1, round(SECOND_US / per_second))
        self._last_us = 0
        self._waiting: deque[tuple[int, int]] = deque()
        self._slow: list[tuple[int, int, int]] = []
        self._watchers: list[tuple[int, Watcher]] = []

    def slow_down(self, begin_us: int, end_us: int, per_second: float) -> None:
        """Serve at `per_second` from `begin_us` to `end_us`; such spans must not overlap."""
        self._slow.append((begin_us, end_us, max(1, round(SECOND_US / per_second))))
        self._slow.sort()

    def watch(self, limit_us: int, watcher: Watcher) -> None:
        """Tell `watcher` of each message that is in here for longer than `limit_us`."""
        self._watchers.append((limit_us, watcher))

    def put(self, now_us: int, case: object = None) -> int:
        """Put a message in; returns the instant at which it leaves."""
        begin = max(now_us, self._last_us)
        leaves = self._served(begin) if self._slow else begin + self._service_us
        self._last_us = leaves
        self._waiting.append((leaves, now_us))
        for limit, watcher in self._watchers:
            if leaves - now_us > limit:
                watcher(case, now_us, leaves)
        return leaves

    def delay_us(self, now_us: int) -> int:
        """How long a message that is put in now will wait before it is served."""
        return max(0, self._last_us - now_us)

    def depth(self, now_us: int) -> tuple[int, float]:
        """How many messages are in here, and the age of the oldest in seconds."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now_us:
            waiting.popleft()
        return len(waiting), (now_us - waiting[0][1]) / SECOND_US if waiting else 0.0

    def _served(self, begin_us: int) -> int:
        """When a service that begins at `begin_us` is done, through the changes of rate."""
        now, left = begin_us, 1.0
        for begin, end, service in self._slow:
            if now >= end:
                continue
            if now < begin:
                done = now + round(left * self._service_us)
                if done <= begin:
                    return done
                left -= (begin - now) / self._service_us
                now = begin
            done = now + round(left * service)
            if done <= end:
                return done
            left -= (end - now) / service
            now = end
        return now + max(1, round(left * self._service_us))
