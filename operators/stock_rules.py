"""What an event does to an item, by the rules in full; what operators/stock.py takes straight comes to the same."""

from collections.abc import Callable
from typing import TypeAlias

from operators.item_keys import item_key
from operators.resting import Resting
from operators.stock_at_rest import StockAtRest
from operators.stock_awake import HEAD, keep_awake
from operators.stock_entries import LEVEL
from operators.stock_findings import late_order_row, late_stock_row
from operators.stock_item import Item
from operators.stock_judge import StockJudge, StockOutput
from operators.stock_record import pack_item, unpack_item
from operators.stock_rows import StockRows
from operators.stock_schedule import StockSchedule
from operators.stock_settings import StockSettings
from operators.windows import WindowSettings
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, to_us
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

_Reservation: TypeAlias = ReservationCreated | ReservationReleased | ReservationRejected | ReservationConsumed


def _owns_all(_sku: str, _node: str) -> bool:
    return True


class StockRules:
    """The items of a key group, and all that an event of one brings with it: its entries, windows and judgements.

    What is found is put into `_out`.
    """

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
            self._out.append(late_stock_row(arrived, late[-1] - self._windows.size_us))
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
            reservations.end(event.reservation_id, occurred, event.qty)
        self._touch_reserved(arrived, key, item)
        self._judge.judge(key, item, now)

    def _expect(self, event: Event, arrived: Arrived) -> None:
        horizon_us = self._inbound_us
        if horizon_us is None or not isinstance(event, PoCreated) or event.node is None or event.expected_at is None:
            return
        due, occurred, now = to_us(event.expected_at), arrived.occurred_us, arrived.arrival_us
        ordered: dict[str, float] = {}
        missed: dict[str, int] = {}
        for line in event.lines or ():
            ordered[line.sku] = ordered.get(line.sku, 0.0) + line.qty
        for sku, qty in ordered.items():
            if self._owns(sku, event.node):
                key = item_key(sku, event.node)
                item = self._item(key)
                item.expected(event.po_id).say(occurred, due, qty)
                self._judge.look_at(due - horizon_us, key, now)
                self._judge.look_at(due, key, now)
                late = self._touch_since(occurred, key, item, now)
                if late is not None:
                    missed[sku] = late
                self._judge.judge(key, item, now)
        if missed:
            self._out.append(late_order_row(arrived, max(missed.values()) - self._windows.size_us, sorted(missed)))

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

    def _touch_reserved(self, arrived: Arrived, key: str, item: Item) -> None:
        """The windows that a reservation, or what is given back of one, counts in; those it came too late for."""
        late = self._touch_since(arrived.occurred_us, key, item, arrived.arrival_us)
        if late is not None:
            self._out.append(late_stock_row(arrived, late - self._windows.size_us))

    def _touch_since(self, occurred: int, key: str, item: Item, now: int) -> int | None:
        """The windows that end after `occurred`: what is available in them changed; the last it was too late for."""
        windows, late = self._windows, None
        end = occurred - occurred % windows.slide_us + windows.slide_us
        oldest = end - windows.size_us
        if item.said_us < oldest:
            return None
        if item.said_us < end and windows.size_us == windows.slide_us:
            return None if self._schedule.touch_window(key, end, now) else end
        for pane in item.panes(oldest, END_OF_TIME_US, windows.slide_us):
            for end in self._windows.ends(pane):
                if end > occurred and not self._schedule.touch_window(key, end, now):
                    late = end
        return late

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

    # --- folding --------------------------------------------------------------------------------------------

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
