"""What is done to items that rest, and said of them, without taking them up."""

from collections.abc import Sequence
from math import nan
from typing import TypeAlias

import msgspec

from operators.item_keys import names_of
from operators.reservation_holds import GRAIN, MOST_KEPT
from operators.reservations import reserved_since
from operators.resting import Resting
from operators.stock_entries import LEVEL
from operators.stock_history import ADJUSTMENT_OF, LEVEL_OF, entry_values
from operators.stock_item import Item
from operators.stock_record import (
    ASK,
    COST,
    FLAGS,
    FOLDED,
    HOLDS,
    KNOWS,
    MARKS,
    MORE,
    RESERVATION,
    RESERVED,
    SAID,
    UNFOLDED,
    Shape,
    shape_of,
)
from operators.stock_settings import StockSettings
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US
from schemas.events import InventoryAdjusted, InventoryLevel, ReservationCreated

#: Quantities, unit cost, what is available to promise.
Terms: TypeAlias = tuple[dict[str, float], float | None, float | None]

#: With so many values at its end, or bytes in all, an item is taken up.
_MOST_VALUES, _MOST_BYTES = 64, 1024
#: Sums of whole numbers up to here are exact, in whatever order.
_EXACT = 1 << 53
#: What the record begins with of an item of which nothing is known.
_NEW = bytes(FLAGS)
_encode = msgspec.msgpack.Encoder().encode


class StockAtRest:
    """Does what `StockReconciler` does of an item at rest (`packed`), or nothing where more than numbers would change.

    What begins or ends a condition, corrects something, or needs to know each reservation, has to be taken in full. A
    new item (nothing is packed of it) begins at rest. Holds nothing but what it knows of each shape of a record.
    Cost: O(systems), and a copy of the record.
    """

    def __init__(self, settings: StockSettings, items: Resting[Item]) -> None:
        self._items = items
        self._book, self._by_node = settings.book, settings.safety_stock_by_node
        self._safety = settings.safety_stock
        self._units, self._share = settings.margin_units, settings.margin_share
        self._awaits_orders = settings.inbound_horizon is not None
        self._shapes: dict[bytes, tuple[Shape, int]] = {}

    def take_stock(  # noqa: C901, PLR0912 - calls are what an event costs
        self,
        key: str,
        packed: bytes,
        event: InventoryLevel | InventoryAdjusted,
        occurred: int,
        now: int,
        folded: int | None,
    ) -> bool:
        """Take a level or an adjustment that stands last; False where nothing was done."""
        of_folding = UNFOLDED if folded is None else folded
        numbers: list[float]
        if packed:
            its, book = self._shapes.get(packed[:FLAGS]) or self._known(packed[:FLAGS])
            numbers = [*its.numbers_of(packed)]
        else:
            its, book = self._shapes.get(_NEW) or self._known(_NEW)
            numbers = [of_folding, BEGIN_OF_TIME_US, 0, 0]
        said_us, size, system = int(numbers[SAID]), its.size, event.system
        place = its.places.get(system)
        if (
            not said_us < occurred <= now
            or numbers[FOLDED] != of_folding
            or numbers[MORE] > _MOST_VALUES
            or self._awaits_orders
        ):
            return False
        before_us = max(said_us, 0)
        more: tuple[object, ...]
        if type(event) is InventoryLevel:
            reserved, cost, quantity = event.reserved, event.unit_cost, event.on_hand
            if (
                its.holds is not None
                and (its.reserved is not None or reserved is not None)
                and (place is None or its.marks is None or not self._marked(numbers, its, place, occurred, reserved))
            ):
                return False
            if (
                place is None
                or (reserved is not None and its.reserved is None)
                or (cost is not None and its.cost is None)
            ):
                its, book = self._widened(numbers, its, event)
                place = its.places[system]
            if its.reserved is not None:
                numbers[its.reserved + place] = nan if reserved is None else reserved
            if reserved is None and cost is None:
                more = (LEVEL_OF[system], occurred - before_us, event.event_id, quantity)
            else:
                more = entry_values(system, (occurred, LEVEL, event.event_id, quantity, reserved, cost), before_us)
                if cost is not None and its.cost is not None:
                    numbers[its.cost] = float(cost)
        elif isinstance(event, InventoryAdjusted) and place is not None and not its.fractions:
            delta, quantity = event.delta, numbers[place]
            if not (delta.is_integer() and quantity.is_integer() and abs(delta) + abs(quantity) < _EXACT):
                return False
            quantity += 0.0 + delta
            more = (ADJUSTMENT_OF[system], occurred - before_us, event.event_id, delta)
        else:
            return False
        numbers[place] = high = low = quantity
        for value in numbers[: its.count]:
            if value > high:
                high = value
            elif value < low:
                low = value
        delta, share = high - low, self._share
        if (delta > self._units and delta > share * high and delta > share * -low) is not its.differs:
            return False
        if book >= 0:
            promise = self._promise(key, numbers, its, book, now)
            if promise is None or (promise < 0) is not its.short:
                return False
        numbers[SAID] = occurred
        numbers[MORE] += len(more)
        self._items.keep_at_rest(key, its.packed(*numbers) + packed[size:] + _encode(more)[1:])
        return True

    def take_reservation(
        self,
        key: str,
        packed: bytes,
        event: ReservationCreated,
        occurred: int,
        now: int,
        folded: int | None,
        begin_us: int,
    ) -> bool:
        """Take a reservation that does not expire; False where nothing was done.

        So it is where something was said since `begin_us`: a row has to be written again.
        """
        if not packed or len(packed) > _MOST_BYTES or event.reservation_id.encode() in packed:
            return False  # that name may have been heard before
        its, book = self._shapes.get(packed[:FLAGS]) or self._known(packed[:FLAGS])
        numbers = [*its.numbers_of(packed)]
        said_us, size = numbers[SAID], its.size
        if (
            said_us >= begin_us
            or said_us > now
            or numbers[FOLDED] != (UNFOLDED if folded is None else folded)
            or numbers[MORE] > _MOST_VALUES
            or self._awaits_orders
            or (its.holds is not None and its.reserved is not None and its.marks is None)
        ):
            return False
        if its.holds is None:
            its, book = self._with_holds(numbers, its)
        place = its.holds or 0
        if occurred < numbers[place + 1]:
            numbers[place + 2] += round(event.qty * GRAIN)
            numbers[place] = max(numbers[place], occurred)
            if not -MOST_KEPT < numbers[place + 2] < MOST_KEPT:
                return False
        if book >= 0:
            promise = self._promise(key, numbers, its, book, now)
            if promise is None or (promise < 0) is not its.short:
                return False
        more = (RESERVATION, occurred - max(said_us, 0), event.reservation_id, event.qty)
        numbers[MORE] += len(more)
        self._items.keep_at_rest(key, its.packed(*numbers) + packed[size:] + _encode(more)[1:])
        return True

    def terms(self, key: str, folded: int | None, end_us: int) -> Terms | None:
        """What a row of the window that ends at `end_us` says; None where the item has to be asked."""
        packed = self._items.at_rest(key)
        if not packed or self._awaits_orders:
            return None
        its, book = self._shapes.get(packed[:FLAGS]) or self._known(packed[:FLAGS])
        numbers = its.numbers_of(packed)
        if numbers[SAID] >= end_us or numbers[FOLDED] != (UNFOLDED if folded is None else folded):
            return None
        promise = None
        if book >= 0:
            promise = self._promise(key, numbers, its, book, end_us - 1)
            if promise is None:
                return None
        cost = None if its.cost is None else numbers[its.cost]
        return dict(zip(its.systems, numbers, strict=False)), cost, promise

    def _promise(self, key: str, numbers: Sequence[float], its: Shape, book: int, instant_us: int) -> float | None:
        """What is available to promise, None where reservations have to be asked for that."""
        reserved = nan if its.reserved is None else numbers[its.reserved + book]
        if its.holds is not None:
            from_us, until_us, grains = numbers[its.holds : its.holds + 3]
            if not from_us <= instant_us < until_us:
                return None
            if reserved != reserved:  # noqa: PLR0124 - not a number: nothing was said
                reserved = grains / GRAIN
            else:
                mark = ASK if its.marks is None else numbers[its.marks + book]
                if mark == ASK:
                    return None
                reserved = reserved_since(reserved, int(grains - mark))
        elif not reserved > 0.0:  # or nothing was said
            reserved = 0.0
        safety = self._by_node.get(names_of(key)[1], self._safety) if self._by_node else self._safety
        return numbers[book] - reserved - safety

    def _widened(self, numbers: list[float], its: Shape, event: InventoryLevel) -> tuple[Shape, int]:
        """The shape with what `event` says for the first time; the same in `numbers`."""
        flags = its.flags | KNOWS[event.system]
        if event.reserved is not None:
            flags |= RESERVED
        if event.unit_cost is not None:
            flags |= COST
        head = flags.to_bytes(FLAGS, "little")
        wider, book = self._shapes.get(head) or self._known(head)
        if flags == its.flags | KNOWS[event.system] and its.reserved is None:
            numbers.insert(wider.places[event.system], event.on_hand)
            return wider, book
        count, behind = its.count, its.count
        quantities, reserved = dict(zip(its.systems, numbers, strict=False)), dict[str, float]()
        if its.reserved is not None:
            behind += count
            reserved = dict(zip(its.systems, numbers[count:], strict=False))
        begin = [quantities.get(system, event.on_hand) for system in wider.systems]
        if wider.reserved is not None:
            begin += [reserved.get(system, nan) for system in wider.systems]
        if wider.cost is not None and its.cost is None:
            begin.append(nan)
        numbers[:behind] = begin
        return wider, book

    @staticmethod
    def _marked(numbers: list[float], its: Shape, place: int, occurred: int, reserved: float | None) -> bool:
        """Take down how much is held when a system says what is reserved, if it does; False where that is not known."""
        if reserved is None or its.holds is None or its.marks is None:
            return reserved is None
        from_us, until_us, grains = numbers[its.holds : its.holds + 3]
        numbers[its.marks + place] = grains
        return from_us <= occurred < until_us

    def _with_holds(self, numbers: list[float], its: Shape) -> tuple[Shape, int]:
        """The shape with reservations, which hold nothing yet; the same in `numbers`."""
        flags = its.flags | HOLDS | (0 if its.reserved is None else MARKS)
        head = flags.to_bytes(FLAGS, "little")
        wider, book = self._shapes.get(head) or self._known(head)
        place = wider.holds or 0
        numbers[place:place] = (BEGIN_OF_TIME_US, END_OF_TIME_US, 0, *([] if wider.marks is None else [0] * its.count))
        return wider, book

    def _known(self, head: bytes) -> tuple[Shape, int]:
        """A shape, and where the quantity that is promised stands in it (before the first where there is none)."""
        its = shape_of(head)
        book = next((its.places[system] for system in self._book if system in its.places), -1)
        known = self._shapes[head] = its, book
        return known
