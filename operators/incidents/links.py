"""Whether one incident comes from another: dependency, time, place and shared orders."""

import msgspec

from operators.incidents.causes import CauseGraph, Link
from operators.incidents.kinds import directness
from operators.incidents.records import Record
from operators.incidents.scopes import LOOSE, PLACES, VIEWS, Relation, relation
from operators.incidents.settings import IncidentSettings

#: Findings that are about different places must share nearly all of their orders.
_APART_SHARE = 0.8
#: The share of its orders by which an effect is told grows with how directly it shows itself, up to this.
_BEYOND_DIRECT, _MOST_SHARE = 0.3, 0.95
#: What shows itself no more directly than this can be put down by time alone to what shows itself as directly as that.
_VAGUE, _PLAIN = 0.4, 0.7


class Verdict(msgspec.Struct, frozen=True):
    """One incident may come from another. `strength` from 0 to 1; `sure`: what is known is enough.

    Where it is not sure, orders have yet to tell; `by_time` says that time may do where they never do.
    """

    strength: float
    why: str
    sure: bool = True
    by_time: bool = False


def judge(cause: Record, effect: Record, shared: int, graph: CauseGraph, settings: IncidentSettings) -> Verdict | None:
    """Whether `effect` comes from `cause`; None where nothing says so, or something speaks against it.

    Both are judged by their own causes, not by what follows from them: that a consequence of one could have a second
    reason does not make two breakdowns one. `shared` is how many orders both touch.
    """
    one, other = cause.root, effect.root
    link = graph.link(one.kind, other.kind, one.handoff, other.handoff)
    if link is None or not _in_time(cause, effect, link, settings):
        return None
    lies = relation(cause.root_part.values, effect.root_part.values, same_kind=one.kind == other.kind)
    fewer = min(len(cause.orders), len(effect.orders))
    share = shared / fewer if fewer else 0.0
    told = fewer >= settings.shared_least
    tied = shared >= settings.shared_least and share >= _share_needed(cause, effect, graph, settings)
    words = f"{link.why}; {shared} orders in common" if shared else link.why
    if lies == "same":
        return Verdict(0.7 + 0.3 * share, f"{words}; in the same place")
    if lies == "apart":
        nearly_all = tied and share >= _APART_SHARE
        return Verdict(0.4 + 0.2 * share, f"{words}, in different places") if nearly_all else None
    if tied:
        return Verdict(0.5 + 0.4 * share, words)
    if link.steps == 0 and lies == "other" and not told and _near(cause, effect, settings):
        return Verdict(0.4, f"{words}; at the same time")
    return _unsure(cause, effect, lies, link, settings, told=told, shared=shared)


def _share_needed(cause: Record, effect: Record, graph: CauseGraph, settings: IncidentSettings) -> float:
    """Which share of its orders tells that an effect comes from a cause.

    What shows itself directly needs no cause elsewhere: with a wide breakdown it shares many orders by chance. Of what
    is to be expected after what already followed from the cause, half the share tells.
    """
    direct = directness(effect.root.kind, effect.root.scope)
    needed = max(settings.shared_share, min(_MOST_SHARE, direct + _BEYOND_DIRECT))
    return needed / 2 if _expected(cause, effect, graph, settings) else needed


def _expected(cause: Record, effect: Record, graph: CauseGraph, settings: IncidentSettings) -> bool:
    """Whether many of its kind followed from the cause just now, or what brings it about did, in the same place."""
    kind, part = effect.root.kind, effect.root_part
    for followed, same in cause.kinds.items():
        if followed == cause.root.kind:
            continue
        many = followed == kind and same.count >= settings.siblings
        if many and abs(same.found_us - part.found_us) <= settings.recover_after:
            return True
        if graph.link(followed, kind) is None or same.first_us > part.first_us + settings.slack:
            continue
        if relation(same.values, part.values, same_kind=followed == kind) == "same":
            return True
    return False


def _unsure(
    cause: Record, effect: Record, lies: Relation, link: Link, settings: IncidentSettings, *, told: bool, shared: int
) -> Verdict | None:
    """Orders have yet to tell, or can't: where the effect names hardly any, time alone may, if the cause is plain."""
    if lies == "other" and not link.wide:
        return None
    same_kind = link.steps == 0
    plain = directness(cause.root.kind, cause.root.scope)
    vague = plain >= _PLAIN and directness(effect.root.kind, effect.root.scope) <= _VAGUE
    at_once = abs(effect.root_part.first_us - cause.root_part.first_us) <= link.soon_us and plain >= _PLAIN
    untold = (same_kind or vague or at_once) and link.steps <= 1 and not told
    if not untold and not shared:
        return None
    by_time = untold and (same_kind or len(effect.orders) < settings.shared_least)
    return Verdict(0.2 + 0.1 * plain, f"{link.why}; told by time alone", sure=False, by_time=by_time)


def _in_time(cause: Record, effect: Record, link: Link, settings: IncidentSettings) -> bool:
    """The effect begins after the cause does, and not too long after its end; of the same kind, whichever way round."""
    return _follows(cause, effect, link, settings) or (link.steps == 0 and _follows(effect, cause, link, settings))


def _follows(cause: Record, effect: Record, link: Link, settings: IncidentSettings) -> bool:
    part, begins_us = cause.root_part, effect.root_part.first_us
    if part.first_us > begins_us + settings.slack:
        return False
    return part.open > 0 or begins_us <= part.closed_us + link.within_us


def siblings(one: Record, other: Record, settings: IncidentSettings) -> bool:
    """Whether two incidents of one kind, in different places, came up at nearly the same time."""
    return (
        one.root.kind == other.root.kind
        and told_apart_by(one) == told_apart_by(other)
        and abs(one.root_part.found_us - other.root_part.found_us) <= settings.siblings_within
    )


def told_apart_by(record: Record) -> frozenset[str]:
    """The fields of its scope that name what is broken."""
    fields = frozenset(record.root_part.values)
    return fields & PLACES or fields - LOOSE - VIEWS


def places(record: Record) -> int:
    """In how many places an incident's cause was found."""
    values = record.root_part.values
    return max((len(values[field]) for field in told_apart_by(record)), default=1)


def _near(one: Record, other: Record, settings: IncidentSettings) -> bool:
    return abs(one.root_part.first_us - other.root_part.first_us) <= settings.siblings_within
