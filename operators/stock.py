"""Stock of the same item in several systems, held against each other.

Available to promise = on_hand - reserved - safety stock (the "available inventory" of the APICS dictionary: on hand
less allocations, reservations and quantities held back), where `on_hand` is that of the first system of
`StockSettings.book` that has a known quantity. `reserved` is what the last level of that system says, and what was
reserved and given back since, never less than nothing; where the level doesn't say, the reservations that hold. What is
expected from suppliers is added only when `inbound_horizon` is set: inbound due within that time after the moment
looked at (a dated term; off by default).

The delta of an item is the largest known quantity less the smallest, over all systems that have one. Value at risk
is |delta| times the unit cost last heard of (by event time).
"""

from collections.abc import Sequence

from operators.increments import Part
from operators.item_keys import SEPARATOR, item_key
from operators.reservation_holds import GRAIN
from operators.stock_entries import LEVEL, drop_outdated
from operators.stock_findings import OF_AN_ITEM
from operators.stock_judge import StockOutput
from operators.stock_rules import StockRules
from operators.stock_settings import StockSettings
from operators.stock_state import StockState
from schemas.durations import BEGIN_OF_TIME_US
from schemas.errors import StateError
from schemas.events import (
    Arrived,
    InventoryAdjusted,
    InventoryLevel,
    ReservationCreated,
)

__all__ = ["StockOutput", "StockReconciler", "StockSettings", "StockState"]

_STOCK = (InventoryLevel, InventoryAdjusted)


class StockReconciler(StockRules):
    """Follow the stock of each (sku, node) through every system that speaks of it.

    Given events in arrival order, returns window rows (by event time, converging), and signals `stock_delta` and
    `negative_atp`. A condition becomes a finding when it has held, in arrival time, for its settle time without a
    break; it closes when the condition ends. An item is corrected by event time; a window older than `retention` is
    not rewritten, and the event is returned as late. What is older is folded: an adjustment counts however late it
    comes, a level only for the adjustments that are not folded yet.

    Folding is due once per `retention` and window slide, at a time of the log (not of the batch: what is forgotten
    can matter), for all items at once; it is done when an item is next asked for or packed, which comes to the same.

    Memory: per item, what was said within `retention` (older is folded into one level per system; of levels and
    adjustments within one window slide only what still counts, but for the last few said while it rested), and
    reservations that hold; as objects for at most some 16,000 items (1 to 3 kB each), as bytes for all others (some 110
    for a level of each of three systems, beside the 150 of `Resting`). Cost: a few look-ups for a level that stands
    last, about the same whether the item rests or not (operators/stock_at_rest.py); O(log n) for any other event;
    O(systems) per check; and packing and unpacking, some microseconds each, where more happens to an item at rest.
    """

    VERSION = 8
    #: So many objects, and as many that were not asked for since, are kept before the latter are packed.
    #: Where there are fewer items than that in all, none is left at rest when something is said of it.
    MOST_AWAKE = 8192

    def update(self, events: Sequence[Arrived]) -> list[StockOutput]:  # noqa: C901, PLR0912, PLR0915 - calls are what an event costs
        """Take events in the order of the log; what is due before an event comes before it.

        What stands last of its system, or is outdated by what does, and whose window is open, as nearly all are, is
        taken here, as are reservations that are made; it differs from what `StockRules` does in nothing but the work:
        what nobody can ask for any more is not kept, and a condition is judged where its terms can have changed.
        """
        slide, grace = self._windows.slide_us, self._windows.grace_us
        if slide != self._windows.size_us:
            grace = BEGIN_OF_TIME_US  # several windows hold an event: none of them is the open one
        schedule, judge, timers = self._schedule, self._judge, self._judge.timers
        folded, awake = self._folded, self._items.young
        units, share, awaits_orders = judge.margin_units, judge.margin_share, self._inbound_us is not None
        due_us, open_begin, open_end = self._due_us(), BEGIN_OF_TIME_US, BEGIN_OF_TIME_US
        open_keys: dict[str, None] = {}
        rests, take_stock, take_reservation = (
            self._items.at_rest,
            self._at_rest.take_stock,
            self._at_rest.take_reservation,
        )
        many, behind = len(self._items) >= 2 * self.MOST_AWAKE, self._windows.size_us - slide
        for arrived in events:
            now = arrived.arrival_us
            if due_us < now:
                self._pass_time(now)
                folded, awake, due_us = self._folded, self._items.young, self._due_us()
                open_begin = open_end = BEGIN_OF_TIME_US
            event = arrived.event
            if not isinstance(event, OF_AN_ITEM):
                self._expect(event, arrived)
                due_us = self._due_us()
                continue
            sku, occurred = event.sku, arrived.occurred_us
            key = f"{sku}\x1f{event.node}" if SEPARATOR not in sku else item_key(sku, event.node)
            item = awake.get(key)
            kind = type(event)
            if item is None and many and (packed := rests(key)) is not None:
                if isinstance(event, _STOCK):
                    if not open_begin <= occurred < open_end:
                        end = occurred - occurred % slide + slide
                        if end + grace >= now:
                            open_begin, open_end, open_keys = end - slide, end, schedule.keys_at(end + grace, end)
                            due_us = self._due_us()
                    if open_begin <= occurred < open_end and take_stock(key, packed, event, occurred, now, folded):
                        open_keys[key] = None
                        continue
                elif isinstance(event, ReservationCreated) and event.expires_at is None:
                    begin = occurred - occurred % slide - behind
                    if take_reservation(key, packed, event, occurred, now, folded, begin):
                        continue
            if item is None or item.folded != folded:
                item = self._item(key)
            if kind is ReservationCreated and isinstance(event, ReservationCreated) and event.expires_at is None:
                holds = item.holds or item.reservations
                holds.create(event.reservation_id, occurred, event.qty, None)
                if item.said_us >= open_end or not open_begin <= occurred < open_end:
                    self._touch_reserved(arrived, key, item)
                    due_us = self._due_us()
                elif item.said_us >= open_begin and item.touched_us != open_end:
                    item.touched_us = open_end
                    open_keys[key] = None
                bookable = item.bookable
                if (
                    bookable is not None
                    and (bookable - holds.sum_grains / GRAIN - item.safety < 0) is (item.short is not None)
                    and holds.from_us <= now < holds.until_us
                ):
                    item.calm_us = holds.until_us
                elif item.latest:
                    judge.judge_promise(key, item, now)
                    due_us = min(due_us, timers.next_us)
                continue
            if kind is not InventoryLevel and (kind is not InventoryAdjusted or awaits_orders):
                due_us = self._take_plainly(key, item, event, arrived)
                continue
            if not open_begin <= occurred < open_end:
                end = occurred - occurred % slide + slide
                if end + grace < now:
                    due_us = self._take_plainly(key, item, event, arrived)
                    continue
                open_begin, open_end, open_keys = end - slide, end, schedule.keys_at(end + grace, end)
                due_us = self._due_us()
            if item.said_us >= open_end:
                due_us = self._take_plainly(key, item, event, arrived)
                continue
            system = event.system
            entries, quantities = item.entries.get(system), item.latest
            quantity: float | None = None
            if type(event) is InventoryLevel:
                reserved, cost = event.reserved, event.unit_cost
                if entries is None:
                    quantity = event.on_hand
                    item.begin(system, (occurred, LEVEL, event.event_id, quantity, reserved, cost))
                    item.book, item.calm_us = "", BEGIN_OF_TIME_US  # it may be the book's
                else:
                    last = entries[-1]
                    if last[0] < occurred and system in quantities:
                        quantity = quantities[system] = event.on_hand
                        entry = (occurred, LEVEL, event.event_id, quantity, reserved, cost)
                        if last[0] < open_begin or occurred > now:
                            entries.append(entry)
                        elif (
                            last[1] == LEVEL
                            and (last[4] is None or reserved is not None)
                            and (last[5] is None or cost is not None)
                            and (len(entries) == 1 or entries[-2][0] < open_begin)
                        ):
                            entries[-1] = entry  # the one before is outdated before anything can ask for it
                        else:
                            drop_outdated(entries, entry, open_begin)
                            entries.append(entry)
                        item.said = None
                        if item.moved:
                            item.moved.pop(system, None)
                    elif not (
                        occurred < last[0] <= now
                        and last[1] == LEVEL
                        and (last[4] is not None or reserved is None)
                        and (last[5] is not None or cost is None)
                    ):
                        due_us = self._take_plainly(key, item, event, arrived)
                        continue
                if cost is not None:
                    item.say_cost((occurred, event.event_id, cost))
            elif isinstance(event, InventoryAdjusted):
                if entries is None or entries[-1][0] >= occurred:
                    due_us = self._take_plainly(key, item, event, arrived)
                    continue
                if system in quantities:
                    level, total, said = item.moved.get(system) or (quantities[system], 0.0, entries[-1][4])
                    total += event.delta
                    item.moved[system] = (level, total, said)
                    quantity = quantities[system] = level + total
                entries.append((occurred, 0, event.event_id, event.delta, None, None))
            if occurred > item.said_us:  # noqa: PLR1730 - a call of max() for each event
                item.said_us = occurred
            if item.touched_us != open_end:
                item.touched_us = open_end
                open_keys[key] = None
            if quantity is not None:
                high = low = quantity
                for value in quantities.values():
                    if value > high:
                        high = value
                    elif value < low:
                        low = value
                delta = high - low
                if (delta > units and delta > share * high and delta > share * -low) is (item.differs is None):
                    judge.change_differs(key, item, now)
                    due_us = self._due_us()
            if item.calm_us <= now or (quantity is not None and system == item.book):
                judge.judge_promise(key, item, now)
                if timers.next_us < due_us:  # noqa: PLR1730 - a call of min() for each event
                    due_us = timers.next_us
        return self._take()

    def advance(self, watermark: int) -> list[StockOutput]:
        """Time has come to `watermark`: what is due before it."""
        self._pass_time(watermark)
        return self._take()

    def __len__(self) -> int:
        """How many items are known."""
        return len(self._items)

    # --- state ----------------------------------------------------------------------------------------------

    def parts(self) -> dict[str, Part]:
        """What can be kept apart from the rest."""
        return {"items": self._items}

    def sizes(self) -> dict[str, int]:
        """Items, windows that wait to be written, and timers."""
        return {"items": len(self._items), **self._schedule.sizes(), **self._judge.timers.sizes()}

    def snapshot(self) -> StockState:
        """Every item that is not kept apart, timers and schedule."""
        items = self._items.snapshot()
        timers, schedule = self._judge.timers.snapshot(), self._schedule.snapshot()
        return StockState(
            self.VERSION,
            self._forget_us,
            self._folded,
            items,
            timers,
            schedule,
            int(self._windows.kept_us),
            self._schedule.closed_us,
            self._judge.settles_us,
        )

    def restore(self, state: StockState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of a version that it can't read.
        """
        # In 5 `folded` was a number of periods: less than any time. Up to 6 a reservation was over with its first end.
        # Up to 7 items at rest did not say what was reserved when a system last said how much is.
        if not 5 <= state.version <= self.VERSION:
            raise StateError(f"stock state of version {state.version}; this code reads 5 to {self.VERSION}")
        self._forget_us, self._folded = state.forget_us, state.folded
        self._items.restore(self._items.together(state.items))
        self._judge.restore(state.timers, state.settles_us)
        self._schedule.restore(state.schedule)
        self._schedule.closed_us = state.closed_us
        if self._folded is not None and 0 <= state.kept_us < self._windows.kept_us:  # what was said before is folded
            self._schedule.closed_us = max(state.closed_us, self._folded - state.kept_us)

    def _take(self) -> list[StockOutput]:
        if len(self._items.young) > self.MOST_AWAKE:
            self._items.rest()
        out = self._out.copy()
        self._out.clear()
        return out
