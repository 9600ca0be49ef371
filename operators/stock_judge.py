"""Which conditions an item is in, and when they become findings.

`differs`: the systems say quantities further apart than both margins. `short`: less than nothing is available to
promise. A condition becomes a finding when it has held, in arrival time, for its settle time without a break; it
closes when the condition ends.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from operators.item_keys import names_of
from operators.reservation_holds import GRAIN
from operators.stock_entries import LEVEL
from operators.stock_findings import stock_signal
from operators.stock_item import Condition, Item
from operators.stock_settings import StockSettings
from operators.stock_timers import DIFFERS, LOOK, SHORT, StockTimers, Timer
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US
from schemas.rows import LateEvent, Signal, StockWindow

StockOutput: TypeAlias = StockWindow | Signal | LateEvent


class StockJudge:
    """Judges items as they are now; findings are added to `out`.

    `timers` are to be told to `ring` when they are due. Memory: a timer for each condition that began, until its
    settle time is over, and one for each reservation that expires. Cost: O(systems) a judgement.
    """

    def __init__(self, settings: StockSettings, out: list[StockOutput]) -> None:
        self.settings = settings
        self.timers = StockTimers()
        self._out = out
        self.margin_units, self.margin_share = settings.margin_units, settings.margin_share
        self._book, self._by_node = settings.book, settings.safety_stock_by_node
        self._safety_stock, self._inbound_us = settings.safety_stock, settings.inbound_horizon
        self.settles_us: dict[int, int] = {SHORT: int(settings.oversell_settle), DIFFERS: int(settings.settle)}
        self._margins = f"{settings.margin_units:g} units or {settings.margin_share:.0%}"

    def restore(self, timers: Sequence[Timer], settles_us: Mapping[int, int]) -> None:
        """Take over timers; what has to hold longer now than when they were set is asked for later."""
        more_us = {kind: max(0, self.settles_us[kind] - settle_us) for kind, settle_us in settles_us.items()}
        self.timers.restore([(at_us + more_us.get(kind, 0), kind, key) for at_us, kind, key in timers])

    def judge(self, key: str, item: Item, now: int) -> None:
        """Start or end the conditions of an item, whatever of it has changed."""
        item.book = ""
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
        share = self.margin_share
        differs = delta > self.margin_units and delta > share * high and delta > share * -low
        if differs is (item.differs is None):
            self.change_differs(key, item, now)
        self.judge_promise(key, item, now)

    def change_differs(self, key: str, item: Item, now: int) -> None:
        """The systems begin, or cease, to say quantities further apart than both margins."""
        item.differs = self._changed(DIFFERS, key, item, item.differs, now)

    def judge_promise(self, key: str, item: Item, now: int) -> None:
        """Start or end what depends on the promise alone, and work out until when that stays as it is."""
        quantities = item.latest
        system = item.book
        if not system:
            system = item.book = self.book_of(quantities)
            if not system:
                return
        safety = self._by_node.get(names_of(key)[1], self._safety_stock) if self._by_node else self._safety_stock
        quantity, last = quantities[system], item.entries[system][-1]
        reserved, until_us, bookable = 0.0, END_OF_TIME_US, None
        if last[0] > now:  # what it says is reserved is not so yet
            reserved, until_us = item.reserved(system, now), BEGIN_OF_TIME_US
        else:
            said = last[4] if last[1] == LEVEL else item.moved[system][2]
            if said is not None:
                reserved = item.reserved_since(system, last, said, now)
                until_us = END_OF_TIME_US if item.holds is None else item.holds.until_us
            else:
                bookable = quantity
                if item.holds is not None or item.packed_holds is not None:
                    holds = item.holds or item.reservations
                    if not holds.from_us <= now < holds.until_us:
                        holds.held(now)
                    reserved, until_us = holds.sum_grains / GRAIN, holds.until_us
        promise = quantity - reserved - safety
        if self._inbound_us is not None:
            promise += item.inbound_until(now, self._inbound_us)
            until_us, bookable = BEGIN_OF_TIME_US, None
        is_short = promise < 0
        if is_short is (item.short is None):
            item.short = self._changed(SHORT, key, item, item.short, now)
        item.calm_us, item.bookable, item.safety = until_us, bookable, safety

    def look_at(self, instant_us: int, key: str, now: int) -> None:
        """Judge the item again at `instant_us`: what holds then changes without an event."""
        if instant_us > now:
            self.timers.put(instant_us, LOOK, key)

    def available(self, key: str, item: Item, quantities: dict[str, float], instant_us: int) -> float | None:
        """Available to promise at `instant_us`, None where no system's stock is known."""
        system = self.book_of(quantities)
        if not system:
            return None
        last = item.entries[system][-1]
        if last[0] > instant_us or last[1] != LEVEL:
            reserved = item.reserved(system, instant_us)
        elif last[4] is not None:
            reserved = item.reserved_since(system, last, last[4], instant_us)
        else:
            reserved = item.held(instant_us) if item.holds or item.packed_holds else 0.0
        safety = self._by_node.get(names_of(key)[1], self._safety_stock) if self._by_node else self._safety_stock
        promise = quantities[system] - reserved - safety
        if self._inbound_us is not None:
            promise += item.inbound_until(instant_us, self._inbound_us)
        return promise

    def book_of(self, quantities: dict[str, float]) -> str:
        """The system whose quantity is promised, empty where none of the book is known."""
        for system in self._book:
            if system in quantities:
                return system
        return ""

    def ring(self, timer: Timer, item: Item) -> None:
        """A settle time has run out: a finding, if the condition has held all the while. Or it is time for a look."""
        at, kind, key = timer
        if kind == LOOK:
            self.judge(key, item, at)
            return
        condition = item.differs if kind == DIFFERS else item.short
        if condition is None or condition.size is not None or condition.since_us > at - self.settles_us[kind]:
            return
        if kind == DIFFERS:
            size = max(item.latest.values()) - min(item.latest.values())
        else:
            size = self.available(key, item, item.latest, at) or 0.0
        condition.size = size
        self._tell(kind, key, item, condition.since_us, size, at, closed=False)

    def _changed(self, kind: int, key: str, item: Item, condition: Condition | None, now: int) -> Condition | None:
        """A condition that didn't hold begins; one that did is over, and so is its finding."""
        if condition is None:
            self.timers.put(now + self.settles_us[kind], kind, key)
            return Condition(now)
        if condition.size is not None:
            self._tell(kind, key, item, condition.since_us, condition.size, now, closed=True)
        return None

    def _tell(self, kind: int, key: str, item: Item, since_us: int, size: float, now: int, *, closed: bool) -> None:
        name = "stock_delta" if kind == DIFFERS else "negative_atp"
        settle_us = self.settles_us[kind]
        opened = (since_us, size)
        self._out.append(
            stock_signal(
                name, names_of(key), item, opened, now, margins=self._margins, settle_us=settle_us, closed=closed
            )
        )
