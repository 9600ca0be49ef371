"""What was said of an item before that which stands last, as bytes.

Few items are corrected, and only then is it read. It grows by appending, so that an item that is asked for from time
to time is packed again at the cost of what is new in it.
"""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import msgspec

from operators.stock_bytes import joined, shortest, unpack_joined

#: (event time, 1 for a level and 0 for an adjustment, event id, quantity or delta, reserved, unit cost)
Entry: TypeAlias = tuple[int, int, str, float, float | None, str | None]

#: By the number that stands for a system in packed state: append only.
SYSTEMS = ("ecom", "pos", "marketplace", "oms", "wms", "tms", "erp", "crm", "supplier", "middleware")
_NUMBERS = {system: number for number, system in enumerate(SYSTEMS)}
_NUMBER, _LEVEL, _RESERVED, _COST = 15, 16, 32, 64


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


def read_entry(head: int, values: Iterator[Any], base_us: int) -> Entry:
    """The entry whose first value was `head`, and whose other values come next."""
    return (
        base_us + next(values),
        1 if head & _LEVEL else 0,
        next(values),
        float(next(values)),
        float(next(values)) if head & _RESERVED else None,
        next(values) if head & _COST else None,
    )


def system_of(head: int) -> str:
    """The system that the first value of an entry names."""
    return SYSTEMS[head & _NUMBER]


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
        out: dict[str, list[Entry]] = {}
        last_us = 0
        values = iter(unpack_joined(self.length, self.values))
        for head in values:
            entry = read_entry(head, values, last_us)
            out.setdefault(system_of(head), []).append(entry)
            last_us = max(last_us, entry[0])
        return out
