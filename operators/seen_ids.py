"""When ids were let through, by their hashes: a log of them, and a table of the newest that fell in each place."""

import numpy as np
import numpy.typing as npt

from operators.id_hashes import Hashes
from operators.marks import Times

#: A number for each id in the order in which they were let through, from 0 on.
Numbers = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]

#: Longer ago than any horizon.
NEVER_US = -(1 << 62)
#: Room that is never taken back.
_LEAST_ROOM = 16_384
#: Numbers that may be given before they begin anew.
_NUMBERS = 1 << 30


class SeenIds:
    """The ids let through, in order, with the time of each; the oldest can be let go.

    Of those that fall in one place of the table, each names the one before it, and what has been let go ends the chain:
    nothing is sorted, merged or taken out.

    Memory: 28 bytes for each id that there is room for: up to twice as many as there are, eight times after many were
    let go, and 16,384 at least. Cost: a look-up in the table, by the batch; a comparison for one in four to one in two.
    """

    def __init__(self) -> None:
        self.begin = self.end = 0
        self._make_room(_LEAST_ROOM)

    def __len__(self) -> int:
        return self.end - self.begin

    def seen_us(self, wanted: Hashes) -> Times | None:
        """When each of `wanted` was last let through, `NEVER_US` where it was not; None where none was."""
        numbers = self._newest[wanted >> self._shift]
        asked = np.flatnonzero(numbers >= self.begin)
        if not len(asked):
            return None
        numbers = numbers[asked]
        found = None
        while len(asked):
            at = numbers & self._mask
            same = self._hashes[at] == wanted[asked]
            if same.any():
                if found is None:
                    found = np.full(len(wanted), NEVER_US)
                found[asked[same]] = self._times_us[at[same]]
                asked, at = asked[~same], at[~same]
            numbers = self._before[at]
            on = numbers >= self.begin
            asked, numbers = asked[on], numbers[on]
        return found

    def append(self, hashes: Hashes, times_us: Times) -> None:
        """Let ids through, in this order."""
        count = len(hashes)
        if len(self) + count > self._mask + 1 or self.end + count > _NUMBERS:
            self._make_room(len(self) + count)
        numbers = np.arange(self.end, self.end + count, dtype=np.int32)
        at = numbers & self._mask
        places = (hashes >> self._shift).astype(np.intp)
        self._hashes[at] = hashes
        self._times_us[at] = times_us
        before = self._newest[places]
        self._newest[places[::-1]] = numbers[::-1]  # of those that fall in one place now, the first
        others = np.flatnonzero(self._newest[places] != numbers)
        while len(others):
            theirs = places[others]
            before[others] = self._newest[theirs]
            self._newest[theirs[::-1]] = numbers[others[::-1]]
            others = others[self._newest[theirs] != numbers[others]]
        self._before[at] = before
        self.end += count

    def let_go(self, count: int) -> None:
        """Forget the `count` that were let through first."""
        self.begin += count
        if self._mask + 1 > _LEAST_ROOM and len(self) < (self._mask + 1) // 8:
            self._make_room(2 * len(self))

    def ordered(self) -> tuple[Hashes, Times]:
        """All of them in the order in which they were let through."""
        return self.between(0, len(self))

    def between(self, first: int, upto: int) -> tuple[Hashes, Times]:
        """Those from place `first` on, in that order, up to and without `upto`."""
        at = np.arange(self.begin + first, self.begin + upto) & self._mask
        return self._hashes[at], self._times_us[at]

    def _make_room(self, count: int) -> None:
        """Room for more than `count`; numbers begin anew."""
        kept = self.ordered() if len(self) else None
        room = max(_LEAST_ROOM, 1 << count.bit_length())
        self._mask = room - 1
        self._shift = np.uint64(64 - (2 * room - 1).bit_length())
        self._hashes = np.empty(room, np.uint64)
        self._times_us = np.empty(room, np.int64)
        self._before = np.empty(room, np.int32)
        self._newest = np.full(2 * room, -1, np.int32)
        self.begin = self.end = 0
        if kept is not None:
            self.append(*kept)
