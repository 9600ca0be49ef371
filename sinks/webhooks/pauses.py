"""When to try again: growing pauses for an alert, and a breaker for its endpoint. Pure: time comes in."""

import random

import msgspec

_MOST_DOUBLINGS = 40


class Schedule(msgspec.Struct, frozen=True):
    """Pauses that double from `first_us` up to `longest_us`; each is drawn between half and all of that length.

    Many alerts that failed together so don't come back together.
    """

    first_us: int
    longest_us: int

    def pause_us(self, failures: int, jitter: random.Random) -> int:
        """The pause after so many failures in a row, from 1."""
        length = min(self.first_us << min(failures - 1, _MOST_DOUBLINGS), self.longest_us)
        return round(length * jitter.uniform(0.5, 1.0))


class Breaker:
    """One endpoint's breaker: after `failures` in a row nothing is sent for a while, then one attempt is let through.

    The while begins at `first_us` and doubles with each attempt that fails, up to `longest_us`; an answer that is none
    of its own troubles closes it. `hold` keeps everything back until the endpoint's own time (`Retry-After`).
    """

    def __init__(self, failures: int, pauses: Schedule) -> None:
        self._most, self._pauses = failures, pauses
        self._failures = 0
        self._until_us = 0

    @property
    def is_open(self) -> bool:
        """Whether so much has failed that attempts are made one at a time only."""
        return self._failures >= self._most

    def free_at_us(self) -> int:
        """From when on an attempt may be made."""
        return self._until_us

    def release(self) -> None:
        """The time that it was held back for is over."""
        self._until_us = 0

    def failed(self, now_us: int, jitter: random.Random) -> None:
        """An attempt got no usable answer."""
        self._failures += 1
        if self.is_open:
            pause_us = self._pauses.pause_us(self._failures - self._most + 1, jitter)
            self._until_us = max(self._until_us, now_us + pause_us)

    def hold(self, until_us: int) -> None:
        """The endpoint asked for nothing before `until_us`."""
        self._until_us = max(self._until_us, until_us)

    def answered(self) -> bool:
        """The endpoint works; True where it did not before."""
        was_open, self._failures = self.is_open, 0
        return was_open
