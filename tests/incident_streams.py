"""Streams of findings written by hand, and the incidents that come of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from operators.detectors.records import Impact, ScopeFinding
from operators.incidents.incidents import IncidentOutput, Incidents
from operators.incidents.settings import IncidentSettings
from operators.incidents.state import IncidentsState
from operators.process_map import ProcessMap
from schemas.durations import HOUR_US, MINUTE_US
from schemas.incident_rows import Incident, IncidentOrder, IncidentSignal
from schemas.rows import Signal
from tests.declared import declare

#: Minute 0 of every stream; a whole minute.
START_US = 1_772_445_600_000_000

_MAP = Path(__file__).parents[1] / "dataflows" / "process_maps" / "default.toml"
PROCESS = declare(_MAP.read_text(), ProcessMap, "default.toml").value
assert PROCESS is not None


def at(minute: float) -> int:
    return START_US + round(minute * MINUTE_US)


def minute_of(time_us: int) -> float:
    return (time_us - START_US) / MINUTE_US


def order(
    name: str,
    *,
    value: float = 100.0,
    promised: float | None = None,
    customer: str | None = None,
    currency: str = "EUR",
) -> Impact:
    return Impact(
        order_id=name,
        customer_id=f"c-{name}" if customer is None else customer,
        units=2.0,
        value=value,
        margin=value / 4,
        currency=currency,
        promised_us=None if promised is None else at(promised),
    )


def orders(prefix: str, numbers: Iterable[int], promised: float | None = None) -> list[Impact]:
    return [order(f"{prefix}{number}", promised=promised) for number in numbers]


def finding(
    minute: float,
    kind: str,
    scope: Mapping[str, str],
    touched: Sequence[Impact] = (),
    *,
    since: float | None = None,
    closed: float | None = None,
    handoff: str = "",
    severity: str = "high",
    value: float = 0.0,
    name: str = "",
    found: float | None = None,
    score: float = 5.0,
) -> ScopeFinding:
    """A version of a finding that arrived at the end of a minute; `since` when it began (a minute before `found`)."""
    found = minute if found is None else found
    where = ",".join(f"{field}={value}" for field, value in sorted(scope.items()))
    signal = Signal(
        signal_id=name or f"{kind}[{where}]",
        detector="by-hand",
        kind=kind,
        handoff=handoff,
        scope=dict(scope),
        case_id="",
        opened_at_us=at(found - 1 if since is None else since),
        found_at_us=at(found),
        closed_at_us=None if closed is None else at(closed),
        severity=severity,
        score=score,
        confidence=0.99,
        expected="less",
        observed="more",
        method="rule",
        explanation=f"{kind} at {where}.",
        evidence=[],
        arrival_us=at(minute),
        version=at(minute),
    )
    return ScopeFinding(signal, list(touched), value, "EUR" if value else "")


def incidents(**settings: object) -> Incidents:
    assert PROCESS is not None
    return Incidents(IncidentSettings(**settings), PROCESS)  # type: ignore[arg-type]


def run(findings: Iterable[ScopeFinding], until: float | None = None, **settings: object) -> list[IncidentOutput]:
    """All rows, with time told up to minute `until` (just after the last finding where it is left out)."""
    given = sorted(findings, key=lambda one: one.signal.arrival_us)
    operator = incidents(**settings)
    out = operator.update(given)
    last_us = given[-1].signal.arrival_us
    return out + operator.advance((last_us if until is None else at(until)) + 1)


def resumed(operator: Incidents, **settings: object) -> Incidents:
    """The same, after its snapshot was kept and read."""
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(operator.snapshot()), type=IncidentsState)
    again = incidents(**settings)
    again.restore(kept)
    return again


def standing(rows: Iterable[IncidentOutput]) -> dict[str, Incident]:
    """The last version of each incident, by id."""
    return {row.incident_id: row for row in rows if isinstance(row, Incident)}


def alive(rows: Iterable[IncidentOutput]) -> list[Incident]:
    """The incidents as they stand, without those that were merged into another."""
    found = standing(rows).values()
    return [row for row in found if not row.summary.startswith("Merged into")]


def only(rows: Iterable[IncidentOutput]) -> Incident:
    found = alive(rows)
    assert len(found) == 1, [(row.kind, row.scope) for row in found]
    return found[0]


def roles(rows: Iterable[IncidentOutput], incident_id: str) -> dict[str, str]:
    """Signal → role as last written, of one incident."""
    return {
        row.signal_id: row.role for row in rows if isinstance(row, IncidentSignal) and row.incident_id == incident_id
    }


def touched(rows: Iterable[IncidentOutput], incident_id: str) -> dict[str, IncidentOrder]:
    """Order → row as last written, of one incident."""
    return {row.order_id: row for row in rows if isinstance(row, IncidentOrder) and row.incident_id == incident_id}


def statuses(rows: Iterable[IncidentOutput], incident_id: str) -> list[tuple[float, str]]:
    """(minute, state) at each change of state."""
    out: list[tuple[float, str]] = []
    for row in rows:
        if isinstance(row, Incident) and row.incident_id == incident_id and (not out or out[-1][1] != row.status):
            out.append((minute_of(row.arrival_us), row.status))
    return out


HOURS = HOUR_US / MINUTE_US
