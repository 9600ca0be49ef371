"""Prices that are wrong: what order lines sell for and what is published, against what is usual and what it costs."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from operators.detectors.events import CELL_US, Collected, EventDetector, Handler
from operators.detectors.kept import read_kept
from operators.detectors.order_book import OrderBook
from operators.detectors.order_facts import amount
from operators.detectors.policy import ByScope, Policy
from operators.detectors.records import Impact, Scoped, ScopeFinding, ScopesOf, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, Duration
from schemas.events import Arrived, EventBase, OrderCreated, PriceChanged
from schemas.rows import Signal

#: How many prices of an item are remembered to tell the usual one, and how many make one.
_PRICES, _ENOUGH = 7, 3
_EVIDENCE = 20
_LEAKING_US = HOUR_US
#: An order line or a published price: arrival, event time, event id, impact.
_Member: TypeAlias = tuple[int, int, str, Impact]


class PriceRule(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which prices can't be meant.

    Against the usual price of the item in the channel (the median of the last ones that were not below cost; what is
    given away has none): below `low` or above `high` times it. Where it is not known yet, against the cost: below
    `low_cost` or above `high_cost` times it. So many lines (`least`) within `window` make a finding. A published price
    (`price.changed`) that is below `low` or above `high`, or below cost and `loss` times the usual price, makes one at
    once, and lines that sell nearer to it than to the usual price are wrong like it. Where within an hour more than
    `items` of the channel are off, or more than `leaking` others sold below cost, lines say nothing of an item's price.
    It closes after `quiet` without such a line.
    """

    low: float = 0.35
    high: float = 2.2
    low_cost: float = 0.5
    high_cost: float = 8.0
    loss: float = 0.5
    least: int = 2
    items: int = 6
    leaking: int = 2
    window: Duration = Duration(4 * HOUR_US)
    quiet: Duration = Duration(4 * HOUR_US)


class Prices(EventDetector):
    """Tells what each order line sold for, and which lines sold below cost. Memory: the names of channels."""

    NAME = "prices"

    def __init__(self, book: OrderBook) -> None:
        super().__init__()
        self._book, self._channels = book, ScopesOf("channel")

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {OrderCreated: self._ordered}

    def _ordered(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderCreated)
        scope, now_us = self._channels[event.channel or ""], arrived.arrival_us
        order_id, customer_id, currency = event.order_id, event.customer_id or "", event.currency or ""
        facts = self._book.get(order_id)
        promised_us = facts.promised_us if facts is not None else None
        place = (now_us, arrived.occurred_us, event.event_id)
        for line in event.lines:
            price, cost, qty = amount(line.unit_price), amount(line.unit_cost), line.qty
            if price is None or qty <= 0:
                continue
            margin = None if cost is None else round(qty * (price - cost), 2)
            # Tagged with its item, for `PriceWatch` and `MarginWatch`.
            impact = Impact(
                order_id, "", customer_id, qty, qty * price, margin, 0.0, currency, promised_us, None, line.sku
            )
            out.bad("line_price", scope, *place, impact=impact)
            if cost is not None and cost > 0:
                if price < cost:
                    out.bad("below_cost", scope, *place, impact=impact)
                else:
                    out.good("below_cost", scope, now_us)


class _KeptChannels(msgspec.Struct, frozen=True, array_like=True):
    version: int
    channels: list[str]


class PublishedPrices(EventDetector):
    """Tells of published prices, in the interface group: a price without a channel to every channel that sells.

    Memory: the names of the channels (of which orders came).
    """

    NAME = "published_prices"
    VERSION = 1

    def __init__(self) -> None:
        super().__init__()
        self._channels: set[str] = set()

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {OrderCreated: self._ordered, PriceChanged: self._changed}

    def _ordered(self, arrived: Arrived, out: Collected) -> None:
        del out
        self._channels.add(arrived.event.channel or "")

    def _changed(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, PriceChanged)
        impact = Impact(order_id="", tag=event.sku, units=1.0, value=float(event.price), currency=event.currency)
        place = (arrived.arrival_us, arrived.occurred_us, event.event_id)
        for channel in [event.channel] if event.channel else sorted(self._channels):
            out.bad("published_price", scoped(channel=channel), *place, impact=impact)

    def sizes(self) -> Mapping[str, int]:
        """As `EventDetector`."""
        return {"channels": len(self._channels)}

    def snapshot(self) -> bytes:
        """As `EventDetector`."""
        return msgspec.msgpack.encode(_KeptChannels(self.VERSION, sorted(self._channels)))

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        kept = read_kept(state, _KeptChannels, self.VERSION, self.NAME)
        self._channels = set(kept.channels)


class _Item(msgspec.Struct, array_like=True):
    """An item in a channel: its latest prices that were right, those that were not, and the open finding.

    `cost` is the last one that a line said (0: none did); `slip` the published price that can't be meant, until it is
    set right (0: none).
    """

    usual: list[float] = []
    latest: list[float] = []
    wrong: list[_Member] = []
    opened_us: int = 0
    found_us: int = 0
    last_us: int = 0
    named: dict[str, None] = {}
    observed: float = 0.0
    expected: float = 0.0
    evidence: list[str] = []
    slip: float = 0.0
    seen_us: int = 0
    cost: float = 0.0


class _Sold(msgspec.Struct, array_like=True):
    """What a channel sells in a currency.

    Its items by sku, those with wrong prices, and those that were sold below cost, when last.
    """

    items: dict[str, _Item] = {}
    off: dict[str, None] = {}
    below: dict[str, int] = {}


class _PriceState(msgspec.Struct, array_like=True):
    """A channel: what it sells by currency, "" where orders say none."""

    sold: dict[str, _Sold] = {}


class PriceWatch(ScopeDetector):
    """Finds prices that can't be meant, by item, in each channel and currency.

    Where many items of a channel are off at once it is the channel's margin that leaks, and no item's price is told.
    A published price in a currency in which the channel's orders don't sell is held against those that say none.
    Memory: some seven prices for each item and currency that it was sold in within a fortnight. Cost: O(7) a line.
    """

    NAME = "price_error"
    METRICS = ("line_price", "published_price")
    State = _PriceState

    def __init__(self, policy: Policy[PriceRule]) -> None:
        self._policy = policy

    def judge(
        self, scope: Scoped, state: _PriceState, cells: Mapping[str, Cell], end_us: int
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        rule = self._policy.of(scope)
        lines = _by_currency(cells.get("line_price"))
        for currency in lines:
            if currency not in state.sold:
                state.sold[currency] = _Sold()
        prices: dict[str, list[_Member]] = {}
        for currency, members in _by_currency(cells.get("published_price")).items():
            prices.setdefault(currency if currency in state.sold else "", []).extend(members)
        for currency, sold in sorted(state.sold.items()):
            told = lines.get(currency, []), prices.get(currency, [])
            yield from self._judge_sold(scope, currency, sold, told, rule, end_us)
        if end_us // CELL_US % (24 * 60) == 0:
            state.sold = {currency: sold for currency, sold in state.sold.items() if sold.items}

    def _judge_sold(
        self,
        scope: Scoped,
        currency: str,
        state: _Sold,
        told: tuple[list[_Member], list[_Member]],
        rule: PriceRule,
        end_us: int,
    ) -> Iterable[ScopeFinding]:
        """What is sold in one currency; `told` are order lines and published prices."""
        fresh = self._take(state, told[0], rule, end_us)
        published = self._publish(state, told[1], rule, end_us)
        leaks = self._leaks(state, rule, end_us)
        for sku in sorted(state.off):
            item = state.items[sku]
            if not item.opened_us:
                if sku in published or (not leaks and len(item.wrong) >= rule.least):
                    self._open(item, end_us, published.get(sku))
                    new = _named(item, [one[3] for one in item.wrong])
                    yield self._finding(scope, currency, sku, item, end_us, new)
                elif not item.wrong:
                    del state.off[sku]
            elif end_us - item.last_us >= rule.quiet:
                yield self._finding(scope, currency, sku, item, end_us, [], closed=True)
                state.items[sku] = _Item(item.usual, item.latest, slip=item.slip, seen_us=item.seen_us, cost=item.cost)
                del state.off[sku]
            elif sku in fresh:
                new = _named(item, fresh[sku])
                if new:
                    yield self._finding(scope, currency, sku, item, end_us, new)
        if end_us // CELL_US % (24 * 60) == 0:
            self._forget(state, end_us)

    def idle(self, state: _PriceState) -> bool:
        """No price is off."""
        return not any(sold.off for sold in state.sold.values())

    @staticmethod
    def _leaks(state: _Sold, rule: PriceRule, end_us: int) -> bool:
        """Whether too many items are off to be the prices of some: then wrong lines say nothing, now or later."""
        off = [state.items[sku] for sku in state.off]
        for item in off:
            item.wrong = [one for one in item.wrong if one[0] > end_us - rule.window]
        state.below = {sku: at_us for sku, at_us in state.below.items() if at_us > end_us - _LEAKING_US}
        leaks = len(state.below.keys() - state.off.keys()) > rule.leaking
        leaks = leaks or sum(bool(item.wrong) and not item.slip for item in off) > rule.items
        for item in off:
            if leaks and not item.opened_us:
                item.wrong = []
        return leaks

    def _take(self, state: _Sold, lines: Iterable[_Member], rule: PriceRule, end_us: int) -> dict[str, list[Impact]]:
        """Sort a cell's lines into right prices, which are learnt, and wrong ones; the latter's impacts by item."""
        fresh: dict[str, list[Impact]] = {}
        for arrival_us, at_us, event_id, impact in lines:
            if not impact.units:
                continue
            sku = impact.tag
            item = state.items.get(sku)
            if item is None:
                item = state.items[sku] = _Item()
            item.seen_us = end_us
            price = impact.value / impact.units
            cost = None if impact.margin is None else price - impact.margin / impact.units
            item.cost = item.cost if cost is None else cost
            if cost is not None and price < cost:
                state.below[sku] = end_us
            if self._is_wrong(price, cost, item, rule):
                own = msgspec.structs.replace(impact, tag="")
                item.wrong = [*item.wrong, (arrival_us, at_us, event_id, own)]
                item.observed, item.last_us = price, end_us
                state.off[sku] = None
                fresh.setdefault(sku, []).append(own)
            elif cost is None or price >= cost:
                _learn(item, price)
        return fresh

    def _publish(
        self, state: _Sold, prices: Iterable[_Member], rule: PriceRule, end_us: int
    ) -> dict[str, tuple[int, str]]:
        """Published prices that can't be meant: by item since when, and the event."""
        found: dict[str, tuple[int, str]] = {}
        for _, at_us, event_id, impact in prices:
            item, price = state.items.get(impact.tag), impact.value
            usual = _median(item.usual) if item is not None and item.usual else 0.0
            if item is None or not usual:
                continue
            loses = price < item.cost and price < rule.loss * usual
            if loses or not rule.low * usual <= price <= rule.high * usual:
                item.observed = item.slip = price
                item.last_us = end_us
                state.off[impact.tag] = None
                found[impact.tag] = at_us, event_id
            else:
                item.slip = 0.0
        return found

    def _is_wrong(self, price: float, cost: float | None, item: _Item, rule: PriceRule) -> bool:
        usual = _median(item.usual) if item.usual else 0.0
        if item.slip and usual:
            return price**2 < item.slip * usual if item.slip < usual else price**2 > item.slip * usual
        if len(item.usual) >= _ENOUGH:
            return usual > 0 and not rule.low * usual <= price <= rule.high * usual
        return cost is not None and cost > 0 and not rule.low_cost * cost <= price <= rule.high_cost * cost

    def _open(self, item: _Item, end_us: int, published: tuple[int, str] | None) -> None:
        item.expected = _median(item.usual) if published is not None or len(item.usual) >= _ENOUGH else 0.0
        since = [one[1] for one in item.wrong]
        if published is not None:
            since.append(published[0])
            item.evidence = [published[1]]
        item.opened_us, item.found_us = min(since), end_us
        item.evidence = [*item.evidence, *(one[2] for one in item.wrong)][:_EVIDENCE]

    @staticmethod
    def _forget(state: _Sold, end_us: int) -> None:
        """Drop items that nobody has bought for a fortnight."""
        for sku in [sku for sku, item in state.items.items() if end_us - item.seen_us > 14 * DAY_US]:
            if sku not in state.off:
                del state.items[sku]

    def _finding(
        self,
        scope: Scoped,
        currency: str,
        sku: str,
        item: _Item,
        end_us: int,
        new: list[Impact],
        *,
        closed: bool = False,
    ) -> ScopeFinding:
        fields = {**dict(scope), "sku": sku}
        where = f" in channel {fields['channel']}" if "channel" in fields else ""
        usual = f"{item.expected:.2f} is usual" if item.expected else "that is out of all proportion to its cost"
        how = "is published at" if item.slip and not item.named else "is sold at"
        said = f"{sku} {how} {item.observed:.2f}{where}, {usual}; {len(item.named)} orders so far"
        return ScopeFinding(
            Signal(
                signal_id=signal_id(self.NAME, "price_error", repr(scope), sku, str(item.found_us), currency),
                detector=self.NAME,
                kind="price_error",
                handoff="",
                scope=fields,
                case_id="",
                opened_at_us=item.opened_us,
                found_at_us=item.found_us,
                closed_at_us=end_us if closed else None,
                severity="high",
                score=float(1 + len(item.named)),
                confidence=0.99 if item.expected else 0.9,
                expected=f"about {item.expected:.2f}" if item.expected else "a price in proportion to the cost",
                observed=f"{item.observed:.2f}",
                method="rule",
                explanation=f"{said}{', over now' if closed else ''}.",
                evidence=item.evidence,
                arrival_us=end_us,
                version=next_version(0, end_us),
            ),
            new,
        )


def _by_currency(cell: Cell | None) -> dict[str, list[_Member]]:
    """What was counted in a cell, in its order, by currency."""
    found: dict[str, list[_Member]] = {}
    for arrival_us, at_us, event_id, impact in cell.members if cell is not None else ():
        if impact is not None:
            found.setdefault(impact.currency, []).append((arrival_us, at_us, event_id, impact))
    return found


def _learn(item: _Item, price: float) -> None:
    item.latest = [*item.latest, price]
    item.usual = sorted([*item.usual, price])
    if len(item.latest) > _PRICES:
        item.usual.remove(item.latest.pop(0))


def _median(ordered: list[float]) -> float:
    return ordered[len(ordered) // 2]


def _named(item: _Item, impacts: Iterable[Impact]) -> list[Impact]:
    """Those not named yet, worth what they should have sold for; they are named from now on."""
    new = [impact for impact in impacts if impact.order_id not in item.named]
    item.named = {**item.named, **dict.fromkeys(impact.order_id for impact in new)}
    right = item.expected
    return [
        msgspec.structs.replace(impact, value=round(impact.units * right, 2)) if right else impact
        for impact in {impact.order_id: impact for impact in new}.values()
    ]
