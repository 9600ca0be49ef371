"""What is said of a pass: its row and its signals, in words an operations lead understands."""

from operators.case_plan import MOST_TELLING
from operators.case_state import Case, Finding, Marked, Pass, Seen, Status
from operators.findings import next_version, scope_of, signal_id
from operators.process_map import ExceptionRule, Forbidden, Handoff, Severity
from schemas.durations import SECOND_US, people_duration, people_time
from schemas.events import Arrived, field_of, type_name
from schemas.rows import HandoffPass, Signal

DETECTOR = "handoff_tracker"

_CASE_WORDS = {
    "order_id": "Order",
    "return_id": "Return",
    "po_id": "Purchase order",
    "reservation_id": "Reservation",
    "task_id": "Task",
    "shipment_id": "Shipment",
    "posting_id": "Posting",
    "reference": "Case",
    "correlation_id": "Case",
    "event_id": "Event",
}
_SCORES: dict[Severity, float] = {"info": 0.1, "low": 0.3, "medium": 0.5, "high": 0.8, "critical": 1.0}


def case_word(kind: str, case_id: str) -> str:
    """`Order 4711`."""
    return f"{_CASE_WORDS.get(kind, 'Case')} {case_id}"


def pass_row(handoff: Handoff, case_id: str, pass_key: str, current: Pass, seen: Seen, arrival_us: int) -> HandoffPass:
    """The row of a pass as it stands."""
    latency = None
    if current.start_us is not None and current.end_us is not None:
        latency = (current.end_us - current.start_us) / SECOND_US
    return HandoffPass(
        handoff=handoff.name,
        case_id=case_id,
        pass_key=pass_key,
        scope_by=handoff.scope,
        scope=seen.scope,
        started_at_us=current.start_us,
        ended_at_us=current.end_us,
        latency_s=latency,
        deadline_at_us=current.deadline_us,
        status=seen.status,
        arrival_us=arrival_us,
        version=current.version,
    )


def pass_signal(
    finding: Finding, handoff: Handoff, case_id: str, pass_key: str, current: Pass, arrival_us: int
) -> Signal:
    """The signal of a finding about a pass, open or closed as `current.signals` says."""
    opened_us, closed_us, found_us = current.signals[finding]
    expected, observed, sentence = _words(finding, handoff, current)
    which = f" ({pass_key})" if pass_key else ""
    at = f" at {handoff.scope} {current.scope}" if current.scope else ""
    return Signal(
        signal_id=signal_id(DETECTOR, finding, handoff.name, str(handoff.start), case_id, pass_key),
        detector=DETECTOR,
        kind=finding,
        handoff=handoff.name,
        scope=scope_of(handoff.scope, current.scope),
        case_id=case_id,
        opened_at_us=opened_us,
        found_at_us=found_us,
        closed_at_us=closed_us,
        severity=handoff.severity,
        score=_SCORES[handoff.severity],
        confidence=1.0,
        expected=expected,
        observed=observed,
        method="rule",
        explanation=f"{case_word(handoff.case, case_id)}{which}{at}: {sentence}",
        evidence=[event_id for event_id in (current.start_id, current.end_id) if event_id],
        arrival_us=arrival_us,
        version=current.version,
    )


def _words(finding: Finding, handoff: Handoff, current: Pass) -> tuple[str, str, str]:
    """Expected, observed, and the sentence of a finding."""
    start, end = str(handoff.start), str(handoff.end)
    step = handoff.title or handoff.name
    if finding is Finding.OVERDUE:
        return _overdue_words(step, end, current)
    if finding is Finding.MISSING_STEP:
        expected = f"{start} before {end}"
        if current.start_us is None:
            return expected, f"no {start}", f"{step}: {end} came, but no {start} before it."
        return expected, f"{start} came", f"{step}: {start} was missing and has come since."
    expected = f"{start} before {end}"
    if current.seen().status is not Status.OUT_OF_SEQUENCE or current.start_us is None or current.end_us is None:
        return expected, "in sequence", f"{step}: {start} turned out to have come before {end}."
    ahead = people_duration(current.start_us - current.end_us)
    return expected, f"{end} {ahead} earlier", f"{step}: {end} happened {ahead} before {start}."


def _overdue_words(step: str, end: str, current: Pass) -> tuple[str, str, str]:
    closed_us = current.signals[Finding.OVERDUE][1]
    due = people_time(current.deadline_us) if current.deadline_us is not None else "no deadline any more"
    expected = f"{end} by {due}"
    if current.end_us is None:
        if current.given_up_us is not None:
            given_up = people_time(current.given_up_us)
            return expected, "given up", f"{step}: {end} was due {due}; given up {given_up}."
        if closed_us is not None:
            return expected, "given more time", f"{step}: {end} had not come in time and is now due {due}."
        return expected, "did not come", f"{step}: {end} was due {due} and has not come."
    by = current.end_us - (current.deadline_us if current.deadline_us is not None else current.end_us)
    if closed_us is not None and current.deadline_us is not None and closed_us <= current.deadline_us:
        return expected, "given more time", f"{step}: {end} had not come in time, and came by what is now due ({due})."
    if by <= 0:
        after = people_duration(closed_us - current.deadline_us) if closed_us and current.deadline_us else "later"
        said = f"{step}: {end} happened in time but was reported {after} after it was due ({due})."
        return expected, f"reported {after} late", said
    late = people_duration(by)
    return expected, f"{late} late", f"{step}: {end} came {late} after it was due ({due})."


def duplicate_findings(
    handoff: Handoff, case_id: str, pass_key: str, first_id: str, arrived: Arrived, *, is_start: bool
) -> tuple[HandoffPass, Signal]:
    """The row and the signal of an event that repeats a step which may not be repeated."""
    event = arrived.event
    scope = field_of(event, handoff.scope) if handoff.scope else ""
    repeated = f"{event.source}/{event.event_id}"
    name = type_name(event)
    row = HandoffPass(
        handoff=handoff.name,
        case_id=case_id,
        pass_key=f"{pass_key}#{repeated}",
        scope_by=handoff.scope,
        scope=scope,
        started_at_us=arrived.occurred_us if is_start else None,
        ended_at_us=None if is_start else arrived.occurred_us,
        latency_s=None,
        deadline_at_us=None,
        status=Status.DUPLICATE,
        arrival_us=arrived.arrival_us,
        version=next_version(0, arrived.arrival_us),
    )
    signal = Signal(
        signal_id=signal_id(DETECTOR, "duplicate", handoff.name, case_id, pass_key, repeated),
        detector=DETECTOR,
        kind="duplicate",
        handoff=handoff.name,
        scope=scope_of(handoff.scope, scope),
        case_id=case_id,
        opened_at_us=arrived.occurred_us,
        found_at_us=arrived.arrival_us,
        closed_at_us=arrived.occurred_us,
        severity=handoff.severity,
        score=_SCORES[handoff.severity],
        confidence=1.0,
        expected=f"{name} once",
        observed=f"again as event {event.event_id} of {event.source}",
        method="rule",
        explanation=f"{case_word(handoff.case, case_id)}: {name} came again under another event id "
        f"({event.event_id}, first {first_id}).",
        evidence=[first_id, event.event_id],
        arrival_us=arrived.arrival_us,
        version=next_version(0, arrived.arrival_us),
    )
    return row, signal


def forbidden_signal(rule: Forbidden, case_id: str, case: Case, marked: Marked, arrival_us: int) -> Signal:
    """The signal of an impossible state."""
    assert marked.event_us is not None
    assert marked.after_us is not None
    after = people_duration(marked.event_us - marked.after_us)
    return Signal(
        signal_id=signal_id(DETECTOR, "impossible_state", rule.name, case_id),
        detector=DETECTOR,
        kind="impossible_state",
        handoff=rule.name,
        scope=scope_of(rule.scope, case.scopes[marked.scope]),
        case_id=case_id,
        opened_at_us=marked.event_us,
        found_at_us=arrival_us,
        closed_at_us=None,
        severity=rule.severity,
        score=_SCORES[rule.severity],
        confidence=1.0,
        expected=f"no {rule.event} after {rule.after}",
        observed=f"{rule.event} {after} after {rule.after}",
        method="rule",
        explanation=f"{case_word(rule.case, case_id)}: {rule.title or rule.name}: "
        f"{rule.event} happened {after} after {rule.after}.",
        evidence=[case.ids[marked.after_id], case.ids[marked.event_id]],
        arrival_us=arrival_us,
        version=next_version(0, arrival_us),
    )


def exception_signal(rule: ExceptionRule, arrived: Arrived) -> Signal:
    """The signal of an event that is a finding by itself.

    It is about no case where the event lacks the id that the rule names: a putaway that is rejected has no order.
    """
    event = arrived.event
    told = next((name for name in (rule.case or "", *MOST_TELLING) if field_of(event, name)), "event_id")
    case_id = field_of(event, rule.case or told)
    scope = field_of(event, rule.scope) if rule.scope else ""
    reason = field_of(event, "reason") or field_of(event, "error_code")
    because = f", reason {reason}" if reason else ""
    at = f" at {rule.scope} {scope}" if scope else ""
    return Signal(
        signal_id=signal_id(DETECTOR, rule.name, event.source, event.event_id),
        detector=DETECTOR,
        kind=rule.name,
        handoff="",
        scope=scope_of(rule.scope, scope),
        case_id=case_id,
        opened_at_us=arrived.occurred_us,
        found_at_us=arrived.arrival_us,
        closed_at_us=arrived.occurred_us,
        severity=rule.severity,
        score=_SCORES[rule.severity],
        confidence=1.0,
        expected=f"no {rule.event}",
        observed=f"{rule.event}{because}",
        method="rule",
        explanation=f"{case_word(told, field_of(event, told))}{at}: {rule.title or rule.name}{because}.",
        evidence=[event.event_id],
        arrival_us=arrived.arrival_us,
        version=next_version(0, arrived.arrival_us),
    )
