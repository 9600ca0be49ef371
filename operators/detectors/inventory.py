"""What is told of stock, item by item: who moved, who followed, what lies on the shelves of the whole network.

The system that leads (the first of `book` that speaks of an item) is the one the others are held against. Nothing is
judged here but whether two systems agree; the counts go to those who judge nodes (adjustments.py), single items
(phantom.py) and items over all nodes (cover.py).
"""

from bisect import bisect_left
from collections.abc import Mapping

import msgspec

from operators.detectors.events import CELL_US, Collected, EventDetector, Handler, Metrics
from operators.detectors.kept import read_kept
from operators.detectors.records import Impact, ScopesOf
from operators.item_keys import item_key
from operators.resting import Resting
from schemas.durations import BEGIN_OF_TIME_US, DAY_US, MINUTE_US
from schemas.events import (
    Arrived,
    EventBase,
    InventoryAdjusted,
    InventoryLevel,
    ReservationConsumed,
    ReservationCreated,
    ReservationReleased,
    System,
)

#: By whose figure the network's stock is summed; the others are held against the first that speaks of an item.
BOOK: tuple[System, ...] = ("wms", "pos", "oms", "erp", "ecom", "marketplace")
_RANK: dict[str, int] = {system: rank for rank, system in enumerate(BOOK)}
_NO_RANK = len(BOOK)
_APART = {system: f"stock_apart:{system}" for system in BOOK}
_ECHO = {system: f"stock_echo:{system}" for system in BOOK}
_MOVES = Metrics("stock_moves", "stock_moved")
#: Of how many items that are asked for are objects before those not asked for lately are packed.
_AWAKE = 20_000
#: Half a unit: what is less is rounding.
_SAME = 0.5
#: What moves piece by piece. Systems hear of all else (transfers, receipts, counts) at their own time.
_PIECEMEAL = frozenset({"sale", "pick", "return"})
_TAKEN = frozenset({"sale", "pick"})
#: What comes later than this is on its way for too long to say that something is lost.
_LATE_US = 4 * MINUTE_US


class Figure(msgspec.Struct, array_like=True, gc=False):
    """What one system says of an item: the quantity (None before its first level), and when it said so (event time).

    `agreed` is the quantity of its last level that agreed with the leading system's, `apart` is set from a level that
    does not to the next that does.
    """

    quantity: float | None = None
    level_us: int = 0
    said_us: int = 0
    agreed: float | None = None
    apart: bool = False


class Told(msgspec.Struct, array_like=True, gc=False):
    """An item: the figures by system, who leads, and what the leader's quantity was before its latest changes.

    Of those quantities, each with the time (arrival) of its change, `highs` has those above all later ones, `lows`
    those below: the most and the least since any time are found in these. `first` is the rank of the first system in
    the book that tells of changes.
    """

    lead: str = ""
    figures: dict[str, Figure] = {}
    highs: list[tuple[int, float]] = []
    cost: float = 0.0
    released_us: int = 0
    lows: list[tuple[int, float]] = []
    first: int = _NO_RANK


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    version: int
    items: dict[str, bytes]


_decode = msgspec.msgpack.Decoder(Told).decode


def _unpacked(packed: bytes) -> Told:
    """An item from its bytes; one of version 1 has all of the past where `highs` are."""
    item = _decode(packed)
    if item.highs and not item.lows:
        past, item.highs = item.highs, []
        for at_us, quantity in past:
            _follow(item, at_us, quantity, BEGIN_OF_TIME_US)
    return item


def _follow(item: Told, now_us: int, quantity: float, before_us: int) -> None:
    """What the leader's quantity was until `now_us`; what was not later than `before_us` goes.

    Cost: what goes was added once, so some look-ups, however much has moved within the lag.
    """
    highs, lows = item.highs, item.lows
    while highs and highs[-1][1] <= quantity:
        highs.pop()
    while lows and lows[-1][1] >= quantity:
        lows.pop()
    for ones in (highs, lows):
        if ones and ones[0][0] <= before_us:
            del ones[: _later(ones, before_us)]
        ones.append((now_us, quantity))


def _later(ones: list[tuple[int, float]], since_us: int) -> int:
    """The index of the first one later than `since_us`."""
    return bisect_left(ones, (since_us + 1,))


def _span(item: Told, since_us: int, quantity: float) -> tuple[float, float]:
    """Between which figures one is the same as the quantity, or as one since then."""
    low = high = quantity
    highs, lows = item.highs, item.lows
    if highs and highs[-1][0] > since_us:  # the last change is in both
        low, high = min(low, lows[_later(lows, since_us)][1]), max(high, highs[_later(highs, since_us)][1])
    return low - _SAME, high + _SAME


class Inventory(EventDetector):
    """Follows the figures of each item (sku, node), in the order in which they come.

    Another system's figure may be that of any time in the last `lag_us`.

    A level older than what its system said last is passed over, so is a change that a level has already counted.

    Counts, by scope: (node) `stock_moves` and `stock_moved` (changes told by the leading system, and what they are
    worth), `stock_echo:SYSTEM` (changes told by another), `stock_apart:SYSTEM` (levels of another of items that have
    moved, piece by piece, since its last that agreed; bad is one that has newly stayed behind), `stock_late` (changes
    and reservations that came late), and of an item, which the impact names as its case: `shelf_says` and
    `shelf_knows` (it was given back unpicked, where the book says that there is enough, or too little), `pick_done`
    (picks; bad, so that it is named, is one of an item that was given back within a day), `count_down` (a count found
    fewer); (sku) `on_hand` (how much more there is), `taken` (units sold and picked).

    Memory: some 60 bytes a packed item beside the 150 of `Resting`, and the leading system's changes of the last
    `lag_us` where it only falls or only rises, some dozens where it does both; none is dropped, as in the stock
    reconciler.
    Cost: some microseconds a level or change.
    """

    NAME = "inventory"
    VERSION = 2

    def __init__(self, lag_us: int) -> None:
        super().__init__()
        self._lag_us = lag_us
        self._items: Resting[Told] = Resting(msgspec.msgpack.encode, _unpacked)
        self.parts["items"] = self._items
        self._node, self._sku = ScopesOf("node"), ScopesOf("sku")

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {
            InventoryLevel: self._level,
            InventoryAdjusted: self._adjusted,
            ReservationCreated: self._created,
            ReservationReleased: self._released,
            ReservationConsumed: self._consumed,
        }

    def _item(self, sku: str, node: str) -> Told:
        key = item_key(sku, node)
        item = self._items.young.get(key)
        if item is not None:
            return item
        if len(self._items.young) > _AWAKE:
            self._items.rest()
        item = self._items.get(key)
        if item is None:
            item = Told()
            self._items.put(key, item)
        return item

    def _level(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, InventoryLevel)
        item = self._item(event.sku, event.node)
        system, occurred_us, now_us = event.system, arrived.occurred_us, arrived.arrival_us
        figure = item.figures.get(system)
        if figure is None:
            figure = item.figures[system] = Figure()
        if occurred_us < figure.said_us:
            return
        if event.unit_cost is not None:
            item.cost = float(event.unit_cost) or 0.0
        before = figure.quantity
        figure.quantity, figure.level_us, figure.said_us = event.on_hand, occurred_us, occurred_us
        if system == item.lead:
            self._led(item, before, event.on_hand, event.sku, now_us, out)
        elif (led := item.figures[item.lead].quantity if item.lead else None) is None or (
            _RANK.get(system, _NO_RANK) < _RANK.get(item.lead, _NO_RANK)
        ):
            item.lead, item.highs, item.lows = system, [], []
            self._led(item, led, event.on_hand, event.sku, now_us, out)
        else:
            self._compare(item, figure, arrived, out)

    def _led(self, item: Told, before: float | None, after: float, sku: str, now_us: int, out: Collected) -> None:
        """The leading system's quantity is another one."""
        if before is None:
            out.good("on_hand", self._sku[sku], now_us, after)
        elif after != before:
            _follow(item, now_us, before, now_us - self._lag_us)
            out.good("on_hand", self._sku[sku], now_us, after - before)

    def _compare(self, item: Told, figure: Figure, arrived: Arrived, out: Collected) -> None:
        """Hold a level against the leading system's quantities of late."""
        event, now_us = arrived.event, arrived.arrival_us
        assert isinstance(event, InventoryLevel)
        led = item.figures[item.lead].quantity
        if led is None:
            return
        metric, scope = _APART.get(event.system) or f"stock_apart:{event.system}", self._node[event.node]
        low, high = _span(item, now_us - self._lag_us, led)
        was, on_hand = figure.agreed, event.on_hand
        telling = was is not None and not figure.apart and not low <= was <= high
        if low <= on_hand <= high:
            figure.agreed, figure.apart = on_hand, False
        elif not figure.apart:
            figure.apart = True
            # Behind is who moved less than the one that leads; who moved more knows more.
            if was is not None and abs(on_hand - was) < abs(led - was):
                off = abs(led - on_hand)
                impact = Impact(order_id="", tag=event.sku, units=off, value=off * item.cost)
                out.bad(metric, scope, now_us, arrived.occurred_us, event.event_id, impact=impact)
                return
        out.good(metric, scope, now_us, 1.0 if telling else 0.0)

    def _adjusted(self, arrived: Arrived, out: Collected) -> None:  # noqa: C901 - calls are what an event costs
        event = arrived.event
        assert isinstance(event, InventoryAdjusted)
        item, system, delta = self._item(event.sku, event.node), event.system, event.delta
        now_us, occurred_us = arrived.arrival_us, arrived.occurred_us
        item.lead = item.lead or system
        if now_us - occurred_us > _LATE_US:
            self._tell_late(arrived, event.node, out)
        figure, scope = item.figures.get(system), self._node[event.node]
        if figure is None:
            figure = item.figures[system] = Figure()
        rank = _RANK.get(system, _NO_RANK)
        if rank < item.first:  # noqa: PLR1730 - a call of min() for each event
            item.first = rank
        if rank > item.first or (system != item.lead and rank > _RANK.get(item.lead, _NO_RANK)):
            out.good(_ECHO.get(system) or f"stock_echo:{system}", scope, now_us)
        else:
            (moves, moved), cell = out.cells(_MOVES, scope), now_us // CELL_US
            moves[cell] = moves.get(cell, 0.0) + 1.0
            moved[cell] = moved.get(cell, 0.0) + abs(delta) * item.cost
            if event.reason not in _PIECEMEAL:
                for told in item.figures.values():
                    told.agreed = None
            if delta < 0 and event.reason in _TAKEN:
                out.good("taken", self._sku[event.sku], now_us, -delta)
            elif delta < 0 and event.reason == "count":
                impact = Impact(order_id="", tag=event.sku, units=-delta, value=-delta * item.cost)
                out.bad("count_down", scope, now_us, occurred_us, event.event_id, impact=impact)
        before = figure.quantity
        if before is None or occurred_us <= figure.level_us:
            return
        after = before + delta
        figure.quantity = after = after if after.is_integer() else round(after, 6)
        figure.said_us = max(figure.said_us, occurred_us)
        if system == item.lead:
            self._led(item, before, after, event.sku, now_us, out)

    def _created(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ReservationCreated)
        if arrived.arrival_us - arrived.occurred_us > _LATE_US:
            self._tell_late(arrived, event.node, out)

    def _released(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ReservationReleased)
        if arrived.arrival_us - arrived.occurred_us > _LATE_US:
            self._tell_late(arrived, event.node, out)
        item, now_us = self._item(event.sku, event.node), arrived.arrival_us
        item.released_us = now_us
        led = item.figures[item.lead].quantity if item.lead else None
        if led is None:
            return
        metric = "shelf_says" if led > 0 and led >= event.qty else "shelf_knows"
        impact = Impact(order_id="", tag=event.sku)
        out.bad(metric, self._node[event.node], now_us, arrived.occurred_us, event.event_id, impact=impact)

    def _consumed(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ReservationConsumed)
        if arrived.arrival_us - arrived.occurred_us > _LATE_US:
            self._tell_late(arrived, event.node, out)
        item = self._item(event.sku, event.node)
        now_us = arrived.arrival_us
        if item.released_us and now_us - item.released_us < DAY_US:
            impact = Impact(order_id="", tag=event.sku)
            place = (now_us, arrived.occurred_us, event.event_id)
            out.bad("pick_done", self._node[event.node], *place, impact=impact)
        else:
            out.good("pick_done", self._node[event.node], now_us)

    def _tell_late(self, arrived: Arrived, node: str, out: Collected) -> None:
        out.good("stock_late", self._node[node], arrived.arrival_us)

    def sizes(self) -> Mapping[str, int]:
        """As `EventDetector`."""
        return {"items": len(self._items)}

    def snapshot(self) -> bytes:
        """As `EventDetector`."""
        return msgspec.msgpack.encode(_Kept(self.VERSION, self._items.snapshot()))

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        kept = read_kept(state, _Kept, self.VERSION, self.NAME, before=1)
        self._items.restore(self._items.together(kept.items))
