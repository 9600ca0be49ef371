"""Whether a group has to be told again, or was told the same already."""

from operators.alerting.acknowledgements import acknowledgement_of
from operators.alerting.content import is_given_up, is_worse, told_of
from operators.alerting.decisions import Reason
from operators.alerting.routes import RouteNode
from operators.alerting.standing import Standing
from operators.alerting.state import Group


def reason_to_tell(group: Group, standing: Standing, route: RouteNode, now_us: int) -> Reason | None:
    """Why a group is to be told now; None where the receiver knows all of it.

    Args:
        group: as it was last told.
        standing: how it stands now.
        route: its route.
        now_us: the arrival time.

    An incident that the receiver was told of and that is held back since goes on as it was told: the group is not over
    before that one is.
    """
    told, firing = group.told, standing.firing
    if not told:
        return Reason.FIRST if firing else None
    if not firing:
        if told.keys() & standing.held.keys():
            return None
        ended = [tracked.incident for one, tracked in standing.over.items() if one in told]
        return Reason.MERGED if ended and all(map(is_given_up, ended)) else Reason.ALL_OVER
    if firing.keys() - told.keys():
        return Reason.ANOTHER
    known = [
        (told[one], told_of(tracked.incident))
        for one, tracked in firing.items()
        if acknowledgement_of(tracked, now_us) is None
    ]
    if any(is_worse(now.priority, before.priority) for before, now in known):
        return Reason.WORSE
    if any(now != before for before, now in known):
        return Reason.CHANGED
    if route.send_resolved and told.keys() & standing.over.keys():
        return Reason.SOME_OVER
    if known and group.sent_us + route.repeat_interval_us <= now_us:
        return Reason.REPEAT
    return None
