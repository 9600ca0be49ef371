"""An item at rest is bytes: encoded and decoded in one call each, since an item that is seldom asked for pays both.

What stands last is packed as it is, what lies before it shorter (operators/stock_history.py, operators/reservations.py)
and stays packed until it is asked for.
"""

import msgspec

from operators.stock_history import History
from operators.stock_item import LEVEL, Item

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Item).decode
_NO_HISTORY = History()
#: So many entries of a system are packed as they are: a few bytes more each, and less work.
_MOST_UNPACKED = 3


def pack_item(item: Item) -> bytes:
    """To bytes; the history of `item` itself is packed from then on."""
    entries = item.entries
    for of_system in entries.values():
        if len(of_system) > _MOST_UNPACKED:
            _pack_history(item)
            break
    cost = item.cost
    if item.holds is not None:
        item.packed_holds = item.holds.state()
    if cost is not None:
        for of_system in entries.values():
            last = of_system[-1]
            if last[5] is not None and (last[0], last[2], last[5]) == cost:
                cost = None  # as it follows from the entries
                break
    head = (item.folded, item.said_us, entries, item.differs, item.short, item.older, item.moved)
    if cost is None and item.packed_holds is None and item.inbound is None and item.folded_cost is None:
        return _encode(head)
    return _encode((*head, item.folded_cost, item.inbound, item.packed_holds, cost))


def unpack_item(packed: bytes) -> Item:
    """And back."""
    item = _decode(packed)
    latest, moved = item.latest, item.moved
    for system, entries in item.entries.items():
        last = entries[-1]
        if last[1] == LEVEL:
            latest[system] = last[3]
            if last[5] is not None:
                item.say_cost((last[0], last[2], last[5]))
        elif system in moved:
            level, total, _ = moved[system]
            latest[system] = level + total
    return item


def _pack_history(item: Item) -> None:
    older = item.older or _NO_HISTORY
    item.older = older.with_more(
        [(system, entry) for system, entries in item.entries.items() if len(entries) > 1 for entry in entries[:-1]]
    )
    for entries in item.entries.values():
        if len(entries) > 1:
            del entries[:-1]
