"""Items that run out: how long the network's stock of an item lasts, and who still sells it.

One second part by item, since three breakdowns look alike from afar and are told apart by the same facts: a promotion
whose goods are not there, a run on an item without one, and a channel that goes on selling what is gone.
"""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.events import CELL_US
from operators.detectors.policy import ByScope, Policy
from operators.detectors.readiness import ItemReady
from operators.detectors.records import Impact, Scoped, ScopeFinding
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration
from schemas.rows import Signal

_EVIDENCE = 20
_MOST_UNFILLED = 5_000
_HOUR_CELLS = HOUR_US // CELL_US
_FOR_EVER = float("inf")
#: So many units within a quarter of an hour say how much goes out in an hour.
_TELLING = 8.0
_GOOD_PART = 0.2


class CoverRule(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When an item is short.

    Stock is low when it is at most `low` of the highest of late. A surge without a promotion is a risk when the stock,
    with what is expected in time, lasts less than `hours`, raised demand when it lasts less than `raised_hours`. A
    promotion is without stock when, at its start, there is (or is expected within a day) less than a `ready` part of
    what its first day needs (`lift` times a usual day), or in its first `begins` the stock lasts less than
    `promoted_hours` at raised demand; how ready it is asks for its demand over `horizon`. So many orders (`unfilled`
    within `window`, or `soon_unfilled` within `soon`) that could not be had while stock is low are a finding too: about
    the promotion, about the surge that emptied the shelves, else about the channel that has the share `one_channel` of
    them. It closes after `quiet` without such an order.
    """

    low: float = 0.1
    hours: float = 18.0
    raised_hours: float = 4.0
    lift: float = 3.0
    ready: float = 0.85
    promoted_hours: float = 4.0
    begins: Duration = Duration(6 * HOUR_US)
    horizon: Duration = Duration(DAY_US)
    unfilled: int = 3
    soon_unfilled: int = 2
    soon: Duration = Duration(HOUR_US)
    one_channel: float = 0.8
    window: Duration = Duration(3 * HOUR_US)
    quiet: Duration = Duration(3 * HOUR_US)
    surge_lasts: Duration = Duration(15 * MINUTE_US)


class Short(msgspec.Struct, array_like=True):
    """The open finding of an item; `channel` and `promotion` as far as it is about one."""

    kind: str
    opened_us: int
    found_us: int
    last_us: int
    why: str
    score: float
    channel: str = ""
    promotion: str = ""
    named: dict[str, None] = {}
    evidence: list[str] = []


class SkuState(msgspec.Struct, array_like=True):
    """What is kept of an item: stock of all nodes, its highest of late, what goes out, what comes, who is refused.

    `unfilled` are (arrival, event time, event id, impact with the channel for a case); `inbound` is by purchase order
    (expected, units); `surge` (units an hour, usual units an hour) holds until `raised_until_us`. `last` is what was
    wrong before, until there is stock again.
    """

    on_hand: float = 0.0
    peak: float = 0.0
    peak_us: int = 0
    taken: list[tuple[int, float]] = []
    inbound: dict[str, tuple[int, float]] = {}
    surge: tuple[float, float] = (0.0, 0.0)
    surge_since_us: int = 0
    surge_until_us: int = 0
    raised_until_us: int = 0
    surge_id: str = ""
    promotion: str = ""
    promotion_id: str = ""
    promoted_us: int = 0
    need: float = 0.0
    unfilled: list[tuple[int, int, str, Impact]] = []
    low_since_us: int = 0
    short: Short | None = None
    last: Short | None = None
    version: int = 0


class SkuWatch(ScopeDetector):
    """Finds items that run out, by item over all nodes, and says of those of promotions how ready they are.

    Memory: some 300 bytes for an item that something was heard of within a fortnight, and orders that could not be had
    within `window`. Cost: a few microseconds per item and minute in which its stock moves.
    """

    NAME = "cover"
    METRICS = (
        "on_hand",
        "taken",
        "inbound",
        "demand_surge",
        "demand_raised",
        "promotion",
        "promotion_over",
        "promotion_asked",
        "unfilled",
    )
    State = SkuState

    def __init__(self, policy: Policy[CoverRule]) -> None:
        self._policy = policy

    def judge(
        self, scope: Scoped, state: SkuState, cells: Mapping[str, Cell], end_us: int
    ) -> Iterable[ScopeFinding | ItemReady]:
        """As `ScopeDetector`."""
        rule = self._policy.of(scope)
        _take_stock(state, cells, end_us)
        started = _take_demand(state, cells, end_us, rule)
        asked = cells.get("promotion_asked")
        if asked is not None:
            yield from _ready(scope, state, asked, end_us, rule)
            if len(cells) == 1 and state.short is None:
                return  # being asked about must not bring a judgement forward
        new = _take_orders(state, cells, end_us, rule)
        _watch_low(state, end_us, rule)
        short = state.short
        if short is None:
            short = self._shortage(state, end_us, rule, started=started)
            if short is not None:
                state.short = short
                yield self._finding(scope, state, short, end_us, _name(short, state.unfilled))
            return
        found = _name(short, new)
        if found or self._goes_on(state, short, end_us, rule):
            short.last_us = end_us
        if end_us - short.last_us >= rule.quiet:
            state.short, state.last, state.unfilled = None, short, []
            yield self._finding(scope, state, short, end_us, found, closed=True)
        elif found:
            yield self._finding(scope, state, short, end_us, found)

    def _goes_on(self, state: SkuState, short: Short, end_us: int, rule: CoverRule) -> bool:
        """Whether it is as bad as ever, though nobody was refused."""
        if short.kind == "oversell" or state.low_since_us:
            return False
        wanted = end_us < state.raised_until_us or (short.promotion and short.promotion == state.promotion)
        return bool(wanted) and _cover_hours(state, end_us) < rule.hours

    def idle(self, state: SkuState) -> bool:
        """Nothing is open."""
        return state.short is None

    def _shortage(self, state: SkuState, end_us: int, rule: CoverRule, *, started: bool) -> Short | None:
        """What is wrong with the item, if anything."""
        low = state.low_since_us > 0
        refused = _refused(state) if low else []
        late = sum(one[0] > end_us - rule.soon for one in refused)
        many = late >= rule.soon_unfilled or len(refused) >= rule.unfilled
        begun = min([one[1] for one in refused], default=end_us)
        hours = _cover_hours(state, end_us) if end_us < state.raised_until_us else _FOR_EVER
        left = f"{max(0.0, state.on_hand):g} are left" + (f", enough for {hours:.1f} h" if hours < _FOR_EVER else "")
        if state.promotion:
            need = rule.lift * state.need
            there = max(0.0, state.on_hand) + _expected(state, end_us, end_us + DAY_US)
            if started and state.peak > 0 and there < rule.ready * need:
                why = f"{there:g} are there or come today, its first day needs about {need:.0f}"
                return _short("promotion_without_stock", state, state.promoted_us, end_us, why, 6.0)
            begins = end_us - state.promoted_us < rule.begins
            if many or (begins and state.peak > 0 and hours < rule.promoted_hours):
                return _short("promotion_without_stock", state, state.promoted_us, end_us, left, 8.0)
            return None
        if many:
            return self._empty(state, refused, begun, end_us, rule, left)
        within = rule.hours if end_us < state.surge_until_us else rule.raised_hours
        if not low and state.on_hand > 0 and hours < within:
            rate, usual = state.surge
            why = f"{left}, since {rate:.0f} an hour are ordered ({usual:.1f} is usual), and nothing comes in time"
            return _short("stockout_risk", state, state.surge_since_us, end_us, why, 8.0)
        return None

    def _empty(
        self,
        state: SkuState,
        refused: list[tuple[int, int, str, Impact]],
        begun_us: int,
        end_us: int,
        rule: CoverRule,
        left: str,
    ) -> Short | None:
        """Orders can't be had: what emptied the shelves, or who goes on selling."""
        score, last = 3.0 + len(refused), state.last
        channel, share = _channel(refused)
        if last is not None and last.channel not in ("", channel):
            return None
        if last is not None:
            promotion = last.promotion
            short = _short(last.kind, state, begun_us, end_us, left, score, channel=last.channel)
            short.promotion = promotion
            return short
        if _was_emptied(state):
            return _short("stockout_risk", state, state.surge_since_us, end_us, left, score)
        if channel and share >= rule.one_channel:
            why = f"channel {channel} sells it though {left}"
            return _short("oversell", state, begun_us, end_us, why, score, channel=channel)
        return None

    def _finding(
        self, scope: Scoped, state: SkuState, short: Short, end_us: int, new: list[Impact], *, closed: bool = False
    ) -> ScopeFinding:
        sku = dict(scope).get("sku", "")
        fields = {"sku": sku}
        if short.channel:
            fields["channel"] = short.channel
        if short.promotion:
            fields["promotion"] = short.promotion
        of = f" of promotion {short.promotion}" if short.promotion else ""
        said = f"{sku}{of}: {short.why}; {len(short.named)} orders could not be had so far"
        state.version = next_version(state.version, end_us)
        signal = Signal(
            signal_id=signal_id(self.NAME, short.kind, repr(sorted(fields.items())), str(short.found_us)),
            detector=self.NAME,
            kind=short.kind,
            handoff="",
            scope=fields,
            case_id="",
            opened_at_us=short.opened_us,
            found_at_us=short.found_us,
            closed_at_us=end_us if closed else None,
            severity="high",
            score=short.score,
            confidence=round(1.0 - 10.0 ** -min(short.score, 9.0), 9),
            expected="stock for what is sold",
            observed=short.why,
            method="rule",
            explanation=f"{said}{'; over now' if closed else ''}.",
            evidence=short.evidence,
            arrival_us=end_us,
            version=state.version,
        )
        return ScopeFinding(signal, new)


def _take_stock(state: SkuState, cells: Mapping[str, Cell], end_us: int) -> None:
    """What lies on shelves, what went out within the hour, what is expected."""
    moved = cells.get("on_hand")
    if moved is not None:
        # Rounded, since the order in which parts of a unit are added must not show.
        state.on_hand = round(state.on_hand + moved.total, 3)
        faded = state.peak * 0.5 ** ((end_us - (state.peak_us or end_us)) / (3 * DAY_US))
        state.peak, state.peak_us = max(state.on_hand, faded), end_us
    taken = cells.get("taken")
    if taken is not None:
        number = end_us // CELL_US
        state.taken = [one for one in state.taken if one[0] > number - _HOUR_CELLS]
        state.taken.append((number, taken.total))
    inbound = cells.get("inbound")
    if inbound is not None:
        state.inbound = {po: one for po, one in state.inbound.items() if one[0] > end_us - DAY_US}
        for _, due_us, _, impact in inbound.members:
            if impact is not None:
                state.inbound[impact.case_id] = due_us, impact.units


def _take_demand(state: SkuState, cells: Mapping[str, Cell], end_us: int, rule: CoverRule) -> bool:
    """Surges and promotions; whether one of the latter has just started."""
    for metric in ("demand_raised", "demand_surge"):
        cell = cells.get(metric)
        if cell is None:
            continue
        if state.raised_until_us < end_us - HOUR_US:
            state.surge_since_us = cell.first_at_us
        state.surge, state.raised_until_us = (cell.last, cell.total), end_us + rule.surge_lasts
        state.surge_id = max((event_id for _, _, event_id, _ in cell.members), default="")
        if metric == "demand_surge":
            state.surge_until_us = end_us + rule.surge_lasts
    over, started = cells.get("promotion_over"), cells.get("promotion")
    if over is not None and state.promotion in {one[3].tag for one in over.members if one[3] is not None}:
        state.promotion = ""
    if started is None:
        return False
    for _, at_us, event_id, impact in started.members:
        if impact is not None:
            state.promotion, state.promotion_id = impact.tag, event_id
            state.promoted_us, state.need = at_us, impact.units
    return True


def _take_orders(
    state: SkuState, cells: Mapping[str, Cell], end_us: int, rule: CoverRule
) -> list[tuple[int, int, str, Impact]]:
    """Orders that could not be had; the new ones."""
    if state.unfilled:
        state.unfilled = [one for one in state.unfilled if one[0] > end_us - rule.window]
    cell = cells.get("unfilled")
    if cell is None:
        return []
    new = [(one[0], one[1], one[2], one[3]) for one in cell.members if one[3] is not None]
    state.unfilled = [*state.unfilled, *new][-_MOST_UNFILLED:]
    return new


def _refused(state: SkuState) -> list[tuple[int, int, str, Impact]]:
    """The first of each order that could not be had."""
    by_order: dict[str, tuple[int, int, str, Impact]] = {}
    for one in state.unfilled:
        by_order.setdefault(one[3].order_id, one)
    return list(by_order.values())


def _channel(refused: Iterable[tuple[int, int, str, Impact]]) -> tuple[str, float]:
    """The channel of most of these orders, and its share."""
    counts: dict[str, int] = {}
    for _, _, _, impact in refused:
        counts[impact.tag] = counts.get(impact.tag, 0) + 1
    most, channel = max((many, name) for name, many in counts.items())
    return channel, most / sum(counts.values())


def _ready(scope: Scoped, state: SkuState, asked: Cell, end_us: int, rule: CoverRule) -> Iterable[ItemReady]:
    """How ready the item is for each promotion that asks."""
    surge = state.surge[0] if end_us < state.raised_until_us else 0.0
    for promotion, usual_day in {one[3].tag: one[3].units for one in asked.members if one[3] is not None}.items():
        hourly = rule.lift * usual_day * HOUR_US / DAY_US
        expected, hours = hourly * rule.horizon / HOUR_US, _cover_hours(state, end_us, max(hourly, surge))
        on_hand, coming = max(0.0, state.on_hand), _expected(state, end_us, end_us + rule.horizon)
        yield ItemReady(
            promotion_id=promotion,
            sku=dict(scope).get("sku", ""),
            at_us=end_us,
            expected=round(expected, 3),
            on_hand=on_hand,
            coming=round(coming, 3),
            hours=hours if hours < _FOR_EVER else None,
            is_short=on_hand + coming < rule.ready * expected,
        )


def _cover_hours(state: SkuState, end_us: int, ordered: float | None = None) -> float:
    """How long stock lasts at the present rate, with what is expected before it is gone.

    `ordered` is how many an hour are ordered, by default as many as in the last surge.
    """
    number = end_us // CELL_US
    hour = sum(many for at, many in state.taken if at > number - _HOUR_CELLS)
    quarter = sum(many for at, many in state.taken if at > number - _HOUR_CELLS // 4)
    rate = max(state.surge[0] if ordered is None else ordered, hour, quarter * 4 if quarter >= _TELLING else 0.0)
    if rate <= 0:
        return _FOR_EVER
    stock = max(0.0, state.on_hand)
    for due_us, units in sorted(state.inbound.values()):
        if end_us < due_us <= end_us + stock / rate * HOUR_US:
            stock += units
    return stock / rate


def _expected(state: SkuState, from_us: int, to_us: int) -> float:
    """How many units are expected in that time."""
    return sum(units for due_us, units in state.inbound.values() if from_us < due_us <= to_us)


def _was_emptied(state: SkuState) -> bool:
    """Whether raised demand, going on when stock became low, can have taken a good part of it."""
    lasted_us = state.low_since_us - state.surge_since_us
    if not state.surge_since_us or lasted_us <= 0 or state.raised_until_us < state.low_since_us:
        return False
    return state.surge[0] * lasted_us / HOUR_US >= _GOOD_PART * state.peak


def _watch_low(state: SkuState, end_us: int, rule: CoverRule) -> None:
    """Since when stock is low; once there is clearly more again, what was wrong before is over."""
    if state.peak <= 0:
        return
    if state.on_hand <= rule.low * state.peak:
        state.low_since_us = state.low_since_us or end_us
    else:
        state.low_since_us = 0
        if state.on_hand > 3 * rule.low * state.peak:
            state.last = None


def _short(
    kind: str, state: SkuState, since_us: int, end_us: int, why: str, score: float, *, channel: str = ""
) -> Short:
    promotion = state.promotion if kind == "promotion_without_stock" else ""
    shown = [state.promotion_id] if promotion else [state.surge_id] if state.surge_id else []
    return Short(kind, min(since_us, end_us), end_us, end_us, why, score, channel, promotion, named={}, evidence=shown)


def _name(short: Short, members: Iterable[tuple[int, int, str, Impact]]) -> list[Impact]:
    """The orders not named yet, of its channel where it is about one."""
    new = []
    for _, at_us, event_id, impact in members:
        if impact.order_id in short.named or (short.channel and impact.tag != short.channel):
            continue
        if at_us < short.opened_us:
            continue
        short.named[impact.order_id] = None
        short.evidence = [*short.evidence, event_id][:_EVIDENCE]
        new.append(msgspec.structs.replace(impact, tag=""))
    return new
