"""Which promises to customers an incident is expected to break, and when they will be kept instead."""

from operators.detectors.records import CANCELLED
from operators.incidents.delays import Delays
from operators.incidents.journeys import Arrival, Journeys
from operators.incidents.kinds import kind_of
from operators.incidents.records import Record, Touched
from schemas.durations import MINUTE_US, SECOND_US

#: How often the orders under way are predicted anew: handoffs are counted in windows of this size.
_AGAIN_US = 5 * MINUTE_US
#: A predicted time that moved by less than this, or by less than this share of its bound, is not told anew.
_LEAST_US = 10 * MINUTE_US
_SHARE = 0.25
#: A bound that became wider or narrower by this factor is told anew.
_OTHER = 1.5


def predict(record: Record, delays: Delays, journeys: Journeys, now_us: int) -> None:
    """Say which promises will be missed, and when they are expected to be kept.

    Of orders of which it is known how far they are, `Journeys` tells; all of them every five minutes, until they are
    delivered. Of others `Delays` tells: when they are new, and whenever the incident is twice as old. So an order is
    written a few times, not every minute.
    """
    kind = record.root.kind
    is_due = record.predict_us <= now_us and (record.open_findings or record.on_the_way)
    if record.predicted_kind != kind or is_due:
        record.predicted_kind = kind
        record.on_the_way = _any_on_the_way(record, journeys)
        record.predict_us = now_us + _AGAIN_US if record.on_the_way else _next_us(record, delays, now_us)
        for key, touched in record.orders.items():
            if _predict(touched, kind, delays, journeys, now_us):
                record.fresh_orders.append(key)
        _add_up_all(record)
        return
    again = False
    for key in record.fresh_orders:
        touched = record.orders[key]
        again = again or touched.breach_us is not None
        _predict(touched, kind, delays, journeys, now_us)
        _add_up(record, touched)
        if not record.on_the_way and _is_on_the_way(touched, kind, journeys):
            record.on_the_way, record.predict_us = True, now_us + _AGAIN_US
    if again:
        _add_up_all(record)


def _any_on_the_way(record: Record, journeys: Journeys) -> bool:
    kind = record.root.kind
    return any(_is_on_the_way(touched, kind, journeys) for touched in record.orders.values())


def _is_on_the_way(touched: Touched, kind: str, journeys: Journeys) -> bool:
    """Whether it is known how far an order is that this kind can hold up."""
    if touched.standing is None or touched.impact.promised_us is None or kind_of(kind).holds_s is None:
        return False
    return not journeys.is_over(touched.standing)


def _next_us(record: Record, delays: Delays, now_us: int) -> int:
    """At the age that is usual, then at twice, four times of it."""
    usual = delays.of(record.root.kind, 0.0)
    first_us = record.root_part.first_us
    if usual is None:
        return 1 << 62
    return max(first_us + round(usual.middle_s * SECOND_US), now_us + max(SECOND_US, now_us - first_us))


def _predict(touched: Touched, kind: str, delays: Delays, journeys: Journeys, now_us: int) -> bool:
    """When the promise is expected to be kept, or was, where that is too late; whether that is anything new."""
    before = touched.breach_us, touched.error_s
    promised_us, standing = touched.impact.promised_us, touched.standing
    if standing is not None and journeys.is_over(standing):  # most of an old incident's: nothing is left to predict
        late = standing.link != CANCELLED and promised_us is not None and standing.since_us > promised_us
        late = late and kind_of(kind).holds_s is not None
        touched.breach_us, touched.error_s = (standing.since_us, 0.0) if late else (None, None)
        return before != (touched.breach_us, touched.error_s)
    touched.breach_us = touched.error_s = None
    expected = None if promised_us is None else _expected(touched, promised_us, kind, delays, journeys, now_us)
    if expected is not None and promised_us is not None and expected.at_us > promised_us:
        touched.breach_us, touched.error_s = expected.at_us, expected.error_s
        if before[0] is not None and expected.error_s and before[0] > now_us:
            moved_us = abs(expected.at_us - before[0])
            near = moved_us < max(_LEAST_US, _SHARE * expected.error_s * SECOND_US)
            if near and before[1] is not None and before[1] / _OTHER <= expected.error_s <= before[1] * _OTHER:
                touched.breach_us, touched.error_s = before
    return before != (touched.breach_us, touched.error_s)


def _expected(
    touched: Touched, promised_us: int, kind: str, delays: Delays, journeys: Journeys, now_us: int
) -> Arrival | None:
    """When an order under way is expected to be with its customer; None where this kind does not hold it up."""
    delay = delays.of(kind, (now_us - touched.touched_us) / SECOND_US)
    if delay is None:
        return None
    if touched.standing is not None:
        arrival = journeys.arrival(touched.standing, promised_us, now_us)
        if arrival is not None:
            return arrival
    return Arrival(touched.touched_us + round(delay.middle_s * SECOND_US), round(delay.error_s, 3))


def _add_up_all(record: Record) -> None:
    record.at_risk, record.first_promise_us, record.first_breach_us, record.breach_error_s = 0, None, None, None
    for touched in record.orders.values():
        _add_up(record, touched)


def _add_up(record: Record, touched: Touched) -> None:
    promised_us, breach_us = touched.impact.promised_us, touched.breach_us
    if breach_us is None or promised_us is None:
        return
    record.at_risk += 1
    if record.first_promise_us is None or promised_us < record.first_promise_us:
        record.first_promise_us = promised_us
    if record.first_breach_us is None or breach_us < record.first_breach_us:
        record.first_breach_us, record.breach_error_s = breach_us, touched.error_s
