"""Carriers: parcels that are not delivered when they usually are, or should be, and obstacles they report.

A parcel is looked at after parts of the time that the carrier gave itself. The early parts only count where that is
within a day: a parcel that spends a night in a van is as far as it was.
"""

from collections.abc import Mapping

import msgspec

from operators.detectors.ageing import Ageing, AgeRule, AgeState, AgeWatch, Waiting
from operators.detectors.events import Collected, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.policy import Policy
from operators.detectors.rates import RateRule, RateState, RateWatch, Seen
from operators.detectors.records import Impact, scoped
from operators.detectors.scopes import ScopeDetector
from schemas.durations import DAY_US, HOUR_US, Duration, to_us
from schemas.events import Arrived, EventBase, ShipmentDelivered, ShipmentDispatched, ShipmentException

_TRANSIT, _EXCEPTION = "parcel", "parcel_exception"
#: Parts of the promised time (%) at which a parcel is looked at; the last is when it was promised to be there.
_PARTS = (75, 90, 100)
_SAME_DAY_US = 12 * HOUR_US


class CarrierSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds for carriers.

    `late` judges parts of the promised time in the place of ages. It names those whose promised time is over:
    `named_from` and `named_usual` do nothing here. Which parcels arrived is remembered for `remembered`.
    """

    late: AgeRule = AgeRule(share=0.25, quiet=Duration(HOUR_US), learnt=20, most_usual=0.1, early=1.0)
    exceptions: RateRule = RateRule(
        window=Duration(3 * HOUR_US),
        least=8,
        share=0.1,
        times=5,
        score=6,
        usual=0.02,
        quiet=Duration(2 * HOUR_US),
        memory=Duration(7 * DAY_US),
    )
    remembered: Duration = Duration(6 * HOUR_US)


class Parcels(Ageing):
    """The first part: parcels from dispatch to delivery, and obstacles among deliveries."""

    def __init__(self, book: OrderBook, remembered_us: int) -> None:
        super().__init__(_TRANSIT, _PARTS, remembered_us)
        self._book = book

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

    def impact(self, key: str, work: Waiting) -> Impact:
        """The order."""
        del key
        return self._book.impact(work.order_id)

    def _dispatched(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ShipmentDispatched)
        if not event.carrier or event.expected_at is None:
            return
        until_us = to_us(event.expected_at)
        if until_us <= arrived.arrival_us:
            return
        scope = scoped(carrier=event.carrier)
        self.begin(event.shipment_id, arrived, scope, event.order_id, out, until_us=until_us)
        work = self._waiting.get(event.shipment_id)
        if work is not None and work.next == 0 and until_us - work.begun_us > _SAME_DAY_US:
            work.next = len(_PARTS) - 1
            self.set_timer(until_us, event.shipment_id)

    def _delivered(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ShipmentDelivered)
        work = self.end(event.shipment_id, arrived, out)
        carrier = event.carrier or (dict(work.scope)["carrier"] if work is not None else "")
        if carrier:
            out.good(_EXCEPTION, scoped(carrier=carrier), arrived.arrival_us)

    def _met(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ShipmentException)
        work = self._waiting.get(event.shipment_id)
        carrier = event.carrier or (dict(work.scope)["carrier"] if work is not None else "")
        if carrier:
            impact = self._book.impact(event.order_id)
            scope = scoped(carrier=carrier)
            out.bad(_EXCEPTION, scope, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact)


class ParcelWatch(AgeWatch):
    """The second part: too many parcels of a carrier are under way longer than is usual."""

    def is_known(self, age: RateState, index: int, rule: AgeRule) -> bool:
        """As `AgeWatch`; what a carrier promised needs no learning."""
        return index == len(_PARTS) - 1 or super().is_known(age, index, rule)

    def naming_age(self, state: AgeState, rule: AgeRule) -> int:
        """As `AgeWatch`: those are touched whose promised time is over."""
        del state, rule
        return len(_PARTS) - 1


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


def carrier_judges(late: Policy[AgeRule], exceptions: Policy[RateRule]) -> list[ScopeDetector]:
    """The second parts."""
    return [
        ParcelWatch("carrier_late", "carrier_delay", _TRANSIT, _PARTS, late, _late_words, handoff="delivery"),
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
