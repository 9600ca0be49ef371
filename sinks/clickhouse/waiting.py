"""Waiting for a store that is away: growing pauses with jitter, a watch that is told, and an end to patience."""

import math
import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from schemas.errors import BlockRejected, StoreRefused, StoreUnavailable

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
#: Pauses longer than `_WHOLE_S` are cut into slices, so that a stop is noticed within one.
_WHOLE_S = 1.0
_SLICE_S = 0.5

T = TypeVar("T")


class WaitWatch(Protocol):
    """Who is told about waiting, and may end it: what `waiting` or `tick` raises goes up to who called."""

    def waiting(self, error: StoreUnavailable, pause_s: float, waited_s: float) -> None:
        """Called before each pause: why, how long it will be, and how long it has been since the first attempt."""

    def tick(self) -> None:
        """Called at least every second of a pause."""

    def recovered(self, waited_s: float) -> None:
        """The store answers again."""


class Waiting:
    """Attempts with pauses in between, until the store answers.

    A pause is drawn between half and all of a length that begins at 0.5 s and doubles up to 30 s: many writers
    that lost one server do not come back in step. `patience_s` ends it (None: never); time spent in attempts
    counts.

    Attributes: pauses, how many there were.
    """

    def __init__(
        self,
        *,
        watch: WaitWatch | None = None,
        patience_s: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: random.Random | None = None,
    ) -> None:
        self.pauses = 0
        self._watch = watch
        self._patience_s = patience_s
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads attempts in time, no secret

    def answered(self, attempt: Callable[[], T], *, spent_s: float = 0.0) -> T:
        """What `attempt` returns, tried again while it raises `StoreUnavailable`.

        Args:
            attempt: one attempt.
            spent_s: what the first one took before this was called, where another thread made it.

        Raises:
            StoreUnavailable: patience has ended.
            StoreRefused, BlockRejected: as `attempt` raises them.
        """
        waited_s = 0.0
        wait_s = _FIRST_WAIT_S
        while True:
            began_s = self._clock()
            try:
                result = attempt()
            except StoreUnavailable as error:
                waited_s += self._clock() - began_s + spent_s
                spent_s = 0.0
                if self._patience_s is not None and waited_s >= self._patience_s:
                    raise
                pause_s = wait_s * self._jitter.uniform(0.5, 1.0)
                self._pause(error, pause_s, waited_s)
                waited_s += pause_s
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            except (BlockRejected, StoreRefused):
                self._recovered(waited_s)
                raise
            else:
                self._recovered(waited_s)
                return result

    def _pause(self, error: StoreUnavailable, pause_s: float, waited_s: float) -> None:
        self.pauses += 1
        if self._watch is None:
            self._sleep(pause_s)
            return
        self._watch.waiting(error, pause_s, waited_s)
        slices = 1 if pause_s <= _WHOLE_S else math.ceil(pause_s / _SLICE_S)
        for _ in range(slices):
            self._sleep(pause_s / slices)
            self._watch.tick()

    def _recovered(self, waited_s: float) -> None:
        if waited_s and self._watch is not None:
            self._watch.recovered(waited_s)
