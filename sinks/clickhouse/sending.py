"""Blocks on their way in a thread of their own: the engine's goes on while ClickHouse works."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from schemas.rows import Row

#: Between two calls of the beat while somebody waits.
_SLICE_S = 0.5

BringIn: TypeAlias = Callable[[type[Row], Sequence[Row]], None]


class Fate(msgspec.Struct, frozen=True):
    """What became of a block that was sent: why it is not known to be in, None where it is; and how long it took."""

    kind: type[Row]
    error: Exception | None
    seconds: float


class Sending:
    """Some blocks, sent one after the other, up to the first that is not in.

    The thread sends and nothing else: what to do about a failure, and whom to tell, is for the thread that waits. It
    ends by itself, with the last block or the first failure.

    Memory: the rows, which the caller has in any case, and one block's encoding.
    """

    def __init__(
        self,
        blocks: Sequence[tuple[type[Row], Sequence[Row]]],
        bring_in: BringIn,
        clock: Callable[[], float],
    ) -> None:
        self._blocks = deque(blocks)
        self._bring_in = bring_in
        self._clock = clock
        self._fates: list[Fate] = []
        self._enough = self._ended = False
        self._guard = threading.Lock()  # of what both threads change: blocks, fates, whether more can be taken
        self._thread = threading.Thread(target=self._run, name="clickhouse", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether the thread has ended, so that nobody has to wait for it."""
        return not self._thread.is_alive()

    def fates(self, beat: Callable[[], None]) -> list[Fate]:
        """What became of the blocks that `taken` has not told of, in their order; those behind a failure were not sent.

        Waits until that is known. `beat` is called every half second of it, and ends the waiting by raising; the
        fates can be asked for again.
        """
        self._thread.join(_SLICE_S)
        while not self.over:
            beat()
            self._thread.join(_SLICE_S)
        return self._fates

    def taken(self) -> list[Fate]:
        """What is in by now, without waiting, each told once; a failure is left to `fates`."""
        with self._guard:
            known = [fate for fate in self._fates if fate.error is None]
            self._fates = [fate for fate in self._fates if fate.error is not None]
        return known

    def add(self, blocks: Sequence[tuple[type[Row], Sequence[Row]]], *, first: bool) -> bool:
        """Send `blocks`, too, last or before all that is not under way.

        False where it is too late, and they will not be sent.
        """
        with self._guard:
            if not self._ended:
                if first:
                    self._blocks.extendleft(reversed(blocks))
                else:
                    self._blocks.extend(blocks)
            return not self._ended

    def stop(self, within_s: float) -> None:
        """Send no further block, and wait for the one under way, but no longer than `within_s`."""
        self._enough = True
        self._thread.join(within_s)

    def _run(self) -> None:
        while (block := self._next()) is not None:
            kind, rows = block
            began_s = self._clock()
            failed: Exception | None = None
            try:
                self._bring_in(kind, rows)
            except Exception as error:  # noqa: BLE001 - raised again where the fates are asked for
                failed = error
            with self._guard:
                self._fates.append(Fate(kind, failed, self._clock() - began_s))
                self._ended = failed is not None
                if self._ended:
                    return

    def _next(self) -> tuple[type[Row], Sequence[Row]] | None:
        with self._guard:
            self._ended = self._enough or not self._blocks
            return None if self._ended else self._blocks.popleft()
