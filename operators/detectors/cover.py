"""Items that run out: how long the network's stock of an item lasts, and who still sells it.

One second part by item, since three breakdowns look alike from afar and are told apart by the same facts: a promotion
whose goods are not there, a run on an item without one, and a channel that goes on selling what is gone.
"""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.cover_state import FOR_EVER, CoverRule, Short, SkuState
from operators.detectors.policy import Policy
from operators.detectors.readiness import ItemReady
from operators.detectors.records import Impact, Scoped, ScopeFinding
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import confidence_of, next_version, signal_id
from schemas.durations import DAY_US, HOUR_US
from schemas.rows import Signal

_EVIDENCE = 20


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
        state.take_stock(cells, end_us)
        started = state.take_demand(cells, end_us, rule)
        asked = cells.get("promotion_asked")
        if asked is not None:
            yield from _ready(scope, state, asked, end_us, rule)
            if len(cells) == 1 and state.short is None:
                return  # being asked about must not bring a judgement forward
        new = state.take_orders(cells, end_us, rule)
        state.watch_low(end_us, rule)
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
        wanted = end_us < state.raised_until_us or short.promotion in state.promotions
        return wanted and state.cover_hours(end_us) < rule.hours

    def idle(self, state: SkuState) -> bool:
        """Nothing is open."""
        return state.short is None

    def _shortage(self, state: SkuState, end_us: int, rule: CoverRule, *, started: bool) -> Short | None:
        """What is wrong with the item, if anything."""
        low = state.low_since_us > 0
        if not (low or state.promotions or end_us < state.raised_until_us):
            return None
        refused = state.refused() if low else []
        late = sum(one[0] > end_us - rule.soon for one in refused)
        many = late >= rule.soon_unfilled or len(refused) >= rule.unfilled
        begun = min([one[1] for one in refused], default=end_us)
        hours = state.cover_hours(end_us) if end_us < state.raised_until_us else FOR_EVER
        left = f"{max(0.0, state.on_hand):g} are left" + (f", enough for {hours:.1f} h" if hours < FOR_EVER else "")
        if state.promotions:
            promoting = state.promotions[state.promotion]
            need = rule.lift * promoting.need
            there = max(0.0, state.on_hand) + state.expected(end_us, end_us + DAY_US)
            if started and state.peak > 0 and there < rule.ready * need:
                why = f"{there:g} are there or come today, its first day needs about {need:.0f}"
                return _short("promotion_without_stock", state, promoting.since_us, end_us, why, 6.0)
            begins = end_us - promoting.since_us < rule.begins
            if many or (begins and state.peak > 0 and hours < rule.promoted_hours):
                return _short("promotion_without_stock", state, promoting.since_us, end_us, left, 8.0)
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
        if state.was_emptied():
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
            confidence=confidence_of(short.score),
            expected="stock for what is sold",
            observed=short.why,
            method="rule",
            explanation=f"{said}{'; over now' if closed else ''}.",
            evidence=short.evidence,
            arrival_us=end_us,
            version=state.version,
        )
        return ScopeFinding(signal, new)


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
        expected, hours = hourly * rule.horizon / HOUR_US, state.cover_hours(end_us, max(hourly, surge))
        on_hand, coming = max(0.0, state.on_hand), state.expected(end_us, end_us + rule.horizon)
        yield ItemReady(
            promotion_id=promotion,
            sku=dict(scope).get("sku", ""),
            at_us=end_us,
            expected=round(expected, 3),
            on_hand=on_hand,
            coming=round(coming, 3),
            hours=hours if hours < FOR_EVER else None,
            is_short=on_hand + coming < rule.ready * expected,
        )


def _short(
    kind: str, state: SkuState, since_us: int, end_us: int, why: str, score: float, *, channel: str = ""
) -> Short:
    promotion = state.promotion if kind == "promotion_without_stock" else ""
    shown = [state.promotions[promotion].event_id] if promotion else [state.surge_id] if state.surge_id else []
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
