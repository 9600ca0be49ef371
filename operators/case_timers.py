"""When cases are to be looked at again: by coarse slots of time while that is far off, exactly when it is near."""

import heapq
from array import array
from collections.abc import Iterator
from typing import TypeAlias

from schemas.durations import BEGIN_OF_TIME_US

#: Slots are powers of two wide: 67 s, and 72 min.
_FINE, _COARSE = 26, 32

_Slot: TypeAlias = tuple["array[int]", list[str]]


class CaseTimers:
    """Times at which cases are to be looked at.

    An entry is not taken back when it is no longer wanted: the case knows what it waits for, and is asked then.

    Memory: 16 bytes an entry, beside the slots. Cost: an entry is moved twice at most, and only those of the slot that
    time is in are kept in order.
    """

    def __init__(self) -> None:
        # Of the open slots: what was in them when they were opened, the last is the next, and what was added since.
        self._near: list[tuple[int, str]] = []
        self._soon: list[tuple[int, str]] = []
        self._fine: dict[int, _Slot] = {}
        self._coarse: dict[int, _Slot] = {}
        self._fine_slots: list[int] = []
        self._coarse_slots: list[int] = []
        # Slots that begin before these are open: what is for them goes to `_soon` at once.
        self._fine_us = BEGIN_OF_TIME_US
        self._coarse_us = BEGIN_OF_TIME_US

    def add(self, at: int, case_id: str) -> None:
        """Look at a case when time has passed `at`."""
        if at >= self._coarse_us:
            slot = self._coarse.get(at >> _COARSE)
            if slot is None:
                slot = self._coarse[at >> _COARSE] = (array("q"), [])
                heapq.heappush(self._coarse_slots, at >> _COARSE)
        elif at >= self._fine_us:
            slot = self._fine.get(at >> _FINE)
            if slot is None:
                slot = self._fine[at >> _FINE] = (array("q"), [])
                heapq.heappush(self._fine_slots, at >> _FINE)
        else:
            heapq.heappush(self._soon, (at, case_id))
            return
        slot[0].append(at)
        slot[1].append(case_id)

    def before(self, before_us: int) -> Iterator[tuple[int, str]]:
        """Take the entries before `before_us`, in any order; more may be added meanwhile."""
        while self._coarse_slots and self._coarse_slots[0] << _COARSE < before_us:
            slot = heapq.heappop(self._coarse_slots)
            self._coarse_us = (slot + 1) << _COARSE
            for at, case_id in zip(*self._coarse.pop(slot), strict=True):
                self.add(at, case_id)
        self._coarse_us = max(self._coarse_us, -(-before_us >> _COARSE) << _COARSE)
        near = self._near
        while self._fine_slots and self._fine_slots[0] << _FINE < before_us:
            slot = heapq.heappop(self._fine_slots)
            self._fine_us = (slot + 1) << _FINE
            times, ids = self._fine.pop(slot)
            if self._fine_us <= before_us:
                yield from zip(times, ids, strict=True)
            else:
                near.extend(zip(times, ids, strict=True))
                near.sort(reverse=True)
        self._fine_us = max(self._fine_us, -(-before_us >> _FINE) << _FINE)
        while near and near[-1][0] < before_us:
            yield near.pop()
        soon = self._soon
        while soon and soon[0][0] < before_us:
            yield heapq.heappop(soon)

    def __len__(self) -> int:
        """How many entries there are, with those that will be passed over."""
        far = sum(len(slot[1]) for slots in (self._fine, self._coarse) for slot in slots.values())
        return len(self._near) + len(self._soon) + far
