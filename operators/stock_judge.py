"""Which conditions an item is in, and when they become findings.

`differs`: the systems say quantities further apart than both margins. `short`: less than nothing is available to
promise. A condition becomes a finding when it has held, in arrival time, for its settle time without a break; it
closes when the condition ends.
"""

import heapq
from typing import TypeAlias

from operators.stock_findings import stock_signal
from operators.stock_item import LEVEL, Condition, Item, names_of
from operators.stock_settings import StockSettings
from operators.windows import NEVER_US
from schemas.rows import LateEvent, Signal, StockWindow

StockOutput: TypeAlias = StockWindow | Signal | LateEvent
#: (when, what for, key)
Timer: TypeAlias = tuple[int, int, str]

#: What a timer is for; of one time looks come first.
_LOOK, _SHORT, _DIFFERS = 0, 1, 2


class StockJudge:
    """Judges items as they are now; findings are added to `out`.

    `next_us` is when the next timer is due. Memory: a timer for each condition that began, until its settle time is
    over, and one for each reservation that expires. Cost: O(systems) a judgement.
    """

    def __init__(self, settings: StockSettings, out: list[StockOutput]) -> None:
        self.settings = settings
        self.next_us = NEVER_US
        self._out = out
        self._margin_units, self._margin_share = settings.margin_units, settings.margin_share
        self._book, self._by_node = settings.book, settings.safety_stock_by_node
        self._safety_stock, self._inbound_us = settings.safety_stock, settings.inbound_horizon
        self._timers: list[Timer] = []

    def judge(self, key: str, item: Item, now: int) -> None:
        """Start or end the conditions of an item."""
        quantities = item.latest
        if not quantities:
            return
        values = iter(quantities.values())
        high = low = next(values)
        for value in values:  # calls of max() and min() take three times as long
            if value > high:
                high = value
            elif value < low:
                low = value
        delta = high - low
        share = self._margin_share
        differs = delta > self._margin_units and delta > share * high and delta > share * -low
        if differs is (item.differs is None):
            item.differs = self._changed(_DIFFERS, key, item, item.differs, now)
        promise = self.available(key, item, quantities, now)
        short = promise is not None and promise < 0
        if short is (item.short is None):
            item.short = self._changed(_SHORT, key, item, item.short, now)

    def look_at(self, instant_us: int, key: str, now: int) -> None:
        """Judge the item again at `instant_us`: what holds then changes without an event."""
        if instant_us > now:
            self._set_timer(instant_us, _LOOK, key)

    def available(self, key: str, item: Item, quantities: dict[str, float], instant_us: int) -> float | None:
        """Available to promise at `instant_us`, None where no system's stock is known."""
        for system in self._book:
            if system in quantities:
                break
        else:
            return None
        last = item.entries[system][-1]
        if last[0] > instant_us or last[1] != LEVEL:
            reserved = item.reserved(system, instant_us)
        elif last[4] is not None:
            reserved = last[4]
        else:
            reserved = item.held(instant_us) if item.holds or item.packed_holds else 0.0
        safety = self._by_node.get(names_of(key)[1], self._safety_stock) if self._by_node else self._safety_stock
        promise = quantities[system] - reserved - safety
        if self._inbound_us is not None:
            promise += item.inbound_until(instant_us, self._inbound_us)
        return promise

    def take_timer(self) -> Timer:
        """The next timer, which `ring` is to be told with the item that it is about."""
        timer = heapq.heappop(self._timers)
        self.next_us = self._timers[0][0] if self._timers else NEVER_US
        return timer

    def ring(self, timer: Timer, item: Item) -> None:
        """A settle time has run out: a finding, if the condition has held all the while. Or it is time for a look."""
        at, kind, key = timer
        if kind == _LOOK:
            self.judge(key, item, at)
            return
        condition = item.differs if kind == _DIFFERS else item.short
        if condition is None or condition.size is not None or condition.since_us != at - self._settle_us(kind):
            return
        if kind == _DIFFERS:
            size = max(item.latest.values()) - min(item.latest.values())
        else:
            size = self.available(key, item, item.latest, at) or 0.0
        condition.size = size
        self._tell(kind, key, item, condition.since_us, size, at, closed=False)

    def sizes(self) -> dict[str, int]:
        """How many timers there are."""
        return {"timers": len(self._timers)}

    def snapshot(self) -> list[Timer]:
        """The timers; conditions are the items'."""
        return self._timers.copy()

    def restore(self, timers: list[Timer]) -> None:
        """Take over what `snapshot` gave."""
        self._timers = timers
        heapq.heapify(self._timers)
        self.next_us = timers[0][0] if timers else NEVER_US

    def _changed(self, kind: int, key: str, item: Item, condition: Condition | None, now: int) -> Condition | None:
        """A condition that didn't hold begins; one that did is over, and so is its finding."""
        if condition is None:
            self._set_timer(now + self._settle_us(kind), kind, key)
            return Condition(now)
        if condition.size is not None:
            self._tell(kind, key, item, condition.since_us, condition.size, now, closed=True)
        return None

    def _settle_us(self, kind: int) -> int:
        return self.settings.settle if kind == _DIFFERS else self.settings.oversell_settle

    def _set_timer(self, at_us: int, kind: int, key: str) -> None:
        heapq.heappush(self._timers, (at_us, kind, key))
        self.next_us = min(self.next_us, at_us)

    def _tell(self, kind: int, key: str, item: Item, since_us: int, size: float, now: int, *, closed: bool) -> None:
        margins = f"{self.settings.margin_units:g} units or {self.settings.margin_share:.0%}"
        name = "stock_delta" if kind == _DIFFERS else "negative_atp"
        settle_us = self._settle_us(kind)
        opened = (since_us, size)
        self._out.append(
            stock_signal(name, names_of(key), item, opened, now, margins=margins, settle_us=settle_us, closed=closed)
        )
