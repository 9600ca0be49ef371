"""What each system has said of one item's stock, and what follows from it at any point of event time.

An item is a (sku, node). Per system: levels and adjustments, ordered by event time; the quantity at time T is the
last level at or before T plus the adjustments after that level up to T ("a level wins over adjustments before it");
at equal times a level comes last. A system that never gave a level has no known quantity.
"""

from bisect import bisect_right, insort
from typing import TypeAlias

import msgspec

#: (event time, 1 for a level and 0 for an adjustment, event id, quantity or delta, reserved, unit cost)
Entry: TypeAlias = tuple[int, int, str, float, float | None, str | None]

_LEVEL = 1


class Hold(msgspec.Struct, array_like=True):
    """A reservation: how much, from when to when (event times; None where not known yet)."""

    qty: float = 0.0
    created_us: int | None = None
    closed_us: int | None = None
    expires_us: int | None = None

    def holds_at(self, instant_us: int) -> bool:
        """Whether it takes stock away at `instant_us`."""
        if self.created_us is None or self.created_us > instant_us:
            return False
        if self.closed_us is not None and self.closed_us <= instant_us:
            return False
        return self.expires_us is None or self.expires_us > instant_us


class Item(msgspec.Struct, array_like=True):
    """One item. `since_us` and `opened` are the state of its findings (see operators/stock.py)."""

    entries: dict[str, list[Entry]] = {}
    holds: dict[str, Hold] = {}
    inbound: dict[str, tuple[int, float]] = {}
    panes: list[int] = []
    versions: dict[int, int] = {}
    since_us: dict[str, int] = {}
    opened: dict[str, tuple[int, float]] = {}

    def note(self, system: str, entry: Entry) -> None:
        """Add a level or an adjustment."""
        entries = self.entries.get(system)
        if entries is None:
            self.entries[system] = [entry]
        elif entries[-1] < entry:
            entries.append(entry)
        else:
            insort(entries, entry)

    def quantity(self, system: str, instant_us: int) -> float | None:
        """A system's stock at `instant_us`, None where it is not known."""
        entries = self.entries[system]
        at = bisect_right(entries, instant_us, key=_time)
        adjusted = 0.0
        while at:
            at -= 1
            entry = entries[at]
            if entry[1] == _LEVEL:
                return entry[3] + adjusted
            adjusted += entry[3]
        return None

    def quantities(self, instant_us: int) -> dict[str, float]:
        """System → stock at `instant_us`, systems in order of name, those without a known quantity left out."""
        found = ((system, self.quantity(system, instant_us)) for system in sorted(self.entries))
        return {system: quantity for system, quantity in found if quantity is not None}

    def superseded_us(self, system: str, entry: Entry) -> int | None:
        """Event time from which `entry` says nothing any more: the next level that states all that it states."""
        entries = self.entries[system]
        for at in range(bisect_right(entries, entry), len(entries)):
            later = entries[at]
            if later[1] == _LEVEL and all(said is not None or mine is None for mine, said in zip(entry, later, strict=True)):
                return later[0]
        return None

    def unit_cost(self, instant_us: int) -> float | None:
        """The unit cost last said by any system at `instant_us`, None where none was."""
        best: tuple[int, str, str] | None = None
        for entries in self.entries.values():
            for at in range(bisect_right(entries, instant_us, key=_time) - 1, -1, -1):
                occurred, _, event_id, _, _, cost = entries[at]
                if cost is not None:
                    best = max(best, (occurred, event_id, cost)) if best is not None else (occurred, event_id, cost)
                    break
        return float(best[2]) if best is not None else None

    def reserved(self, system: str, instant_us: int) -> float:
        """What is reserved at `instant_us`: as `system` says it, else the sum of the reservations that hold."""
        entries = self.entries.get(system, [])
        for at in range(bisect_right(entries, instant_us, key=_time) - 1, -1, -1):
            if entries[at][1] == _LEVEL:
                said = entries[at][4]
                if said is not None:
                    return said
                break
        return sum(hold.qty for _, hold in sorted(self.holds.items()) if hold.holds_at(instant_us))

    def inbound_until(self, instant_us: int, horizon_us: int) -> float:
        """What is expected to come within `horizon_us` after `instant_us`."""
        return sum(qty for due, qty in self.inbound.values() if instant_us < due <= instant_us + horizon_us)

    def forget(self, horizon_us: int) -> None:
        """Fold what happened before `horizon_us` into one level per system; drop what is over."""
        for system, entries in self.entries.items():
            upto = bisect_right(entries, horizon_us, key=_time)
            if upto > 1:
                self.entries[system] = _folded(entries[:upto]) + entries[upto:]
        self.holds = {
            name: hold for name, hold in self.holds.items() if _latest(hold) is None or _latest(hold) >= horizon_us  # type: ignore[operator] # None is tested before
        }
        self.inbound = {name: entry for name, entry in self.inbound.items() if entry[0] >= horizon_us}
        self.panes = self.panes[bisect_right(self.panes, horizon_us) :]
        self.versions = {end: version for end, version in self.versions.items() if end >= horizon_us}


def _time(entry: Entry) -> int:
    return entry[0]


def _latest(hold: Hold) -> int | None:
    """After when a reservation holds nothing any more, None while it holds."""
    if hold.created_us is None:
        return hold.closed_us
    ends = [end for end in (hold.closed_us, hold.expires_us) if end is not None]
    return min(ends) if ends else None


def _folded(entries: list[Entry]) -> list[Entry]:
    """The same quantity at and after the last of `entries`, in as few entries as will do."""
    adjusted, last = 0.0, entries[-1]
    for at in range(len(entries) - 1, -1, -1):
        entry = entries[at]
        if entry[1] == _LEVEL:
            cost = next((said[5] for said in reversed(entries) if said[5] is not None), None)
            return [(last[0], _LEVEL, last[2], entry[3] + adjusted, entry[4], cost)]
        adjusted += entry[3]
    return [(last[0], 0, last[2], adjusted, None, None)]
