"""The cases of one kind: where they are kept, when they are looked at, and when they are let go.

A case is asked whether it is over `retention` after its first event, and then again when it can be over at the
earliest, but not later than `retention` from the time it was asked: what is open now may be over by then. These
questions are not asked one by one: as nothing changes between two events, what they come to is worked out.
"""

from collections.abc import Iterator

from operators.case_passes import parts_of
from operators.case_record import ENDED, ENDED_FORM, NONE_US, OPEN_FORM, due_at, due_of, packed, unpacked
from operators.case_state import Case, PassKey
from operators.case_timers import CaseTimers
from operators.process_map import CaseRule
from operators.resting import Resting
from schemas.durations import END_OF_TIME_US

_NO_PASS: PassKey = -1


class CaseKind:
    """Cases by id.

    Args:
        rule: how long they are remembered.
        visible: passes through handoffs below this index keep a case open.
        is_lone: there is but one handoff for these cases, so that most are nothing but one pass, and kept as a record
            of bytes from the beginning (operators/case_record.py).

    Memory: a record a case, packed while it rests (see `Resting`), and one entry of `CaseTimers`, seldom two.
    """

    def __init__(self, rule: CaseRule, visible: int, *, is_lone: bool = False) -> None:
        self.is_lone = is_lone
        self.retention_us = int(rule.retention)
        self._abandon_us = int(rule.abandon_after)
        self._again_us = max(self.retention_us, 1)
        self._visible = visible
        self.cases: Resting[Case] = Resting(packed, unpacked)
        self.timers = CaseTimers()

    def begin(self, case_id: str, arrival_us: int) -> Case:
        """A case of which nothing is known yet."""
        case = Case(END_OF_TIME_US, arrival_us + self.retention_us, arrival_us, [""], [""], {})
        self.cases.put(case_id, case)
        return case

    def arrived(self, case_id: str, case: Case, arrival_us: int) -> None:
        """An event has come, and all that it sets is set: the case can be over `retention` from now."""
        case.last_arrival_us = arrival_us
        if case.due_us > arrival_us + self.retention_us:
            self.look_at(case_id, case, arrival_us + self.retention_us)

    def look_at(self, case_id: str, case: Case, at: int) -> None:
        """Look at the case when time has passed `at`, or before."""
        if at < case.due_us:
            case.due_us = at
            self.timers.add(at, case_id)

    def pass_asked(self, case: Case, before_us: int) -> None:
        """The questions before `before_us` have been asked, and answered with no."""
        if case.expiry_us < before_us:
            times = -((case.expiry_us - before_us) // self._again_us)
            # It is over at the later of the two, and that is not before now: else it would have been let go.
            case.expiry_us = min(self.outlook(case)[2], case.expiry_us + times * self._again_us)

    def outlook(self, case: Case) -> tuple[int, PassKey, int]:
        """If nothing changes: what runs out first and when, and when the case is let go.

        Deadlines run out before graces, then it goes in the order of the handoffs.
        """
        over_us = case.last_arrival_us + self.retention_us
        at, found = END_OF_TIME_US, _NO_PASS
        deadline_us = None
        for key, record in case.passes.items():
            extras = record.extras
            if extras is None:
                if record.end_us is not None or record.start_us is None:
                    continue  # nearly always: over, and nothing to be said of it
                is_open, timer_us = True, record.deadline_us or 0
            else:
                is_open, timer_us = record.is_open, record.timer_us
                if extras.grace_us >= over_us:
                    over_us = extras.grace_us + 1
            if timer_us and (
                timer_us < at or (timer_us == at and found != _NO_PASS and _order(case, key) < _order(case, found))
            ):
                at, found = timer_us, key
            if is_open and (key if isinstance(key, int) else parts_of(key)[0]) < self._visible:
                deadline_us = max(deadline_us or 0, record.deadline_us or 0)
        if deadline_us is not None:
            open_until = max(case.last_arrival_us, min(deadline_us, END_OF_TIME_US)) + self._abandon_us
            over_us = max(over_us, open_until)
        return at, found, max(case.expiry_us, over_us)

    def due(self, before_us: int) -> Iterator[tuple[str, Case]]:
        """Time has come to `before_us`: the cases that something may run out of, or that are to be let go.

        A case that is but one pass, and of which nothing runs out, is looked at later, or let go, right here: what
        `outlook` and `CaseRules.run_out` say, for what happens to nearly all of them.
        """
        cases, add, at_rest = self.cases, self.timers.add, self.cases.at_rest
        young, get = cases.young, cases.get
        for at, case_id in self.timers.before(before_us):
            record = at_rest(case_id)  # those among the young have none
            if record and due_of(record) != at:
                continue  # nor is one woken for that
            if record and record[0] <= ENDED:
                moment = self._moment(record)
                if moment >= before_us:
                    cases.keep_at_rest(case_id, due_at(record, moment))
                    add(moment, case_id)
                    continue
                if record[0] == ENDED:
                    cases.drop(case_id)
                    continue
            case = young.get(case_id) or get(case_id)
            if case is not None and case.due_us == at:
                yield case_id, case

    def _moment(self, record: bytes) -> int:
        """When a case of one pass has to be looked at, if nothing changes; one that has ended is over then."""
        expiry_us: int
        last_us: int
        deadline_us: int
        if record[0] == ENDED:
            _, _, _, _, expiry_us, last_us, *_ = ENDED_FORM.unpack_from(record)
            return max(last_us + self.retention_us, expiry_us)
        _, _, _, _, expiry_us, last_us, _, deadline_us, _, _ = OPEN_FORM.unpack_from(record)
        open_until = last_us if deadline_us == NONE_US else max(last_us, deadline_us)
        over_us = max(expiry_us, last_us + self.retention_us, max(0, open_until) + self._abandon_us)
        return over_us if deadline_us == NONE_US else min(deadline_us, over_us)

    def restore(self, kept: dict[str, bytes]) -> None:
        """Take over packed cases; only when they are due is read of them."""
        self.cases.restore(kept)
        self.timers = CaseTimers()
        add = self.timers.add
        for case_id, record in kept.items():
            add(due_of(record), case_id)


def _order(case: Case, key: PassKey) -> tuple[bool, int, str]:
    """In which order what runs out at the same time is found."""
    return (case.passes[key].start_us is None, *parts_of(key))
