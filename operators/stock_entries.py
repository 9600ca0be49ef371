"""What one system said of an item, as a list in the order of event time: levels and adjustments.

At equal times a level comes last. The quantity after some of them is their last level and the sum of the adjustments
behind it; without a level there is none.
"""

from bisect import bisect_left, bisect_right
from typing import TypeAlias, TypeVar

from operators.stock_history import Entry

LEVEL = 1

#: (event time, event id, unit cost)
Cost: TypeAlias = tuple[int, str, str]

T = TypeVar("T")


def drop_outdated(entries: list[Entry], level: Entry, since_us: int) -> None:
    """Take away, from the end, what lies at or after `since_us` and says nothing that `level` does not say."""
    while entries and entries[-1][0] >= since_us:
        if entries[-1][1] == LEVEL and not states_all(level, entries[-1]):
            break
        entries.pop()


def insert(entries: list[Entry], entry: Entry) -> int:
    """Put an entry where it belongs; where that is."""
    occurred = entry[0]
    at = bisect_left(entries, (occurred + 1,))
    if at and entries[at - 1][0] == occurred:
        at = bisect_right(entries, _place(entry), key=_place)
    entries.insert(at, entry)
    return at


def quantity_after(entries: list[Entry], upto: int) -> float | None:
    """The quantity after the first `upto` entries, None where there is no level among them."""
    at = last_level(entries, upto)
    return None if at is None else entries[at][3] + adjusted(entries[at + 1 : upto])


def last_level(entries: list[Entry], upto: int) -> int | None:
    """The index of the last level among the first `upto` entries, None where there is none."""
    for at in range(upto - 1, -1, -1):
        if entries[at][1] == LEVEL:
            return at
    return None


def last_cost(entries: list[Entry], instant_us: int) -> Cost | None:
    """The greatest of the costs that were said last up to a time, None where none was."""
    found: Cost | None = None
    for at in range(bisect_left(entries, (instant_us + 1,)) - 1, -1, -1):
        entry = entries[at]
        if found is not None and entry[0] < found[0]:
            break
        if entry[5] is not None:
            said = (entry[0], entry[2], entry[5])
            found = said if found is None else max(found, said)
    return found


def adjusted(entries: list[Entry]) -> float:
    """The sum of adjustments, in order."""
    total = 0.0
    for entry in entries:  # not sum(): it rounds otherwise from Python 3.12 on
        total += entry[3]
    return total


def states_all(later: Entry, entry: Entry) -> bool:
    """Whether a level has a value for all that an earlier entry has one for."""
    return (later[4] is not None or entry[4] is None) and (later[5] is not None or entry[5] is None)


def fold(entries: list[Entry]) -> list[Entry]:
    """The same quantity at and after the last of `entries`: the last level, and all adjustments after it as one."""
    at = last_level(entries, len(entries))
    level, adjustments = ([], entries) if at is None else ([entries[at]], entries[at + 1 :])
    if len(adjustments) < 2:
        return [*level, *adjustments]
    last = adjustments[-1]
    return [*level, (last[0], 0, last[2], adjusted(adjustments), None, None)]


def add_in_order(by_system: dict[str, T], system: str, value: T) -> None:
    """Add to a dict that stands in order of name."""
    if not by_system or next(reversed(by_system)) < system:
        by_system[system] = value
        return
    after = [name for name in by_system if name > system]
    by_system[system] = value
    for name in after:
        by_system[name] = by_system.pop(name)


def _place(entry: Entry) -> tuple[int, int, str, float, float, str]:
    """What entries are ordered by: everything, so that the order they arrive in has no say."""
    return (*entry[:4], -1.0 if entry[4] is None else entry[4], entry[5] or "")
