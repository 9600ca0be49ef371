"""Stock of the same item in several systems, held against each other.

Available to promise = on_hand - reserved - safety stock (the "available inventory" of the APICS dictionary: on hand
less allocations, reservations and quantities held back), where `on_hand` is that of the first system of
`StockSettings.book` that has a known quantity. What is expected from suppliers is added only when `inbound_horizon`
is set: inbound due within that time after the moment looked at (a dated term; off by default).

The delta of an item is the largest known quantity less the smallest, over all systems that have one. Value at risk
is |delta| times the unit cost last heard of (by event time).
"""

import heapq
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from operators.findings import next_version
from operators.inbound import Expected
from operators.stock_findings import late_stock_row, stock_signal
from operators.stock_item import Item, ItemState
from operators.windows import Key, ScheduleState, WindowSchedule, WindowSettings
from schemas.durations import (
    BEGIN_OF_TIME_US,
    END_OF_TIME_US,
    HOUR_US,
    MINUTE_US,
    Duration,
    to_us,
)
from schemas.errors import StateError
from schemas.events import (
    Arrived,
    InventoryAdjusted,
    InventoryLevel,
    PoCreated,
    ReservationConsumed,
    ReservationCreated,
    ReservationRejected,
    ReservationReleased,
    System,
)
from schemas.rows import LateEvent, Signal, StockWindow

StockOutput: TypeAlias = StockWindow | Signal | LateEvent
_Timer: TypeAlias = tuple[int, str, str, str]
_LOOK = "look"
_RESERVATIONS = (ReservationCreated, ReservationReleased, ReservationRejected, ReservationConsumed)


class StockSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a difference is a finding. A delta must exceed both margins, and outlast `settle`."""

    window: Duration = Duration(5 * MINUTE_US)
    book: tuple[System, ...] = ("wms", "pos", "oms", "erp", "ecom", "marketplace")
    settle: Duration = Duration(30 * MINUTE_US)
    margin_units: float = 2.0
    margin_share: float = 0.05
    oversell_settle: Duration = Duration(5 * MINUTE_US)
    safety_stock: float = 0.0
    safety_stock_by_node: dict[str, float] = {}
    inbound_horizon: Duration | None = None
    currency: str = ""
    stale_after: Duration = Duration(HOUR_US)

    def __post_init__(self) -> None:
        """Refuse margins that can't be meant.

        Raises:
            ValueError: a margin is negative or the window has no length.
        """
        if self.margin_units < 0 or self.margin_share < 0:
            raise ValueError("margin_units and margin_share can't be negative")
        if self.window <= 0:
            raise ValueError("window must be longer than 0")


def _owns_all(_sku: str, _node: str) -> bool:
    return True


class StockState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `StockReconciler`."""

    version: int
    forget_us: int
    items: list[ItemState]
    timers: list[_Timer]
    schedule: ScheduleState


class StockReconciler:
    """Follow the stock of each (sku, node) through every system that speaks of it.

    Given events in arrival order, returns window rows (by event time, converging), and signals `stock_delta` and
    `oversell`. A condition becomes a finding when it has held, in arrival time, for its settle time without a
    break; it closes when the condition ends. An item is corrected by event time; a window older than `retention` is
    not rewritten, and the event is returned as late. What is older is folded: an adjustment counts however late it
    comes, a level only for the adjustments that are not folded yet.

    Memory: per item, what was said within `retention` (older is folded into one level per system), reservations
    that hold, and one version per window that can be corrected. Cost: O(log n) per event, O(systems) per check.
    """

    VERSION = 3

    def __init__(
        self, settings: StockSettings, windows: WindowSettings, owns: Callable[[str, str], bool] = _owns_all
    ) -> None:
        self.settings = settings
        self._owns = owns
        self._windows = windows
        self._schedule = WindowSchedule(windows)
        self._items: dict[Key, Item] = {}
        self._timers: list[_Timer] = []
        self._forget_us = BEGIN_OF_TIME_US
        self._out: list[StockOutput] = []

    def update(self, events: Sequence[Arrived]) -> list[StockOutput]:
        """Take events in the order of the log; what is due before an event comes before it."""
        schedule, timers = self._schedule, self._timers
        for arrived in events:
            now = arrived.arrival_us
            if schedule.next_us < now or now > self._forget_us or (timers and timers[0][0] < now):
                self._pass_time(now)
            event = arrived.event
            if isinstance(event, (InventoryLevel, InventoryAdjusted)):
                self._stock(event, arrived)
            elif isinstance(event, _RESERVATIONS):
                self._hold(event, arrived)
            elif isinstance(event, PoCreated) and self.settings.inbound_horizon is not None:
                self._expect(event, arrived, self.settings.inbound_horizon)
        return self._take()

    def advance(self, watermark: int) -> list[StockOutput]:
        """Time has come to `watermark`: what is due before it."""
        self._pass_time(watermark)
        return self._take()

    def __len__(self) -> int:
        """How many items are known."""
        return len(self._items)

    # --- events ---------------------------------------------------------------------------------------------

    def _stock(self, event: InventoryLevel | InventoryAdjusted, arrived: Arrived) -> None:
        key = (event.sku, event.node)
        item = self._item(key)
        occurred = arrived.occurred_us
        if isinstance(event, InventoryLevel):
            entry = (occurred, 1, event.event_id, event.on_hand, event.reserved, event.unit_cost)
        else:
            entry = (occurred, 0, event.event_id, event.delta, None, None)
        until = item.note(event.system, entry)
        pane, now = self._windows.pane(occurred), arrived.arrival_us
        late = self._schedule.touch(key, occurred, now)
        if late:
            self._out.append(late_stock_row(arrived, late[-1] - self._windows.size_us, event.system))
        panes = item.panes
        fresh = len(late) < self._windows.size_us // self._windows.slide_us
        if not panes or panes[-1] < pane:
            if fresh:
                panes.append(pane)
        elif panes[-1] != pane:
            at = bisect_left(panes, pane)
            if fresh and panes[at] != pane:
                panes.insert(at, pane)
            self._touch_from(at, key, item, until, now)
        if self.settings.inbound_horizon is not None and isinstance(event, InventoryAdjusted):
            self._receive(event, key, item, arrived)
        self._judge(key, item, now)

    def _receive(self, event: InventoryAdjusted, key: Key, item: Item, arrived: Arrived) -> None:
        if event.reason != "receipt" or event.reference is None:
            return
        item.inbound.setdefault(event.reference, Expected()).receive(arrived.occurred_us)
        self._touch_since(arrived.occurred_us, key, item, arrived.arrival_us)

    def _hold(
        self,
        event: ReservationCreated | ReservationReleased | ReservationRejected | ReservationConsumed,
        arrived: Arrived,
    ) -> None:
        key = (event.sku, event.node)
        item = self._item(key)
        occurred, now = arrived.occurred_us, arrived.arrival_us
        if isinstance(event, ReservationCreated):
            expires = to_us(event.expires_at) if event.expires_at is not None else None
            item.reservations.create(event.reservation_id, occurred, event.qty, expires)
            if expires is not None:
                self._look_at(expires, key, now)
        else:
            item.reservations.close(event.reservation_id, occurred)
        self._touch_since(occurred, key, item, now)
        self._judge(key, item, now)

    def _expect(self, event: PoCreated, arrived: Arrived, horizon_us: int) -> None:
        if event.node is None or event.expected_at is None:
            return
        due, occurred, now = to_us(event.expected_at), arrived.occurred_us, arrived.arrival_us
        ordered: dict[str, float] = {}
        for line in event.lines or ():
            ordered[line.sku] = ordered.get(line.sku, 0.0) + line.qty
        for sku, qty in ordered.items():
            key = (sku, event.node)
            if self._owns(*key):
                item = self._item(key)
                item.inbound.setdefault(event.po_id, Expected()).say(occurred, due, qty)
                self._look_at(due - horizon_us, key, now)
                self._look_at(due, key, now)
                self._touch_since(occurred, key, item, now)
                self._judge(key, item, now)

    def _look_at(self, instant_us: int, key: Key, now: int) -> None:
        """Judge the item again at `instant_us`: what holds then changes without an event."""
        if instant_us > now:
            heapq.heappush(self._timers, (instant_us, _LOOK, key[0], key[1]))

    def _item(self, key: Key) -> Item:
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = Item()
        return item

    def _touch_since(self, occurred: int, key: Key, item: Item, now: int) -> None:
        """The windows that end after `occurred`: what is available in them changed."""
        oldest = self._windows.first_end(occurred) - self._windows.size_us
        if item.panes and item.panes[-1] >= oldest:
            for pane in item.panes[bisect_left(item.panes, oldest) :]:
                for end in self._windows.ends(pane):
                    if end > occurred:
                        self._schedule.touch_window(key, end, now)

    def _touch_from(self, at: int, key: Key, item: Item, until: int | None, now: int) -> None:
        """What the item's panes carry, from the one at `at` on up to event time `until`, has changed."""
        last = END_OF_TIME_US if until is None else until
        for pane in item.panes[at:]:
            if pane > last:
                break
            for end in self._windows.ends(pane):
                self._schedule.touch_window(key, end, now)

    # --- findings -------------------------------------------------------------------------------------------

    def _judge(self, key: Key, item: Item, now: int) -> None:
        """Start, end or confirm the conditions of an item."""
        settings, since, quantities = self.settings, item.since_us, item.latest
        beyond = False
        if quantities:
            values = quantities.values()
            high, low = max(values), min(values)
            delta = high - low
            if delta > settings.margin_units:
                beyond = delta > settings.margin_share * max(high, -low)
        if beyond is not ("stock_delta" in since):
            self._condition("stock_delta", key, item, now, holds=beyond)
        promise = self._available(key, item, quantities, now)
        short = promise is not None and promise < 0
        if short is not ("oversell" in since):
            self._condition("oversell", key, item, now, holds=short)

    def _settle_us(self, kind: str) -> int:
        return self.settings.settle if kind == "stock_delta" else self.settings.oversell_settle

    def _condition(self, kind: str, key: Key, item: Item, now: int, *, holds: bool) -> None:
        since = item.since_us.get(kind)
        if holds and since is None:
            item.since_us[kind] = now
            heapq.heappush(self._timers, (now + self._settle_us(kind), kind, key[0], key[1]))
        elif not holds and since is not None:
            del item.since_us[kind]
            opened = item.opened.pop(kind, None)
            if opened is not None:
                self._out.append(self._signal(kind, key, item, opened, now, closed=True))

    def _available(self, key: Key, item: Item, quantities: dict[str, float], instant_us: int) -> float | None:
        """Available to promise at `instant_us`, None where no system's stock is known."""
        for system in self.settings.book:
            if system in quantities:
                break
        else:
            return None
        safety = self.settings.safety_stock_by_node.get(key[1], self.settings.safety_stock)
        promise = quantities[system] - item.reserved(system, instant_us) - safety
        if self.settings.inbound_horizon is not None:
            promise += item.inbound_until(instant_us, self.settings.inbound_horizon)
        return promise

    def _pass_time(self, before: int) -> None:
        """Write windows and confirm findings that are due before `before`, in the order in which they are due."""
        schedule, timers = self._schedule, self._timers
        while True:
            if timers and timers[0][0] < before and timers[0][0] < schedule.next_us:
                self._confirm()
            elif schedule.next_us < before:
                for at, entries in schedule.due(schedule.next_us + 1):
                    for end, key in entries:
                        self._write(key, end, at)
            else:
                break
        if before > self._forget_us and before < END_OF_TIME_US:
            period = self._windows.retention_us + self._windows.slide_us
            reached = before - before % period  # a time of the log, not of the batch: what is forgotten can matter
            if self._forget_us > BEGIN_OF_TIME_US:
                self._forget(reached)
            self._forget_us = reached + period

    def _confirm(self) -> None:
        """A settle time has run out: a finding, if the condition has held all the while. Or it is time for a look."""
        at, kind, sku, node = heapq.heappop(self._timers)
        key = (sku, node)
        item = self._items.get(key)
        if kind == _LOOK:
            if item is not None:
                self._judge(key, item, at)
            return
        if item is None or kind in item.opened or item.since_us.get(kind) != at - self._settle_us(kind):
            return
        quantities = item.quantities(END_OF_TIME_US)
        size = _delta(quantities) if kind == "stock_delta" else (self._available(key, item, quantities, at) or 0.0)
        opened = (item.since_us[kind], size)
        item.opened[kind] = opened
        self._out.append(self._signal(kind, key, item, opened, at, closed=False))

    def _signal(self, kind: str, key: Key, item: Item, opened: tuple[int, float], now: int, *, closed: bool) -> Signal:
        margins = f"{self.settings.margin_units:g} units or {self.settings.margin_share:.0%}"
        settle_us = self._settle_us(kind)
        return stock_signal(kind, key, item, opened, now, margins=margins, settle_us=settle_us, closed=closed)

    # --- windows --------------------------------------------------------------------------------------------

    def _write(self, key: Key, end: int, tick: int) -> None:
        item = self._items.get(key)
        if item is None:
            return
        first = bisect_left(item.panes, end - self._windows.size_us)
        if first == len(item.panes) or item.panes[first] >= end:
            return
        quantities = item.quantities(end - 1)
        delta = _delta(quantities)
        cost = item.unit_cost(end - 1)
        version = next_version(item.versions.get(end, 0), tick)
        item.versions[end] = version
        self._out.append(
            StockWindow(
                sku=key[0],
                node=key[1],
                window_start_us=end - self._windows.size_us,
                window_end_us=end,
                on_hand=quantities,
                delta=delta,
                available_to_promise=self._available(key, item, quantities, end - 1),
                value_at_risk=round(delta * cost, 6) if cost is not None else None,
                currency=self.settings.currency,
                arrival_us=tick,
                version=version,
            )
        )

    def _forget(self, now: int) -> None:
        """Once per retention: fold what can no longer be corrected."""
        windows = self._windows
        horizon = now - max(windows.retention_us, windows.grace_us) - windows.size_us - 2 * windows.slide_us
        for item in self._items.values():
            item.forget(horizon)

    # --- state ----------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """Items, windows that wait to be written, and timers."""
        return {"items": len(self._items), "windows": len(self._schedule), "timers": len(self._timers)}

    def snapshot(self) -> StockState:
        """Every item, timers and schedule."""
        items = [item.kept(key[0], key[1]) for key, item in self._items.items()]
        return StockState(self.VERSION, self._forget_us, items, self._timers, self._schedule.snapshot())

    def restore(self, state: StockState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"stock state of version {state.version}; this code reads {self.VERSION}")
        self._forget_us = state.forget_us
        self._items = {(one.sku, one.node): Item.of(one) for one in state.items}
        self._timers = list(state.timers)
        heapq.heapify(self._timers)
        self._schedule.restore(state.schedule)

    def _take(self) -> list[StockOutput]:
        out, self._out = self._out, []
        return out


def _delta(quantities: dict[str, float]) -> float:
    return max(quantities.values()) - min(quantities.values()) if quantities else 0.0
