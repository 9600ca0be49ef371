"""The passes of a case: which there are, what tells them apart, when they are due, given up, and found wanting."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from operators.case_state import Case, Finding, Pass, Seen, earlier
from operators.process_map import Handoff, ProcessMap
from schemas.events import EventBase, field_of

#: The passes that an event touches, as they showed before it; None where there was none.
Before: TypeAlias = dict[tuple[int, str], Seen | None]


def entries_of(process: ProcessMap) -> tuple[list[Handoff], int]:
    """The handoffs, and behind them one for each `requires`: the required end, then this end, signals only.

    A required end that is the start anyway is judged there, once.
    """
    by_name = {handoff.name: handoff for handoff in process.handoff}
    required = [
        msgspec.structs.replace(
            handoff,
            start=by_name[name].end,
            start_case=by_name[name].end_case,
            start_optional=False,
            title=f"{handoff.title or handoff.name} requires {by_name[name].title or name}",
            per=[],
            scope="",
            target=None,
            deadline=None,
            deadline_at=None,
            requires=[],
            repeat="first",
            abandoned_by=[],
        )
        for handoff in process.handoff
        for name in handoff.requires
        if handoff.per
        or handoff.start_optional
        or (handoff.start, handoff.start_case) != (by_name[name].end, by_name[name].end_case)
    ]
    return [*process.handoff, *required], len(process.handoff)


def touch(case: Case, key: tuple[int, str], before: Before) -> Pass:
    """The pass at `key`, made if there is none, with what it was kept in `before`."""
    current = case.passes.get(key)
    if key not in before:
        before[key] = current.seen() if current is not None else None
    if current is None:
        current = case.passes[key] = Pass(signals={}, cancelled_us=case.cancelled_us)
    return current


def cancel(case: Case, event: EventBase, occurred_us: int, entries: Sequence[Handoff], before: Before) -> None:
    """Cancel the whole case, or the passes of one of its lines."""
    line = field_of(event, "line_id")
    if line:
        case.cancelled_lines[line] = min(case.cancelled_lines.get(line, occurred_us), occurred_us)
    else:
        case.cancelled_us = earlier(case.cancelled_us, occurred_us)
    for key in case.passes:
        per = entries[key[0]].per
        if line and ("line_id" not in per or _key_parts(per, key[1])[per.index("line_id")] != line):
            continue
        current = touch(case, key, before)
        current.cancelled_us = earlier(current.cancelled_us, occurred_us)


def pass_key_of(handoff: Handoff, event: EventBase) -> str:
    """What tells this pass of the case from its others; several values are told apart by a slash."""
    if len(handoff.per) < 2:
        return field_of(event, handoff.per[0]) if handoff.per else ""
    return "/".join(_escaped(field_of(event, name)) for name in handoff.per)


def _key_parts(per: Sequence[str], pass_key: str) -> list[str]:
    """The values that a pass key was made of."""
    if len(per) < 2:
        return [pass_key]
    return [part.replace("%2F", "/").replace("%25", "%") for part in pass_key.split("/")]


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace("/", "%2F")


def time_name(handoff: Handoff, name: str, event: EventBase) -> str:
    """Where a time is kept: with the pass, when the event names the pass, else with the case.

    A handoff with passes keeps its case's times apart: what says a time of one pass is no word about the others.
    """
    if not handoff.per:
        return name
    if all(field_of(event, one) for one in handoff.per):
        return f"{name}|{handoff.name}|{pass_key_of(handoff, event)}"
    return f"{name}|{handoff.name}"


def revised(current: Pass, arrival_us: int, *, is_late: bool, is_reversed: bool) -> list[Finding]:
    """Open, correct and close the signals of a pass; the findings whose signal changed."""
    end, over, deadline = current.end_us, current.over_us, current.deadline_us
    changed: list[Finding] = []

    def put(finding: Finding, opened_us: int, closed_us: int | None) -> None:
        said = current.signals.get(finding)
        if said is None or said[:2] != (opened_us, closed_us):
            current.signals[finding] = (opened_us, closed_us, arrival_us if said is None else said[2])
            changed.append(finding)

    overdue = current.signals.get(Finding.OVERDUE)
    if current.fired_us and over is None:
        put(Finding.OVERDUE, current.fired_us, None)
    elif is_late and deadline is not None:
        put(Finding.OVERDUE, deadline, over)
    elif overdue is not None and overdue[1] is None:
        put(Finding.OVERDUE, overdue[0], arrival_us)
    out_of_sequence = current.signals.get(Finding.OUT_OF_SEQUENCE)
    if is_reversed and end is not None:
        put(Finding.OUT_OF_SEQUENCE, end, None)
    elif out_of_sequence is not None and out_of_sequence[1] is None:
        put(Finding.OUT_OF_SEQUENCE, out_of_sequence[0], arrival_us)
    missing = current.signals.get(Finding.MISSING_STEP)
    if missing is not None and missing[1] is None and current.start_us is not None:
        put(Finding.MISSING_STEP, missing[0], arrival_us)
    elif missing is not None and current.start_us is None and current.end_us is not None:
        put(Finding.MISSING_STEP, current.end_us, None)
    return changed


def deadline_of(handoff: Handoff, case: Case, current: Pass, pass_key: str) -> int | None:
    """When the end is due: a duration after the start, or the time that the pass, else the case, carries."""
    if current.start_us is None:
        return None
    if handoff.deadline is not None:
        return current.start_us + handoff.deadline
    if handoff.deadline_at is None:
        return None
    name = handoff.deadline_at.field
    if handoff.per:
        own = case.times.get(f"{name}|{handoff.name}|{pass_key}")
        said = own if own is not None else case.times.get(f"{name}|{handoff.name}")
    else:
        said = case.times.get(name)
    return None if said is None else said[2] + handoff.deadline_at.plus
