"""Open, growing, recovering, resolved, reopened: when, and what is written."""

from operators.detectors.records import ScopeFinding
from schemas.incident_rows import Incident, IncidentOrder, IncidentSignal
from tests.incident_streams import HOURS, at, finding, incidents, minute_of, only, orders, run, standing, statuses

NODE = {"node": "s1"}


def backlog() -> list[ScopeFinding]:
    """It begins at 10, grows at 12 and 15, and is over at 40."""
    return [
        finding(10, "picking_backlog", NODE, orders("o", range(5))),
        finding(12, "picking_backlog", NODE, orders("o", range(5, 8)), found=10),
        finding(15, "picking_backlog", NODE, orders("o", range(8, 9)), found=10),
        finding(40, "picking_backlog", NODE, closed=40, found=10),
    ]


def test_an_incident_goes_through_its_states() -> None:
    rows = run(backlog(), until=10 * HOURS)
    incident = only(rows)
    assert statuses(rows, incident.incident_id) == [(10, "open"), (12, "growing"), (40, "recovering"), (55, "resolved")]
    assert incident.closed_at_us == at(40), "it was over when its last finding was, whenever that was said"
    assert incident.orders_affected == 9


def test_an_incident_with_nothing_new_recovers_and_grows_again() -> None:
    rows = run([*backlog()[:3], finding(60, "picking_backlog", NODE, orders("x", [1]), found=10)], until=70)
    assert statuses(rows, only(rows).incident_id) == [
        (10, "open"),
        (12, "growing"),
        (45, "recovering"),
        (60, "growing"),
    ]


def test_it_is_not_over_while_a_consequence_goes_on() -> None:
    late = orders("o", range(9))
    rows = run(
        [
            finding(10, "queue_saturation", {"source": "w"}, late),
            finding(12, "oversell", {"sku": "1"}, late[:5]),
            finding(20, "queue_saturation", {"source": "w"}, closed=20, found=10),
            finding(100, "oversell", {"sku": "1"}, closed=100, found=12),
        ],
        until=200,
    )
    assert statuses(rows, only(rows).incident_id) == [
        (10, "open"),
        (12, "growing"),
        (20, "recovering"),
        (115, "resolved"),
    ]


def test_it_is_reopened_when_its_cause_comes_back_soon() -> None:
    again = finding(120, "picking_backlog", NODE, orders("y", range(3)), name="again")
    rows = run([*backlog(), again], until=130)
    incident = only(rows)
    assert statuses(rows, incident.incident_id)[-2:] == [(55, "resolved"), (120, "reopened")]
    assert len(standing(rows)) == 1
    assert (incident.closed_at_us, incident.orders_affected, incident.signals) == (None, 12, 2)


def test_it_is_another_one_when_its_cause_comes_back_late() -> None:
    again = finding(55 + 2 * HOURS + 1, "picking_backlog", NODE, name="again")
    rows = run([*backlog(), again])
    assert [row.status for row in standing(rows).values()] == ["resolved", "open"]


def test_a_finding_that_goes_on_after_all_keeps_it_open() -> None:
    rows = run([*backlog(), finding(42, "picking_backlog", NODE, orders("z", [1]), found=10)], until=200)
    assert statuses(rows, only(rows).incident_id)[-3:] == [(40, "recovering"), (42, "growing"), (72, "recovering")]


def test_one_that_came_back_is_resolved_again() -> None:
    again = finding(120, "picking_backlog", NODE, orders("y", range(3)), name="again")
    over = finding(125, "picking_backlog", NODE, closed=125, name="again", found=120)
    rows = run([*backlog(), again, over], until=300)
    assert [status for _, status in statuses(rows, only(rows).incident_id)][-4:] == [
        "resolved",
        "reopened",
        "recovering",
        "resolved",
    ]


def test_what_is_never_closed_is_given_up() -> None:
    rows = run(backlog()[:1], until=8 * 24 * HOURS)
    assert statuses(rows, only(rows).incident_id)[-1] == (10 + 7 * 24 * HOURS, "resolved")


def test_what_is_given_up_was_over_when_it_was_last_heard_of() -> None:
    more = finding(42, "picking_backlog", NODE, orders("z", [1]), found=10)
    rows = run([*backlog()[:1], more], until=8 * 24 * HOURS)
    closed_us = only(rows).closed_at_us
    assert closed_us is not None
    assert minute_of(closed_us) == 42


def test_nobody_is_told_that_something_ends_which_was_given_up_and_forgotten() -> None:
    given_up = 10 + 7 * 24 * HOURS
    ends = given_up + 2 * HOURS + 30
    rows = run([*backlog()[:1], finding(ends, "picking_backlog", NODE, closed=ends, found=10)], until=ends + 60)
    assert statuses(rows, only(rows).incident_id)[-1] == (given_up, "resolved")


def test_what_is_over_for_good_is_forgotten() -> None:
    operator = incidents()
    operator.update(backlog())
    operator.advance(at(100))
    assert operator.sizes() == {
        "incidents": 1,
        "open": 0,
        "waiting": 0,
        "findings": 1,
        "cases": 9,
        "unnamed_cases": 0,
        "pending": 0,
        "paces": 0,
        "standings": 0,
    }
    operator.advance(at(55 + 2 * HOURS) + 1)
    assert set(operator.sizes().values()) == {0}


def test_a_row_is_written_only_when_it_says_something_new() -> None:
    said_again = [finding(minute, "picking_backlog", NODE, found=10) for minute in range(16, 30)]
    rows = run([*backlog()[:3], *said_again], until=40)
    assert [row.arrival_us for row in rows if isinstance(row, Incident)] == [at(10), at(12), at(15)]
    assert len([row for row in rows if isinstance(row, IncidentOrder)]) == 9
    assert len([row for row in rows if isinstance(row, IncidentSignal)]) == 1


def test_an_incident_is_written_once_a_minute_at_most() -> None:
    many = [finding(10, "phantom_stock", {"node": "s1", "sku": str(n)}, orders("o", [n])) for n in range(30)]
    rows = [row for row in run(many) if isinstance(row, Incident)]
    assert len(rows) == 1
    assert rows[0].signals == 30


def test_versions_grow_with_every_row_of_a_key() -> None:
    last: dict[tuple[str, ...], int] = {}
    again = finding(120, "picking_backlog", NODE, orders("o", range(2), promised=121), name="again")
    for row in run([*backlog(), again], until=500):
        own = getattr(row, "order_id", "") or getattr(row, "signal_id", "")
        key = type(row).__name__, row.incident_id, own
        assert row.version > last.get(key, 0)
        last[key] = row.version


def test_ids_are_the_same_in_every_run() -> None:
    assert list(standing(run(backlog()))) == list(standing(run(backlog()[:1])))
    assert only(run(backlog())).incident_id == "i8e091678e5b67304496c"
