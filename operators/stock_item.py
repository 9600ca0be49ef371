"""What each system has said of one item's stock, and what follows from it at any point of event time.

An item is a (sku, node). Per system: levels and adjustments, ordered by event time; the quantity at time T is the
last level at or before T plus the adjustments after that level up to T ("a level wins over adjustments before it");
at equal times a level comes last. A system that never gave a level has no known quantity. Adjustments are summed from
the first on, so that folding the older ones into one changes no sum.

What stands last is kept worked out (`latest`, `cost`), since nearly every question is about now. What lies before it
may be packed (`older`, see operators/stock_record.py) and is unpacked only when the past is asked for or corrected.
"""

from bisect import bisect_left

import msgspec

from operators.inbound import Expected
from operators.reservation_holds import GRAIN
from operators.reservations import Reservations, ReservationsState, reserved_since
from operators.stock_entries import (
    LEVEL,
    Cost,
    add_in_order,
    adjusted,
    drop_outdated,
    fold,
    insert,
    last_cost,
    last_level,
    quantity_after,
    states_all,
)
from operators.stock_history import Entry, History
from operators.stock_since import Since, since_level
from schemas.durations import BEGIN_OF_TIME_US

_NO_HISTORY = History()


class Condition(msgspec.Struct, gc=False, array_like=True):
    """Something that may become a finding: since when (arrival) it holds; how much it was when it was found."""

    since_us: int
    size: float | None = None


class Item(msgspec.Struct, gc=False, array_like=True):
    """One item.

    `folded` is the last time of folding that it has gone through (see operators/stock.py). Of `entries` each system
    has at least the last; those before may be in `older`. `moved` is, of a known system that adjusted since its last
    level: that level, the sum of its adjustments, and what that level said is reserved. `folded_cost` is the unit cost
    last said by what was folded. `latest` is the quantity after all that was said, of each system that has a known
    one. Systems stand in order of name.

    `book` is the system whose quantity is promised, empty where that is not worked out. Until `calm_us` (arrival time)
    what is promised stays as it was judged, unless something is said that changes it. It is `bookable` less the
    reservations that hold less `safety`; `bookable` is None where that has to be judged anew.
    `touched_us` is the end of a window that waits for its first writing with this item in it. `since` is of systems of
    which an adjustment came late; what was said after that may have outdated it, which they see themselves.
    `said` is a system and when (event time) it last gave a level, as far as that was asked for.

    The fields after `packed_holds` are made from those up to it.

    Memory: some 900 bytes and 100 an entry.
    """

    folded: int | None = None
    said_us: int = BEGIN_OF_TIME_US
    entries: dict[str, list[Entry]] = {}
    differs: Condition | None = None
    short: Condition | None = None
    older: History | None = None
    moved: dict[str, tuple[float, float, float | None]] = {}
    folded_cost: Cost | None = None
    inbound: dict[str, Expected] | None = None
    packed_holds: ReservationsState | None = None
    cost: Cost | None = None
    latest: dict[str, float] = {}
    holds: Reservations | None = None
    book: str = ""
    calm_us: int = BEGIN_OF_TIME_US
    bookable: float | None = None
    safety: float = 0.0
    touched_us: int = BEGIN_OF_TIME_US
    since: dict[str, Since] | None = None
    said: tuple[str, int] | None = None

    @property
    def reservations(self) -> Reservations:
        """The reservations, unpacked from now on."""
        if self.holds is None:
            self.holds = Reservations(self.packed_holds)
            said_us = self.level_us(self.book) if self.book and self.packed_holds is None else None
            if said_us is not None:
                self.holds.mark_us = said_us  # nothing was held then
        return self.holds

    def note(self, system: str, entry: Entry, settled_us: int) -> int | None:
        """Add a level or an adjustment; from when on (event time) it changes nothing, None when it stands last.

        Where it stands last, of what lies at or after `settled_us` only the quantities after `entry` will be asked
        for: what it outdates of that is dropped.
        """
        occurred = entry[0]
        if entry[5] is not None:
            self.say_cost((occurred, entry[2], entry[5]))
        self.said_us = max(self.said_us, occurred)
        entries = self.entries.get(system)
        if entries is None:
            add_in_order(self.entries, system, [entry])
        elif entries[-1][0] < occurred:
            if entry[1] == LEVEL and entries[-1][0] >= settled_us:
                drop_outdated(entries, entry, settled_us)
            entries.append(entry)
        else:
            entries = self.all_entries()[system]
            at = insert(entries, entry)
            if at + 1 < len(entries):
                return self._correct(system, at)
        if entry[1] == LEVEL:
            self.said = None
            self.moved.pop(system, None)
            self._know(system, entry[3])
        elif system in self.latest:
            moved = self.moved.get(system)
            level, total, reserved = moved or (self.latest[system], 0.0, self.entries[system][-2][4])
            total += entry[3]
            self.moved[system] = (level, total, reserved)
            self.latest[system] = level + total
        return None

    def begin(self, system: str, level: Entry) -> None:
        """A system speaks for the first time, and says a level."""
        if not self.entries or next(reversed(self.entries)) < system:
            self.entries[system], self.latest[system] = [level], level[3]
        else:
            add_in_order(self.entries, system, [level])
            add_in_order(self.latest, system, level[3])

    def say_cost(self, cost: Cost) -> None:
        """A unit cost was said."""
        if self.cost is None or cost > self.cost:
            self.cost = cost

    def all_entries(self) -> dict[str, list[Entry]]:
        """The entries of every system, what was packed of them unpacked."""
        if self.older is not None:
            for system, entries in self.older.entries().items():
                self.entries[system][:0] = entries
            self.older = None
        return self.entries

    def pack_history(self) -> None:
        """Pack all entries but the last of each system."""
        older = self.older or _NO_HISTORY
        self.older = older.with_more(
            [(system, entry) for system, entries in self.entries.items() if len(entries) > 1 for entry in entries[:-1]]
        )
        for entries in self.entries.values():
            if len(entries) > 1:
                del entries[:-1]

    def quantity(self, system: str, instant_us: int) -> float | None:
        """A system's stock at `instant_us`, None where it is not known."""
        if self.entries[system][-1][0] <= instant_us:
            return self.latest.get(system)
        entries = self.entries[system]
        quantity = quantity_after(entries, bisect_left(entries, (instant_us + 1,)))
        if quantity is None and self.older is not None:
            entries = self.all_entries()[system]
            quantity = quantity_after(entries, bisect_left(entries, (instant_us + 1,)))
        return quantity

    def quantities(self, instant_us: int) -> dict[str, float]:
        """System → stock at `instant_us`, systems in order of name, those without a known quantity left out."""
        if self.said_us <= instant_us:
            return self.latest.copy()
        out = {}
        for system in self.entries:
            quantity = self.quantity(system, instant_us)
            if quantity is not None:
                out[system] = quantity
        return out

    def unit_cost(self, instant_us: int) -> float | None:
        """The unit cost last said by any system at `instant_us`, None where none was."""
        last = self.cost
        if last is not None and last[0] > instant_us:
            last = self._cost_at(instant_us)
        return None if last is None else float(last[2])

    def reserved(self, system: str, instant_us: int) -> float:
        """What is reserved at `instant_us`: what `system` says, and what was reserved and given back since.

        Where it says nothing, the sum of the reservations that hold.
        """
        last = self.entries[system][-1]
        at = last if last[0] <= instant_us else self._level_before(system, instant_us)
        said = None if at is None else at[4] if at[1] == LEVEL or system not in self.moved else self.moved[system][2]
        if at is None or said is None:
            return self.held(instant_us)
        return self.reserved_since(system, at, said, instant_us)

    def reserved_since(self, system: str, last: Entry, said: float, instant_us: int) -> float:
        """What is reserved at `instant_us`, where `last` stands last by then and its level said how much is."""
        if last[1] == LEVEL and self.said is None and last is self.entries[system][-1]:
            self.said = system, last[0]
        holds = self.holds
        if holds is None:
            if self.packed_holds is None:
                return max(0.0, said)
            holds = self.reservations
        if last[1] == LEVEL:
            said_us = last[0]
        elif self.said is not None and self.said[0] == system:
            said_us = self.said[1]
        else:
            said_us = self._level_us(system)
        if holds.from_us <= said_us and instant_us < holds.until_us:
            holds.mark_us, holds.mark_grains = said_us, holds.sum_grains  # it will be asked for when there is more
            return max(0.0, said)
        if holds.mark_us == said_us and holds.from_us <= instant_us < holds.until_us:
            return reserved_since(said, holds.sum_grains - holds.mark_grains)
        return reserved_since(said, holds.since(said_us, instant_us))

    def level_us(self, system: str) -> int | None:
        """When a system last gave a level, None where that would have to be looked for."""
        last = self.entries[system][-1]
        if last[1] == LEVEL:
            return last[0]
        return self.said[1] if self.said is not None and self.said[0] == system else None

    def _level_us(self, system: str) -> int:
        """When a system that has adjusted since gave its last level. Cost: what it said since."""
        level = self._level_before(system, self.entries[system][-1][0])
        assert level is not None, "it has adjusted what it said"
        self.said = system, level[0]
        return level[0]

    def _level_before(self, system: str, instant_us: int) -> Entry | None:
        """A system's last level up to a time."""
        entries = self.entries[system]
        at = last_level(entries, bisect_left(entries, (instant_us + 1,)))
        if at is None and self.older is not None:
            entries = self.all_entries()[system]
            at = last_level(entries, bisect_left(entries, (instant_us + 1,)))
        return None if at is None else entries[at]

    def held(self, instant_us: int) -> float:
        """The sum of the reservations that hold at `instant_us`."""
        if self.holds is None:
            if self.packed_holds is None:
                return 0.0
            self.holds = Reservations(self.packed_holds)
        return self.holds.held(instant_us)

    def expected(self, order: str) -> Expected:
        """What a purchase order is to bring."""
        if self.inbound is None:
            self.inbound = {}
        return self.inbound.setdefault(order, Expected())

    def inbound_until(self, instant_us: int, horizon_us: int) -> float:
        """What is expected to come within `horizon_us` after `instant_us`."""
        return sum(
            one.qty
            for _, one in sorted((self.inbound or {}).items())
            if instant_us < one.due_us <= instant_us + horizon_us and one.awaited_at(instant_us)
        )

    def panes(self, since_us: int, until_us: int, slide_us: int) -> list[int]:
        """The panes of `slide_us` in which something was said at or after `since_us`, in order, to that of `until_us`.

        Cost: a search for each pane and system, however much was said in it.
        """
        if self.said_us < since_us:
            return []
        if self.older is not None and self.older.last_us >= since_us:
            self.all_entries()
        found = set()
        for entries in self.entries.values():
            at = bisect_left(entries, (since_us,))
            while at < len(entries):
                occurred = entries[at][0]
                pane = occurred - occurred % slide_us
                if pane > until_us:
                    break
                found.add(pane)
                at = bisect_left(entries, (pane + slide_us,), at + 1)
        return sorted(found)

    def forget(self, horizon_us: int) -> None:
        """Fold what happened before `horizon_us` into a level and an adjustment per system; drop what is over.

        Forgetting twice comes to the same as forgetting once, up to the later of both.
        """
        if self.cost is not None:
            self.folded_cost = self._cost_at(horizon_us)
        for system, entries in self.all_entries().items():
            upto = bisect_left(entries, (horizon_us + 1,))
            if upto > 1:
                entries[:upto] = fold(entries[:upto])
                self._work_out(system)
        if self.holds is not None or self.packed_holds is not None:
            self._forget_reservations(horizon_us)
        if self.inbound is not None:
            self.inbound = {name: one for name, one in self.inbound.items() if one.last_us >= horizon_us} or None

    def _forget_reservations(self, horizon_us: int) -> None:
        """Drop those that are over; what came of them since a level said what is reserved goes into that level."""
        reservations, since = self.reservations, dict[str, tuple[int, int]]()
        for system, entries in self.entries.items():
            at = last_level(entries, bisect_left(entries, (horizon_us + 1,)))
            if at is not None and entries[at][4] is not None:
                since[system] = at, reservations.since(entries[at][0], horizon_us)
        reservations.forget(horizon_us)
        for system, (at, grains) in since.items():
            occurred, kind, event_id, quantity, said, cost = self.entries[system][at]
            gone = grains - reservations.since(occurred, horizon_us)
            if gone:
                said = (round((said or 0.0) * GRAIN) + gone) / GRAIN
                self.entries[system][at] = (occurred, kind, event_id, quantity, said, cost)
                self._work_out(system)

    def _correct(self, system: str, at: int) -> int | None:
        """Something was said before what stands last of its system; from when on (event time) it changes nothing.

        Cost: what was said from there to the next level; where none follows, what was said since the last one, and
        of whole numbers only what stood last since an adjustment was late before.
        """
        entries = self.entries[system]
        entry = entries[at]
        if system not in self.latest and entry[1] != LEVEL:
            return None  # of adjustments alone no quantity is known
        if entry[1] == LEVEL:
            self.said = None
            (self.since or {}).pop(system, None)
        elif self._carry_on(system, at):
            return None
        is_followed = False
        for index in range(at + 1, len(entries)):
            later = entries[index]
            if later[1] == LEVEL:
                if states_all(later, entry):
                    return later[0]
                is_followed = True
        if not is_followed:
            self._make_anew(system)
        return None

    def _make_anew(self, system: str) -> None:
        """The sum since the last level, and what carries it on when the next adjustment is late."""
        self._work_out(system)
        known, entries = self.since or {}, self.entries[system]
        since = known.get(system)
        if since is None or since.last is not entries[-1]:
            since = since_level(entries)
        if since is not None:
            self.since = {**known, system: since}

    def _carry_on(self, system: str, at: int) -> bool:
        """Add a late adjustment to the sum since the last level, where that comes to the same as making it anew."""
        since = None if self.since is None else self.since.get(system)
        if since is None or system not in self.moved or not since.takes(self.entries[system], at):
            return False
        level, total, reserved = self.moved[system]
        total += self.entries[system][at][3]
        self.moved[system] = (level, total, reserved)
        self.latest[system] = level + total
        return True

    def _know(self, system: str, quantity: float) -> None:
        if system in self.latest:
            self.latest[system] = quantity
        else:
            add_in_order(self.latest, system, quantity)

    def _work_out(self, system: str) -> None:
        """`latest` and `moved` of a system, from its entries."""
        self.said = None
        entries = self.entries[system]
        at = last_level(entries, len(entries))
        self.moved.pop(system, None)
        if at is not None:
            quantity = entries[at][3]
            if at + 1 < len(entries):
                total = adjusted(entries[at + 1 :])
                self.moved[system] = (quantity, total, entries[at][4])
                quantity += total
            self._know(system, quantity)

    def _cost_at(self, instant_us: int) -> Cost | None:
        """The greatest of the costs said until `instant_us`."""
        best = self.folded_cost
        for entries in self.all_entries().values():
            found = last_cost(entries, instant_us)
            if found is not None and (best is None or found > best):
                best = found
        return best
