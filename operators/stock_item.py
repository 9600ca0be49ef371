"""What each system has said of one item's stock, and what follows from it at any point of event time.

An item is a (sku, node). Per system: levels and adjustments, ordered by event time; the quantity at time T is the
last level at or before T plus the adjustments after that level up to T ("a level wins over adjustments before it");
at equal times a level comes last. A system that never gave a level has no known quantity. Adjustments are summed from
the first on, so that folding the older ones into one changes no sum.
"""

from bisect import bisect_left, bisect_right, insort
from typing import TypeAlias

import msgspec

from operators.inbound import Expected
from operators.reservations import Hold, Reservations

#: (event time, 1 for a level and 0 for an adjustment, event id, quantity or delta, reserved, unit cost)
Entry: TypeAlias = tuple[int, int, str, float, float | None, str | None]
#: (event time, event id, unit cost)
Cost: TypeAlias = tuple[int, str, str]

_LEVEL = 1


class ItemState(msgspec.Struct, frozen=True, array_like=True):
    """An item in a snapshot: what can't be worked out again."""

    sku: str
    node: str
    entries: dict[str, list[Entry]]
    holds: dict[str, Hold]
    costs: list[Cost]
    inbound: dict[str, Expected]
    panes: list[int]
    versions: dict[int, int]
    since_us: dict[str, int]
    opened: dict[str, tuple[int, float]]


class Item:
    """One item.

    `since_us` and `opened` are the state of its findings, `panes` and `versions` of its windows (see
    operators/stock.py); `latest` is the quantity after all that was said, of each system that has a known one.
    """

    __slots__ = ("costs", "entries", "inbound", "latest", "opened", "panes", "reservations", "since_us", "versions")

    def __init__(self) -> None:
        self.entries: dict[str, list[Entry]] = {}
        self.latest: dict[str, float] = {}
        self.costs: list[Cost] = []
        self.reservations = Reservations({})
        self.inbound: dict[str, Expected] = {}
        self.panes: list[int] = []
        self.versions: dict[int, int] = {}
        self.since_us: dict[str, int] = {}
        self.opened: dict[str, tuple[int, float]] = {}

    def note(self, system: str, entry: Entry) -> int | None:
        """Add a level or an adjustment; from when on (event time) it changes nothing, None when it stands last."""
        cost = entry[5]
        if cost is not None:
            insort(self.costs, (entry[0], entry[2], cost))
        entries = self.entries.get(system)
        if entries is None:
            entries = self.entries[system] = [entry]
        elif entries[-1][0] < entry[0]:
            entries.append(entry)
            if entry[1] == _LEVEL:
                self.latest[system] = entry[3]
                return None
        else:
            at = bisect_right(entries, _place(entry), key=_place)
            entries.insert(at, entry)
            if at + 1 < len(entries):
                quantity = _after(entries, len(entries))
                if quantity is not None:
                    self.latest[system] = quantity
                return _superseded_us(entries, at)
        if entry[1] == _LEVEL:
            self.latest[system] = entry[3]
        elif system in self.latest:
            self.latest[system] = _after(entries, len(entries)) or 0.0
        return None

    def quantity(self, system: str, instant_us: int) -> float | None:
        """A system's stock at `instant_us`, None where it is not known."""
        entries = self.entries[system]
        last = entries[-1]
        if last[0] <= instant_us:
            return last[3] if last[1] == _LEVEL else self.latest.get(system)
        return _after(entries, bisect_left(entries, (instant_us + 1,)))

    def quantities(self, instant_us: int) -> dict[str, float]:
        """System → stock at `instant_us`, systems in order of name, those without a known quantity left out."""
        out = {}
        for system in sorted(self.entries):
            quantity = self.quantity(system, instant_us)
            if quantity is not None:
                out[system] = quantity
        return out

    def unit_cost(self, instant_us: int) -> float | None:
        """The unit cost last said by any system at `instant_us`, None where none was."""
        costs = self.costs
        if not costs:
            return None
        upto = len(costs) if costs[-1][0] <= instant_us else bisect_left(costs, (instant_us + 1,))
        return float(costs[upto - 1][2]) if upto else None

    def reserved(self, system: str, instant_us: int) -> float:
        """What is reserved at `instant_us`: as `system` says it, else the sum of the reservations that hold."""
        entries = self.entries.get(system)
        if entries:
            last = entries[-1]
            if last[0] <= instant_us and last[1] == _LEVEL:
                return self.reservations.held(instant_us) if last[4] is None else last[4]
            at = len(entries) if entries[-1][0] <= instant_us else bisect_left(entries, (instant_us + 1,))
            while at:
                at -= 1
                if entries[at][1] == _LEVEL:
                    said = entries[at][4]
                    if said is not None:
                        return said
                    break
        return self.reservations.held(instant_us)

    def inbound_until(self, instant_us: int, horizon_us: int) -> float:
        """What is expected to come within `horizon_us` after `instant_us`."""
        return sum(
            one.qty
            for _, one in sorted(self.inbound.items())
            if instant_us < one.due_us <= instant_us + horizon_us and one.awaited_at(instant_us)
        )

    def forget(self, horizon_us: int) -> None:
        """Fold what happened before `horizon_us` into a level and an adjustment per system; drop what is over."""
        for system, entries in self.entries.items():
            upto = bisect_left(entries, (horizon_us + 1,))
            if upto > 1:
                self.entries[system] = _folded(entries[:upto]) + entries[upto:]
        self.costs = self.costs[max(0, bisect_left(self.costs, (horizon_us + 1,)) - 1) :]
        self.reservations.forget(horizon_us)
        self.inbound = {name: one for name, one in self.inbound.items() if one.last_us >= horizon_us}
        self.panes = self.panes[bisect_right(self.panes, horizon_us) :]
        self.versions = {end: version for end, version in self.versions.items() if end >= horizon_us}

    def kept(self, sku: str, node: str) -> ItemState:
        """As it goes into a snapshot."""
        return ItemState(
            sku,
            node,
            self.entries,
            self.reservations.holds,
            self.costs,
            self.inbound,
            self.panes,
            self.versions,
            self.since_us,
            self.opened,
        )

    @classmethod
    def of(cls, state: ItemState) -> "Item":
        """What `kept` gave."""
        item = cls()
        item.entries, item.costs, item.inbound = state.entries, state.costs, state.inbound
        item.panes, item.versions, item.since_us, item.opened = (
            state.panes,
            state.versions,
            state.since_us,
            state.opened,
        )
        item.reservations = Reservations(state.holds)
        for system, entries in state.entries.items():
            quantity = _after(entries, len(entries))
            if quantity is not None:
                item.latest[system] = quantity
        return item


def _place(entry: Entry) -> tuple[int, int, str, float, float, str]:
    """What entries are ordered by: everything, so that the order they arrive in has no say."""
    return (*entry[:4], -1.0 if entry[4] is None else entry[4], entry[5] or "")


def _after(entries: list[Entry], upto: int) -> float | None:
    """The quantity after the first `upto` entries, None where there is no level among them."""
    at = _last_level(entries, upto)
    return None if at is None else entries[at][3] + _adjusted(entries[at + 1 : upto])


def _last_level(entries: list[Entry], upto: int) -> int | None:
    """The index of the last level among the first `upto` entries, None where there is none."""
    for at in range(upto - 1, -1, -1):
        if entries[at][1] == _LEVEL:
            return at
    return None


def _adjusted(entries: list[Entry]) -> float:
    total = 0.0
    for entry in entries:  # not sum(): it rounds otherwise from Python 3.12 on
        total += entry[3]
    return total


def _superseded_us(entries: list[Entry], at: int) -> int | None:
    """Event time of the next level that states all that the entry at `at` states; from there on that one counts."""
    entry = entries[at]
    for later in entries[at + 1 :]:
        if later[1] == _LEVEL and all(
            said is not None or mine is None for mine, said in zip(entry, later, strict=True)
        ):
            return later[0]
    return None


def _folded(entries: list[Entry]) -> list[Entry]:
    """The same quantity at and after the last of `entries`: the last level, and all adjustments after it as one."""
    at = _last_level(entries, len(entries))
    level, adjustments = ([], entries) if at is None else ([entries[at]], entries[at + 1 :])
    if len(adjustments) < 2:
        return [*level, *adjustments]
    last = adjustments[-1]
    return [*level, (last[0], 0, last[2], _adjusted(adjustments), None, None)]
