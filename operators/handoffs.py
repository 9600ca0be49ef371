"""Following each case through the process map: latency, what is overdue, out of sequence, twice or impossible."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from operators.case_passes import Before, cancel, deadline_of, entries_of, pass_key_of, revised, time_name, touch
from operators.case_plan import CasePlan, EventPlan, Part, compile_plans, time_field
from operators.case_state import Case, CaseState, Finding, HandoffState, Marked, Pass, Seen, earlier
from operators.findings import Cause, Output, PassChange, next_version
from operators.handoff_findings import (
    duplicate_findings,
    exception_signal,
    forbidden_signal,
    pass_row,
    pass_signal,
)
from operators.process_map import Handoff, ProcessMap
from schemas.durations import END_OF_TIME_US, to_us
from schemas.errors import StateError
from schemas.events import Arrived, EventBase, field_of, type_name

_Timer: TypeAlias = tuple[int, str, str, str, int, str]
_DEADLINE, _GRACE, _EXPIRY = "deadline", "grace", "expiry"
_NOTHING: tuple[Finding, ...] = ()


def _owns_all(_: str) -> bool:
    return True


class HandoffTracker:
    """Follow each case through the process map.

    Given events in arrival order, returns rows and signals as they change, and a `PassChange` for the windows.
    A pass is the earliest start and the earliest end (event time) of one (case, `per` fields): what it ends up as
    does not depend on the order of arrival.

    - Late and repeated events: a start or end that arrives later but happened earlier moves the pass and corrects its
      row; a repeat is ignored (`repeat = "first"`) or a finding (`"flag"`).
    - Deadlines run on arrival time: overdue is found when time passes the deadline, before any event that arrived
      later; an end that happened in time but arrived late closes the finding and says so.
    - Cancelled cases: open passes end as `cancelled`, nothing more is overdue.
    - Cases that start in the middle: no pass without its start; a missing start is a finding only when the case's
      beginning was seen, and only after `sequence_grace`.
    - Where the start is optional (`start_optional`), an end without one is no pass and no finding.
    - A pass whose end happened before its start is `out_of_sequence` and has no part in latency windows.

    Args:
        process: the map.
        owns: whether a case id belongs to this key group; asked where an event belongs to several cases.

    Memory: one record for each open case, dropped `retention` after its last event once all its passes are over, or
    `abandon_after` its last event and deadlines if they never are (its backlog ends then). Cost: O(handoffs of the
    event's type) per event, O(log n) per timer.
    """

    VERSION = 2

    def __init__(self, process: ProcessMap, owns: Callable[[str], bool] = _owns_all) -> None:
        self.process = process
        self.entries, self.visible = entries_of(process)
        expanded = msgspec.structs.replace(process, handoff=self.entries)
        self._plans = compile_plans(expanded)
        self._timed: dict[str, list[Handoff]] = {
            name: [one for one in self.entries if one.deadline_at is not None and one.deadline_at.field == name]
            for name in {one.deadline_at.field for one in self.entries if one.deadline_at is not None}
        }
        self._owns = owns
        self._rules = {kind: process.case_rule(kind) for kind in _kinds(self._plans.values())}
        self._cases: dict[str, dict[str, Case]] = {kind: {} for kind in self._rules}
        self._timers: list[_Timer] = []
        self._open = 0
        self._out: list[Output] = []

    def update(self, events: Sequence[Arrived]) -> list[Output]:
        """Take events in the order of the log; timers that run out before an event fire before it."""
        for arrived in events:
            if self._timers and self._timers[0][0] < arrived.arrival_us:
                self._fire(arrived.arrival_us)
            plan = self._plans.get(type(arrived.event))
            if plan is None:
                continue
            event = arrived.event
            shared = len(plan.id_fields) > 1
            for case_plan in plan.cases:
                case_id = getattr(event, case_plan.id_field)
                if case_id is None or (shared and not self._owns(case_id)):
                    continue
                self._apply(case_plan, case_id, arrived)
            if plan.exceptions:
                first = next(iter(plan.case_ids(event)), event.event_id)
                if not shared or self._owns(first):
                    self._except(plan.exceptions, plan.id_fields[0], first, arrived)
        return self._take()

    def advance(self, watermark: int) -> list[Output]:
        """Time has come to `watermark` (arrival, microseconds): fire the deadlines that lie before it."""
        self._fire(watermark)
        return self._take()

    def __len__(self) -> int:
        """How many cases are remembered."""
        return sum(len(cases) for cases in self._cases.values())

    # --- events ---------------------------------------------------------------------------------------------

    def _apply(self, plan: CasePlan, case_id: str, arrived: Arrived) -> None:
        event = arrived.event
        roles = [role for role in plan.roles if not role.pattern.where or role.pattern.matches(event)]
        marks = [mark for mark in plan.marks if mark.pattern.matches(event)] if plan.marks else ()
        begins = bool(plan.begins) and any(pattern.matches(event) for pattern in plan.begins)
        cancels = bool(plan.cancels) and any(pattern.matches(event) for pattern in plan.cancels)
        times = [name for name in plan.times if time_field(event, name) is not None] if plan.times else ()
        if not (roles or marks or begins or cancels or times):
            return
        case = self._case(plan.kind, case_id, arrived.arrival_us)
        before: Before = {}
        if begins and not case.began:
            case.began = True
            self._regrace(case, arrived.arrival_us)
        if cancels:
            cancel(case, event, arrived.occurred_us, self.entries, before)
        for name in times:
            self._carry(case, name, event, arrived.occurred_us, before)
        for role in roles:
            self._step(case, role.entry, role.part, arrived, before)
        if before:
            cause = _cause(arrived)
            for key, old in before.items():
                self._settle(case, key, old, arrived.arrival_us, cause)
        for mark in marks:
            self._mark(case, mark.entry, arrived, is_after=mark.is_after)

    def _case(self, kind: str, case_id: str, arrival_us: int) -> Case:
        cases = self._cases[kind]
        case = cases.get(case_id)
        if case is None:
            case = cases[case_id] = Case(kind, case_id, cancelled_lines={}, times={}, passes={}, marks={})
            case.expiry_us = arrival_us + self._rules[kind].retention
            heapq.heappush(self._timers, (case.expiry_us, _EXPIRY, kind, case_id, 0, ""))
        case.last_arrival_us = arrival_us
        return case

    def _step(self, case: Case, entry: int, part: Part, arrived: Arrived, before: Before) -> None:
        """Note that a handoff was started, ended or given up."""
        handoff = self.entries[entry]
        event, occurred = arrived.event, arrived.occurred_us
        pass_key = pass_key_of(handoff, event)
        current = touch(case, (entry, pass_key), before)
        if "line_id" in handoff.per:
            line = case.cancelled_lines.get(field_of(event, "line_id"))
            current.cancelled_us = earlier(case.cancelled_us, line)
        if part is Part.ABANDON:
            current.abandoned_us = earlier(current.abandoned_us, occurred)
            return
        is_start = part is Part.START
        known, known_id = (current.start_us, current.start_id) if is_start else (current.end_us, current.end_id)
        if known is not None:
            if handoff.repeat in ("flag", f"flag_{part}"):
                self._out.extend(
                    duplicate_findings(handoff, case.case_id, pass_key, known_id, arrived, is_start=is_start)
                )
            if (occurred, event.event_id) >= (known, known_id):
                return
        scope = field_of(event, handoff.scope) if handoff.scope else ""
        if is_start:
            current.start_us, current.start_id, current.start_scope = occurred, event.event_id, scope
        else:
            current.end_us, current.end_id, current.end_scope = occurred, event.event_id, scope

    def _carry(self, case: Case, name: str, event: EventBase, occurred_us: int, before: Before) -> None:
        """Note a time that the case carries; the one said last (event time) counts."""
        moment = time_field(event, name)
        assert moment is not None
        said = (occurred_us, event.event_id, to_us(moment))
        for name_of_time in {time_name(handoff, name, event) for handoff in self._timed[name]}:
            known = case.times.get(name_of_time)
            if known is None or known[:2] < said[:2]:
                case.times[name_of_time] = said
        for key in case.passes:
            deadline = self.entries[key[0]].deadline_at
            if deadline is not None and deadline.field == name:
                touch(case, key, before)

    def _mark(self, case: Case, entry: int, arrived: Arrived, *, is_after: bool) -> None:
        rule = self.process.forbidden[entry]
        marked = case.marks.setdefault(entry, Marked())
        event, occurred = arrived.event, arrived.occurred_us
        if is_after and (marked.after_us is None or occurred < marked.after_us):
            marked.after_us, marked.after_id = occurred, event.event_id
        if not is_after and (marked.event_us is None or occurred > marked.event_us):
            marked.event_us, marked.event_id = occurred, event.event_id
            marked.scope = field_of(event, rule.scope) if rule.scope else ""
        if marked.said or marked.after_us is None or marked.event_us is None or marked.event_us <= marked.after_us:
            return
        marked.said = True
        self._out.append(forbidden_signal(rule, case.case_id, marked, arrived.arrival_us))

    def _except(self, exceptions: Iterable[int], id_field: str, case_id: str, arrived: Arrived) -> None:
        for index in exceptions:
            rule = self.process.exception[index]
            if rule.event.matches(arrived.event):
                key = rule.case or id_field
                self._out.append(exception_signal(rule, key, field_of(arrived.event, key) or case_id, arrived))

    # --- what follows from a change --------------------------------------------------------------------------

    def _settle(self, case: Case, key: tuple[int, str], old: Seen | None, arrival_us: int, cause: Cause | None) -> None:
        """Draw the consequences of a changed pass: deadline, timers, signals, row, windows."""
        entry, pass_key = key
        current = case.passes[key]
        handoff = self.entries[entry]
        if current.start_us is None and (handoff.start_optional or current.end_us is None):
            return
        current.deadline_us = deadline_of(handoff, case, current, pass_key)
        if current.fired_us and current.deadline_us != current.fired_us and current.is_open:
            passed = current.deadline_us is not None and current.deadline_us < arrival_us
            current.fired_us = current.deadline_us if passed and current.deadline_us else 0
        self._arm(case, key, current, arrival_us)
        changed = self._judge(current, arrival_us)
        seen = current.seen()
        if not changed and old == seen:
            return
        current.version = next_version(current.version, arrival_us)
        if entry < self.visible:
            self._open += seen.is_open - (old is not None and old.is_open)
            self._out.append(pass_row(handoff, case.case_id, pass_key, current, seen, arrival_us))
            self._change(entry, old, seen, arrival_us, cause)
        elif not changed:
            return
        if changed:
            self._out.extend(pass_signal(one, handoff, case.case_id, pass_key, current, arrival_us) for one in changed)

    def _arm(self, case: Case, key: tuple[int, str], current: Pass, arrival_us: int) -> None:
        """Set the timers that the pass needs now; those it no longer needs are passed over when they run out."""
        if current.deadline_us is not None and not current.fired_us and current.is_open:
            at = max(current.deadline_us, arrival_us)
            if at != current.timer_us:
                current.timer_us = at
                heapq.heappush(self._timers, (at, _DEADLINE, case.kind, case.case_id, *key))
        else:
            current.timer_us = 0
        if current.end_us is not None and current.start_us is None:
            wanted = not self.entries[key[0]].start_optional and case.began
            if wanted and not current.grace_us and Finding.MISSING_STEP not in current.signals:
                current.grace_us = arrival_us + self.entries[key[0]].sequence_grace
                heapq.heappush(self._timers, (current.grace_us, _GRACE, case.kind, case.case_id, *key))
        else:
            current.grace_us = 0

    def _judge(self, current: Pass, arrival_us: int) -> Sequence[Finding]:
        """Bring the pass's signals up to date; the findings whose signal changed."""
        start, end, over, deadline = current.start_us, current.end_us, current.over_us, current.deadline_us
        late = over is not None and start is not None and deadline is not None and over >= start and over > deadline
        reversed_ = start is not None and end is not None and end < start
        if not (current.signals or late or reversed_ or (current.fired_us and over is None)):
            return _NOTHING
        return revised(current, arrival_us, is_late=late, is_reversed=reversed_)

    def _change(self, entry: int, old: Seen | None, seen: Seen, arrival_us: int, cause: Cause | None) -> None:
        """Tell the windows, scope by scope."""
        was, now = (old.span if old is not None else None), seen.span
        old_scope = old.scope if old is not None else ""
        if old_scope == seen.scope or was is None or now is None:
            if was != now:
                scope = seen.scope if now is not None else old_scope
                self._out.append(PassChange(arrival_us, entry, scope, was, now, cause))
            return
        self._out.append(PassChange(arrival_us, entry, old_scope, was, None, cause))
        self._out.append(PassChange(arrival_us, entry, seen.scope, None, now, cause))

    # --- time -----------------------------------------------------------------------------------------------

    def _fire(self, before_us: int) -> None:
        while self._timers and self._timers[0][0] < before_us:
            at, what, kind, case_id, entry, pass_key = heapq.heappop(self._timers)
            case = self._cases[kind].get(case_id)
            if case is None:
                continue
            if what == _EXPIRY:
                self._expire(case, at)
                continue
            key = (entry, pass_key)
            current = case.passes.get(key)
            if current is None:
                continue
            if what == _DEADLINE and current.timer_us == at and current.is_open and current.deadline_us is not None:
                old = current.seen()
                current.timer_us, current.fired_us = 0, current.deadline_us
                self._settle(case, key, old, at, None)
            elif what == _GRACE and current.grace_us == at and current.start_us is None and current.end_us is not None:
                current.grace_us = 0
                current.signals[Finding.MISSING_STEP] = (current.end_us, None, at)
                current.version = next_version(current.version, at)
                self._out.append(pass_signal(Finding.MISSING_STEP, self.entries[entry], case_id, pass_key, current, at))

    def _regrace(self, case: Case, arrival_us: int) -> None:
        """The case's beginning has come to light: what is missing before its steps can now be told."""
        for key, current in case.passes.items():
            self._arm(case, key, current, arrival_us)

    def _expire(self, case: Case, at: int) -> None:
        """Drop a case that is over, or ask again later."""
        if case.expiry_us != at:
            return
        rule = self._rules[case.kind]
        still_open = [
            (key, current) for key, current in case.passes.items() if key[0] < self.visible and current.is_open
        ]
        due = max([case.last_arrival_us + rule.retention, *(one.grace_us + 1 for one in case.passes.values())])
        if still_open:
            latest = max(current.deadline_us or 0 for _, current in still_open)
            due = max(due, max(case.last_arrival_us, min(latest, END_OF_TIME_US)) + rule.abandon_after)
        if due > at:
            # Not later than `retention` from now: what is open may be over by then, and is to be let go then.
            case.expiry_us = min(due, at + max(rule.retention, 1))
            heapq.heappush(self._timers, (case.expiry_us, _EXPIRY, case.kind, case.case_id, 0, ""))
            return
        self._open -= len(still_open)
        for (entry, _), current in still_open:
            was = current.seen().span
            assert was is not None
            ended = msgspec.structs.replace(was, end_us=max(at, was.start_us))
            self._out.append(PassChange(at, entry, current.scope, was, ended, None))
        del self._cases[case.kind][case.case_id]

    # --- state ----------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """Cases, passes whose end is awaited, and timers (with those that will be passed over)."""
        return {"cases": len(self), "open_passes": self._open, "timers": len(self._timers)}

    def snapshot(self) -> HandoffState:
        """Every case; timers are part of their passes."""
        names = [_entry_name(handoff) for handoff in self.entries]
        rules = [rule.name for rule in self.process.forbidden]
        cases = [
            CaseState(
                kind=kind,
                case_id=case_id,
                began=case.began,
                cancelled_us=case.cancelled_us,
                last_arrival_us=case.last_arrival_us,
                expiry_us=case.expiry_us,
                cancelled_lines=case.cancelled_lines,
                times=case.times,
                passes=[(names[entry], key, current) for (entry, key), current in case.passes.items()],
                marks=[(rules[entry], marked) for entry, marked in case.marks.items()],
            )
            for kind, of_kind in self._cases.items()
            for case_id, case in of_kind.items()
        ]
        return HandoffState(self.VERSION, cases)

    def restore(self, state: HandoffState) -> None:
        """Take over a snapshot; passes through handoffs that are no longer in the map are let go.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"handoff state of version {state.version}; this code reads {self.VERSION}")
        entry_of = {_entry_name(handoff): index for index, handoff in enumerate(self.entries)}
        rule_of = {rule.name: index for index, rule in enumerate(self.process.forbidden)}
        self._cases, self._timers, self._open = {kind: {} for kind in self._rules}, [], 0
        for kept in state.cases:
            if kept.kind not in self._cases:
                continue
            case = Case(
                kind=kept.kind,
                case_id=kept.case_id,
                began=kept.began,
                cancelled_us=kept.cancelled_us,
                last_arrival_us=kept.last_arrival_us,
                expiry_us=kept.expiry_us,
                cancelled_lines=kept.cancelled_lines,
                times=kept.times,
                passes={(entry_of[name], key): one for name, key, one in kept.passes if name in entry_of},
                marks={rule_of[name]: marked for name, marked in kept.marks if name in rule_of},
            )
            self._cases[kept.kind][kept.case_id] = case
            self._timers.append((case.expiry_us, _EXPIRY, kept.kind, kept.case_id, 0, ""))
            for key, current in case.passes.items():
                self._open += key[0] < self.visible and current.is_open
                if current.timer_us:
                    self._timers.append((current.timer_us, _DEADLINE, kept.kind, kept.case_id, *key))
                if current.grace_us:
                    self._timers.append((current.grace_us, _GRACE, kept.kind, kept.case_id, *key))
        heapq.heapify(self._timers)

    def _take(self) -> list[Output]:
        out, self._out = self._out, []
        return out


def _kinds(plans: Iterable[EventPlan]) -> set[str]:
    return {case.kind for plan in plans for case in plan.cases}


def _entry_name(handoff: Handoff) -> str:
    return f"{handoff.name}|{handoff.start}|{handoff.end}"


def _cause(arrived: Arrived) -> Cause:
    event = arrived.event
    return Cause(
        arrived.topic,
        arrived.partition,
        arrived.offset,
        type_name(event),
        event.source,
        event.event_id,
        arrived.occurred_us,
    )
