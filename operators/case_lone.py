"""Cases with one pass and nothing else, where a kind of case has but one handoff: begun, ended and forgotten in one go.

What is done here is what `operators/case_straight.py` and `CaseKind` do for any case, on one small record instead of a
case with its lists; whatever is more than that makes a `Case` of it first. tests/test_handoff_straight.py holds one
against the other.
"""

from operators.case_kind import CaseKind
from operators.case_passes import place_of
from operators.case_rules import CaseRules
from operators.case_state import Case, LoneCase, PassKey, PassRecord, Status
from operators.case_steps import CaseSteps, Lone, Step
from operators.findings import AHEAD_US, BEHIND_US
from operators.handoff_changes import NEVER_US
from schemas.durations import SECOND_US
from schemas.events import EventBase
from schemas.rows import HandoffPass

_OPEN, _DONE = Status.OPEN, Status.DONE


def unfolded(case: LoneCase) -> Case:
    """The same as a case of which anything can be said."""
    ids, scopes = [""], [""]
    record = PassRecord(
        case.start_us,
        case.end_us,
        place_of(ids, case.start_id),
        place_of(ids, case.end_id),
        place_of(scopes, case.start_scope),
        place_of(scopes, case.end_scope),
        case.deadline_us,
        case.version,
    )
    passes: dict[PassKey, PassRecord] = {case.entry: record}
    return Case(case.due_us, case.expiry_us, case.last_arrival_us, ids, scopes, passes, case.began)


def lone(plan: CaseSteps, kind: CaseKind, rules: CaseRules) -> Lone | None:
    """The way for lone cases, None where the events of a plan can mean more than a begin or an end."""
    if not kind.is_lone or plan.straight is None or len(plan.steps) != 1 or plan.marks or plan.times:
        return None
    (step,) = plan.steps
    if step.handoff.per or step.handoff.deadline_at is not None:
        return None
    begins = bool(plan.begins)
    return _starting(step, kind, rules, begins=begins) if step.is_start else _ending(step, kind, rules, begins=begins)


def _starting(step: Step, kind: CaseKind, rules: CaseRules, *, begins: bool) -> Lone:
    """Begin a case that nothing was known of, whose deadline has not passed."""
    handoff, entry, scope_field = step.handoff, step.entry, step.scope_field
    name, scope_by, after_us, retention_us = handoff.name, handoff.scope, handoff.deadline, kind.retention_us
    cases, changes, tell = kind.cases, rules.changes, rules.out.append
    places, behind_us, least_us = changes.places(entry), min(changes.correctable_us, BEHIND_US), -AHEAD_US

    def begin(case_id: str, event: EventBase, occurred_us: int, arrival_us: int) -> bool:
        if not least_us <= arrival_us - occurred_us <= behind_us or case_id in cases:
            return False
        due_us = expiry_us = arrival_us + retention_us
        deadline_us: int | None = None
        if after_us is not None:
            deadline_us = occurred_us + after_us
            if deadline_us < arrival_us:
                return False
            due_us = min(due_us, deadline_us)
        scope = getattr(event, scope_field) if scope_field else None
        scope = "" if scope is None else str(scope)
        series, keys, times = places.get(scope) or changes.place(entry, scope)
        scope = series[1]  # one text for all cases of a scope
        version = arrival_us if arrival_us > 0 else 1
        cases.put(
            case_id,
            LoneCase(
                due_us,
                expiry_us,
                arrival_us,
                entry,
                occurred_us,
                None,
                event.event_id,
                "",
                scope,
                "",
                deadline_us,
                version,
                begins,
            ),
        )
        kind.timers.add(due_us, case_id)
        rules.open_passes += 1
        tell(
            HandoffPass(
                name,
                case_id,
                "",
                scope_by,
                scope,
                occurred_us,
                None,
                None,
                deadline_us,
                _OPEN,
                arrival_us,
                version,
            )
        )
        keys.append(series)
        times += (arrival_us, occurred_us, NEVER_US, NEVER_US if deadline_us is None else deadline_us, 0)
        return True

    return begin


def _ending(step: Step, kind: CaseKind, rules: CaseRules, *, begins: bool) -> Lone:
    """End the pass in time, in the scope that it has."""
    handoff, entry, scope_field = step.handoff, step.entry, step.scope_field
    name, scope_by = handoff.name, handoff.scope
    cases, changes, tell = kind.cases, rules.changes, rules.out.append
    places, correctable_us = changes.places(entry), changes.correctable_us

    def end(case_id: str, event: EventBase, occurred_us: int, arrival_us: int) -> bool:
        case = cases.young.get(case_id) or cases.get(case_id)
        if not isinstance(case, LoneCase) or case.end_us is not None or occurred_us < arrival_us - correctable_us:
            return False
        start_us, deadline_us = case.start_us, case.deadline_us
        if case.due_us < arrival_us or case.expiry_us < arrival_us:
            return False
        if occurred_us < start_us or (deadline_us is not None and occurred_us > deadline_us):
            return False
        scope = case.start_scope
        ended_in = getattr(event, scope_field) if scope_field else None
        if ended_in is not None and ended_in != scope:
            ended_in = str(ended_in)
            if ended_in and not scope:
                return False
            case.end_scope = ended_in
        elif ended_in is not None:
            case.end_scope = scope
        version = case.version + 1 if case.version >= arrival_us else arrival_us
        case.end_us, case.end_id, case.version, case.last_arrival_us = occurred_us, event.event_id, version, arrival_us
        if begins:
            case.began = True
        kind.arrived(case_id, case, arrival_us)
        rules.open_passes -= 1
        tell(
            HandoffPass(
                name,
                case_id,
                "",
                scope_by,
                scope,
                start_us,
                occurred_us,
                (occurred_us - start_us) / SECOND_US,
                deadline_us,
                _DONE,
                arrival_us,
                version,
            )
        )
        series, keys, times = places.get(scope) or changes.place(entry, scope)
        keys.append(series)
        times += (arrival_us, start_us, occurred_us, NEVER_US if deadline_us is None else deadline_us, 1)
        return True

    return end
