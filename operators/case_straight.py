"""The straight way for what happens most: a pass begins that nothing was known of, ends in time, or is repeated.

`straight` makes a function of a step, once, with all that is always true of it worked out. It does what `CaseRules`
would do, or nothing at all, and says which; tests/test_handoff_straight.py holds it against them.
"""

from collections.abc import Callable
from typing import TypeAlias

from operators.case_kind import CaseKind
from operators.case_passes import pass_key_of, place_of, tidy
from operators.case_rules import CaseRules
from operators.case_state import Case, PassExtras, PassKey, PassRecord, Status
from operators.case_steps import Step, Straight
from operators.findings import AHEAD_US, BEHIND_US, OddTime
from operators.handoff_changes import NEVER_US, Place
from schemas.durations import SECOND_US
from schemas.events import EventBase
from schemas.rows import HandoffPass

_OPEN, _DONE = Status.OPEN, Status.DONE
_GOES_ON, _COMPLETED = 0, 1
#: Takes a case's id, the case, the pass's key, an event, its event time, its arrival, and what tells the pass apart.
Unbegun: TypeAlias = Callable[[str, Case, PassKey, EventBase, int, int, str], bool]


def straight(step: Step, kind: CaseKind, rules: CaseRules) -> Straight:
    """The straight way of a step that starts or ends a handoff with windows."""
    return _starting(step, kind, rules) if step.is_start else _ending(step, rules)


def _starting(step: Step, kind: CaseKind, rules: CaseRules) -> Straight:  # noqa: C901, PLR0915 - as `begin`
    """Begin a pass that nothing was known of, whose deadline has not passed."""
    handoff, entry, scope_field = step.handoff, step.entry, step.scope_field
    name, scope_by, per = handoff.name, handoff.scope, handoff.per
    per_field, prefix = step.per_field, f"{entry}/"
    after_us, is_carried = handoff.deadline, handoff.deadline_at is not None
    tell = rules.out.append
    is_quiet = handoff.repeat not in ("flag", "flag_start")
    places, place_for, correctable_us = _places(rules, entry)
    behind_us, least_us = min(correctable_us, BEHIND_US), -AHEAD_US

    def begin(  # noqa: C901, PLR0912 - the hot path: calls would cost as much as what they hold
        case_id: str, case: Case, event: EventBase, occurred_us: int, arrival_us: int
    ) -> bool:
        extras = None
        delay_us = arrival_us - occurred_us
        if delay_us > behind_us or delay_us < least_us:  # as `odd_time`
            if delay_us > correctable_us:
                return False
            extras = PassExtras(start_odd=OddTime(event.source, -delay_us))
        passes = case.passes
        key: PassKey = entry
        pass_key = ""
        if per:
            named = getattr(event, per_field) if per_field else None
            pass_key = named if isinstance(named, str) else pass_key_of(handoff, event)
            key = prefix + pass_key
        if case.cancelled_us is not None or case.cancelled_lines is not None:
            return False
        record = passes.get(key)
        if record is not None:  # a repeat that changes nothing, or more than can be said here
            known_us = record.start_us
            return is_quiet and record.extras is None and known_us is not None and known_us < occurred_us
        deadline_us: int | None = None
        if after_us is not None:
            deadline_us = occurred_us + after_us
        elif is_carried and case.times:
            deadline_us = rules.carried_deadline(handoff, entry, case, pass_key)
        if deadline_us is not None:
            if deadline_us < arrival_us:
                return False
            if deadline_us < case.due_us:
                kind.look_at(case_id, case, deadline_us)
        scope = getattr(event, scope_field) if scope_field else None
        scope_place = 0
        if scope is None:
            scope = ""
        elif case.scopes[-1] == scope:
            scope_place = len(case.scopes) - 1
        else:
            scope = str(scope)
            scope_place = place_of(case.scopes, scope)
        ids = case.ids
        if ids[-1] != event.event_id:
            ids.append(event.event_id)
        version = arrival_us if arrival_us > 0 else 1
        passes[key] = PassRecord(occurred_us, None, len(ids) - 1, 0, scope_place, 0, deadline_us, version, extras)
        rules.open_passes += 1
        tell(
            HandoffPass(
                name,
                case_id,
                pass_key,
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
        series, keys, times = places.get(scope) or place_for(entry, scope)
        keys.append(series)
        times += (arrival_us, occurred_us, NEVER_US, NEVER_US if deadline_us is None else deadline_us, _GOES_ON)
        return True

    return begin


def _repeated(case: Case, record: PassRecord, event: EventBase, scope_field: str) -> bool:
    """Two ends at the same time, an order's lines reserved at once: the end is the one whose id is less."""
    known_id = case.ids[record.end_id]
    if known_id < event.event_id:
        return True
    if known_id == event.event_id or record.start_us is None or (scope_field and not record.start_scope):
        return False  # the end may say where the pass is counted
    scope = getattr(event, scope_field) if scope_field else None
    record.end_id = place_of(case.ids, event.event_id)
    record.end_scope = place_of(case.scopes, "" if scope is None else str(scope))
    tidy(case)
    return True


def _unbegun(step: Step, rules: CaseRules) -> Unbegun:
    """End a pass without a start where that says nothing more: the start is optional, or the begin was not seen."""
    handoff, scope_field = step.handoff, step.scope_field
    name, scope_by, is_optional = handoff.name, handoff.scope, handoff.start_optional
    tell = rules.out.append

    def unbegun(
        case_id: str, case: Case, key: PassKey, event: EventBase, occurred_us: int, arrival_us: int, pass_key: str
    ) -> bool:
        if case.cancelled_us is not None or case.cancelled_lines is not None or (case.began and not is_optional):
            return False
        if not arrival_us - BEHIND_US <= occurred_us <= arrival_us + AHEAD_US:
            return False  # the start may come, and the end turn out to be before it
        scope = getattr(event, scope_field) if scope_field else None
        scope = "" if scope is None else str(scope)
        version = 0 if is_optional else max(1, arrival_us)
        event_place, scope_place = place_of(case.ids, event.event_id), place_of(case.scopes, scope)
        case.passes[key] = PassRecord(None, occurred_us, 0, event_place, 0, scope_place, None, version)
        if not is_optional:
            tell(
                HandoffPass(
                    name,
                    case_id,
                    pass_key,
                    scope_by,
                    scope,
                    None,
                    occurred_us,
                    None,
                    None,
                    _DONE,
                    arrival_us,
                    version,
                )
            )
        tidy(case)
        return True

    return unbegun


def _places(rules: CaseRules, entry: int) -> tuple[dict[str, Place], Callable[[int, str], Place], int]:
    """Where changes of a handoff are noted, what makes such a place, and how old may be what goes there."""
    changes = rules.changes
    return changes.places(entry), changes.place, changes.correctable_us


def _ending(step: Step, rules: CaseRules) -> Straight:  # noqa: C901 - as `end`
    """End a pass that is open, in time, in the scope that it has."""
    handoff, entry, scope_field = step.handoff, step.entry, step.scope_field
    name, scope_by, per = handoff.name, handoff.scope, handoff.per
    per_field, prefix = step.per_field, f"{entry}/"
    is_quiet = handoff.repeat not in ("flag", "flag_end")
    unbegun, tell = _unbegun(step, rules), rules.out.append
    places, place_for, correctable_us = _places(rules, entry)

    def end(  # noqa: C901 - as `begin`
        case_id: str, case: Case, event: EventBase, occurred_us: int, arrival_us: int
    ) -> bool:
        if occurred_us < arrival_us - correctable_us:
            return False
        key: PassKey = entry
        pass_key = ""
        if per:
            named = getattr(event, per_field) if per_field else None
            pass_key = named if isinstance(named, str) else pass_key_of(handoff, event)
            key = prefix + pass_key
        record = case.passes.get(key)
        if record is None:
            return unbegun(case_id, case, key, event, occurred_us, arrival_us, pass_key)
        if case.cancelled_lines is not None or not (record.extras is None or record.extras.is_only_odd):
            return False
        ended_us = record.end_us
        if ended_us is not None:  # a repeat that changes nothing, or more than can be said here
            if is_quiet and ended_us == occurred_us:
                return _repeated(case, record, event, scope_field)
            return is_quiet and ended_us < occurred_us
        start_us, deadline_us = record.start_us, record.deadline_us
        if start_us is None or occurred_us < start_us or (deadline_us is not None and occurred_us > deadline_us):
            return False
        scopes = case.scopes
        scope_place = record.start_scope
        scope = scopes[scope_place]
        ended_in = getattr(event, scope_field) if scope_field else None
        if ended_in is None:
            scope_place = 0
        elif ended_in != scope:
            ended_in = str(ended_in)
            if ended_in and not scope_place:
                return False
            scope_place = place_of(scopes, ended_in)
        ids = case.ids
        if ids[-1] != event.event_id:
            ids.append(event.event_id)
        version = record.version + 1 if record.version >= arrival_us else arrival_us
        record.end_us, record.end_id, record.end_scope, record.version = occurred_us, len(ids) - 1, scope_place, version
        rules.open_passes -= 1
        tell(
            HandoffPass(
                name,
                case_id,
                pass_key,
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
        series, keys, times = places.get(scope) or place_for(entry, scope)
        keys.append(series)
        times += (arrival_us, start_us, occurred_us, NEVER_US if deadline_us is None else deadline_us, _COMPLETED)
        return True

    return end
