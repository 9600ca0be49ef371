"""What comes out depends on what arrived when, and on nothing else."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.detectors.records import ScopeFinding
from operators.incidents.incidents import IncidentOutput, Incidents
from operators.incidents.state import IncidentsState
from schemas.durations import MINUTE_US
from schemas.errors import StateError
from schemas.incident_rows import Incident, IncidentOrder, IncidentSignal
from tests.incident_streams import at, finding, incidents, order, resumed
from tests.test_incidents_grouping import seed_case

_SCOPES = [
    ("queue_saturation", {"queue": "q"}),
    ("queue_saturation", {"source": "w"}),
    ("oversell", {"channel": "web", "sku": "1"}),
    ("oversell", {"channel": "web", "sku": "2"}),
    ("misrouting", {"region": "north"}),
    ("picking_backlog", {"node": "s1", "region": "north"}),
    ("picking_backlog", {"node": "s2", "region": "north"}),
    ("picking_backlog", {"node": "s3", "region": "north"}),
    ("phantom_stock", {"node": "s1", "sku": "1"}),
    ("feed_stopped", {"node": "s1"}),
    ("posting_missing", {"node": "s1"}),
    ("posting_interface_down", {"interface": "i", "error_code": "E"}),
]
_BOUNDS = {"siblings": 3}
_ENOUGH = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def streams(draw: st.DrawFn) -> list[ScopeFinding]:
    """Findings that open, name orders of a small pool, close and come again, in order of arrival."""
    out: list[ScopeFinding] = []
    minute = 0.0
    opened: dict[int, float] = {}
    rounds = 0
    for _ in range(draw(st.integers(1, 25))):
        minute += draw(st.sampled_from([0, 0, 1, 1, 4, 20, 130]))
        which = draw(st.integers(0, len(_SCOPES) - 1))
        kind, scope = _SCOPES[which]
        if any(one.signal.arrival_us == at(minute) and one.signal.scope == scope for one in out):
            continue  # a scope is judged once a minute
        if which not in opened:
            opened[which] = minute
            rounds += 1
        found = opened[which]
        closes = minute > found and draw(st.booleans())
        some = draw(st.lists(st.integers(0, 15), max_size=6, unique=True))
        out.append(
            finding(
                minute,
                kind,
                scope,
                [order(f"o{number}", value=number / 3, promised=number * 20.0) for number in some],
                since=found - draw(st.sampled_from([1, 15])),
                closed=minute if closes else None,
                name=f"{which}@{found:g}",
                found=found,
                value=draw(st.sampled_from([0.0, 33.33])),
            )
        )
        if closes:
            del opened[which]
    return out


def _whole(stream: Sequence[ScopeFinding], until_us: int) -> list[IncidentOutput]:
    operator = incidents(**_BOUNDS)
    return operator.update(stream) + operator.advance(until_us)


@_ENOUGH
@given(st.data())
def test_any_cut_into_calls_gives_the_same_rows(data: st.DataObject) -> None:
    stream = data.draw(streams())
    until_us = stream[-1].signal.arrival_us + data.draw(st.sampled_from([1, 40, 400])) * MINUTE_US
    operator, out, upto = incidents(**_BOUNDS), [], 0
    for cut in sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6))):
        out += operator.update(stream[upto:cut])
        upto = max(upto, cut)
        if upto < len(stream) and data.draw(st.booleans()):
            last_us = stream[upto - 1].signal.arrival_us if upto else at(-1)
            out += operator.advance(data.draw(st.integers(last_us, stream[upto].signal.arrival_us)))
    out += operator.update(stream[upto:])
    out += operator.advance(until_us)
    assert out == _whole(stream, until_us)


@_ENOUGH
@given(st.data())
def test_kept_and_resumed_at_any_point_gives_the_same_rows(data: st.DataObject) -> None:
    stream = data.draw(streams())
    until_us = stream[-1].signal.arrival_us + 400 * MINUTE_US
    operator, out, upto = incidents(**_BOUNDS), [], 0
    for cut in sorted(data.draw(st.lists(st.integers(0, len(stream)), min_size=1, max_size=5))):
        out += operator.update(stream[upto:cut])
        upto = cut
        operator = resumed(operator, **_BOUNDS)
    out += operator.update(stream[upto:])
    out += operator.advance(until_us - 200 * MINUTE_US)
    out += resumed(operator, **_BOUNDS).advance(until_us)
    assert out == _whole(stream, until_us)


@_ENOUGH
@given(st.data())
def test_the_order_within_one_arrival_time_does_not_matter(data: st.DataObject) -> None:
    stream = data.draw(streams())
    until_us = stream[-1].signal.arrival_us + 400 * MINUTE_US
    mixed = data.draw(st.permutations(stream))
    mixed.sort(key=lambda one: one.signal.arrival_us)
    assert _whole(mixed, until_us) == _whole(stream, until_us)


@_ENOUGH
@given(streams())
def test_what_is_added_up_as_it_comes_is_what_is_there(stream: list[ScopeFinding]) -> None:
    """Every order is in an incident that is not given up, once for each; sums are those of its rows."""
    operator = incidents(**_BOUNDS)
    rows = operator.update(stream) + operator.advance(stream[-1].signal.arrival_us + 6 * MINUTE_US)
    for record in operator._grouping.records.values():
        first = Counter(touched.kind for touched in record.orders.values())
        assert first == Counter({kind: part.orders for kind, part in record.kinds.items() if part.orders})
        assert all(record.findings[touched.signal_id].kind == touched.kind for touched in record.orders.values())
        assert record.open_findings == sum(one.closed_us is None for one in record.findings.values())
    last: dict[tuple[str, str], IncidentOrder] = {}
    signals: dict[tuple[str, str], IncidentSignal] = {}
    standing: dict[str, Incident] = {}
    for row in rows:
        if isinstance(row, IncidentOrder):
            last[row.incident_id, row.order_id] = row
        elif isinstance(row, IncidentSignal):
            signals[row.incident_id, row.signal_id] = row
        else:
            standing[row.incident_id] = row
    stands = {one for one, row in standing.items() if "merged into" not in row.candidates[0]}
    named = {impact.order_id for one in stream for impact in one.impacts}
    assert {order_id for incident_id, order_id in last if incident_id in stands} == named
    for incident_id in stands:
        row, own = standing[incident_id], [one for (where, _), one in last.items() if where == incident_id]
        parts = [one for (where, _), one in signals.items() if where == incident_id]
        assert row.orders_affected == len(own)
        assert row.promises_at_risk == sum(one.breach_predicted_at_us is not None for one in own)
        assert row.units_affected == pytest.approx(sum(one.units for one in own))
        breaches = [one.breach_predicted_at_us for one in own if one.breach_predicted_at_us is not None]
        assert row.first_breach_at_us == min(breaches, default=None)
        assert row.signals == len(parts)
        assert [one.signal_id for one in parts if one.role == "cause"] == [row.cause_signal_id]
        ranks = sorted(one.rank for one in parts if one.rank)
        assert ranks == list(range(1, len(row.candidates) + 1))
        ranked = {one.signal_id: one.rank for one in parts}
        assert [ranked[line.split(": ")[0]] for line in row.candidates] == ranks
    assert len({one.signal_id for one in (finding.signal for finding in stream)}) == sum(
        standing[one].signals for one in stands
    )


@_ENOUGH
@given(streams())
def test_everything_is_forgotten_in_the_end(stream: list[ScopeFinding]) -> None:
    operator = incidents(**_BOUNDS)
    operator.update(stream)
    operator.advance(at(30 * 24 * 60))
    assert set(operator.sizes().values()) == {0}


def test_a_snapshot_of_another_version_is_refused() -> None:
    operator = incidents()
    operator.update(seed_case())
    other = msgspec.structs.replace(operator.snapshot(), version=Incidents.VERSION + 1)
    with pytest.raises(StateError, match="incidents of version 2; this code reads 1"):
        incidents().restore(other)


def test_a_snapshot_is_readable_as_its_type() -> None:
    operator = incidents()
    operator.update(seed_case())
    packed = msgspec.msgpack.encode(operator.snapshot())
    assert msgspec.msgpack.decode(packed, type=IncidentsState) == operator.snapshot()


def test_what_comes_after_its_minute_was_judged_counts_in_the_next() -> None:
    operator = incidents()
    operator.advance(at(20) + 1)
    operator.update([finding(30, "picking_backlog", {"node": "s1"})])
    operator.advance(at(30) + 1)
    late = operator.update([finding(25, "feed_stopped", {"node": "s9"})]) + operator.advance(at(32))
    assert {row.arrival_us for row in late if isinstance(row, Incident)} == {at(31)}
