"""How the incidents of a group stand at one moment: which are to be told, which are held back, which are over."""

from collections.abc import Callable, Mapping

import msgspec

from operators.alerting.content import RESOLVED
from operators.alerting.decisions import Decision, Judged
from operators.alerting.inhibition import Inhibition
from operators.alerting.silences import Silences
from operators.alerting.state import Group, Tracked
from schemas.durations import people_time


class Standing(msgspec.Struct, frozen=True):
    """The members of a group, by incident id: each in exactly one of the three."""

    firing: dict[str, Tracked]
    held: dict[str, Judged]
    over: dict[str, Tracked]


def is_over(tracked: Tracked, *, left: bool) -> bool:
    """Whether an incident is over as far as a group is concerned."""
    return left or tracked.incident.status == RESOLVED


def standing_of(group: Group, incidents: Mapping[str, Tracked], hold: Callable[[Tracked], Judged | None]) -> Standing:
    """Divide the members of a group. Cost: one `hold` for each that is open."""
    standing = Standing({}, {}, {})
    for incident_id in sorted(group.members):
        tracked = incidents[incident_id]
        if is_over(tracked, left=group.members[incident_id].left):
            standing.over[incident_id] = tracked
            continue
        held = hold(tracked)
        if held is None:
            standing.firing[incident_id] = tracked
        else:
            standing.held[incident_id] = held
    return standing


def judge_open(tracked: Tracked, inhibition: Inhibition, silences: Silences, now_us: int) -> Judged | None:
    """Whether an open incident is inhibited or silenced, asked in this order; None where it is to be told."""
    inhibited = inhibition.quietened_by(tracked)
    if inhibited is not None:
        return Judged(Decision.INHIBITED, *inhibited)
    quiet = silences.quietened_by(tracked.labels, now_us)
    if quiet is None:
        return None
    said = f"by {quiet.created_by} until {people_time(quiet.ends_us)}"
    return Judged(Decision.SILENCED, quiet.silence_id, f"{said}: {quiet.comment}" if quiet.comment else said)
