"""What follows from an event, or from time, for the passes of one case: the rules in full.

`operators/case_straight.py` takes a shorter way to the same for what happens most.
"""

from collections.abc import Sequence

from operators.case_kind import CaseKind
from operators.case_passes import (
    MANY,
    CarriedTimes,
    Touched,
    cancel,
    entries_of,
    keep,
    laid_open,
    parts_of,
    pass_key_of,
    place_of,
    revised,
    tidy,
    touch,
)
from operators.case_plan import Mark, Part, time_field
from operators.case_state import Case, Finding, Marked, Pass, PassKey, Seen, earlier
from operators.case_steps import CaseSteps, Step
from operators.findings import (
    AHEAD_US,
    BEHIND_US,
    Cause,
    Doubt,
    Misdated,
    Output,
    PassChange,
    cause_of,
    late_start,
    misdated,
    next_version,
    odd_time,
)
from operators.handoff_changes import PassChanges
from operators.handoff_findings import duplicate_findings, forbidden_signal, pass_row, pass_signal
from operators.process_map import Handoff, ProcessMap
from schemas.durations import END_OF_TIME_US, to_us
from schemas.events import Arrived, field_of
from schemas.rows import Signal

_NOTHING: tuple[Finding, ...] = ()
_LEAST_DELAY_US = -AHEAD_US  # of an event that is not oddly dated


class CaseRules:
    """The rules of a process map.

    What they find is appended to `out`, always the same list, what windows have to know of it to `changes`;
    `open_passes` counts the passes whose end is awaited.

    `entries` are the handoffs, the first `visible` of them with rows and windows (see `entries_of`).
    """

    def __init__(self, process: ProcessMap, changes: PassChanges) -> None:
        self.process = process
        self.entries, self.visible = entries_of(process)
        of_name = {handoff.name: (handoff.start, handoff.start_case) for handoff in process.handoff}
        #: Requirements that are an optional start: that it lacks is theirs to say, all else the pass says itself.
        self._starts = frozenset(
            entry
            for entry, one in enumerate(self.entries)
            if entry >= self.visible and (one.start, one.start_case) == of_name[one.name]
        )
        self.times = CarriedTimes(self.entries)
        self._forbidden_by = [rule.scope for rule in process.forbidden]
        self.out: list[Output] = []
        self.changes = changes
        self.open_passes = 0

    # --- events ---------------------------------------------------------------------------------------------

    def carry(self, plan: CaseSteps, case: Case, arrived: Arrived, said: Sequence[str]) -> None:
        """Note the times that an event says in the fields `said`."""
        event, carry = arrived.event, self.times.carry
        for name in said:
            moment = time_field(event, name)
            assert moment is not None
            carry(case, plan.kind, name, event, arrived.occurred_us, to_us(moment))

    def take(self, plan: CaseSteps, case_id: str, case: Case, kind: CaseKind, arrived: Arrived, type_: str) -> None:
        """Take in all that an event means to the passes of a case, and draw the consequences."""
        touched: Touched = {}
        if plan.cancels:
            cancel(case, arrived.event, arrived.occurred_us, self.entries, touched)
        said = plan.said(arrived.event)
        if said:
            for key in self.times.moved(case, plan.kind, said):
                touch(case, key, touched)
            self.carry(plan, case, arrived, said)
        for step in plan.steps:
            self._step(case_id, case, step, arrived, touched)
        self._settle_all(touched, kind, case_id, case, arrived.arrival_us, cause_of(arrived, type_))

    def take_step(self, step: Step, case_id: str, case: Case, kind: CaseKind, arrived: Arrived, type_: str) -> None:
        """Take in what an event is to one handoff."""
        touched: Touched = {}
        self._step(case_id, case, step, arrived, touched)
        self._settle_all(touched, kind, case_id, case, arrived.arrival_us, cause_of(arrived, type_))

    def _step(self, case_id: str, case: Case, step: Step, arrived: Arrived, touched: Touched) -> None:
        """Note that a handoff was started, ended or given up."""
        handoff, event, occurred = step.handoff, arrived.event, arrived.occurred_us
        pass_key = pass_key_of(handoff, event)
        current = touch(case, f"{step.entry}/{pass_key}" if handoff.per else step.entry, touched)
        if "line_id" in handoff.per:
            line = (case.cancelled_lines or {}).get(field_of(event, "line_id"))
            current.cancelled_us = earlier(case.cancelled_us, line)
        if step.part is Part.ABANDON:
            current.abandoned_us = earlier(current.abandoned_us, occurred)
            return
        is_start = step.is_start
        scope = field_of(event, handoff.scope) if handoff.scope else ""
        known, known_id, known_scope = current.start_us, current.start_id, current.start_scope
        if not is_start:
            known, known_id, known_scope = current.end_us, current.end_id, current.end_scope
        if known is not None:
            if handoff.repeat in ("flag", f"flag_{step.part}"):
                self.out.extend(duplicate_findings(handoff, case_id, pass_key, known_id, arrived, is_start=is_start))
            if (occurred, event.event_id, scope) >= (known, known_id, known_scope):
                return  # ids are unique only within a source: of two that are the same, the scope decides
        if is_start:
            current.start_us, current.start_id, current.start_scope = occurred, event.event_id, scope
            current.start_odd = odd_time(arrived)
            if current.start_odd is not None:
                late = late_start(arrived, current.end_us, current.end_odd)
                if late is not None:
                    self.changes.late_starts.append(late)
        else:
            current.end_us, current.end_id, current.end_scope = occurred, event.event_id, scope
            current.end_odd = odd_time(arrived)

    def mark(self, mark: Mark, case_id: str, case: Case, arrived: Arrived) -> None:
        """Note an event that counts for a forbidden order."""
        marks, entry, occurred = case.marks, mark.entry, arrived.occurred_us
        if marks is None:
            marks = case.marks = {}
        marked = marks.get(entry)
        if marked is None:
            marked = marks[entry] = Marked()
        after_us, event_us = marked.after_us, marked.event_us
        is_again = after_us is not None and event_us is not None and event_us > after_us
        odd = None if _LEAST_DELAY_US <= arrived.arrival_us - occurred <= BEHIND_US else odd_time(arrived)
        if mark.is_after:
            if after_us is None or occurred < after_us:
                after_us = marked.after_us = occurred
                marked.after_odd = odd
                marked.after_id = place_of(case.ids, arrived.event.event_id)
                tidy(case)
        elif event_us is None or occurred > event_us:
            event_us = marked.event_us = occurred
            marked.event_odd = odd
            marked.event_id = place_of(case.ids, arrived.event.event_id)
            by = self._forbidden_by[entry]
            marked.scope = place_of(case.scopes, field_of(arrived.event, by)) if by else 0
            if len(case.ids) > MANY or len(case.scopes) > MANY:
                tidy(case)
        if after_us is not None and event_us is not None and event_us > after_us and not marked.said:
            self._forbid(entry, case_id, case, marked, arrived, event_us - after_us, is_again=is_again)

    def _forbid(
        self, entry: int, case_id: str, case: Case, marked: Marked, arrived: Arrived, margin_us: int, *, is_again: bool
    ) -> None:
        """Say a forbidden order, once a case: what is in doubt is said by the first site group, if it is."""
        why = misdated(margin_us, marked.event_odd, marked.after_odd)
        if why is None:
            marked.said = True
        elif arrived.event.event_id not in (case.ids[marked.after_id], case.ids[marked.event_id]):
            return  # nothing new
        signal = forbidden_signal(self.process.forbidden[entry], case_id, case, marked, arrived.arrival_us)
        if why is None and not is_again:
            self.out.append(signal)
        else:  # what was in doubt may have been told since
            why = why or Misdated(margin_us, None, None)
            self.changes.doubts.append(Doubt(signal, why, is_once=True, is_again=is_again))

    def begun(self, kind: CaseKind, case_id: str, case: Case, arrival_us: int) -> None:
        """The case's beginning has come to light: what is missing before its steps can now be told."""
        case.began = True
        for key, record in list(case.passes.items()):
            if record.start_us is None:
                current = laid_open(case, record)
                self._arm(kind, case_id, case, key, current, arrival_us)
                keep(case, key, current)

    # --- what follows from a change -------------------------------------------------------------------------

    def _settle_all(
        self, touched: Touched, kind: CaseKind, case_id: str, case: Case, arrival_us: int, cause: Cause
    ) -> None:
        for key, (current, old) in touched.items():
            self._settle(kind, case_id, case, key, current, old, arrival_us, cause)
        tidy(case)

    def _settle(
        self,
        kind: CaseKind,
        case_id: str,
        case: Case,
        key: PassKey,
        current: Pass,
        old: Seen | None,
        arrival_us: int,
        cause: Cause | None,
    ) -> None:
        """Draw the consequences of a changed pass, keep it: deadline, timers, signals, row, windows."""
        entry, pass_key = parts_of(key)
        handoff = self.entries[entry]
        if current.start_us is not None or (current.end_us is not None and not handoff.start_optional):
            current.deadline_us = self._deadline_of(handoff, entry, case, current, pass_key)
            if current.fired_us and current.deadline_us != current.fired_us and current.is_open:
                passed = current.deadline_us is not None and current.deadline_us < arrival_us
                current.fired_us = current.deadline_us if passed and current.deadline_us else 0
            self._arm(kind, case_id, case, key, current, arrival_us)
            is_told = bool(current.signals) and current.doubted is None and Finding.OUT_OF_SEQUENCE in current.signals
            seen = current.seen()
            changed = _judged(current, old, seen, arrival_us, says_order=entry not in self._starts)
            if changed or old != seen:
                current.version = next_version(current.version, arrival_us)
                if entry < self.visible:
                    self.open_passes += seen.is_open - (old is not None and old.is_open)
                    self.out.append(pass_row(handoff, case_id, pass_key, current, seen, arrival_us))
                    self._change(entry, old, seen, arrival_us, cause)
                for one in changed:
                    signal = pass_signal(one, handoff, case_id, pass_key, current, arrival_us)
                    if is_told or one is not Finding.OUT_OF_SEQUENCE:
                        self.out.append(signal)
                    else:
                        self._doubt(signal, current)
        keep(case, key, current)

    def _doubt(self, signal: Signal, current: Pass) -> None:
        """Say that a pass is out of sequence; where that may be a clock's fault, the first site group decides.

        So it does on what takes such a finding back, for the same reason. What was told without a doubt is never again
        in doubt.
        """
        if signal.closed_at_us is None:
            assert current.start_us is not None
            assert current.end_us is not None
            current.doubted = misdated(current.start_us - current.end_us, current.start_odd, current.end_odd)
        if current.doubted is None:
            self.out.append(signal)
        else:
            self.changes.doubts.append(Doubt(signal, current.doubted))

    def _deadline_of(self, handoff: Handoff, entry: int, case: Case, current: Pass, pass_key: str) -> int | None:
        """When the end is due: a duration after the start, or the time that the pass, else the case, carries."""
        if current.start_us is None:
            return None
        if handoff.deadline is not None:
            return current.start_us + handoff.deadline
        return self.carried_deadline(handoff, entry, case, pass_key)

    def carried_deadline(self, handoff: Handoff, entry: int, case: Case, pass_key: str) -> int | None:
        """When the end is due by the time that was said of it."""
        if handoff.deadline_at is None:
            return None
        said_us = self.times.said(case, entry, handoff, pass_key)
        return None if said_us is None else said_us + handoff.deadline_at.plus

    def _arm(self, kind: CaseKind, case_id: str, case: Case, key: PassKey, current: Pass, arrival_us: int) -> None:
        """Set the timers that the pass needs now."""
        handoff = self.entries[parts_of(key)[0]]
        current.timer_us = 0
        if current.deadline_us is not None and not current.fired_us and current.is_open:
            current.timer_us = max(current.deadline_us, arrival_us)
            kind.look_at(case_id, case, current.timer_us)
        if current.end_us is not None and current.start_us is None:
            wanted = not handoff.start_optional and case.began
            if wanted and not current.grace_us and Finding.MISSING_STEP not in current.signals:
                current.grace_us = arrival_us + handoff.sequence_grace
                kind.look_at(case_id, case, current.grace_us)
        else:
            current.grace_us = 0

    def _change(self, entry: int, old: Seen | None, seen: Seen, arrival_us: int, cause: Cause | None) -> None:
        """Tell the windows, scope by scope."""
        was, now = (old.span if old is not None else None), seen.span
        old_scope = old.scope if old is not None else ""
        if old_scope == seen.scope or was is None or now is None:
            if was != now:
                scope = seen.scope if now is not None else old_scope
                self.changes.add(PassChange(arrival_us, entry, scope, was, now, cause))
            return
        self.changes.add(PassChange(arrival_us, entry, old_scope, was, None, cause))
        self.changes.add(PassChange(arrival_us, entry, seen.scope, None, now, cause))

    # --- time -----------------------------------------------------------------------------------------------

    def run_out(self, kind: CaseKind, case_id: str, case: Case, before_us: int) -> Case | None:
        """Time has come to `before_us`: find what runs out before it; None if the case is let go of."""
        case.due_us = -END_OF_TIME_US  # what is set meanwhile is looked at here
        while True:
            at, key, dropped_at = kind.outlook(case)
            moment = min(at, dropped_at)
            if moment >= before_us:
                case.due_us = END_OF_TIME_US
                kind.look_at(case_id, case, moment)
                return case
            if dropped_at < at:
                self._drop(kind, case_id, case, at=dropped_at)
                return None
            self._ring(kind, case_id, case, key, at)

    def _ring(self, kind: CaseKind, case_id: str, case: Case, key: PassKey, at: int) -> None:
        """The deadline of a pass has passed, or the grace for a missing start."""
        current = laid_open(case, case.passes[key])
        if current.start_us is not None:
            old = current.seen()
            current.fired_us = current.deadline_us or 0
            self._settle(kind, case_id, case, key, current, old, at, None)
            return
        assert current.end_us is not None
        kind.pass_asked(case, at + 1)
        current.grace_us = 0
        current.signals[Finding.MISSING_STEP] = (current.end_us, None, at)
        current.version = next_version(current.version, at)
        entry, pass_key = parts_of(key)
        self.out.append(pass_signal(Finding.MISSING_STEP, self.entries[entry], case_id, pass_key, current, at))
        keep(case, key, current)

    def _drop(self, kind: CaseKind, case_id: str, case: Case, at: int) -> None:
        """Let go of a case that is over, or given up."""
        for key, record in case.passes.items():
            entry, _ = parts_of(key)
            if entry < self.visible and record.is_open:
                self.open_passes -= 1
                current = laid_open(case, record)
                was = current.seen().span
                assert was is not None
                ended = type(was)(was.start_us, max(at, was.start_us), was.deadline_us, was.completed)
                self.changes.add(PassChange(at, entry, current.scope, was, ended, None))
        kind.cases.drop(case_id)

    def taken(self) -> list[Output]:
        """What was found since this was last asked."""
        out = self.out.copy()
        self.out.clear()
        return out


def _judged(current: Pass, old: Seen | None, seen: Seen, arrival_us: int, *, says_order: bool) -> Sequence[Finding]:
    """Bring the pass's signals up to date; the findings whose signal changed."""
    start, end, late = current.start_us, current.end_us, seen.is_late
    reversed_ = says_order and start is not None and end is not None and end < start
    if not (current.signals or late or reversed_ or (current.fired_us and current.over_us is None)):
        return _NOTHING
    changed = revised(current, old, arrival_us, is_late=late, is_reversed=reversed_)
    if old is not None and old.shown != seen.shown:  # what holds is told in the words that are now right
        is_elsewhere = old.scope != seen.scope
        for finding, (_, closed_us, _) in current.signals.items():
            if (closed_us is None or is_elsewhere) and finding not in changed:
                changed.append(Finding(finding))
    return changed
