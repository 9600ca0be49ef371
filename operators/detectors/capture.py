"""Order capture: its thresholds, and what both of its detectors say of an order.

Both see `order.created` of the whole retailer in one place, the interface group (the router sends it there as well as
to the order's own group). An order's own group knows nothing of other orders, as it must: key groups hold arbitrary
sets of orders. But whether an order repeats another one under a new id, or lacks what orders of its channel usually
carry, is a question about other orders. Dealing orders out by a hash of their content would answer the first only, and
every detector of cases would see strangers' orders. One group can bear it: orders are one or two events in a hundred,
at a few µs each.
"""

import msgspec

from operators.detectors.order_facts import lines_of, worth_of
from operators.detectors.policy import ByScope, OfAll
from operators.detectors.rates import RateRule
from operators.detectors.records import Impact
from operators.findings import next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration, to_us
from schemas.events import Arrived, OrderCreated
from schemas.rows import Signal


class CaptureSettings(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When order capture is broken.

    An order repeats another one when it has its idempotency key, or its customer and lines, and was placed `within` of
    it. `required` names what orders must carry (`customer_id`, `unit_price`, `lines`, …); where it is empty, that is
    learnt by channel: what at least `carried` of `learn_from` orders or more have, learnt anew every `learn_every`.
    """

    duplicates: RateRule = RateRule(share=0.03, times=4.0, score=6.0, usual=0.004)
    within: OfAll[Duration] = Duration(10 * MINUTE_US)
    incomplete: RateRule = RateRule(window=Duration(HOUR_US), share=0.05, times=4.0, score=6.0, usual=0.005)
    required: list[str] = msgspec.field(default_factory=list)
    carried: float = 0.98
    learn_from: int = 200
    learn_every: Duration = Duration(DAY_US)


def impact_of(event: OrderCreated) -> Impact:
    """What is touched when the whole of an order is, as it was captured."""
    units, value, margin = worth_of(lines_of(event))
    return Impact(
        event.order_id,
        customer_id=event.customer_id or "",
        units=units,
        value=value,
        margin=margin,
        currency=event.currency or "",
        promised_us=None if event.promised_at is None else to_us(event.promised_at),
    )


def order_signal(
    detector: str, kind: str, arrived: Arrived, words: tuple[str, str, str], evidence: list[str]
) -> Signal:
    """A finding about one order as it was captured; `words` are expected, observed, and the sentence."""
    event = arrived.event
    assert isinstance(event, OrderCreated)
    return Signal(
        signal_id=signal_id(detector, kind, event.order_id, event.source, event.event_id),
        detector=detector,
        kind=kind,
        handoff="",
        scope={"channel": event.channel} if event.channel else {},
        case_id=event.order_id,
        opened_at_us=arrived.occurred_us,
        found_at_us=arrived.arrival_us,
        closed_at_us=arrived.occurred_us,
        severity="medium",
        score=0.5,
        confidence=1.0,
        expected=words[0],
        observed=words[1],
        method="rule",
        explanation=words[2],
        evidence=evidence,
        arrival_us=arrived.arrival_us,
        version=next_version(0, arrived.arrival_us),
    )
