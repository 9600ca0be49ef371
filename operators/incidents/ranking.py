"""Which finding is the probable cause of an incident, and what the others are to it."""

from math import exp

import msgspec

from operators.incidents.causes import CauseGraph
from operators.incidents.kinds import directness, kind_of
from operators.incidents.records import Finding, KindPart, Record
from operators.incidents.settings import IncidentSettings
from schemas.durations import HOUR_US

#: (name, as what it shows, field, times): seen in one place (the field's value), it is the first that is broken, and
#: the second only how that shows, where the first adds so many times the second's orders.
_NEARER = (
    ("posting_interface_down", "downstream_outage", "interface", 0.0),
    ("posting_interface_down", "transport_fault", "interface", 0.0),
    ("margin_leak", "price_error", "channel", 2.0),
)


class Candidate(msgspec.Struct, frozen=True):
    """A finding that may be the cause, how well that fits (0 to 1), and why."""

    finding: Finding
    score: float
    why: str


def ranked(record: Record, graph: CauseGraph, settings: IncidentSettings) -> list[Candidate]:
    """The candidates, best first: of each kind the finding nearest to what is broken, then the earliest.

    Cost: quadratic in the number of kinds in the incident, whatever the number of findings.
    """
    found = [_of_kind(record, part, settings) for part in record.kinds.values()]
    first_us = min(finding.opened_us for finding in found)
    candidates = [_candidate(record, finding, found, first_us, graph, settings) for finding in found]
    candidates.sort(key=lambda one: (-one.score, one.finding.opened_us, one.finding.signal_id))
    best = candidates[0]
    held = next((one for one in candidates if one.finding.signal_id == record.cause), best)
    if record.written and best.score - held.score < settings.cause_margin:
        candidates.remove(held)
        candidates.insert(0, held)
    nearer = _nearer_name(record, candidates)
    if nearer is not None:
        candidates.remove(nearer)
        candidates.insert(0, nearer)
    return candidates


def _nearer_name(record: Record, candidates: list[Candidate]) -> Candidate | None:
    """The candidate that is the first one by its nearer name, None where there is none."""
    first = candidates[0].finding
    for name, shows_as, field, times in _NEARER:
        if first.kind != shows_as or name not in record.kinds:
            continue
        here, there = record.kinds[name], record.kinds[shows_as]
        same_place = here.values.get(field, set()) & there.values.get(field, set())
        if same_place and here.orders >= times * there.orders:
            return next((one for one in candidates if one.finding.kind == name), None)
    return None


def _of_kind(record: Record, part: KindPart, settings: IncidentSettings) -> Finding:
    """The strongest of a kind; of the cause's own the cause that was told, unless it is nearer or much earlier."""
    best, cause = record.findings[part.best], record.root
    if not record.written or best.kind != cause.kind or best.strength[0] < cause.strength[0]:
        return best
    return best if best.opened_us < cause.opened_us - settings.slack else cause


def _candidate(
    record: Record,
    finding: Finding,
    found: list[Finding],
    first_us: int,
    graph: CauseGraph,
    settings: IncidentSettings,
) -> Candidate:
    weights, why = settings.cause_weights, []
    earliest = exp(-(finding.opened_us - first_us) / HOUR_US)
    if finding.opened_us == first_us and len(found) > 1:
        why.append("it began first")
    explains = _explains(record, finding, graph, settings, why)
    uncaused = _uncaused(finding, found, graph, settings, why)
    direct = directness(finding.kind, finding.scope)
    shows = kind_of(finding.kind).shows
    if shows:
        why.append(f"{'seen directly' if direct >= 0.8 else 'seen'}: {shows}")
    terms = (
        (weights.earliest, earliest),
        (weights.explains, explains),
        (weights.uncaused, uncaused),
        (weights.direct, direct),
    )
    score = sum(weight * value for weight, value in terms) / sum(weight for weight, _ in terms)
    return Candidate(finding, round(score, 6), "; ".join(why))


def _explains(record: Record, finding: Finding, graph: CauseGraph, settings: IncidentSettings, why: list[str]) -> float:
    """Its share of the others: of the findings and of the orders that can come from it and did not begin before."""
    mine = record.kinds[finding.kind]
    others = record.signals - mine.count
    orders = sum(part.orders for part in record.kinds.values())
    reached = [
        part
        for kind, part in record.kinds.items()
        if kind != finding.kind
        and finding.opened_us <= part.first_us + settings.slack
        and graph.link(finding.kind, kind, finding.handoff, record.findings[part.best].handoff)
    ]
    followed = sum(part.count for part in reached)
    touched = mine.orders + sum(part.orders for part in reached)
    if others:
        why.append(f"{followed} of {others} other findings can come from it")
    parts = [followed / others if others else 1.0, *([touched / orders] if orders else [])]
    return sum(parts) / len(parts)


def _uncaused(
    finding: Finding, found: list[Finding], graph: CauseGraph, settings: IncidentSettings, why: list[str]
) -> float:
    """1 where nothing known brings it about, 0 where something does; of two that do each other, the first does more."""
    reasons: list[tuple[float, int, str]] = []
    for other in found:
        if other.kind == finding.kind or other.opened_us > finding.opened_us + settings.slack:
            continue
        if graph.link(other.kind, finding.kind, other.handoff, finding.handoff) is None:
            continue
        weight = 1.0
        if graph.link(finding.kind, other.kind, finding.handoff, other.handoff) is not None:
            weight = 0.75 if other.opened_us < finding.opened_us else 0.25
        reasons.append((-weight, other.opened_us, other.kind))
    if reasons:
        weight, _, kind = min(reasons)
        why.append(f"it can come from {kind}")
        return 1.0 + weight
    if len(found) > 1:
        why.append("nothing found here brings it about")
    return 1.0


def role_of(finding: Finding, cause: Finding, graph: CauseGraph) -> tuple[str, str]:
    """What a finding is to the cause (cause, evidence, consequence or candidate), and why."""
    if finding.signal_id == cause.signal_id:
        return "cause", "the probable cause"
    if finding.kind == cause.kind:
        return "evidence", "the same breakdown, seen from another side"
    link = graph.link(cause.kind, finding.kind, cause.handoff, finding.handoff)
    if link is not None:
        return "consequence", f"from {cause.kind}: {link.why}"
    return "candidate", "it belongs here, but is not known to come from the cause"
