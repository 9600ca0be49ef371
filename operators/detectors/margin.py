"""Prices that are wrong, and margin that leaks: what order lines sell for, against what is usual and what it costs."""

from bisect import insort
from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.events import Collected, EventDetector, Handler
from operators.detectors.order_book import OrderBook, amount
from operators.detectors.policy import Policy
from operators.detectors.rates import RateRule, RateWatch, Seen
from operators.detectors.records import Impact, Scoped, ScopeFinding, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, Duration
from schemas.events import Arrived, EventBase, OrderCreated, PriceChanged
from schemas.rows import Signal

#: How many prices of an item are remembered to tell the usual one, and how many make one.
_PRICES, _ENOUGH = 21, 3
_EVIDENCE = 20


class PriceRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which prices can't be meant.

    Against the usual price of the item in the channel (the median of the last ones that were not below cost): below
    `low` or above `high` times it. Where it is not known yet, against the cost: below `low_cost` or above `high_cost`
    times it. So many lines (`least`) within `window` make a finding; a published price
    (`price.changed`) that is below `low` or above `high` makes one at once. It closes after `quiet` without such a
    line.
    """

    low: float = 0.35
    high: float = 2.2
    low_cost: float = 0.5
    high_cost: float = 8.0
    least: int = 2
    window: Duration = Duration(4 * HOUR_US)
    quiet: Duration = Duration(4 * HOUR_US)


class MarginSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds for prices, and for lines that sell below cost."""

    price: PriceRule = PriceRule()
    below_cost: RateRule = RateRule(
        window=Duration(2 * HOUR_US),
        least=6,
        share=0.06,
        times=5,
        score=6,
        usual=0.005,
        quiet=Duration(HOUR_US),
        memory=Duration(7 * DAY_US),
    )


class Prices(EventDetector):
    """Tells what each order line sold for, and which lines sold below cost. Memory: none."""

    NAME = "prices"

    def __init__(self, book: OrderBook) -> None:
        super().__init__()
        self._book = book

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {OrderCreated: self._ordered}

    def _ordered(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderCreated)
        channel = event.channel or ""
        facts = self._book.get(event.order_id)
        promised_us = facts.promised_us if facts is not None else None
        for line in event.lines:
            price, cost = amount(line.unit_price), amount(line.unit_cost)
            if price is None or line.qty <= 0:
                continue
            margin = None if cost is None else round(line.qty * (price - cost), 2)
            impact = Impact(
                order_id=event.order_id,
                customer_id=event.customer_id or "",
                units=line.qty,
                value=line.qty * price,
                margin=margin,
                currency=event.currency or "",
                promised_us=promised_us,
            )
            place = (arrived.arrival_us, arrived.occurred_us, event.event_id)
            out.bad("line_price", scoped(sku=line.sku, channel=channel), *place, impact=impact)
            if cost is not None and cost > 0:
                if price < cost:
                    out.bad("below_cost", scoped(channel=channel), *place, impact=impact)
                else:
                    out.good("below_cost", scoped(channel=channel), arrived.arrival_us)


class PublishedPrices(EventDetector):
    """Tells of published prices, in the interface group. Memory: none."""

    NAME = "published_prices"

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {PriceChanged: self._changed}

    def _changed(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, PriceChanged)
        scope = scoped(sku=event.sku, channel=event.channel or "")
        out.gauge("published_price", scope, arrived, float(event.price))


class _PriceState(msgspec.Struct, array_like=True):
    usual: list[float] = []
    latest: list[float] = []
    wrong: list[tuple[int, int, str, Impact]] = []
    opened_us: int = 0
    found_us: int = 0
    last_us: int = 0
    named: dict[str, None] = {}
    observed: float = 0.0
    expected: float = 0.0
    evidence: list[str] = []
    published: bool = False


class PriceWatch(ScopeDetector):
    """Finds prices that can't be meant, by item and channel.

    Memory: some 21 prices for an item and channel that was sold within a fortnight. Cost: O(21) a line.
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
        state.wrong = [one for one in state.wrong if one[0] > end_us - rule.window]
        new = self._take(state, cells.get("line_price"), rule, end_us)
        published = cells.get("published_price")
        publishes = published is not None and self._is_published_wrong(published.last, state, rule)
        if publishes and published is not None:
            state.observed, state.published, state.last_us = published.last, True, end_us
        if not state.opened_us:
            if not publishes and len(state.wrong) < rule.least:
                return
            state.expected = _median(state.usual) if len(state.usual) >= _ENOUGH else 0.0
            first = [one[1] for one in state.wrong]
            if published is not None and publishes:
                first.append(published.first_at_us)
                state.evidence = [event_id for _, _, event_id, _ in published.members]
            state.opened_us, state.found_us = min(first), end_us
            state.evidence = [*state.evidence, *(one[2] for one in state.wrong)][:_EVIDENCE]
            new = [one[3] for one in state.wrong]
            yield self._finding(scope, state, end_us, _named(state, new))
        elif end_us - state.last_us >= rule.quiet:
            yield self._finding(scope, state, end_us, [], closed=True)
            self._close(state)
        elif new:
            yield self._finding(scope, state, end_us, _named(state, new))

    def _take(self, state: _PriceState, lines: Cell | None, rule: PriceRule, end_us: int) -> list[Impact]:
        """Sort a cell's lines into usual prices, which are learnt, and wrong ones; the latter's impacts."""
        new: list[Impact] = []
        for arrival_us, at_us, event_id, impact in lines.members if lines is not None else ():
            if impact is None or not impact.units:
                continue
            price = impact.value / impact.units
            cost = None if impact.margin is None else price - impact.margin / impact.units
            if self._is_wrong(price, cost, state, rule):
                state.wrong.append((arrival_us, at_us, event_id, impact))
                state.observed, state.last_us = price, end_us
                new.append(impact)
            elif cost is None or price >= cost:
                _learn(state, price)
        return new

    def idle(self, state: _PriceState) -> bool:
        """Nothing is open."""
        return not state.opened_us

    def _is_wrong(self, price: float, cost: float | None, state: _PriceState, rule: PriceRule) -> bool:
        if len(state.usual) >= _ENOUGH:
            usual = _median(state.usual)
            return not rule.low * usual <= price <= rule.high * usual
        return cost is not None and cost > 0 and not rule.low_cost * cost <= price <= rule.high_cost * cost

    def _is_published_wrong(self, price: float, state: _PriceState, rule: PriceRule) -> bool:
        if len(state.usual) < _ENOUGH:
            return False
        return not rule.low * _median(state.usual) <= price <= rule.high * _median(state.usual)

    def _close(self, state: _PriceState) -> None:
        state.opened_us = state.found_us = state.last_us = 0
        state.observed = state.expected = 0.0
        state.published = False
        state.named, state.wrong, state.evidence = {}, [], []

    def _finding(
        self, scope: Scoped, state: _PriceState, end_us: int, new: list[Impact], *, closed: bool = False
    ) -> ScopeFinding:
        fields = dict(scope)
        where = f" in channel {fields['channel']}" if "channel" in fields else ""
        usual = f"{state.expected:.2f} is usual" if state.expected else "that is out of all proportion to its cost"
        how = "is published at" if state.published and not state.named else "is sold at"
        said = f"{fields.get('sku', '')} {how} {state.observed:.2f}{where}, {usual}; {len(state.named)} orders so far"
        return ScopeFinding(
            Signal(
                signal_id=signal_id(self.NAME, "price_error", repr(scope), str(state.found_us)),
                detector=self.NAME,
                kind="price_error",
                handoff="",
                scope=fields,
                case_id="",
                opened_at_us=state.opened_us,
                found_at_us=state.found_us,
                closed_at_us=end_us if closed else None,
                severity="high",
                score=float(1 + len(state.named)),
                confidence=0.99 if state.expected else 0.9,
                expected=f"about {state.expected:.2f}" if state.expected else "a price in proportion to the cost",
                observed=f"{state.observed:.2f}",
                method="rule",
                explanation=f"{said}{', over now' if closed else ''}.",
                evidence=state.evidence,
                arrival_us=end_us,
                version=next_version(0, end_us),
            ),
            new,
        )


def _learn(state: _PriceState, price: float) -> None:
    state.latest.append(price)
    insort(state.usual, price)
    if len(state.latest) > _PRICES:
        state.usual.remove(state.latest.pop(0))


def _median(ordered: list[float]) -> float:
    return ordered[len(ordered) // 2]


def _named(state: _PriceState, impacts: Iterable[Impact]) -> list[Impact]:
    """Those not named yet, worth what they should have sold for; they are named from now on."""
    new = [impact for impact in impacts if impact.order_id not in state.named]
    state.named.update(dict.fromkeys(impact.order_id for impact in new))
    right = state.expected
    return [
        msgspec.structs.replace(impact, value=round(impact.units * right, 2)) if right else impact
        for impact in {impact.order_id: impact for impact in new}.values()
    ]


def _words(seen: Seen) -> tuple[str, str, str]:
    said = f"{seen.where}: {seen.all_bad:g} order lines sold below cost"
    more = "over now" if seen.closed else f"{seen.share:.0%} of those within {seen.within}, {seen.usual:.1%} is usual"
    return f"about {seen.usual:.1%}", f"{seen.share:.0%}", f"{said}; {more}."


def margin_judges(price: Policy[PriceRule], below_cost: Policy[RateRule]) -> list[ScopeDetector]:
    """The second parts."""
    return [PriceWatch(price), RateWatch("margin_leak", "margin_leak", "below_cost", below_cost, _words)]
