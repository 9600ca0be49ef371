"""Demand for items: whose share of all orders has suddenly grown, and what a promotion can be expected to need.

An item is held against its usual share of all order lines, not against its own past by the hour: so a night, a Saturday
or a busy season of all items is no surge.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from operators.detectors.events import CELL_US, Collected, EventDetector, Handler
from operators.detectors.kept import read_kept
from operators.detectors.rates import surprise_of_number
from operators.detectors.readiness import PromotionAsked
from operators.detectors.records import Impact, scoped
from schemas.durations import BEGIN_OF_TIME_US, DAY_US, HOUR_US, MINUTE_US, Duration
from schemas.events import Arrived, EventBase, OrderCreated, PromotionEnded, PromotionStarted

#: Demand of late is counted in steps; what is older than an hour is usual.
_STEP_US = 5 * MINUTE_US
_STEPS, _SPANS = 12, (2, 4, 12)
_SWEEP_US = 6 * HOUR_US
#: So many order lines every item is taken to have had.
_BENEFIT = 2.0
#: How many of its busiest hours a day is worth, before a day was seen.
_BUSY_HOURS = 12.0
_FOR_ALL = float("inf")
#: How long after it was last raised demand is not trusted to be usual.
_RAISED_MINUTES = 120
#: How many promotions at once are asked about, and how many items of one.
_MOST_PROMOTIONS, _MOST_ITEMS = 1_000, 5_000


class DemandRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When demand for an item has surged, and when it is raised, as by a promotion.

    Within an hour, or 20 minutes, at least `least` order lines, `times` (`raised_times`) its usual share of all lines,
    with a surprise of `score` (`raised_score`). Nothing is said before `known` lines were seen of all items. What was
    seen counts by half after `memory`. A promotion is on, and asked how ready it is, until it ends, for at most
    `promoted`.
    """

    least: int = 5
    times: float = 3.0
    score: float = 6.0
    raised_times: float = 2.0
    raised_score: float = 3.0
    known: float = 100.0
    memory: Duration = Duration(7 * DAY_US)
    promoted: Duration = Duration(7 * DAY_US)


class Wanted(msgspec.Struct, array_like=True, gc=False):
    """An item: order lines and units that are usual (fading), and those of the last hour: (step, lines, units)."""

    lines: float = 0.0
    units: float = 0.0
    faded: int = 0
    recent: list[tuple[int, float, float]] = []
    told: int = 0


class Promoted(msgspec.Struct, array_like=True):
    """A promotion that is on: where, since when (event time), until when at most (arrival).

    `skus` has of each item its usual units for each line that is ordered of anything, as known at the start: what the
    promotion sells must not become what is expected of it. 0 until something is known.
    """

    channel: str
    started_us: int
    until_us: int
    skus: dict[str, float]


class DemandState(msgspec.Struct, array_like=True):
    """All items, all lines together (as if one item), lines by hour of the last day, and the promotions that are on.

    `ask_us` is when these are next asked about, 0 while there are none.
    """

    version: int
    items: dict[str, Wanted] = {}
    total: Wanted = msgspec.field(default_factory=Wanted)
    hours: dict[int, float] = {}
    first_us: int = 0
    sweep_us: int = 0
    promotions: dict[str, Promoted] = {}
    ask_us: int = 0


class Demand(EventDetector):
    """Sees all orders as they are captured, and promotions.

    Says, by scope (sku): `demand_surge` or `demand_raised` (units an hour, of which so many are usual: bad and total),
    at most once a minute; `promotion` (it started; the impact's tag names it, its units are what a usual day needs) and
    `promotion_over`; `promotion_asked` (the same impact) at the start of each promotion, and of all that are on at
    whole hours. A start of one that is on already adds its items, from the next whole hour on.

    Memory: some 200 bytes for an item that was ordered within a few weeks, and the names of the items that are promoted
    (of more than 1,000 promotions the latest, of more than 5,000 items those with most usual demand).
    Cost: some microseconds a line, and an item that is asked about.
    """

    NAME = "demand"
    VERSION = 1

    def __init__(self, rule: DemandRule) -> None:
        super().__init__()
        self._rule = rule
        self._state = DemandState(self.VERSION)

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {OrderCreated: self._ordered, PromotionStarted: self._started, PromotionEnded: self._ended}

    def _ordered(self, arrived: Arrived, out: Collected) -> None:
        event, state, now_us = arrived.event, self._state, arrived.arrival_us
        assert isinstance(event, OrderCreated)
        step, total = now_us // _STEP_US, state.total
        state.first_us = state.first_us or now_us
        if state.sweep_us <= now_us:
            self._sweep(now_us)
        _learn(total, step, self._rule, _FOR_ALL)
        hour, wanted = now_us // HOUR_US, dict[str, float]()
        for line in event.lines:
            wanted[line.sku] = wanted.get(line.sku, 0.0) + line.qty
        for sku in sorted(wanted) if len(wanted) > 1 else wanted:
            units, item = wanted[sku], state.items.get(sku)
            if item is None:
                item = state.items[sku] = Wanted()
            if item.recent and item.recent[0][0] <= step - _STEPS:
                _learn(item, step, self._rule, self._most(item, now_us))
            _count(item, step, units)
            _count(total, step, units)
            state.hours[hour] = state.hours.get(hour, 0.0) + 1.0
            self._judge(sku, item, arrived, out)

    def _judge(self, sku: str, item: Wanted, arrived: Arrived, out: Collected) -> None:
        rule, minute, total = self._rule, arrived.arrival_us // MINUTE_US, self._state.total
        if item.told == minute or total.lines < rule.known or _lines(item.recent) < rule.least:
            return
        step = arrived.arrival_us // _STEP_US
        _fade(item, step, rule)
        share, best = self._share(item), (0.0, 0.0, 0.0, 0)
        for span in _SPANS:
            lines = _lines(item.recent, step - span)
            if lines < rule.least:
                continue
            expected = share * _lines(total.recent, step - span)
            if lines < rule.raised_times * expected:
                continue
            score = surprise_of_number(lines, expected)
            if score > best[0]:
                best = score, lines, expected, span
        score, lines, expected, span = best
        if not span or score < rule.raised_score:
            return
        item.told = minute
        units = sum(one[2] for one in item.recent if one[0] > step - span)
        rate = units * _STEPS / span
        metric = "demand_surge" if lines >= rule.times * expected and score >= rule.score else "demand_raised"
        out.gauge(metric, scoped(sku=sku), arrived, rate, total=expected / lines * rate)

    def _share(self, item: Wanted) -> float:
        """The item's usual share of all lines, rather too high for one that is hardly known."""
        return (item.lines + _BENEFIT) / (self._state.total.lines + _BENEFIT)

    def _most(self, item: Wanted, now_us: int) -> float:
        """How many lines of a step are learnt: while demand is raised little more than usual, so that it stays so."""
        if not item.told or now_us // MINUTE_US - item.told > _RAISED_MINUTES:
            return _FOR_ALL
        return 1.5 * self._share(item) * sum(one[1] for one in self._state.total.recent) / _STEPS

    def _usual_day(self, sku: str, now_us: int) -> float:
        """Units of an item that a usual day needs; 0 where nothing is known yet."""
        return self._units_a_line(sku) * self._day(now_us)

    def _units_a_line(self, sku: str) -> float:
        """Usual units of an item for each line of all items; 0 where nothing is known yet."""
        item, total = self._state.items.get(sku), self._state.total
        if item is None or not item.lines or total.lines < self._rule.known:
            return 0.0
        return item.units / total.lines

    def _day(self, now_us: int) -> float:
        """Lines of all items in a day, by those of the last one."""
        state = self._state
        late = [many for hour, many in state.hours.items() if hour > (now_us - DAY_US) // HOUR_US]
        day, known_us = sum(late), now_us - state.first_us
        if known_us < DAY_US:
            day = max(day * DAY_US / max(known_us, HOUR_US), _BUSY_HOURS * max(late, default=0.0))
        return day

    def _started(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, PromotionStarted)
        place = (arrived.arrival_us, arrived.occurred_us, event.event_id)
        for sku in sorted(set(event.skus)):
            need = self._usual_day(sku, arrived.arrival_us)
            impact = Impact(order_id="", tag=event.promotion_id, units=round(need, 3))
            out.bad("promotion", scoped(sku=sku), *place, impact=impact)
        if event.skus:
            self._follow(event, arrived, out)

    def _ended(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, PromotionEnded)
        running = self._state.promotions.get(event.promotion_id)
        over = set(event.skus) or set(running.skus if running is not None else ())
        _tell_over(event.promotion_id, over, (arrived.arrival_us, arrived.occurred_us, event.event_id), out)
        if running is not None:
            running.skus = {sku: usual for sku, usual in running.skus.items() if sku not in over}
            if not running.skus:
                del self._state.promotions[event.promotion_id]

    def _follow(self, event: PromotionStarted, arrived: Arrived, out: Collected) -> None:
        """A promotion is on: ask about it now, and at whole hours from now on."""
        state, now_us = self._state, arrived.arrival_us
        running = state.promotions.get(event.promotion_id)
        if running is not None and now_us < running.until_us:
            running.skus = self._most_wanted(dict.fromkeys(event.skus, 0.0) | running.skus)
            return
        state.promotions.pop(event.promotion_id, None)
        if len(state.promotions) >= _MOST_PROMOTIONS:
            del state.promotions[next(iter(state.promotions))]
        skus = self._most_wanted(dict.fromkeys(event.skus, 0.0))
        running = Promoted(event.channel or "", arrived.occurred_us, now_us + self._rule.promoted, skus)
        state.promotions[event.promotion_id] = running
        self._ask(event.promotion_id, running, now_us, out)
        if not state.ask_us:
            self._wait(now_us)

    def _most_wanted(self, skus: Mapping[str, float]) -> dict[str, float]:
        """As many of the items as are asked about, those of most usual demand."""
        found = {sku: usual or self._units_a_line(sku) for sku, usual in skus.items()}
        if len(found) <= _MOST_ITEMS:
            return found
        return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))[:_MOST_ITEMS])

    def _ask(self, promotion_id: str, running: Promoted, now_us: int, out: Collected) -> None:
        """Ask about each item of a promotion."""
        running.skus, day = self._most_wanted(running.skus), self._day(now_us)
        for sku, usual in running.skus.items():
            impact = Impact(order_id="", tag=promotion_id, units=round(usual * day, 3))
            out.bad("promotion_asked", scoped(sku=sku), now_us, now_us, impact=impact)
        at_us = (now_us // CELL_US + 1) * CELL_US
        asked = PromotionAsked(promotion_id, running.channel, running.started_us, at_us, len(running.skus))
        out.promotions.append(asked)

    def _wait(self, now_us: int) -> None:
        """Ask again at the next whole hour: in a minute in which all that is open is judged anyway."""
        self._state.ask_us = (now_us // HOUR_US + 1) * HOUR_US
        self.set_timer(self._state.ask_us, "promotions")

    def due(self, key: str, due_us: int, out: Collected) -> None:  # noqa: ARG002 - there is one kind of timer
        """As `EventDetector`: a whole hour; ask about all promotions that are on. For too long none is."""
        state = self._state
        for name in [name for name, one in state.promotions.items() if one.until_us <= due_us]:
            _tell_over(name, state.promotions.pop(name).skus, (due_us, due_us, ""), out)
        state.ask_us = 0
        for promotion_id, running in state.promotions.items():
            self._ask(promotion_id, running, due_us, out)
        if state.promotions:
            self._wait(due_us)

    def _sweep(self, now_us: int) -> None:
        """Forget hours that are over, and items of which next to nothing is left."""
        state = self._state
        state.sweep_us = now_us - now_us % _SWEEP_US + _SWEEP_US
        day = (now_us - DAY_US) // HOUR_US
        state.hours = {hour: many for hour, many in state.hours.items() if hour > day}
        for sku, item in list(state.items.items()):
            _learn(item, now_us // _STEP_US, self._rule, self._most(item, now_us))
            _fade(item, now_us // _STEP_US, self._rule)
            if item.lines < 0.05 and not item.recent:
                del state.items[sku]

    def sizes(self) -> Mapping[str, int]:
        """As `EventDetector`."""
        return {"skus": len(self._state.items), "promotions": len(self._state.promotions)}

    def snapshot(self) -> bytes:
        """As `EventDetector`."""
        return msgspec.msgpack.encode(self._state)

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        kept = read_kept(state, DemandState, self.VERSION, self.NAME)
        self._state = kept


def _tell_over(promotion_id: str, skus: Iterable[str], place: tuple[int, int, str], out: Collected) -> None:
    """These items are in a promotion no more."""
    for sku in sorted(skus):
        out.bad("promotion_over", scoped(sku=sku), *place, impact=Impact(order_id="", tag=promotion_id))


def _lines(recent: Sequence[tuple[int, float, float]], after: int = BEGIN_OF_TIME_US) -> float:
    """How many lines came in the steps after one; in whole numbers, so that it does not matter in which order."""
    found = 0.0
    for step, lines, _ in reversed(recent):
        if step <= after:
            break
        found += lines
    return found


def _count(item: Wanted, step: int, units: float) -> None:
    if item.recent and item.recent[-1][0] == step:
        _, lines, before = item.recent[-1]
        item.recent[-1] = step, lines + 1.0, before + units
    else:
        item.recent.append((step, 1.0, units))


def _learn(item: Wanted, step: int, rule: DemandRule, most: float) -> None:
    """What is older than an hour becomes usual, of a step at most so many lines, and the usual fades."""
    oldest = step - _STEPS
    if not item.recent or item.recent[0][0] > oldest:
        return
    _fade(item, step, rule)
    while item.recent and item.recent[0][0] <= oldest:
        _, lines, units = item.recent.pop(0)
        kept = min(1.0, most / lines)
        item.lines, item.units = item.lines + lines * kept, item.units + units * kept


def _fade(item: Wanted, step: int, rule: DemandRule) -> None:
    fade = 0.5 ** ((step - (item.faded or step)) * _STEP_US / rule.memory)
    item.lines, item.units, item.faded = item.lines * fade, item.units * fade, step
