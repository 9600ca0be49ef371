"""An item at rest is one record of bytes, of which what a level changes and a row says stands at fixed places.

First come numbers (`Shape`): what each system says now, what it says is reserved, the unit cost, what reservations
hold. What stands last is taken, and a row is written, by reading and writing these (operators/stock_at_rest.py); behind
them stands what is seldom asked for (`Seldom`), if there is anything, and at the end what was said, as in
operators/stock_history.py. What is said while the item rests is appended there without reading what stands before it.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from math import nan
from struct import Struct
from typing import Any

import msgspec

from operators.inbound import Expected
from operators.reservation_holds import MOST_KEPT
from operators.reservations import ReservationsState
from operators.stock_awake import HEAD, wake
from operators.stock_bytes import pack_joined, unpack_joined
from operators.stock_entries import LEVEL, Cost
from operators.stock_history import (
    LEVEL_OF,
    SYSTEMS,
    WIDTHS,
    History,
    entry_values,
    read_entries,
    read_entry,
    system_of,
)
from operators.stock_item import Condition, Item
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US

#: Stands for no folding yet.
UNFOLDED = -1
#: What stands last among a record's numbers.
FOLDED, SAID, LENGTH, MORE = -4, -3, -2, -1
#: What the values begin with that are appended for a reservation: then come its time, its name and how much it holds.
RESERVATION = 128
#: So many entries of a system are left at the end; more become a history that is read only when it is asked for.
_MOST_RECENT = 3
#: In order of name, as everywhere.
_BY_NAME = tuple(sorted(SYSTEMS))
#: Which flag says that a system's quantity is known; and those that say what else is there.
KNOWS = {system: 1 << number for number, system in enumerate(SYSTEMS)}
RESERVED, COST, HOLDS, DIFFERS, SHORT, SELDOM, FRACTIONS, MARKS = (1 << len(SYSTEMS) + place for place in range(8))
#: Stands for how much was held when a system said what is reserved, where that would have to be worked out.
ASK = -(1 << 63)
#: So many bytes are flags.
FLAGS = 3


class Seldom(msgspec.Struct, gc=False, array_like=True):
    """What most items don't have: see `Item`."""

    differs: Condition | None = None
    short: Condition | None = None
    moved: dict[str, tuple[float, float, float | None]] = {}
    folded_cost: Cost | None = None
    inbound: dict[str, Expected] | None = None
    packed_holds: ReservationsState | None = None
    cost: Cost | None = None
    older: History | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Seldom).decode
_NOTHING = Seldom()
#: Up to here floats are whole numbers exactly.
_EXACT = 1 << 53


class Shape:
    """Which numbers a record begins with, told by flags, which are its first three bytes.

    They are, as one tuple: the quantity of each of `systems`; from `reserved` on what each said is reserved (not a
    number where it didn't); at `cost` the unit cost; from `holds` on from when until when (event times) reservations
    hold how much; from `marks` on how much they held when each system said what is reserved; at `seldom` the bytes of
    `Seldom`; the last folding, when something was said last, how many values stand at the end, and how many were
    appended. A place is None where there is no such number.

    A shape with `fractions` has quantities that came about as sums of numbers that were not whole.

    `numbers_of(record)` are its numbers, `packed(*numbers)` what a record begins with.
    """

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.differs, self.short, self.fractions = bool(flags & DIFFERS), bool(flags & SHORT), bool(flags & FRACTIONS)
        self.systems = tuple(system for system in _BY_NAME if flags & KNOWS[system])
        self.places = {system: place for place, system in enumerate(self.systems)}
        self.reserved: int | None = None
        self.cost: int | None = None
        self.holds: int | None = None
        self.marks: int | None = None
        self.seldom: int | None = None
        at = self.count = len(self.systems)
        layout = f"{at}d"
        if flags & RESERVED:
            self.reserved, at, layout = at, at + self.count, layout + f"{self.count}d"
        if flags & COST:
            self.cost, at, layout = at, at + 1, layout + "d"
        if flags & HOLDS:
            self.holds, at, layout = at, at + 3, layout + "qqq"
        if flags & MARKS:
            self.marks, at, layout = at, at + self.count, layout + f"{self.count}q"
        if flags & SELDOM:
            self.seldom, layout = at, layout + "I"
        whole, numbers = Struct(f"<{FLAGS}s{layout}qqHH"), Struct(f"<{FLAGS}x{layout}qqHH")
        self.size = whole.size
        self.numbers_of: Callable[[bytes], tuple[Any, ...]] = numbers.unpack_from
        self.packed: Callable[..., bytes] = partial(whole.pack, flags.to_bytes(FLAGS, "little"))


@lru_cache(1 << 16)
def shape(flags: int) -> Shape:
    """The shape that flags tell."""
    return Shape(flags)


@lru_cache(1 << 16)
def shape_of(head: bytes) -> Shape:
    """The shape of a record that begins with `head`."""
    return shape(int.from_bytes(head, "little"))


def pack_item(item: Item) -> bytes:  # noqa: C901, PLR0912 - calls are what packing costs
    """To bytes; the history of `item` itself is packed from then on."""
    entries, latest, moved, cost = item.entries, item.latest, item.moved, item.cost
    for of_system in entries.values():
        if len(of_system) > _MOST_RECENT:
            item.pack_history()
            break
    if item.holds is not None:
        item.packed_holds = item.holds.state()
    flags = before_us = 0
    recent: list[object] = []
    for system, of_system in entries.items():
        for entry in of_system:
            occurred, kind, event_id, quantity, reserved, unit_cost = entry
            if kind and reserved is None and unit_cost is None and 0.0 < quantity < _EXACT and quantity.is_integer():
                recent += (LEVEL_OF[system], occurred - before_us, event_id, int(quantity))  # nearly always
            else:
                recent += entry_values(system, entry, before_us)
            if occurred > before_us:  # noqa: PLR1730 - a call of max() for each entry
                before_us = occurred
        if system in latest:
            flags |= KNOWS[system]
            if (reserved if kind == LEVEL else moved[system][2]) is not None:
                flags |= RESERVED
        if cost is not None and unit_cost is not None and (occurred, event_id, unit_cost) == cost:
            cost = None  # as it follows from the entries
    numbers = [*latest.values()]
    if flags & RESERVED:
        numbers += [_said_reserved(item, system) for system in latest]
    if item.cost is not None:
        flags |= COST
        numbers.append(float(item.cost[2]))
    holds, differs, short, seldom = item.packed_holds, item.differs, item.short, b""
    if holds is not None:
        flags |= HOLDS
        from_us, until_us, grains, _ = holds
        numbers += (BEGIN_OF_TIME_US if from_us is None else from_us, END_OF_TIME_US if until_us is None else until_us)
        numbers.append(grains)
        if flags & RESERVED:
            flags |= MARKS
            numbers += _marks(item)
    if moved or cost or holds or differs or short or item.folded_cost or item.inbound or item.older:
        flags |= SELDOM | (DIFFERS if differs is not None else 0) | (SHORT if short is not None else 0)
        if not all(level.is_integer() and total.is_integer() for level, total, _ in moved.values()):
            flags |= FRACTIONS
        seldom = _encode(Seldom(differs, short, moved, item.folded_cost, item.inbound, holds, cost, item.older))
        numbers.append(len(seldom))
    numbers += (UNFOLDED if item.folded is None else item.folded, item.said_us, len(recent), 0)
    return shape(flags).packed(*numbers) + seldom + pack_joined(recent)


def unpack_item(packed: bytes) -> Item:
    """And back, from what a snapshot kept of one that was awake as well."""
    if packed.startswith(HEAD):
        return wake(packed)
    its = shape_of(packed[:FLAGS])
    numbers, at = its.numbers_of(packed), its.size
    folded, said_us, length, more = numbers[FOLDED:]
    seldom = _NOTHING
    if its.seldom is not None:
        end = at + numbers[its.seldom]
        seldom = _decode(packed[at:end])
        at = end
    values = unpack_joined(length + more, packed[at:])
    entries = read_entries(values[:length] if more else values)
    latest = dict(zip(its.systems, numbers, strict=False))
    item = Item(None if folded == UNFOLDED else folded, said_us, entries, latest=latest)
    if seldom is not _NOTHING:
        item.differs, item.short, item.moved = seldom.differs, seldom.short, seldom.moved
        item.folded_cost, item.cost, item.older = seldom.folded_cost, seldom.cost, seldom.older
        item.inbound, item.packed_holds = seldom.inbound, seldom.packed_holds
    if more:
        _take_appended(item, values[length:])
    if its.cost is not None:
        for of_system in item.entries.values():
            for entry in of_system:
                if entry[5] is not None:
                    item.say_cost((entry[0], entry[2], entry[5]))
    return item


def _take_appended(item: Item, values: list[Any]) -> None:
    """What was said while the item rested; the quantities that came of it are known."""
    entries, moved = item.entries, item.moved
    before_us = max([0, *(of_system[-1][0] for of_system in entries.values())])
    at = 0
    while at < len(values):
        head = values[at]
        if head == RESERVATION:
            _, after_us, name, qty = values[at : at + 4]
            at += 4
            item.reservations.create(name, before_us + after_us, qty, None)
            continue
        entry, system = read_entry(values, at, before_us), system_of(head)
        at += WIDTHS[head]
        before_us = entry[0]
        if entry[1] == LEVEL:
            moved.pop(system, None)
        elif system in item.latest:
            last = entries[system][-1]
            level, total, reserved = moved.get(system) or (last[3], 0.0, last[4])
            moved[system] = (level, total + entry[3], reserved)
        entries.setdefault(system, []).append(entry)
    if [*entries] != sorted(entries):
        item.entries = dict(sorted(entries.items()))


def _marks(item: Item) -> list[int]:
    """How much reservations held when each system said what is reserved, as far as that is known."""
    holds, marks = item.reservations, list[int]()
    for system in item.latest:
        level_us = item.level_us(system)
        known = None if level_us is None else holds.known_at(level_us)
        marks.append(ASK if known is None or not -MOST_KEPT < known < MOST_KEPT else known)
    return marks


def _said_reserved(item: Item, system: str) -> float:
    last = item.entries[system][-1]
    said = last[4] if last[1] == LEVEL else item.moved[system][2]
    return nan if said is None else said
