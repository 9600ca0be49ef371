"""Stock of the same item in several systems, held against each other.

Available to promise = on_hand - reserved - safety stock (the "available inventory" of the APICS dictionary: on hand
less allocations, reservations and quantities held back), where `on_hand` is that of the first system of
`StockSettings.book` that has a known quantity. What is expected from suppliers is added only when `inbound_horizon`
is set: inbound due within that time after the moment looked at (a dated term; off by default).

The delta of an item is the largest known quantity less the smallest, over all systems that have one. Value at risk
is |delta| times the unit cost last heard of (by event time).
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from operators.increments import Part
from operators.reservations import GRAIN
from operators.resting import Resting
from operators.stock_at_rest import StockAtRest
from operators.stock_awake import HEAD, keep_awake
from operators.stock_findings import late_stock_row
from operators.stock_item import LEVEL, SEPARATOR, Item, drop_outdated, item_key
from operators.stock_judge import StockJudge, StockOutput
from operators.stock_record import pack_item, unpack_item
from operators.stock_rows import StockRows
from operators.stock_schedule import StockSchedule
from operators.stock_settings import StockSettings
from operators.stock_state import StockState
from operators.windows import WindowSettings
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, to_us
from schemas.errors import StateError
from schemas.events import (
    Arrived,
    Event,
    InventoryAdjusted,
    InventoryLevel,
    PoCreated,
    ReservationConsumed,
    ReservationCreated,
    ReservationRejected,
    ReservationReleased,
)

__all__ = ["StockOutput", "StockReconciler", "StockSettings", "StockState"]

_Reservation: TypeAlias = ReservationCreated | ReservationReleased | ReservationRejected | ReservationConsumed
_STOCK = (InventoryLevel, InventoryAdjusted)
_OF_AN_ITEM = (
    *_STOCK,
    ReservationCreated,
    ReservationReleased,
    ReservationRejected,
    ReservationConsumed,
)


def _owns_all(_sku: str, _node: str) -> bool:
    return True


class StockReconciler:
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

    VERSION = 6
    #: So many objects, and as many that were not asked for since, are kept before the latter are packed.
    #: Where there are fewer items than that in all, none is left at rest when something is said of it.
    MOST_AWAKE = 8192

    def __init__(
        self, settings: StockSettings, windows: WindowSettings, owns: Callable[[str, str], bool] = _owns_all
    ) -> None:
        self.settings = settings
        self._inbound_us = settings.inbound_horizon
        self._out: list[StockOutput] = []
        self._judge = StockJudge(settings, self._out)
        self._owns = owns
        self._windows = windows
        self._schedule = StockSchedule(windows)
        self._items: Resting[Item] = Resting(self._packed, unpack_item, keep_awake, HEAD)
        self._at_rest = StockAtRest(settings, self._items)
        self._rows = StockRows(self._items, self._at_rest, self._read, self._judge, windows.size_us, settings.currency)
        self._forget_us = BEGIN_OF_TIME_US
        self._folded: int | None = None

    def update(self, events: Sequence[Arrived]) -> list[StockOutput]:  # noqa: C901, PLR0912, PLR0915 - calls are what an event costs
        """Take events in the order of the log; what is due before an event comes before it.

        What stands last of its system, or is outdated by what does, and whose window is open, as nearly all are, is
        taken here, as are reservations that are made; it differs from `_stock` and `_reserve` in nothing but the work:
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
            if not isinstance(event, _OF_AN_ITEM):
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
                    self._touch_since(occurred, key, item, now)
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

    # --- events ---------------------------------------------------------------------------------------------

    def _take_plainly(self, key: str, item: Item, event: Event, arrived: Arrived) -> int:
        """Whatever an event of an item brings with it; when something is due next."""
        if isinstance(event, InventoryLevel | InventoryAdjusted):
            self._stock(key, item, event, arrived)
        elif isinstance(event, _Reservation):
            self._reserve(key, item, event, arrived)
        return self._due_us()

    def _stock(self, key: str, item: Item, event: InventoryLevel | InventoryAdjusted, arrived: Arrived) -> None:
        occurred, now = arrived.occurred_us, arrived.arrival_us
        pane = occurred - occurred % self._windows.slide_us
        if isinstance(event, InventoryLevel):
            entry = (occurred, LEVEL, event.event_id, event.on_hand, event.reserved, event.unit_cost)
        else:
            entry = (occurred, 0, event.event_id, event.delta, None, None)
        until = item.note(event.system, entry, pane if occurred <= now else END_OF_TIME_US)
        late = self._schedule.touch(key, occurred, now)
        if late:
            self._out.append(late_stock_row(arrived, late[-1] - self._windows.size_us, event.system))
        if item.said_us >= pane + self._windows.slide_us:  # what is said since carries this on
            last = END_OF_TIME_US if until is None else until
            for one in item.panes(pane, last, self._windows.slide_us):
                self._schedule.touch(key, one, now)
        if self._inbound_us is not None and isinstance(event, InventoryAdjusted):
            self._receive(event, key, item, arrived)
        self._judge.judge(key, item, now)

    def _receive(self, event: InventoryAdjusted, key: str, item: Item, arrived: Arrived) -> None:
        if event.reason != "receipt" or event.reference is None:
            return
        item.expected(event.reference).receive(arrived.occurred_us)
        self._touch_since(arrived.occurred_us, key, item, arrived.arrival_us)

    def _reserve(self, key: str, item: Item, event: _Reservation, arrived: Arrived) -> None:
        occurred, now = arrived.occurred_us, arrived.arrival_us
        reservations = item.holds or item.reservations
        if isinstance(event, ReservationCreated):
            expires = to_us(event.expires_at) if event.expires_at is not None else None
            reservations.create(event.reservation_id, occurred, event.qty, expires)
            if expires is not None:
                self._judge.look_at(expires, key, now)
        else:
            reservations.close(event.reservation_id, occurred)
        self._touch_since(occurred, key, item, now)
        self._judge.judge(key, item, now)

    def _expect(self, event: Event, arrived: Arrived) -> None:
        horizon_us = self._inbound_us
        if horizon_us is None or not isinstance(event, PoCreated) or event.node is None or event.expected_at is None:
            return
        due, occurred, now = to_us(event.expected_at), arrived.occurred_us, arrived.arrival_us
        ordered: dict[str, float] = {}
        for line in event.lines or ():
            ordered[line.sku] = ordered.get(line.sku, 0.0) + line.qty
        for sku, qty in ordered.items():
            if self._owns(sku, event.node):
                key = item_key(sku, event.node)
                item = self._item(key)
                item.expected(event.po_id).say(occurred, due, qty)
                self._judge.look_at(due - horizon_us, key, now)
                self._judge.look_at(due, key, now)
                self._touch_since(occurred, key, item, now)
                self._judge.judge(key, item, now)

    def _item(self, key: str) -> Item:
        """The item, a new one where there is none, with all folding that was due done."""
        item = self._items.get(key)
        if item is None:
            item = Item(folded=self._folded)
            self._items.put(key, item)
        elif item.folded != self._folded:
            self._fold(item)
        return item

    def _read(self, key: str) -> Item:
        """The item as `_item` would give it, to be looked at only: one that rests isn't packed again for that."""
        item = self._items.peek(key)
        if item is None or item.folded != self._folded:
            return self._item(key)
        return item

    def _touch_since(self, occurred: int, key: str, item: Item, now: int) -> None:
        """The windows that end after `occurred`: what is available in them changed."""
        windows = self._windows
        end = occurred - occurred % windows.slide_us + windows.slide_us
        oldest = end - windows.size_us
        if item.said_us < oldest:
            return
        if item.said_us < end and windows.size_us == windows.slide_us:
            self._schedule.touch_window(key, end, now)
        else:
            for pane in item.panes(oldest, END_OF_TIME_US, windows.slide_us):
                for end in self._windows.ends(pane):
                    if end > occurred:
                        self._schedule.touch_window(key, end, now)

    def _pass_time(self, before: int) -> None:
        """Write windows and confirm findings that are due before `before`, in the order in which they are due."""
        schedule, judge, timers = self._schedule, self._judge, self._judge.timers
        while True:
            if timers.next_us < before and timers.next_us < schedule.next_us:
                timer = timers.take()
                judge.ring(timer, self._item(timer[2]))
            elif schedule.next_us < before:
                self._write_due()
            else:
                break
        if self._forget_us < before < END_OF_TIME_US:
            period = self._fold_period_us()
            if self._forget_us > BEGIN_OF_TIME_US:
                self._folded = before - before % period
            self._forget_us = before - before % period + period

    def _write_due(self) -> None:
        """The rows of the earliest tick."""
        tick, due = self._schedule.due()
        for end, keys in due:
            self._rows.append_to(self._out, keys, self._folded, end, tick)

    def _due_us(self) -> int:
        """When something is due next."""
        return min(self._schedule.next_us, self._judge.timers.next_us, self._forget_us)

    # --- state ----------------------------------------------------------------------------------------------

    def _fold_period_us(self) -> int:
        return self._windows.retention_us + self._windows.slide_us

    def _fold(self, item: Item) -> None:
        """Bring the folding of an item up to date."""
        if self._folded is not None:
            windows = self._windows
            item.forget(self._folded - windows.kept_us - windows.size_us - 2 * windows.slide_us)
        item.folded = self._folded

    def _packed(self, item: Item) -> bytes:
        if item.folded != self._folded:
            self._fold(item)
        return pack_item(item)

    def parts(self) -> dict[str, Part]:
        """What can be kept apart from the rest."""
        return {"items": self._items}

    def sizes(self) -> dict[str, int]:
        """Items, windows that wait to be written, and timers."""
        return {"items": len(self._items), **self._schedule.sizes(), **self._judge.timers.sizes()}

    def snapshot(self) -> StockState:
        """Every item that is not kept apart, timers and schedule."""
        items = dict(self._items.snapshot())
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
        if state.version not in (5, self.VERSION):  # in 5 `folded` was a number of periods: less than any time
            raise StateError(f"stock state of version {state.version}; this code reads 5 and {self.VERSION}")
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
