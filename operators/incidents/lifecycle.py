"""What becomes of an incident: open, growing, recovering, resolved, reopened; and when it is to be looked at next."""

from operators.incidents.records import Record
from operators.incidents.settings import IncidentSettings


def status_at(record: Record, now_us: int, settings: IncidentSettings) -> str:
    """The state that it comes to be in. What is resolved stays so until something is added."""
    status, added = record.shown.status, record.added_us == now_us
    if status == "resolved":
        return "reopened" if added else status
    if _ends_us(record, settings) <= now_us:
        return "resolved"
    if not record.written:
        return "open"
    if not record.root_part.open or record.added_us + settings.recover_after <= now_us:
        return "recovering"
    if added or status == "recovering":
        return "growing"
    return status


def next_look_us(record: Record, now_us: int, settings: IncidentSettings) -> int:
    """When something about it may change by time alone."""
    if record.resolved:
        forget_us = record.shown.resolved_us + settings.reopen_within
        return min(forget_us, record.predict_us) if record.on_the_way and record.predict_us > now_us else forget_us
    times = [_ends_us(record, settings)]
    if not record.written:
        times.append(record.hold_us)
    elif record.shown.status != "recovering":
        times.append(record.added_us + settings.recover_after)
    if record.open_findings or record.on_the_way:
        times.append(record.predict_us)
    return min((time for time in times if time > now_us), default=now_us + settings.give_up_after)


def _ends_us(record: Record, settings: IncidentSettings) -> int:
    """When it is resolved if nothing more comes."""
    given_up_us = record.heard_us + settings.give_up_after
    if record.open_findings:
        return given_up_us
    return min(given_up_us, max(record.added_us, record.over_us) + settings.resolve_after)
