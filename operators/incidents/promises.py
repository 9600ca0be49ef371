"""Which promises to customers an incident is expected to break, and when they will be kept instead."""

from operators.incidents.delays import Delays
from operators.incidents.records import Record, Touched
from schemas.durations import SECOND_US


def predict(record: Record, delays: Delays, now_us: int) -> None:
    """Say which promises will be missed: of new cases at once, of all whenever the incident is twice as old.

    A prediction is not revised in between, so that an order is written a few times, not every minute.
    """
    kind = record.root.kind
    if record.predicted_kind != kind or (record.predict_us <= now_us and record.open_findings):
        record.predicted_kind = kind
        record.predict_us = _next_us(record, delays, now_us)
        for key, touched in record.orders.items():
            if _predict(touched, kind, delays, now_us):
                record.fresh_orders.append(key)
        _add_up_all(record)
        return
    again = False
    for key in record.fresh_orders:
        touched = record.orders[key]
        again = again or touched.breach_us is not None
        _predict(touched, kind, delays, now_us)
        _add_up(record, touched)
    if again:
        _add_up_all(record)


def _next_us(record: Record, delays: Delays, now_us: int) -> int:
    """At the age that is usual, then at twice, four times of it."""
    usual = delays.of(record.root.kind, 0.0)
    first_us = record.root_part.first_us
    if usual is None:
        return 1 << 62
    return max(first_us + round(usual.middle_s * SECOND_US), now_us + max(SECOND_US, now_us - first_us))


def _predict(touched: Touched, kind: str, delays: Delays, now_us: int) -> bool:
    """When the promise is expected to be kept, where that is too late; whether that changed."""
    before = touched.breach_us, touched.error_s
    promised_us = touched.impact.promised_us
    touched.breach_us = touched.error_s = None
    delay = None if promised_us is None else delays.of(kind, (now_us - touched.touched_us) / SECOND_US)
    if delay is not None and promised_us is not None:
        expected_us = touched.touched_us + round(delay.middle_s * SECOND_US)
        if expected_us > promised_us:
            touched.breach_us, touched.error_s = expected_us, round(delay.error_s, 3)
    return before != (touched.breach_us, touched.error_s)


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
