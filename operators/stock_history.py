"""What was said of an item before that which stands last, as bytes.

Few items are corrected, and only then is it read. It grows by appending, so that an item that is asked for from time
to time is packed again at the cost of what is new in it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from operators.stock_bytes import joined, shortest, unpack_joined

#: (event time, 1 for a level and 0 for an adjustment, event id, quantity or delta, reserved, unit cost)
Entry: TypeAlias = tuple[int, int, str, float, float | None, str | None]

#: By the number that stands for a system in packed state: append only.
SYSTEMS = ("ecom", "pos", "marketplace", "oms", "wms", "tms", "erp", "crm", "supplier", "middleware")
_NUMBERS = {system: number for number, system in enumerate(SYSTEMS)}
_NUMBER, _LEVEL, _RESERVED, _COST = 15, 16, 32, 64
#: How many values an entry has, by the first of them.
WIDTHS = [4 + bool(head & _RESERVED) + bool(head & _COST) for head in range(128)]
#: What an entry's values begin with, of a level that says no more than a quantity.
LEVEL_OF = {system: number | _LEVEL for system, number in _NUMBERS.items()}
ADJUSTMENT_OF = _NUMBERS


def entry_values(system: str, entry: Entry, base_us: int) -> tuple[object, ...]:
    """An entry as 4 to 6 values: which system and which values follow, time after `base_us`, id, quantity, …."""
    occurred, kind, event_id, quantity, reserved, cost = entry
    head = _NUMBERS[system] | _LEVEL if kind else _NUMBERS[system]
    if reserved is None and cost is None:
        return (head, occurred - base_us, event_id, shortest(quantity))
    if cost is None:
        return (head | _RESERVED, occurred - base_us, event_id, shortest(quantity), shortest(reserved or 0.0))
    if reserved is None:
        return (head | _COST, occurred - base_us, event_id, shortest(quantity), cost)
    return (head | _RESERVED | _COST, occurred - base_us, event_id, shortest(quantity), shortest(reserved), cost)


def read_entry(values: Sequence[Any], at: int, before_us: int) -> Entry:
    """The entry whose values begin at `at`; `before_us` is the latest time before it."""
    head, after_us, event_id, quantity = values[at : at + 4]
    reserved = cost = None
    if head & (_RESERVED | _COST):
        if head & _RESERVED:
            reserved = float(values[at + 4])
        if head & _COST:
            cost = values[at + WIDTHS[head] - 1]
    return (before_us + after_us, 1 if head & _LEVEL else 0, event_id, float(quantity), reserved, cost)


def system_of(head: int) -> str:
    """The system that the first value of an entry names."""
    return SYSTEMS[head & _NUMBER]


def read_entries(values: Sequence[Any]) -> dict[str, list[Entry]]:
    """By system, in order: the entries whose values stand one after the other, each after the latest before it."""
    out: dict[str, list[Entry]] = {}
    before_us = at = 0
    end = len(values)
    while at < end:
        head = values[at]
        entry = read_entry(values, at, before_us)
        at += WIDTHS[head]
        if entry[0] > before_us:  # noqa: PLR1730 - a call of max() for each entry
            before_us = entry[0]
        system = system_of(head)
        if system in out:
            out[system].append(entry)
        else:
            out[system] = [entry]
    return out


class History(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Entries of all systems, those of each in order; `last_us` is the latest of their times.

    Memory: some 15 bytes and the id an entry. Times are relative to the latest before them.
    """

    length: int = 0
    last_us: int = 0
    values: bytes = b""

    def with_more(self, more: Iterable[tuple[str, Entry]]) -> "History":
        """These, and `more` after them."""
        values: list[object] = []
        last_us = self.last_us
        for system, entry in more:
            values += entry_values(system, entry, last_us)
            last_us = max(last_us, entry[0])
        return History(self.length + len(values), last_us, joined(self.values, values))

    def entries(self) -> dict[str, list[Entry]]:
        """By system, in order."""
        return read_entries(unpack_joined(self.length, self.values))
