"""Freight that leaks: what carriers charge for an order's shipments beyond what the customer was charged for them.

The first part sums up each order as its shipments are dispatched. The second holds the orders of a carrier and channel
against those before them (`freight_usual.py`), the two sides apart: what the carrier charges, and what customers are
charged.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

import msgspec

from operators.detectors.events import CELL_US, Collected, EventDetector, Handler
from operators.detectors.freight_usual import Member, Move, Part, Sample, Side, Usual, amounts, band_of, moved, rise_of
from operators.detectors.order_book import OrderBook
from operators.detectors.order_facts import OrderFacts
from operators.detectors.policy import ByScope, Policy
from operators.detectors.rates import RateRule, RateWatch, Seen
from operators.detectors.records import Impact, Scoped, ScopeFinding, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import confidence_of, next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, Duration, rfc3339
from schemas.events import Arrived, EventBase, ShipmentDispatched
from schemas.rows import Signal

_FREIGHT, _OVER = "freight", "freight_over_share"
_EVIDENCE = 20
#: How many orders of a scope are in its window at most, of how many currencies something is usual, and how many orders
#: an open finding remembers having named.
_WINDOW, _CURRENCIES, _MOST_NAMED = 1_000, 16, 100_000
#: How many scopes of orders are at hand; beyond, they are made again.
_SCOPES = 10_000
#: In how many parts a window slides.
_PARTS = 60
_STILL = Move("cost", 0, 0.0)
_arrival = itemgetter(0)


class FreightRule(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When freight leaks.

    Of one order: when it costs more than is charged for it by the share `share` of what its goods sell for. Of a
    carrier and channel: when what carriers charge rises, or what customers are charged for like orders falls by half,
    over at least the last `least` orders within `window`, with a surprise of `score`, and the mean leak rises with it
    by the share `rise` of the usual cost. What is usual is learnt from orders that are `settled` old while nothing is
    open, and nothing is judged before there were `young`. It closes when, for `quiet` and over the last `least`, the
    leak was up by less than half of that. What has lasted for `accepted` is taken as the new tariff, and learnt.
    """

    share: float = 0.5
    window: Duration = Duration(6 * HOUR_US)
    settled: Duration = Duration(2 * HOUR_US)
    least: int = 8
    score: float = 6.0
    rise: float = 0.15
    young: int = 60
    quiet: Duration = Duration(HOUR_US)
    accepted: Duration = Duration(7 * DAY_US)


class Freight(EventDetector):
    """Tells what the freight of each order comes to whenever a shipment of it is dispatched.

    It must stand before the order book: what the order came to before the shipment is what the book knows. A shipment
    told of again adds nothing. Not judged: orders that don't say what was charged, shipments that don't say what they
    cost or say it in another currency, and those of orders that are not known (any more).

    Memory: the names of carriers and channels; of orders the order book has it. Cost: some look-ups a dispatch.
    """

    NAME = "freight"

    def __init__(self, book: OrderBook, policy: Policy[FreightRule]) -> None:
        super().__init__()
        self._book, self._policy = book, policy
        self._scopes: dict[tuple[str, str], Scoped] = {}

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {ShipmentDispatched: self._dispatched}

    def _dispatched(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ShipmentDispatched)
        facts = self._book.get(event.order_id)
        cost = facts.freight_of(event) if facts is not None else None
        if facts is None or cost is None or facts.freight_charged is None:
            return
        before, charged = sum(facts.freight.values()), facts.freight_charged
        goods = facts.goods
        scope = self._scope(event.carrier or "", facts.channel)
        limit = self._policy.of(scope).share * goods
        impact = _impact(event.order_id, facts, before + cost, goods)
        place = (arrived.arrival_us, arrived.occurred_us, event.event_id)
        out.bad(_FREIGHT, scope, *place, impact=impact)
        is_over = 0 < limit < before + cost - charged
        if not is_over:
            out.good(_OVER, scope, arrived.arrival_us)
        elif before - charged <= limit:
            lost = msgspec.structs.replace(impact, value=round(before + cost - charged, 2), tag="")
            out.bad(_OVER, scope, *place, impact=lost)
            out.signal(_order_signal(arrived, scope, lost, goods))

    def _scope(self, carrier: str, channel: str) -> Scoped:
        found = self._scopes.get((carrier, channel))
        if found is None:
            if len(self._scopes) >= _SCOPES:
                self._scopes.clear()
            found = self._scopes[carrier, channel] = scoped(carrier=carrier, channel=channel)
        return found


def _impact(order_id: str, facts: OrderFacts, cost: float, goods: float) -> Impact:
    """An order for `FreightWatch`: its value is what its freight costs, its margin what was charged less that."""
    return Impact(
        order_id=order_id,
        customer_id=facts.customer_id,
        units=sum([line.qty for line in facts.lines]),
        value=round(cost, 2),
        margin=round((facts.freight_charged or 0.0) - cost, 2),
        currency=facts.currency,
        promised_us=facts.promised_us,
        standing=facts.standing,
        tag=band_of(goods),
    )


def _order_signal(arrived: Arrived, scope: Scoped, lost: Impact, goods: float) -> Signal:
    event = arrived.event
    share = lost.value / goods
    return Signal(
        signal_id=signal_id(Freight.NAME, _OVER, lost.order_id, event.source, event.event_id),
        detector=Freight.NAME,
        kind=_OVER,
        handoff="",
        scope=dict(scope),
        case_id=lost.order_id,
        opened_at_us=arrived.occurred_us,
        found_at_us=arrived.arrival_us,
        closed_at_us=arrived.occurred_us,
        severity="medium",
        score=round(share, 3),
        confidence=1.0,
        expected="freight that its goods can bear",
        observed=f"{_money(lost.value, lost.currency)} lost on freight",
        method="rule",
        explanation=(
            f"Order {lost.order_id}: its freight costs {_money(lost.value, lost.currency)} more than was charged for "
            f"it, {share:.0%} of what its goods sell for."
        ),
        evidence=[event.event_id],
        arrival_us=arrived.arrival_us,
        version=next_version(0, arrived.arrival_us),
    )


class FreightState(msgspec.Struct, array_like=True):
    """What is kept of a carrier and channel: the latest orders, what is usual by currency, and the open finding.

    Orders are in `window`, and in `parts` what they come to where it was known what is usual.
    The last `unlearnt` orders of the window have not been learnt yet.
    `side` is what moved (`opened_us` is 0 while nothing is open); `named` what each order has lost so far.
    """

    window: list[Member] = []
    parts: list[Part] = []
    usual: dict[str, Sample] = {}
    side: Side = "cost"
    opened_us: int = 0
    found_us: int = 0
    worst: float = 0.0
    evidence: list[str] = []
    named: dict[str, float] = {}
    currency: str = ""
    version: int = 0
    unlearnt: int = 0


class FreightWatch(ScopeDetector):
    """Finds that orders of a carrier and channel lose more on freight than was usual, and which side moved.

    Where the carrier charges more, the finding's scope is both; where customers are charged less, the channel alone.
    While it is open nothing is learnt.

    Memory: at most 1,000 orders in the window, for each currency 1,000 pairs of amounts, and while a finding is open
    the orders it named. Cost: in a minute with orders, a look at 60 parts of the window.
    """

    NAME = "freight_leak"
    METRICS = (_FREIGHT,)
    State = FreightState

    def __init__(self, policy: Policy[FreightRule]) -> None:
        self._policy = policy

    def judge(
        self, scope: Scoped, state: FreightState, cells: Mapping[str, Cell], end_us: int
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        rule, cell = self._policy.of(scope), cells.get(_FREIGHT)
        members = cell.members if cell is not None else []
        fresh = [(*member[:3], member[3]) for member in members if member[3] is not None]
        _slide(state, fresh, end_us, rule)
        usual = {name: kept.known for name, kept in state.usual.items() if kept.known is not None}
        if not state.opened_us:
            move = moved(state.parts, rule.least, rule.rise) if fresh else _STILL
            if move.score >= rule.score:
                yield self._open(scope, state, usual, move, end_us, rule)
            return
        new = _named(state, usual, fresh)
        lately = min(bisect_left(state.window, end_us - rule.quiet, key=_arrival), len(state.window) - rule.least)
        rise = rise_of(state.window[max(0, lately) :], usual, rule.least)
        is_over = rise is not None and rise < rule.rise / 2 and end_us - state.found_us >= rule.quiet
        is_accepted = end_us - state.found_us >= rule.accepted
        if is_accepted or is_over:
            yield self._finding(scope, state, usual, end_us, new, closed=True)
            state.opened_us = state.found_us = 0
            state.worst, state.evidence, state.named = 0.0, [], {}
            state.window, state.parts, state.unlearnt = [], [], 0
            if is_accepted:
                state.usual = {}
        elif new:
            yield self._finding(scope, state, usual, end_us, new)

    def idle(self, state: FreightState) -> bool:
        """Nothing open."""
        return not state.opened_us

    def _open(
        self, scope: Scoped, state: FreightState, usual: Mapping[str, Usual], move: Move, end_us: int, rule: FreightRule
    ) -> ScopeFinding:
        since = [one for one in state.window if one[0] // _part_us(rule) >= move.since and one[3].currency in usual]
        worse = [one for one in since if usual[one[3].currency].lost(move.side, one[3])]
        state.side, state.worst, state.currency = move.side, move.score, since[-1][3].currency
        state.opened_us, state.found_us = min(one[1] for one in worse or since), end_us
        return self._finding(scope, state, usual, end_us, _named(state, usual, worse))

    def _finding(
        self,
        scope: Scoped,
        state: FreightState,
        usual: Mapping[str, Usual],
        end_us: int,
        new: list[Impact],
        *,
        closed: bool = False,
    ) -> ScopeFinding:
        state.version = next_version(state.version, end_us)
        fields = dict(scope)
        if state.side == "charge" and "channel" in fields:
            fields = {"channel": fields["channel"]}
        expected, observed, sentence = _words(scope, state, usual[state.currency], closed=closed)
        signal = Signal(
            signal_id=signal_id(self.NAME, "margin_leak", repr(scope), str(state.found_us)),
            detector=self.NAME,
            kind="margin_leak",
            handoff="",
            scope=fields,
            case_id="",
            opened_at_us=state.opened_us,
            found_at_us=state.found_us,
            closed_at_us=end_us if closed else None,
            severity="high",
            score=round(state.worst, 3),
            confidence=confidence_of(state.worst),
            expected=expected,
            observed=observed,
            method="rule",
            explanation=sentence,
            evidence=state.evidence,
            arrival_us=end_us,
            version=state.version,
        )
        return ScopeFinding(signal, new)


def _slide(state: FreightState, fresh: Sequence[Member], end_us: int, rule: FreightRule) -> None:
    """Take in new orders. Those that are old enough, or have to leave, are usual, unless something is open."""
    window = [*state.window, *fresh]
    first, overflow = len(window) - len(fresh) - state.unlearnt, len(window) - _WINDOW
    upto = max(first, overflow, bisect_left(window, end_us - rule.settled, key=_arrival))
    is_new = False
    for arrival_us, _, _, impact in () if state.opened_us else window[first:upto]:
        if impact.currency in state.usual or len(state.usual) < _CURRENCIES:
            kept = state.usual.get(impact.currency)
            if kept is None:
                kept = state.usual[impact.currency] = Sample()
            was_known = kept.known is not None
            kept.learn(arrival_us // HOUR_US, impact, rule.young)
            is_new = is_new or was_known != (kept.known is not None)
    state.unlearnt = len(window) - upto
    state.window = window[max(overflow, bisect_left(window, end_us - rule.window, key=_arrival)) :]
    if is_new:  # what came before it was known what is usual counts now
        state.parts = []
    _count(state, state.window if is_new else fresh, end_us, rule)


def _count(state: FreightState, members: Iterable[Member], end_us: int, rule: FreightRule) -> None:
    """Count orders in by the part of the window that they came in, and let parts leave it."""
    width_us, parts = _part_us(rule), state.parts
    while parts and (parts[0].number + 1) * width_us <= end_us - rule.window:
        del parts[0]
    for arrival_us, _, _, impact in members:
        kept, number = state.usual.get(impact.currency), arrival_us // width_us
        if kept is not None and kept.known is not None:
            if not parts or parts[-1].number != number:
                parts.append(Part(number))
            parts[-1].add(impact, kept.known)


def _part_us(rule: FreightRule) -> int:
    return max(CELL_US, rule.window // _PARTS)


def _named(state: FreightState, usual: Mapping[str, Usual], members: Iterable[Member]) -> list[Impact]:
    """Those that are worse on the side than usual ones are, worth by how much; again where one has lost more since."""
    new: dict[str, Impact] = {}
    for _, _, event_id, impact in members:
        known, order_id = usual.get(impact.currency), impact.order_id
        lost = known.lost(state.side, impact) if known is not None else 0.0
        if lost <= state.named.get(order_id, 0.0) or (order_id not in state.named and len(state.named) >= _MOST_NAMED):
            continue
        state.named[order_id] = lost
        new[order_id] = msgspec.structs.replace(impact, value=lost, tag="")
        if len(state.evidence) < _EVIDENCE:
            state.evidence = [*state.evidence, event_id]
    return list(new.values())


def _words(scope: Scoped, state: FreightState, usual: Usual, *, closed: bool) -> tuple[str, str, str]:
    """Expected, observed, and the sentence: means of the orders of the window since it began."""
    where, money = ", ".join(f"{name} {value}" for name, value in scope), state.currency
    since = [one[3] for one in state.window if one[1] >= state.opened_us and one[3].currency == money]
    known = [amounts(one) for one in since]
    cost, charge = (sum(one[side] for one in known) / max(1, len(known)) for side in (0, 1))
    lost = f"{len(state.named)} orders lost {_money(sum(state.named.values()), money)} more than is usual"
    expected = f"{_money(usual.cost, money)} an order, {_money(usual.charge, money)} charged for it"
    if closed:
        return expected, "as usual", f"Freight of {where} leaks no more; {lost}."
    observed = f"{_money(cost, money)} an order, {_money(charge, money)} charged for it"
    if state.side == "cost":
        moved_from = f"the carrier charges {_money(cost, money)} an order, {_money(usual.cost, money)} is usual"
    else:
        moved_from = f"customers are charged {_money(charge, money)}, {_money(usual.charge, money)} is usual"
    began = rfc3339(state.opened_us)[:16].replace("T", " ")
    return expected, observed, f"Freight of {where} leaks since {began} UTC: {moved_from}; {lost}."


def _money(amount: float, currency: str) -> str:
    return f"{amount:.2f} {currency}".rstrip()


def _over_words(seen: Seen) -> tuple[str, str, str]:
    expected, observed = f"about {seen.usual:.1%}", f"{seen.share:.0%}"
    said = f"{seen.where}: freight costs {seen.all_bad:g} orders more than their goods can bear"
    more = "over now" if seen.closed else f"{observed} of those within {seen.within}, {seen.usual:.1%} is usual"
    return expected, observed, f"{said}; {more}."


def freight_judges(freight: Policy[FreightRule], over: Policy[RateRule]) -> list[ScopeDetector]:
    """The second parts: what is not usual, and what no business accepts."""
    return [FreightWatch(freight), RateWatch("freight_over_share", "margin_leak", _OVER, over, _over_words)]
