"""Cases with one pass and nothing else, where a kind of case has but one handoff: begun and ended in one go.

What is done here is what `operators/case_straight.py` and `CaseKind` do for any case, on one small record of bytes
(operators/case_record.py) instead of a case with its lists; whatever is more than that makes a `Case` of it first.
tests/test_handoff_straight.py holds one against the other.
"""

from functools import partial

from operators.case_kind import CaseKind
from operators.case_record import ENDED, ENDED_FORM, MOST_BYTES, NONE_US, OPEN, OPEN_FORM, OPEN_SIZE
from operators.case_rules import CaseRules
from operators.case_state import Status
from operators.case_steps import CaseSteps, Lone, Step
from operators.findings import AHEAD_US, BEHIND_US
from operators.handoff_changes import NEVER_US
from schemas.durations import SECOND_US
from schemas.events import EventBase
from schemas.rows import HandoffPass

_OPEN, _DONE = Status.OPEN, Status.DONE


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
    at_rest, keep = cases.at_rest, cases.keep_at_rest
    places, behind_us, least_us = changes.places(entry), min(changes.correctable_us, BEHIND_US), -AHEAD_US
    form = partial(OPEN_FORM.pack, OPEN, begins, entry)

    def begin(case_id: str, event: EventBase, occurred_us: int, arrival_us: int) -> bool:
        if not least_us <= arrival_us - occurred_us <= behind_us or case_id in cases.young or at_rest(case_id) != b"":
            return False
        due_us = expiry_us = arrival_us + retention_us
        deadline_us, carried_us = None, NONE_US
        if after_us is not None:
            deadline_us = carried_us = occurred_us + after_us
            if deadline_us < arrival_us:
                return False
            due_us = min(due_us, deadline_us)
        scope = getattr(event, scope_field) if scope_field else None
        scope = "" if scope is None else str(scope)
        id_text, scope_text = event.event_id.encode(), scope.encode()
        if len(scope_text) > MOST_BYTES:
            return False
        version = arrival_us if arrival_us > 0 else 1
        head = form(due_us, expiry_us, arrival_us, occurred_us, carried_us, len(id_text), len(scope_text))
        keep(case_id, head + id_text + scope_text)
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
        series, keys, times = places.get(scope) or changes.place(entry, scope)
        keys.append(series)
        times += (arrival_us, occurred_us, NEVER_US, NEVER_US if deadline_us is None else deadline_us, 0)
        return True

    return begin


def _ending(step: Step, kind: CaseKind, rules: CaseRules, *, begins: bool) -> Lone:
    """End the pass in time, in the scope that it has."""
    handoff, entry, scope_field = step.handoff, step.entry, step.scope_field
    name, scope_by, retention_us = handoff.name, handoff.scope, kind.retention_us
    cases, changes, tell = kind.cases, rules.changes, rules.out.append
    at_rest, keep = cases.at_rest, cases.keep_at_rest
    places, correctable_us = changes.places(entry), changes.correctable_us
    numbers_of, form = OPEN_FORM.unpack_from, partial(ENDED_FORM.pack, ENDED)

    def end(case_id: str, event: EventBase, occurred_us: int, arrival_us: int) -> bool:
        record = at_rest(case_id)  # those among the young have none
        if not record or record[0] != OPEN:
            return False
        _, began, place, due_us, expiry_us, begun_us, start_us, due_by_us, id_bytes, scope_bytes = numbers_of(record)
        if due_us < arrival_us or expiry_us < arrival_us or not start_us <= occurred_us >= arrival_us - correctable_us:
            return False
        deadline_us = None if due_by_us == NONE_US else due_by_us
        if deadline_us is not None and occurred_us > deadline_us:
            return False
        ended_in = getattr(event, scope_field) if scope_field else None
        ended_text = b"" if ended_in is None else str(ended_in).encode()
        scope_text = record[OPEN_SIZE + id_bytes :]
        if ended_text == scope_text and ended_in is not None:
            scope = str(ended_in)
        elif len(ended_text) > (MOST_BYTES if scope_text else 0):
            return False
        else:
            scope = scope_text.decode()
        known = begun_us if begun_us > 0 else 1
        version = known + 1 if known >= arrival_us else arrival_us
        if due_us > arrival_us + retention_us:  # as `CaseKind.arrived`
            due_us = arrival_us + retention_us
            kind.timers.add(due_us, case_id)
        id_text = event.event_id.encode()
        head = form(
            began or begins,
            place,
            due_us,
            expiry_us,
            arrival_us,
            start_us,
            due_by_us,
            occurred_us,
            version,
            id_bytes,
            scope_bytes,
            len(id_text),
            len(ended_text),
        )
        keep(case_id, head + record[OPEN_SIZE:] + id_text + ended_text)
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
        series, keys, moments = places.get(scope) or changes.place(entry, scope)
        keys.append(series)
        moments += (arrival_us, start_us, occurred_us, NEVER_US if deadline_us is None else deadline_us, 1)
        return True

    return end
