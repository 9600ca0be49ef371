"""The cases of one kind: where they are kept, when they are looked at, and when they are let go.

A case is asked whether it is over `retention` after its first event, and then again when it can be over at the
earliest, but not later than `retention` from the time it was asked: what is open now may be over by then. These
questions are not asked one by one: as nothing changes between two events, what they come to is worked out.
"""

from collections.abc import Iterator

import msgspec

from operators.case_passes import parts_of
from operators.case_state import Case, CaseDue, LoneCase, PassKey
from operators.case_timers import CaseTimers
from operators.process_map import CaseRule
from operators.resting import Resting
from schemas.durations import END_OF_TIME_US

_NO_PASS: PassKey = -1
_decode_due = msgspec.msgpack.Decoder(CaseDue).decode


class CaseKind:
    """Cases by id.

    Args:
        rule: how long they are remembered.
        visible: passes through handoffs below this index keep a case open.
        is_lone: there is but one handoff for these cases, so that most are nothing but one pass (`LoneCase`).

    Memory: a record a case, packed while it rests (see `Resting`), and one entry of `CaseTimers`, seldom two.
    """

    def __init__(self, rule: CaseRule, visible: int, *, is_lone: bool = False) -> None:
        self.is_lone = is_lone
        self.retention_us = int(rule.retention)
        self._abandon_us = int(rule.abandon_after)
        self._again_us = max(self.retention_us, 1)
        self._visible = visible
        decode = msgspec.msgpack.Decoder[Case | LoneCase](Case | LoneCase).decode
        self.cases: Resting[Case | LoneCase] = Resting(msgspec.msgpack.Encoder().encode, decode)
        self.timers = CaseTimers()

    def begin(self, case_id: str, arrival_us: int) -> Case:
        """A case of which nothing is known yet."""
        case = Case(END_OF_TIME_US, arrival_us + self.retention_us, arrival_us, [""], [""], {})
        self.cases.put(case_id, case)
        return case

    def arrived(self, case_id: str, case: Case | LoneCase, arrival_us: int) -> None:
        """An event has come, and all that it sets is set: the case can be over `retention` from now."""
        case.last_arrival_us = arrival_us
        if case.due_us > arrival_us + self.retention_us:
            self.look_at(case_id, case, arrival_us + self.retention_us)

    def look_at(self, case_id: str, case: Case | LoneCase, at: int) -> None:
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

    def due(self, before_us: int) -> Iterator[tuple[str, Case | LoneCase]]:
        """Time has come to `before_us`: the cases that something may run out of, or that are to be let go.

        A lone case that has ended is looked at later, or let go, right here: what `outlook` and `CaseRules.run_out`
        say, for what happens to nearly all of them.
        """
        cases, retention_us, add = self.cases, self.retention_us, self.timers.add
        young, get, drop = cases.young, cases.get, cases.drop
        for at, case_id in self.timers.before(before_us):
            case = young.get(case_id) or get(case_id)
            if case is None or case.due_us != at:
                continue
            if not isinstance(case, LoneCase) or case.end_us is None:
                yield case_id, case
                continue
            moment = max(case.last_arrival_us + retention_us, case.expiry_us)
            if moment >= before_us:
                case.due_us = moment
                add(moment, case_id)
            else:
                drop(case_id)

    def pass_by(self, case_id: str, case: LoneCase, before_us: int) -> bool:
        """Time has come to `before_us`: look at an open lone case later; False where something runs out before it."""
        last_us, deadline_us = case.last_arrival_us, case.deadline_us
        over_us = max(last_us + self.retention_us, max(last_us, deadline_us or 0) + self._abandon_us)
        moment = min(deadline_us or END_OF_TIME_US, max(case.expiry_us, over_us))
        if moment < before_us:
            return False
        case.due_us = moment
        self.timers.add(moment, case_id)
        return True

    def restore(self, kept: dict[str, bytes]) -> None:
        """Take over packed cases; only when they are due is read of them."""
        self.cases.restore(kept)
        self.timers = CaseTimers()
        add = self.timers.add
        for case_id, packed in kept.items():
            add(_decode_due(packed).due_us, case_id)


def _order(case: Case, key: PassKey) -> tuple[bool, int, str]:
    """In which order what runs out at the same time is found."""
    return (case.passes[key].start_us is None, *parts_of(key))
