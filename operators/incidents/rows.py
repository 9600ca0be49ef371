"""An incident as rows, and in words."""

from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from operators.incidents.priority import SEVERITIES, importance, priority
from operators.incidents.ranking import Candidate
from operators.incidents.records import Finding, Record, Shown, Touched
from operators.incidents.settings import IncidentSettings
from schemas.durations import people_time
from schemas.incident_rows import Incident, IncidentOrder, IncidentSignal

#: How many candidates are told.
MOST_CANDIDATES = 5


def incident_id(cause_signal_id: str) -> str:
    """The same in every run: a hash of the first cause's finding."""
    return "i" + blake2b(cause_signal_id.encode(), digest_size=10).hexdigest()


def scope_of(record: Record) -> dict[str, str]:
    """The cause's scope, without the fields in which others of its kind differ, unless nothing would be left."""
    values = record.root_part.values
    agreed = {field: value for field, value in record.root.scope.items() if len(values[field]) == 1}
    return agreed or record.root.scope


def values_at_risk(record: Record) -> dict[str, float]:
    """By currency: what touched orders come to, and beside it what findings said; of those the kind with most."""
    out = dict(record.totals.value)
    beside: dict[str, float] = {}
    for part in record.kinds.values():
        for currency, money in part.money.items():
            beside[currency] = max(beside.get(currency, 0.0), money)
    for currency, money in beside.items():
        out[currency] = out.get(currency, 0.0) + money
    return {currency: round(money, 2) for currency, money in sorted(out.items()) if round(money, 2)}


def incident_row(
    record: Record, candidates: Sequence[Candidate], status: str, now_us: int, settings: IncidentSettings
) -> Incident:
    """An incident as it stands, under the version it has."""
    root, part, shown, totals = record.root, record.root_part, record.shown, record.totals
    values = values_at_risk(record)
    currency = max(values, key=lambda name: (values[name], name), default="")
    if not currency:
        currency = max(totals.refunds, key=lambda name: (totals.refunds[name], name), default="")
    margin = totals.margin.get(currency)
    score = importance(record, values.get(currency, 0.0), margin or 0.0, now_us, settings.priority)
    level = priority(score, settings.priority)
    over = max((each.closed_us for each in record.kinds.values()), default=0)
    if record.open_findings:  # given up: it is not known of later than this
        over = record.heard_us
    return Incident(
        incident_id=shown.incident_id,
        status=status,
        kind=root.kind,
        cause_signal_id=root.signal_id,
        candidates=[f"{one.finding.signal_id}: {one.finding.kind}: {one.why}" for one in candidates[:MOST_CANDIDATES]],
        scope=scope_of(record),
        severity=SEVERITIES[level - 1],
        priority=level,
        score=score,
        opened_at_us=part.first_us,
        found_at_us=shown.found_us,
        closed_at_us=max(over, part.first_us) if status == "resolved" else None,
        signals=record.signals,
        orders_affected=totals.orders,
        customers_affected=len(totals.customers),
        units_affected=round(totals.units, 3),
        promises_at_risk=record.at_risk,
        first_breach_at_us=record.first_breach_us,
        breach_error_s=record.breach_error_s,
        value_at_risk=values.get(currency, 0.0),
        margin_at_risk=None if margin is None else round(margin, 2),
        refunds_exposed=round(totals.refunds.get(currency, 0.0), 2),
        currency=currency,
        values_at_risk=values,
        summary=_summary(record, values, currency),
        arrival_us=now_us,
        version=shown.version,
    )


def said(row: Incident) -> bytes:
    """What an incident's row says, to see whether there is anything new."""
    same = msgspec.structs.replace(row, arrival_us=0, version=0)
    return blake2b(msgspec.msgpack.encode(same), digest_size=16).digest()


def merged_row(gone: Record, shown: Shown, into: str, now_us: int) -> Incident:
    """The last version of an incident that turned out to be part of another one, which has all that it had."""
    root = gone.root
    return Incident(
        incident_id=shown.incident_id,
        status="resolved",
        kind=root.kind,
        cause_signal_id=root.signal_id,
        candidates=[f"{root.signal_id}: merged into {into}"],
        scope=scope_of(gone),
        severity="info",
        priority=5,
        score=0.0,
        opened_at_us=gone.root_part.first_us,
        found_at_us=shown.found_us,
        closed_at_us=now_us,
        signals=0,
        orders_affected=0,
        customers_affected=0,
        units_affected=0.0,
        promises_at_risk=0,
        first_breach_at_us=None,
        breach_error_s=None,
        value_at_risk=0.0,
        margin_at_risk=None,
        refunds_exposed=0.0,
        currency="",
        values_at_risk={},
        summary=f"Merged into {into}: it has the same cause.",
        arrival_us=now_us,
        version=shown.version,
    )


def order_row(incident: str, key: str, touched: Touched, now_us: int) -> IncidentOrder:
    """A touched order, or another case under its own id."""
    impact = touched.impact
    return IncidentOrder(
        incident_id=incident,
        order_id=key,
        case_id=impact.case_id,
        customer_id=impact.customer_id,
        signal_id=touched.signal_id,
        units=impact.units,
        value=impact.value,
        margin=impact.margin,
        currency=impact.currency,
        promised_at_us=impact.promised_us,
        breach_predicted_at_us=touched.breach_us,
        breach_error_s=touched.error_s,
        arrival_us=now_us,
        version=touched.version,
    )


def signal_row(incident: str, finding: Finding, now_us: int) -> IncidentSignal:
    """A finding's part in an incident."""
    return IncidentSignal(
        incident_id=incident,
        signal_id=finding.signal_id,
        kind=finding.kind,
        role=finding.role,
        rank=finding.rank,
        reason=finding.reason,
        arrival_us=now_us,
        version=finding.version,
    )


def _summary(record: Record, values: dict[str, float], currency: str) -> str:
    """What an operations lead reads first."""
    root, totals = record.root, record.totals
    parts = [root.explanation or f"{root.kind} in {', '.join(f'{k} {v}' for k, v in sorted(root.scope.items()))}."]
    if totals.orders:
        of = f" of {_counted(len(totals.customers), 'customer')}" if totals.customers else ""
        parts.append(f"{_counted(totals.orders, 'order')}{of} touched.")
    if values:
        parts.append(f"{values[currency]:,.2f} {currency} at risk.".replace("  ", " "))
    if record.at_risk and record.first_promise_us is not None:
        when = people_time(record.first_promise_us)
        parts.append(f"{_counted(record.at_risk, 'promise')} expected to be missed, the first one made for {when}.")
    follows = {kind: part.count for kind, part in record.kinds.items() if kind != root.kind}
    if follows:
        parts.append("With it: " + ", ".join(f"{count} × {kind}" for kind, count in sorted(follows.items())) + ".")
    return " ".join(parts)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
