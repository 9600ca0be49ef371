"""What of the input can not be used: the share of dead letters over the last minutes, and whether it is too much."""

from collections import deque

import msgspec

_PARTS = 60


class InputLimit(msgspec.Struct, frozen=True):
    """When too much of the input is dead letters: over `ratio` of at least `minimum` messages within `window_s`."""

    window_s: float = 300.0
    ratio: float = 0.1
    minimum: int = 100


class InputVerdict(msgspec.Struct, frozen=True):
    """Whether too many are dead letters now, whether they were when last asked, and what it is judged by."""

    over: bool
    before: bool
    ratio: float
    messages: int


class UnusableInput:
    """Messages and dead letters of the last `window_s`.

    Not for several threads at once. Memory: 60 parts of the window, forgotten one by one.
    """

    def __init__(self, limit: InputLimit) -> None:
        self.limit = limit
        self._parts: deque[list[float]] = deque()
        self._messages = 0.0
        self._dead = 0.0
        self._over = False

    def add(self, now: float, messages: int, dead: int) -> None:
        """So many messages came in, of which so many were dead letters."""
        if not self._parts or now - self._parts[-1][0] >= self.limit.window_s / _PARTS:
            self._parts.append([now, 0, 0])
        self._parts[-1][1] += messages
        self._parts[-1][2] += dead
        self._messages += messages
        self._dead += dead

    def judge(self, now: float) -> InputVerdict:
        """What has been too much stays so, however few come, until the ratio is back within the limit."""
        while self._parts and now - self._parts[0][0] >= self.limit.window_s:
            _, messages, dead = self._parts.popleft()
            self._messages -= messages
            self._dead -= dead
        ratio, before = self._dead / self._messages if self._messages else 0.0, self._over
        self._over = ratio > self.limit.ratio and (before or self._messages >= self.limit.minimum)
        return InputVerdict(self._over, before, ratio, int(self._messages))
