"""Following each case through the process map: latency, what is overdue, out of sequence, twice or impossible."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from operators.case_kind import CaseKind
from operators.case_lone import lone
from operators.case_passes import parts_of
from operators.case_plan import compile_plans
from operators.case_renames import Names, renamed
from operators.case_rules import CaseRules
from operators.case_state import Case, HandoffState
from operators.case_steps import CaseSteps, EventSteps, TypeSteps, compile_steps
from operators.case_straight import straight
from operators.findings import Output
from operators.handoff_changes import PassChanges
from operators.handoff_findings import exception_signal
from operators.increments import Part
from operators.process_map import ProcessMap
from schemas.durations import BEGIN_OF_TIME_US, MINUTE_US
from schemas.errors import StateError
from schemas.events import Arrived, EventBase

#: Cases that had no event for this long, or twice as long, are packed.
_REST_EVERY_US = 15 * MINUTE_US
#: So many of a kind may stay objects (2 kB more each): packing them over and over would cost more than it frees.
_FEW = 4_096


def _owns_all(_: str) -> bool:
    return True


class HandoffTracker:
    """Follow each case through the process map.

    Given events in arrival order, returns rows and signals as they change; what windows have to know of it is in
    `changes`.
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
    - A pass whose end happened before its start is `out_of_sequence` and has no part in latency windows. Where a clock
      may be why (`odd_time`), its finding is among the `doubts` of `changes`, not among what is returned; so are
      impossible states, and what is said of one after that, so that it is told once.

    Args:
        process: the map.
        owns: whether a case id belongs to this key group; asked where an event belongs to several cases.
        changes: takes what windows have to know; its own, all in one part, where none is given.

    Cases know nothing of each other: what runs out of a case is found before its next event, and of all others at
    the end of `update`, so outputs are not in order of time.

    Memory: one record for each open case (230 bytes with its id and timer where it is one pass in all), dropped
    `retention` after its last event once all its passes are over, or `abandon_after` its last event and deadlines if
    they never are (its backlog ends then). Where there are many of a kind, what has had no event for 15 to 30 minutes
    is packed. Cost: O(handoffs of the event's type) per event, O(passes of the case) when something runs out.
    """

    VERSION = 7

    def __init__(
        self, process: ProcessMap, owns: Callable[[str], bool] = _owns_all, changes: PassChanges | None = None
    ) -> None:
        self.process = process
        self.changes = PassChanges() if changes is None else changes
        self._rules = CaseRules(process, self.changes)
        entries, visible = self._rules.entries, self._rules.visible
        self.visible = visible
        self._plans = plans = compile_plans(msgspec.structs.replace(process, handoff=entries))
        self._names = Names.of(entries, process.forbidden, self._rules.times.names)
        kinds = {case.kind for plan in plans.values() for case in plan.cases}
        counts = Counter[str](handoff.case for handoff in entries)
        self._kinds = {
            kind: CaseKind(process.case_rule(kind), visible, is_lone=counts[kind] == 1) for kind in sorted(kinds)
        }
        self._steps = self._compiled()
        self._owns = owns
        self._rest_us = BEGIN_OF_TIME_US

    def _compiled(self) -> dict[type[EventBase], TypeSteps]:
        rules = self._rules
        return compile_steps(
            self.process,
            rules.entries,
            self.visible,
            self._plans,
            lambda step: straight(step, self._kinds[step.handoff.case], rules),
            lambda plan: lone(plan, self._kinds[plan.kind], rules),
        )

    def correct_within(self, correctable_us: int) -> None:
        """From now on changes go with their cause that happened longer than this before they arrived."""
        self.changes.correctable_us = correctable_us
        self._steps = self._compiled()

    def update(self, events: Sequence[Arrived]) -> list[Output]:
        """Take events in the order of the log; what runs out of a case before one of its events is found first."""
        steps_of, owns = self._steps, self._owns
        for arrived in events:
            event = arrived.event
            of_type = steps_of.get(type(event))
            if of_type is None:
                continue
            steps = of_type.other
            if of_type.field:
                value = getattr(event, of_type.field)
                steps = of_type.by_value.get("" if value is None else value, steps)
            for plan in steps.cases:
                case_id = getattr(event, plan.id_field)
                if case_id is None or (steps.is_shared and not owns(case_id)):
                    continue
                way = plan.lone
                if way is None or not way(case_id, event, arrived.occurred_us, arrived.arrival_us):
                    self._apply(plan, steps.type, case_id, arrived)
            if steps.exceptions:
                self._except(steps, arrived)
        if events:
            self._fire(events[-1].arrival_us)
        return self._rules.taken()

    def advance(self, watermark: int) -> list[Output]:
        """Time has come to `watermark` (arrival, microseconds): fire the deadlines that lie before it."""
        self._fire(watermark)
        if watermark > self._rest_us:
            for kind in self._kinds.values():
                if kind.cases.awake > _FEW:
                    kind.cases.rest()
            self._rest_us = watermark + _REST_EVERY_US
        return self._rules.taken()

    def rest(self) -> None:
        """Pack the cases that had no event since this was last called; nothing that is found depends on when it is."""
        for kind in self._kinds.values():
            kind.cases.rest()

    def __len__(self) -> int:
        """How many cases are remembered."""
        return sum(len(kind.cases) for kind in self._kinds.values())

    def _apply(  # noqa: C901, PLR0912 - the hot path: calls would cost as much as what they hold
        self, plan: CaseSteps, type_: str, case_id: str, arrived: Arrived
    ) -> None:
        """Take in what an event means to one of its cases."""
        if plan.is_conditional:
            fitting = _fitting(plan, arrived.event)
            if fitting is None:
                return
            plan = fitting
        kind, rules, arrival_us = self._kinds[plan.kind], self._rules, arrived.arrival_us
        cases = kind.cases
        case = cases.young.get(case_id) or cases.get(case_id)
        if case is not None and case.due_us < arrival_us:
            case = rules.run_out(kind, case_id, case, arrival_us)
        if case is None:
            case = kind.begin(case_id, arrival_us)
        elif case.expiry_us < arrival_us:
            kind.pass_asked(case, arrival_us)
        if plan.begins and not case.began:
            rules.begun(kind, case_id, case, arrival_us)
        event, occurred_us = arrived.event, arrived.occurred_us
        said = plan.said(event) if plan.times else None
        if plan.straight is None or (said and case.passes and rules.times.moved(case, plan.kind, said)):
            rules.take(plan, case_id, case, kind, arrived, type_)
        else:
            if said:
                rules.carry(plan, case, arrived, said)
            for go, step in plan.straight:
                if not go(case_id, case, event, occurred_us, arrival_us):
                    rules.take_step(step, case_id, case, kind, arrived, type_)
        for mark in plan.marks:
            rules.mark(mark, case_id, case, arrived)
        case.last_arrival_us = arrival_us
        if case.due_us > arrival_us + kind.retention_us:
            kind.arrived(case_id, case, arrival_us)

    def _except(self, steps: EventSteps, arrived: Arrived) -> None:
        """Say what is a finding by itself."""
        event = arrived.event
        case_id = next(iter(steps.plan.case_ids(event)), event.event_id)
        if steps.is_shared and not self._owns(case_id):
            return
        for index in steps.exceptions:
            rule = self.process.exception[index]
            if rule.event.matches(event):
                self._rules.out.append(exception_signal(rule, arrived))

    def _fire(self, before_us: int) -> None:
        run_out = self._rules.run_out
        for kind in self._kinds.values():
            for case_id, case in kind.due(before_us):
                run_out(kind, case_id, case, before_us)

    # --- state ----------------------------------------------------------------------------------------------

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of cases that are followed."""
        return list(self._kinds)

    def cases(self, kind: str) -> Iterator[tuple[str, Case]]:
        """The cases of a kind, by id, unpacked; for looking at, not for the hot path."""
        cases = self._kinds[kind].cases
        for case_id in list(cases):
            case = cases.peek(case_id)
            assert case is not None
            yield case_id, case

    def sizes(self) -> dict[str, int]:
        """Cases, passes whose end is awaited, and timers (with those that will be passed over)."""
        timers = sum(len(kind.timers) for kind in self._kinds.values())
        return {"cases": len(self), "open_passes": self._rules.open_passes, "timers": timers}

    def parts(self) -> dict[str, Part]:
        """What can be kept apart from the rest: the cases of each kind."""
        return {name: kind.cases for name, kind in self._kinds.items()}

    def snapshot(self) -> HandoffState:
        """Every case that is not kept apart, packed; timers are part of them."""
        names, cases = self._names, {name: kind.cases.snapshot() for name, kind in self._kinds.items()}
        return HandoffState(self.VERSION, names.handoffs, names.rules, names.times, self._rules.open_passes, cases)

    def restore(self, state: HandoffState) -> None:
        """Take over a snapshot; passes through handoffs that are no longer in the map as they were are let go.

        Raises:
            StateError: it is of another version.
        """
        if state.version not in (4, 5, 6, self.VERSION):
            raise StateError(f"handoff state of version {state.version}; this code reads 4, 5, 6 and {self.VERSION}")
        names = Names(self._names.handoffs_of(state.handoffs, state.version), state.rules, state.times)
        self._rules.open_passes = state.open_passes
        for name, kind in self._kinds.items():
            kept = kind.cases.together(state.cases.get(name, {}))
            kind.restore(kept if names == self._names else renamed(kept, names, self._names))
        if names != self._names:
            self._rules.open_passes = sum(
                record.is_open and parts_of(key)[0] < self._rules.visible
                for kind in self._kinds
                for _, case in self.cases(kind)
                for key, record in case.passes.items()
            )


def _fitting(plan: CaseSteps, event: EventBase) -> CaseSteps | None:
    """What of a plan is meant by `event`; None where nothing is."""
    steps = [step for step in plan.steps if step.pattern.matches(event)]
    marks = [mark for mark in plan.marks if mark.pattern.matches(event)]
    begins = [pattern for pattern in plan.begins if pattern.matches(event)]
    cancels = [pattern for pattern in plan.cancels if pattern.matches(event)]
    times = plan.said(event)
    if not (steps or marks or begins or cancels or times):
        return None
    return CaseSteps(
        plan.kind, plan.id_field, steps, marks, begins, cancels, times, is_conditional=False, straight=None
    )
