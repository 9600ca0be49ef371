"""The passes of a case: which there are, what tells them apart, when they are due, given up, and found wanting."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from operators.case_state import Case, Finding, Pass, PassExtras, PassKey, PassRecord, Seen, earlier
from operators.process_map import Handoff, ProcessMap
from schemas.events import EventBase, field_of

#: A case with more ids or scopes than this is looked through for those that nothing names any more.
MANY = 32
#: So many texts at the end of a case's list are looked through for one that comes again.
_NEAR = 64
#: The passes that an event touches: laid open, and as they showed before it (None where there was none).
Touched: TypeAlias = dict[PassKey, tuple[Pass, Seen | None]]


def entries_of(process: ProcessMap) -> tuple[list[Handoff], int]:
    """The handoffs, and behind them one for each `requires`: the required end, then this end, signals only.

    Passes that both tell apart are held against each other one by one: each line against its own. A required end that
    is the start anyway is judged there, once, pass by pass: the pass that ended first can't have ended before its start
    unless that is found of it. Handoffs that end alike are required once.
    """
    by_name = {handoff.name: handoff for handoff in process.handoff}
    required = {
        (handoff.name, str(by_name[name].end), by_name[name].end_case, *_shared(handoff, by_name[name])): (
            _requirement(handoff, by_name[name])
        )
        for handoff in process.handoff
        for name in handoff.requires
        if handoff.start_optional or (handoff.start, handoff.start_case) != (by_name[name].end, by_name[name].end_case)
    }
    return [*process.handoff, *required.values()], len(process.handoff)


def _requirement(handoff: Handoff, required: Handoff) -> Handoff:
    """What is a finding where the end of `handoff` comes without, or before, that of `required`."""
    return msgspec.structs.replace(
        handoff,
        start=required.end,
        start_case=required.end_case,
        start_optional=False,
        title=f"{handoff.title or handoff.name} requires {required.title or required.name}",
        per=_shared(handoff, required),
        scope="",
        target=None,
        deadline=None,
        deadline_at=None,
        requires=[],
        repeat="first",
        abandoned_by=[],
    )


def _shared(handoff: Handoff, required: Handoff) -> list[str]:
    """What tells passes of both apart."""
    return [name for name in handoff.per if name in required.per]


def parts_of(key: PassKey) -> tuple[int, str]:
    """The index of the handoff, and what tells the pass from the handoff's others."""
    if isinstance(key, int):
        return key, ""
    entry, _, pass_key = key.partition("/")
    return int(entry), pass_key


def laid_open(case: Case, record: PassRecord) -> Pass:
    """A pass as the rules see it."""
    extras = record.extras or PassExtras()
    current = Pass(
        start_us=record.start_us,
        end_us=record.end_us,
        start_id=case.ids[record.start_id],
        end_id=case.ids[record.end_id],
        start_scope=case.scopes[record.start_scope],
        end_scope=case.scopes[record.end_scope],
        abandoned_us=extras.abandoned_us,
        cancelled_us=extras.cancelled_us,
        deadline_us=record.deadline_us,
        grace_us=extras.grace_us,
        fired_us=extras.fired_us,
        version=record.version,
        signals=dict(extras.signals) if extras.signals else {},
    )
    if record.extras is not None:
        current.start_odd, current.end_odd, current.doubted = extras.start_odd, extras.end_odd, extras.doubted
    if record.deadline_us is not None and current.is_open and not current.fired_us:
        current.timer_us = extras.late_us or record.deadline_us
    return current


def keep(case: Case, key: PassKey, current: Pass) -> None:
    """The reverse of `laid_open`."""
    late_us = current.timer_us if current.timer_us != current.deadline_us else 0
    given_up = current.abandoned_us is not None or current.cancelled_us is not None
    extras = None
    if (
        given_up
        or late_us
        or current.grace_us
        or current.fired_us
        or current.signals
        or current.start_odd is not None
        or current.end_odd is not None
    ):
        extras = PassExtras(
            current.abandoned_us,
            current.cancelled_us,
            late_us,
            current.grace_us,
            current.fired_us,
            current.signals or None,
            current.start_odd,
            current.end_odd,
            current.doubted,
        )
    case.passes[key] = PassRecord(
        current.start_us,
        current.end_us,
        place_of(case.ids, current.start_id),
        place_of(case.ids, current.end_id),
        place_of(case.scopes, current.start_scope),
        place_of(case.scopes, current.end_scope),
        current.deadline_us,
        current.version,
        extras,
    )


def place_of(texts: list[str], text: str) -> int:
    """Where `text` stands in a case's list; it is added where it does not.

    Of a long list only the end is looked at: a text that stands before that is added again, until `tidy`.
    """
    last = len(texts) - 1
    if texts[last] == text:  # one event is a part of several handoffs
        return last
    if text == texts[0]:
        return 0
    near = last - _NEAR if last > _NEAR else 0
    if text in (texts[near:] if near else texts):
        return texts.index(text, near)
    texts.append(text)
    return last + 1


def tidy(case: Case) -> None:
    """Let go of the ids and scopes that none of the case's records names any more, and of those that stand twice."""
    if len(case.ids) <= MANY and len(case.scopes) <= MANY:
        return
    named = len(case.passes) * 2 + len(case.times or ()) + len(case.marks or ()) * 2
    if len(case.ids) > 2 * named + 8:
        case.ids, moved = _renumbering(case.ids)
        for record in case.passes.values():
            record.start_id, record.end_id = moved(record.start_id), moved(record.end_id)
        for mark in (case.marks or {}).values():
            mark.after_id, mark.event_id = moved(mark.after_id), moved(mark.event_id)
        for name, (said_us, said_id, time_us) in (case.times or {}).items():
            assert case.times is not None
            case.times[name] = (said_us, moved(said_id), time_us)
    if len(case.scopes) > 2 * named + 8:
        case.scopes, moved = _renumbering(case.scopes)
        for record in case.passes.values():
            record.start_scope, record.end_scope = moved(record.start_scope), moved(record.end_scope)
        for mark in (case.marks or {}).values():
            mark.scope = moved(mark.scope)


def _renumbering(texts: list[str]) -> tuple[list[str], Callable[[int], int]]:
    """An empty list, and what puts a text of the old one into it, once, and says where it stands now."""
    now, places = [texts[0]], {texts[0]: 0}

    def moved(place: int) -> int:
        text = texts[place]
        found = places.get(text)
        if found is None:
            found = places[text] = len(now)
            now.append(text)
        return found

    return now, moved


def touch(case: Case, key: PassKey, touched: Touched) -> Pass:
    """The pass at `key`, laid open, made if there is none; as it showed is kept in `touched`."""
    if key in touched:
        return touched[key][0]
    record = case.passes.get(key)
    if record is None:
        current = Pass(signals={}, cancelled_us=case.cancelled_us)
        touched[key] = (current, None)
    else:
        current = laid_open(case, record)
        touched[key] = (current, current.seen())
    return current


def cancel(case: Case, event: EventBase, occurred_us: int, entries: Sequence[Handoff], touched: Touched) -> None:
    """Cancel the whole case, or the passes of one of its lines."""
    line = field_of(event, "line_id")
    if line:
        lines = case.cancelled_lines = case.cancelled_lines or {}
        lines[line] = min(lines.get(line, occurred_us), occurred_us)
    else:
        case.cancelled_us = earlier(case.cancelled_us, occurred_us)
    for key in case.passes:
        entry, pass_key = parts_of(key)
        per = entries[entry].per
        if line and ("line_id" not in per or _key_parts(per, pass_key)[per.index("line_id")] != line):
            continue
        current = touch(case, key, touched)
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


class TimedField(msgspec.Struct, frozen=True):
    """What a time in one field is said of: handoffs, each with the place of its times, and how keys of passes look.

    A handoff without `per` has its index, one of `entries`, for a key; keys of the others begin with one of `prefixes`.
    """

    handoffs: list[tuple[int, Handoff, int]]
    entries: frozenset[int]
    prefixes: tuple[str, ...]


class CarriedTimes:
    """Where the times that cases carry are kept: with the pass, when the event names the pass, else with the case.

    A handoff with passes keeps its case's times apart: what says a time of one pass is no word about the others.
    """

    def __init__(self, entries: Iterable[Handoff]) -> None:
        timed = [(entry, one) for entry, one in enumerate(entries) if one.deadline_at is not None]
        self.names = list(dict.fromkeys(_time_name(one) for _, one in timed))
        self._place = {entry: self.names.index(_time_name(one)) for entry, one in timed}
        by_field: dict[tuple[str, str], list[tuple[int, Handoff, int]]] = {}
        for entry, one in timed:
            assert one.deadline_at is not None
            by_field.setdefault((one.case, one.deadline_at.field), []).append((entry, one, self._place[entry]))
        self._fields = {field: _timed_field(handoffs) for field, handoffs in by_field.items()}

    def moved(self, case: Case, kind: str, fields: Sequence[str]) -> list[PassKey]:
        """The passes whose deadline may be moved by the times in `fields`."""
        if len(fields) == 1:
            field = self._fields[kind, fields[0]]
            entries, prefixes = field.entries, field.prefixes
        else:
            named = [self._fields[kind, name] for name in fields]
            entries = frozenset[int]().union(*(field.entries for field in named))
            prefixes = tuple(prefix for field in named for prefix in field.prefixes)
        return [key for key in case.passes if (key in entries if isinstance(key, int) else key.startswith(prefixes))]

    def carry(self, case: Case, kind: str, field: str, event: EventBase, occurred_us: int, time_us: int) -> None:
        """Note a time that an event says; the one said last (event time) counts."""
        times, event_id = case.times, event.event_id
        if times is None:
            times = case.times = {}
        for _, one, place in self._fields[kind, field].handoffs:
            per = one.per
            key: PassKey = place
            if len(per) == 1:
                named = field_of(event, per[0])
                if named:
                    key = f"{place}/{named}"
            elif per and all(field_of(event, name) for name in per):
                key = f"{place}/{pass_key_of(one, event)}"
            known = times.get(key)
            if known is None or (known[0], case.ids[known[1]], known[2]) < (occurred_us, event_id, time_us):
                times[key] = (occurred_us, place_of(case.ids, event_id), time_us)

    def said(self, case: Case, entry: int, handoff: Handoff, pass_key: str) -> int | None:
        """The time that holds for a pass, None where none was said."""
        if not case.times:
            return None
        place = self._place[entry]
        known = case.times.get(f"{place}/{pass_key}") if handoff.per else None
        if known is None:
            known = case.times.get(place)
        return None if known is None else known[2]


def _timed_field(handoffs: list[tuple[int, Handoff, int]]) -> TimedField:
    entries = frozenset(entry for entry, one, _ in handoffs if not one.per)
    return TimedField(handoffs, entries, tuple(f"{entry}/" for entry, one, _ in handoffs if one.per))


def _time_name(handoff: Handoff) -> str:
    assert handoff.deadline_at is not None
    return f"{handoff.deadline_at.field}|{handoff.name}" if handoff.per else handoff.deadline_at.field


def revised(current: Pass, old: Seen | None, arrival_us: int, *, is_late: bool, is_reversed: bool) -> list[Finding]:
    """Open, correct and close the signals of a pass that was seen as `old`; the findings whose signal changed."""
    end, over, deadline = current.end_us, current.over_us, current.deadline_us
    changed: list[Finding] = []

    def put(finding: Finding, opened_us: int, closed_us: int | None, *, is_other: bool = False) -> None:
        said = current.signals.get(finding)
        if is_other or said is None or said[:2] != (opened_us, closed_us):
            current.signals[finding] = (opened_us, closed_us, arrival_us if said is None else said[2])
            changed.append(finding)

    overdue = current.signals.get(Finding.OVERDUE)
    if current.fired_us and over is None:
        put(Finding.OVERDUE, current.fired_us, None)
    elif is_late and deadline is not None:
        put(Finding.OVERDUE, deadline, over)
    elif overdue is not None and (overdue[1] is None or (old is not None and old.is_late)):
        put(Finding.OVERDUE, overdue[0], arrival_us, is_other=True)  # it had been said to be late, and is not
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
