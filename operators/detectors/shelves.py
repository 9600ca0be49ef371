"""What is remembered of a node's picks, and of its items of which picks failed; what the book said of them."""

from collections.abc import Iterable, Mapping
from math import sqrt
from typing import TypeAlias

import msgspec

from operators.detectors.events import CELL_US
from operators.detectors.records import Impact
from operators.detectors.scopes import Cell
from schemas.durations import MINUTE_US

#: A failed pick: arrival, event time, event id, and what it is about.
Short: TypeAlias = tuple[int, int, str, Impact | None]

#: A node's picks are counted in steps; over so many of them its failed picks are looked at together.
STEP_US = 5 * MINUTE_US
SPANS = (6, 12, 24, 48)
_MOST_SHORTS = 2_000
_EVER = -(1 << 63)
#: So many picks a node is taken to have had, of which the share `usual` failed.
_PRIOR = 50.0
#: The book is held to have had enough when it said so in this share of the times it was asked.
_SURE = 0.7


class Shelf(msgspec.Struct, array_like=True):
    """An item at a node: failed picks of late, those that succeeded since the first, what the book said.

    `done` is (minute, how many), `says` (minute, how often the book said that there is enough, how often it was
    asked). `alone` says that it was found by its own failed picks, so that these say nothing of the node's other items.
    """

    shorts: list[Short] = []
    done: list[tuple[int, float]] = []
    says: list[tuple[int, float, float]] = []
    opened_us: int = 0
    found_us: int = 0
    score: float = 0.0
    named: dict[str, None] = {}
    count: int = 0
    evidence: list[str] = []
    counted: bool = False
    corrected: float = 0.0
    alone: bool = False

    def let_go(self, end_us: int, window: int) -> None:
        """Forget what is older than the window, and what was before the first failed pick."""
        before = (end_us - window) // CELL_US
        if self.shorts and self.shorts[0][0] // CELL_US <= before:
            self.shorts = [one for one in self.shorts if one[0] // CELL_US > before]
        first = self.shorts[0][0] // CELL_US if self.shorts else end_us // CELL_US
        self.done = [one for one in self.done if one[0] >= first]
        self.says = [one for one in self.says if one[0] >= first - 1]

    def orders(self, since_us: int = _EVER) -> set[str]:
        """The orders that were not picked, of what arrived after `since_us`."""
        return {
            impact.order_id or event_id
            for at_us, _, event_id, impact in self.shorts
            if impact is not None and at_us > since_us
        }

    def said_less(self) -> bool:
        """Whether the book knew that there is too little."""
        asked = sum(one[2] for one in self.says)
        return asked > 0 and sum(one[1] for one in self.says) < _SURE * asked

    def book_had(self, bad: float) -> bool:
        """Whether the book was asked for half of so many failed picks or more, and had enough."""
        return 2 * sum(one[2] for one in self.says) >= bad and not self.said_less()

    def is_gone(self) -> bool:
        """Whether the book had enough for an item's failed picks, and none has succeeded since the last of them."""
        if not self.shorts:
            return False
        last = self.shorts[-1][0] // CELL_US
        if self.done and max(self.done)[0] >= last:
            return False
        return self.book_had(len(self.orders()))


class NodeShelves(msgspec.Struct, array_like=True):
    """A node: its picks of late by step (number, failed, all), those before (fading), and items with failed picks."""

    steps: list[tuple[int, float, float]] = []
    usual_bad: float = 0.0
    usual_total: float = 0.0
    learnt: int = 0
    items: dict[str, Shelf] = {}
    open: int = 0

    def count(self, bad: float, total: float, end_us: int, memory: int) -> None:
        """Count picks in; what has left the longest span is usual, unless something is open, and fades by `memory`."""
        step = (end_us - CELL_US) // STEP_US
        if self.steps and self.steps[-1][0] == step:
            _, before, all_before = self.steps[-1]
            self.steps[-1] = step, before + bad, all_before + total
        else:
            self.steps.append((step, bad, total))
        while self.steps[0][0] <= step - SPANS[-1]:
            number, bad, total = self.steps.pop(0)
            if self.open:
                continue
            fade = 0.5 ** ((number - (self.learnt or number)) * STEP_US / memory)
            self.usual_bad, self.usual_total = self.usual_bad * fade + bad, self.usual_total * fade + total
            self.learnt = number

    def take(self, members: Iterable[Short]) -> set[str]:
        """Sort failed picks by item; these items."""
        new = set()
        for one in members:
            if one[3] is not None:
                shelf = self.items.setdefault(one[3].tag, Shelf())
                shelf.shorts = [*shelf.shorts, one][-_MOST_SHORTS:]
                new.add(one[3].tag)
        return new

    def take_book(self, cells: Mapping[str, Cell], end_us: int) -> None:
        """What the book said of items with failed picks, and which of them were picked all the same."""
        number = end_us // CELL_US - 1
        for metric, enough in (("shelf_says", 1.0), ("shelf_knows", 0.0)):
            for shelf in self._about(cells.get(metric)):
                shelf.says.append((number, enough, 1.0))
        for shelf in self._about(cells.get("pick_done")):
            shelf.done.append((number, 1.0))

    def forget_counted(self, counted: Cell | None) -> None:
        """A count has put the book of an item right that was not found yet: what failed before it is explained."""
        for shelf in self._about(counted):
            if not shelf.opened_us:
                shelf.shorts = []

    def _about(self, cell: Cell | None) -> Iterable[Shelf]:
        """The items that a cell's members are about, as far as picks of them failed."""
        for one in cell.members if cell is not None else ():
            shelf = self.items.get(one[3].tag) if one[3] is not None else None
            if shelf is not None:
                yield shelf

    def usual_beside(self, bad: float, total: float, shelf: Shelf, usual: float) -> float:
        """Which share of a node's picks fails but for those of an item.

        Of all its picks of late, `total`, `bad` failed; `usual` is what was usual before it was seen.
        """
        bad -= len(shelf.shorts)
        total -= len(shelf.shorts) + sum([many for _, many in shelf.done])
        return _at_most(self.usual_bad + max(0.0, bad), self.usual_total + max(0.0, total), usual)

    def usual_before(self, step: int, usual: float) -> float:
        """Which share of a node's picks failed up to a step, but for those of items that failed again after it."""
        before = [one for one in self.steps if one[0] <= step]
        bad, total = sum(one[1] for one in before), sum(one[2] for one in before)
        until_us = (step + 1) * STEP_US
        for shelf in self.items.values():
            if shelf.shorts and shelf.shorts[0][0] < until_us <= shelf.shorts[-1][0]:
                bad -= sum(one[0] < until_us for one in shelf.shorts)
        return _at_most(self.usual_bad + max(0.0, bad), self.usual_total + total, usual)


def _at_most(bad: float, total: float, usual: float) -> float:
    """A usual share, with a standard error on top: where few picks were seen, none that failed says little.

    Where only failed ones are told nobody knows.
    """
    if bad >= total:
        bad = total = 0.0
    seen = total + _PRIOR
    share = (bad + usual * _PRIOR) / seen
    return share + sqrt(share * (1.0 - share) / seen)
