"""Carriers: parcels that are not delivered when they usually are, or should be, and obstacles they report.

A parcel is looked at after parts of the time that the carrier gave itself. The early parts only count where that is
within a day: a parcel that spends a night in a van is as far as it was. Where it is a few hours, so that who promises
is at work, deliveries that fail to come are evidence from the first on (`pace.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from operators.detectors.age_watch import AgeRule, AgeState, AgeWatch
from operators.detectors.ageing import Ageing, Waiting, early_metrics
from operators.detectors.events import CELL_US, Collected, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.pace import Pace, PaceState, SlowRule
from operators.detectors.policy import Policy
from operators.detectors.rates import RateRule, RateState, RateWatch, Seen
from operators.detectors.records import Impact, Scoped, ScopeFinding, ScopesOf
from operators.detectors.scopes import Cell, ScopeDetector
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration, people_duration, to_us
from schemas.events import Arrived, EventBase, ShipmentDelivered, ShipmentDispatched, ShipmentException

_TRANSIT, _EXCEPTION = "parcel", "parcel_exception"
#: Parts of the promised time (%) at which a parcel is looked at; the last is when it was promised to be there.
_PARTS = (75, 90, 100)
_SAME_DAY_US = 12 * HOUR_US
#: Parts (%) between which deliveries are counted where the promised time is short, and what is short.
_EARLY, _HOURS_US = (10, 20, 30, 40, 50, 60, 70, 80, 95), 6 * HOUR_US
_STILL = early_metrics(_TRANSIT, len(_EARLY))
_DELIVERED = tuple(f"{_TRANSIT}:delivered:{index}" for index in range(len(_EARLY)))
#: A carrier of which nothing was heard for so many minutes is not said to be slow: the log can be held back.
_HEARD = 5


class LateRule(AgeRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a carrier's parcels are late: an `AgeRule` for parts of the promised time, and how slow deliveries are.

    `least` parcels too few must have been delivered, too. Of `slow`, `missing`, `clears` and `times` do nothing here.
    """

    share: float = 0.25
    quiet: Duration = Duration(HOUR_US)
    learnt: float = 20.0
    most_usual: float = 0.1
    early: float = 1.0
    slow: SlowRule = SlowRule(
        score=4.0, learnt=60.0, at_age=10.0, memory=Duration(DAY_US), lag=Duration(30 * MINUTE_US)
    )


class CarrierSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds for carriers.

    `late` judges parts of the promised time in the place of ages. It names those whose promised time is over:
    `named_from` and `named_usual` do nothing here. Which parcels arrived is remembered for `remembered`.
    """

    late: LateRule = LateRule()
    exceptions: RateRule = RateRule(
        window=Duration(3 * HOUR_US),
        least=5,
        share=0.1,
        times=5,
        score=6,
        usual=0.02,
        quiet=Duration(2 * HOUR_US),
        memory=Duration(7 * DAY_US),
    )
    remembered: Duration = Duration(6 * HOUR_US)


class Parcels(Ageing):
    """The first part: parcels from dispatch to delivery, and obstacles among deliveries.

    Those that are promised within hours are counted between early parts of that time: delivered, or not.
    """

    VERSION = 2

    def __init__(self, book: OrderBook, remembered_us: int) -> None:
        super().__init__(_TRANSIT, _PARTS, remembered_us, _EARLY)
        self._book, self._carriers = book, ScopesOf("carrier")
        #: By the age that is next: the next one at which what is not over is only counted, and the metric for it.
        early = [index for index, is_judged in enumerate(self._judged) if not is_judged]
        self._between = [
            next(((index, _DELIVERED[place]) for place, index in enumerate(early) if index >= next_), None)
            for next_ in range(len(self._ages) + 1)
        ]

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {
            ShipmentDispatched: self._dispatched,
            ShipmentDelivered: self._delivered,
            ShipmentException: self._met,
        }

    def due_us(self, work: Waiting, index: int) -> int:
        """As `Ageing`."""
        return work.until_us - (work.until_us - work.begun_us) * (100 - self._ages[index]) // 100

    def first_age(self, work: Waiting) -> int:
        """As `Ageing`: early parts count where the promised time is short, others where it is within a day."""
        return self._first_part(work.until_us - work.begun_us)

    def _first_part(self, promised_us: int) -> int:
        if promised_us <= _HOURS_US:
            return 0
        return self._ages.index(_PARTS[-1] if promised_us > _SAME_DAY_US else _PARTS[0])

    def impact(self, key: str, work: Waiting) -> Impact:
        """The order."""
        del key
        return self._book.whole(work.order_id)

    def _dispatched(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ShipmentDispatched)
        if not event.carrier or event.expected_at is None:
            return
        until_us = to_us(event.expected_at)
        if until_us <= arrived.arrival_us:
            return
        scope = self._carriers[event.carrier]
        if self.begin(event.shipment_id, arrived, scope, event.order_id, out, until_us=until_us):
            return
        work = self._waiting.get(event.shipment_id)  # told of again, maybe with a longer promise
        if work is not None and work.next == 0:
            work.next = self._first_part(until_us - work.begun_us)
            if work.next:
                self.set_timer(self.due_us(work, work.next), event.shipment_id)

    def _delivered(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ShipmentDelivered)
        work = self.end(event.shipment_id, arrived, out)
        if work is not None and work.until_us - work.begun_us <= _HOURS_US:
            between = self._between[work.next]
            if between is not None:  # counted when it would have come to that age, as those that do are
                index, metric = between
                out.good(metric, work.scope, self.due_us(work, index))
        carrier = event.carrier or (dict(work.scope)["carrier"] if work is not None else "")
        if carrier:
            out.good(_EXCEPTION, self._carriers[carrier], arrived.arrival_us)

    def _met(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ShipmentException)
        work = self._waiting.get(event.shipment_id)
        carrier = event.carrier or (dict(work.scope)["carrier"] if work is not None else "")
        if carrier:
            impact = self._book.impact(event.order_id)
            scope = self._carriers[carrier]
            out.bad(_EXCEPTION, scope, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact)


class ParcelState(AgeState, array_like=True):
    """And how quickly parcels are delivered."""

    pace: PaceState = msgspec.field(default_factory=PaceState)


class ParcelWatch(AgeWatch):
    """The second part: too many parcels of a carrier are under way longer than is usual, or too few are delivered."""

    State = ParcelState

    def __init__(self, policy: Policy[LateRule]) -> None:
        rules: Policy[Any] = policy  # a LateRule is an AgeRule
        words, handoff = _late_words, "delivery"
        super().__init__("carrier_late", "carrier_delay", _TRANSIT, _PARTS, rules, words, handoff=handoff)
        self.METRICS = (*self.METRICS, *_STILL, *_DELIVERED)
        self._late_policy = policy
        self._pace = Pace(_EARLY)

    def judge(  # type: ignore[override] # of its own state
        self,
        scope: Scoped,
        state: ParcelState,
        cells: Mapping[str, Cell],
        end_us: int,
        *,
        barred: bool = False,
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        rule, number, before = self._late_policy.of(scope, state.head.region), end_us // CELL_US, state.head.found_us
        self._pace.observe(state.pace, number, _trials(cells), rule.slow, learns=not before)
        yield from super().judge(scope, state, cells, end_us, barred=barred)
        if before and not state.head.found_us:
            self._pace.forget(state.pace, number)
        elif not before and not state.head.found_us and not barred and self._is_slow(state, rule, number):
            yield self._begin_slow(scope, state, end_us)

    @staticmethod
    def _is_slow(state: ParcelState, rule: LateRule, number: int) -> bool:
        """Whether far fewer parcels were delivered than usually are, and the carrier is heard of."""
        pace, slow = state.pace, rule.slow
        too_few = pace.due - pace.over >= rule.least and pace.over < slow.share * pace.due
        return pace.evidence >= slow.score and too_few and bool(state.heard) and number - state.heard[-1][0] <= _HEARD

    def _begin_slow(self, scope: Scoped, state: ParcelState, end_us: int) -> ScopeFinding:
        head, pace, late = state.head, state.pace, state.ages[-1]
        self._open_since(state, pace.since * CELL_US, end_us)
        seen = Seen(scope, pace.over, pace.due, 0.0, 0.0, head.opened_us, 0, 0, CELL_US, closed=False)
        finding = self._finding(head, seen, pace.evidence, end_us, self._new(head, late.recent))
        carrier, within = dict(scope)["carrier"], people_duration(end_us - head.opened_us)
        sentence = f"{carrier} delivers too few parcels: {pace.over:.0f} in {within}, where {pace.due:.0f} are due"
        said = msgspec.structs.replace(
            finding.signal,
            expected=f"{pace.due:.0f} parcels delivered in {within}, of those under way",
            observed=f"{pace.over:.0f} delivered",
            explanation=f"{sentence} by how long they have been under way.",
        )
        return msgspec.structs.replace(finding, signal=said)

    def _go_on(
        self,
        scope: Scoped,
        state: ParcelState,  # type: ignore[override] # of its own state
        cells: Mapping[str, Cell],
        end_us: int,
        rule: AgeRule,
        *,
        low: bool,
        silent: bool,
    ) -> Iterable[ScopeFinding]:
        """As `AgeWatch`; while few are delivered it is not over before those under way had their promised time."""
        assert isinstance(rule, LateRule)
        had_time = end_us - state.head.found_us >= _HOURS_US
        low = low and (had_time or state.pace.evidence < rule.slow.score / 2)
        yield from super()._go_on(scope, state, cells, end_us, rule, low=low, silent=silent)

    def is_known(self, age: RateState, index: int, rule: AgeRule) -> bool:
        """As `AgeWatch`; what a carrier promised needs no learning."""
        return index == len(_PARTS) - 1 or super().is_known(age, index, rule)

    def naming_age(self, state: AgeState, rule: AgeRule) -> int:
        """As `AgeWatch`: those are touched whose promised time is over."""
        del state, rule
        return len(_PARTS) - 1


def _trials(cells: Mapping[str, Cell]) -> list[tuple[int, float, float]]:
    """Between which parts of the promised time, how many were delivered or came to its end, how many of them that."""
    found = []
    for index, (still, delivered) in enumerate(zip(_STILL, _DELIVERED, strict=True)):
        waits = cells[still].total if still in cells else 0.0
        over = cells[delivered].total if delivered in cells else 0.0
        if waits or over:
            found.append((index, waits + over, waits))
    return found


def _late_words(seen: Seen) -> tuple[str, str, str]:
    carrier, part = dict(seen.scope)["carrier"], seen.window_us
    when = "when they are due" if part >= 100 else f"after {part} % of the promised time"
    expected = f"{seen.usual:.0%} of parcels not delivered {when}"
    if seen.closed:
        return expected, "as usual", f"{carrier} delivers in time again; {seen.cases} orders came late or are overdue."
    observed = f"{seen.bad:.0f} of {seen.total:.0f}"
    return expected, observed, f"{carrier} is late: {observed} parcels not delivered {when}, {seen.usual:.0%} is usual."


def _exception_words(seen: Seen) -> tuple[str, str, str]:
    carrier = dict(seen.scope)["carrier"]
    expected, observed = f"{seen.usual:.1%} of parcels meet an obstacle", f"{seen.bad:.0f} of {seen.total:.0f}"
    ended = "; over now" if seen.closed else ""
    return expected, observed, f"{carrier} reports obstacles for {observed} parcels in {seen.within}{ended}."


def carrier_judges(late: Policy[LateRule], exceptions: Policy[RateRule]) -> list[ScopeDetector]:
    """The second parts."""
    return [
        ParcelWatch(late),
        RateWatch(
            "carrier_exceptions",
            "carrier_delay",
            _EXCEPTION,
            exceptions,
            _exception_words,
            handoff="delivery",
            severity="medium",
        ),
    ]
