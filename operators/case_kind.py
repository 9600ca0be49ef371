"""The cases of one kind: where they are kept, when they are looked at, and when they are let go.

A case is asked whether it is over `retention` after its first event, and then again when it can be over at the
earliest, but not later than `retention` from the time it was asked: what is open now may be over by then. These
questions are not asked one by one: as nothing changes between two events, what they come to is worked out.
"""

import msgspec

from operators.case_passes import parts_of
from operators.case_state import Case, CaseDue, PassKey
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

    Memory: a record a case, packed while it rests (see `Resting`), and one entry of `CaseTimers`, seldom two.
    """

    def __init__(self, rule: CaseRule, visible: int) -> None:
        self._retention_us = int(rule.retention)
        self._abandon_us = int(rule.abandon_after)
        self._again_us = max(self._retention_us, 1)
        self._visible = visible
        self.cases: Resting[Case] = Resting(msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Case).decode)
        self.timers = CaseTimers()

    def begin(self, case_id: str, arrival_us: int) -> Case:
        """A case of which nothing is known yet."""
        case = Case(END_OF_TIME_US, arrival_us + self._retention_us, arrival_us, [""], [""], {})
        self.cases.put(case_id, case)
        return case

    def arrived(self, case_id: str, case: Case, arrival_us: int) -> None:
        """An event has come, and all that it sets is set: the case can be over `retention` from now."""
        case.last_arrival_us = arrival_us
        if case.due_us > arrival_us + self._retention_us:
            self.look_at(case_id, case, arrival_us + self._retention_us)

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
        over_us = case.last_arrival_us + self._retention_us
        at, first, found = END_OF_TIME_US, (True, -1, ""), _NO_PASS
        deadline_us = None
        for key, record in case.passes.items():
            if record.extras is None and (record.end_us is not None or record.start_us is None):
                continue  # nearly always: over, and nothing to be said of it
            timer_us = record.timer_us
            if timer_us and timer_us <= at:
                order = (record.start_us is None, *parts_of(key))
                if timer_us < at or order < first:
                    at, first, found = timer_us, order, key
            if record.extras is not None and record.extras.grace_us >= over_us:
                over_us = record.extras.grace_us + 1
            if record.is_open and parts_of(key)[0] < self._visible:
                deadline_us = max(deadline_us or 0, record.deadline_us or 0)
        if deadline_us is not None:
            open_until = max(case.last_arrival_us, min(deadline_us, END_OF_TIME_US)) + self._abandon_us
            over_us = max(over_us, open_until)
        return at, found, max(case.expiry_us, over_us)

    def restore(self, kept: dict[str, bytes]) -> None:
        """Take over packed cases; only when they are due is read of them."""
        self.cases.restore(kept)
        self.timers = CaseTimers()
        add = self.timers.add
        for case_id, packed in kept.items():
            add(_decode_due(packed).due_us, case_id)
