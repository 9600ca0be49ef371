"""What a system's adjustments since its last level come to, carried on when one of them is late.

Sums are made in order, so that they are the same whatever came first. Of whole numbers any order gives the same sum, as
long as none on the way needs more than 53 bits: then what is late is added, and the others are left alone.
"""

from math import inf

import msgspec

from operators.stock_entries import LEVEL, last_level
from operators.stock_history import Entry

#: Sums of whole numbers whose sizes add up to less are exact in whatever order they are added.
_EXACT = float(1 << 53)


class Since(msgspec.Struct, gc=False):
    """What is known of the adjustments since the last level, up to `last`, which is one of the entries.

    `level_us` is when that level was; `size` no less than what the adjustments come to, added up without their signs,
    and infinite where one of them is no whole number. It is kept beside the entries and not told when they change: what
    was appended is behind `last`, and where `last` is gone or a level behind it, nothing is known any more.
    """

    level_us: int
    size: float
    last: Entry

    def takes(self, entries: list[Entry], at: int) -> bool:
        """Whether the late adjustment `entries[at]` can be added to the sum since the last level.

        Cost: what was appended since it was asked before.
        """
        size = self.size
        for later in reversed(entries):
            if later is self.last:
                break
            if later[1] == LEVEL:
                return False
            size += _size(later[3])
        else:
            return False
        self.last, self.size = entries[-1], size
        occurred, _, _, delta, *_ = entries[at]
        if occurred <= self.level_us:
            return False
        self.size += _size(delta)
        return self.size < _EXACT


def since_level(entries: list[Entry]) -> Since | None:
    """What is known of all entries, None where there is no level among them."""
    at = last_level(entries, len(entries))
    if at is None:
        return None
    return Since(entries[at][0], sum(_size(entry[3]) for entry in entries[at + 1 :]), entries[-1])


def _size(delta: float) -> float:
    """What a delta comes to, infinite where it is no whole number: what it is added to could be rounded."""
    return abs(delta) if delta % 1 == 0 else inf
