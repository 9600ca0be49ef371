"""What an incident costs: orders once, money by currency, promises that will be missed, and how urgent that is."""

from itertools import permutations

import pytest

from operators.detectors.records import Impact
from operators.incidents.delays import Delays
from operators.incidents.orders import SharedOrders, absorb_orders, touch
from operators.incidents.records import Touched, begun, finding_of
from operators.incidents.settings import PriorityWeights
from schemas.durations import MINUTE_US
from schemas.incident_rows import Incident, IncidentSignal
from tests.incident_streams import (
    HOURS,
    alive,
    at,
    finding,
    incidents,
    minute_of,
    only,
    order,
    orders,
    resumed,
    run,
    touched,
)

NODE = {"node": "s1"}


def test_an_order_that_several_findings_name_counts_once() -> None:
    rows = run(
        [
            finding(10, "queue_saturation", {"source": "w"}, orders("o", range(8))),
            finding(12, "oversell", {"sku": "1"}, orders("o", range(4, 10))),
        ]
    )
    incident = only(rows)
    assert (incident.orders_affected, incident.customers_affected, incident.units_affected) == (10, 10, 20.0)
    assert (incident.value_at_risk, incident.margin_at_risk, incident.currency) == (1000.0, 250.0, "EUR")
    named = touched(rows, incident.incident_id)
    assert named["o7"].signal_id == "queue_saturation[source=w]", "who named it first"
    assert named["o8"].signal_id == "oversell[sku=1]"


def test_what_a_later_finding_knows_of_an_order_completes_it() -> None:
    rows = run(
        [
            finding(10, "queue_saturation", {"source": "w"}, [Impact("o1"), Impact("o2"), Impact("o3")]),
            finding(12, "oversell", {"sku": "1"}, orders("o", [1, 2, 3], promised=700)),
        ]
    )
    incident = only(rows)
    assert (incident.orders_affected, incident.value_at_risk, incident.customers_affected) == (3, 300.0, 3)
    row = touched(rows, incident.incident_id)["o1"]
    assert (row.customer_id, row.value, row.promised_at_us) == ("c-o1", 100.0, at(700))


def test_of_two_findings_the_lines_of_more_value_count_and_the_larger_refund() -> None:
    waiting = [Impact(f"o{n}", refund=20.0, value=5.0, currency="EUR", promised_us=at(700)) for n in range(3)]
    worth = [Impact(f"o{n}", f"r{n}", value=50.0, units=3.0, margin=4.0, currency="EUR") for n in range(3)]
    for some in ([waiting, worth], [worth, waiting]):
        incident = only(
            run(
                [
                    finding(10, "posting_interface_down", {"interface": "i"}, some[0]),
                    finding(12, "refund_lag", {"interface": "i"}, some[1]),
                ]
            )
        )
        found = incident.value_at_risk, incident.refunds_exposed, incident.units_affected, incident.margin_at_risk
        assert found == (150.0, 60.0, 9.0, 12.0)


@pytest.mark.parametrize("refunds_first", [True, False])
def test_a_refund_in_another_currency_is_not_said_in_that_of_the_order(*, refunds_first: bool) -> None:
    sold = [Impact(f"o{n}", value=80.0, units=1.0, currency="EUR") for n in range(4)]
    back = [Impact(f"o{n}", f"r{n}", value=50.0, units=1.0, refund=50.0, currency="USD") for n in range(4)]
    findings = [("oversell", sold), ("refund_lag", back)]
    said = enumerate(reversed(findings) if refunds_first else findings)
    incident = only(run([finding(10 + minute, kind, NODE, impacts) for minute, (kind, impacts) in said]))
    assert (incident.values_at_risk, incident.currency) == ({"EUR": 320.0}, "EUR")
    assert incident.refunds_exposed == 0.0


def test_cases_in_common_are_counted_while_both_are_there() -> None:
    shared = SharedOrders()
    for number in (1, 2, 3):
        for key in ("a", "b"):
            shared.add(number, key)
    shared.add(3, "c")
    assert (shared.shared(1, 2), shared.shared(3, 1), len(shared)) == (2, 2, 3)
    shared.drop(2, ["a", "b"])
    assert (shared.shared(1, 2), shared.shared(2, 1), shared.shared(1, 3)) == (0, 0, 2)
    shared.drop(3, ["a", "b", "c"])
    assert (shared.shared(1, 3), len(shared)) == (0, 2)


def test_customers_count_once() -> None:
    both = [order("a", customer="c"), order("b", customer="c"), order("d", customer="")]
    assert only(run([finding(10, "picking_backlog", NODE, both)])).customers_affected == 1


def test_money_is_kept_apart_by_currency() -> None:
    some = [order("a", value=50.0), order("b", value=70.0, currency="SEK"), order("c", value=40.0, currency="SEK")]
    incident = only(run([finding(10, "picking_backlog", NODE, some)]))
    assert incident.values_at_risk == {"EUR": 50.0, "SEK": 110.0}
    assert (incident.currency, incident.value_at_risk, incident.margin_at_risk) == ("SEK", 110.0, 27.5)


def test_a_margin_that_nobody_knows_is_not_zero() -> None:
    incident = only(run([finding(10, "picking_backlog", NODE, [Impact("o1", value=10.0, currency="EUR")])]))
    assert incident.margin_at_risk is None


def test_cases_that_are_no_orders_are_named_but_not_counted_as_orders() -> None:
    rows = run([finding(10, "supplier_delay", {"supplier": "v"}, [Impact("", "po-1", value=500.0, currency="EUR")])])
    incident = only(rows)
    assert (incident.orders_affected, incident.value_at_risk) == (0, 500.0)
    assert set(touched(rows, incident.incident_id)) == {"po-1"}


def test_refunds_that_customers_wait_for() -> None:
    waiting = [Impact(f"o{n}", f"r{n}", refund=20.0, currency="EUR") for n in range(4)]
    incident = only(run([finding(10, "refund_lag", NODE, waiting)]))
    assert (incident.refunds_exposed, incident.currency, incident.value_at_risk) == (80.0, "EUR", 0.0)


def test_refunds_of_several_returns_of_an_order_add_up_and_each_counts_once() -> None:
    first, second = (Impact("o1", f"r{n}", value=v, refund=v, currency="EUR") for n, v in ((1, 20.0), (2, 30.0)))
    whole = Impact("o1", value=35.0, refund=45.0, currency="EUR")
    for said in permutations(([first, second], [second, first], [whole])):
        incident = only(run([finding(10 + n, "refund_lag", NODE, some) for n, some in enumerate(said)]))
        assert (incident.orders_affected, incident.refunds_exposed) == (1, 50.0)


def test_refunds_of_several_returns_of_an_order_add_up_when_incidents_are_merged() -> None:
    shared, records = SharedOrders(), []
    for number, name in enumerate(("r1", "r2"), start=1):
        record = begun(number, finding_of(finding(10, "refund_lag", {"interface": name})), 0)
        touch(record, shared, to_be_paid_back(name), 10)
        records.append(record)
    absorb_orders(records[0], records[1], shared, 10)
    assert records[0].totals.refunds == {"EUR": 50.0}
    touch(records[0], shared, to_be_paid_back("r2"), 10)
    assert records[0].totals.refunds == {"EUR": 50.0}


def to_be_paid_back(return_id: str) -> Touched:
    return Touched(Impact("o1", return_id, refund=25.0, currency="EUR"), "s", "refund_lag", 0)


def test_money_beside_orders_is_as_it_stands_and_of_the_kind_with_most() -> None:
    rows = run(
        [
            finding(10, "adjustments_lost", NODE, value=100.0),
            finding(12, "adjustments_lost", NODE, value=300.0, found=10),
            finding(14, "phantom_stock", {"node": "s1", "sku": "1"}, value=250.0),
        ]
    )
    assert only(rows).value_at_risk == 300.0


def test_promises_are_missed_where_orders_are_held_up_for_longer() -> None:
    """An hour is usual for queues: what is promised in half an hour is lost, what is promised tomorrow is not."""
    soon, tomorrow = orders("soon", range(3), promised=40), orders("tomorrow", range(3), promised=24 * HOURS)
    rows = run([finding(10, "queue_saturation", {"queue": "q"}, [*soon, *tomorrow], since=9)])
    incident = only(rows)
    assert incident.promises_at_risk == 3
    assert incident.first_breach_at_us == pytest.approx(at(70), abs=2 * MINUTE_US)
    assert incident.breach_error_s == pytest.approx(3600 * (4 - 0.25) / 2, rel=0.1)
    named = touched(rows, incident.incident_id)
    assert named["soon0"].breach_predicted_at_us == incident.first_breach_at_us
    assert named["tomorrow0"].breach_predicted_at_us is None
    assert "3 promises expected to be missed, the first one made for" in incident.summary


def test_the_longer_it_lasts_the_more_promises_are_missed() -> None:
    some = orders("o", range(4), promised=200)
    start = [finding(10, "queue_saturation", {"queue": "q"}, some, since=9)]
    assert only(run(start, until=20)).promises_at_risk == 0
    later = only(run(start, until=240))
    assert later.promises_at_risk == 4
    assert later.first_breach_at_us is not None
    assert later.first_breach_at_us > at(130), "never before the time at which it is said"
    assert later.breach_error_s is not None
    assert later.breach_error_s > 0


def test_kinds_that_delay_nothing_break_no_promise() -> None:
    some = orders("o", range(4), promised=11)
    assert only(run([finding(10, "posting_missing", NODE, some)], until=300)).promises_at_risk == 0


def test_delays_are_learnt_from_incidents_that_are_over() -> None:
    """Ten backlogs that held their orders up for 20 minutes: an order due in an hour is no longer at risk."""
    operator = incidents()
    rows = []
    for day in range(10):
        begin = 10 + day * 24 * HOURS
        rows += operator.update(
            [
                finding(begin, "picking_backlog", NODE, orders(f"d{day}-", range(5)), name=f"f{day}"),
                finding(begin + 20, "picking_backlog", NODE, closed=begin + 20, name=f"f{day}", found=begin),
            ]
        )
    due = 10 * 24 * HOURS
    assert only(run([finding(due, "picking_backlog", NODE, [order("x", promised=due + 60)])])).promises_at_risk == 1
    rows = operator.update([finding(due, "picking_backlog", NODE, [order("x", promised=due + 60)], name="last")])
    rows += operator.advance(at(due) + 1)
    last = next(row for row in alive(rows) if row.cause_signal_id == "last")
    assert (last.promises_at_risk, last.orders_affected) == (0, 1)


def test_what_was_learnt_last_counts_most() -> None:
    delays = Delays()
    for _ in range(10):
        delays.learn("picking_backlog", [1_000.0])
    for _ in range(2):
        delays.learn("picking_backlog", [100.0])
    expected = delays.of("picking_backlog", 0.0)
    assert expected is not None
    assert expected.middle_s == pytest.approx(100.0, rel=0.01)
    assert expected.error_s == pytest.approx(450.0, rel=0.01)
    again = Delays(delays.learnt).of("picking_backlog", 0.0)
    assert again == expected


def test_an_order_held_up_longer_than_all_before_it_is_expected_to_be_as_long_again() -> None:
    delays = Delays()
    for _ in range(10):
        delays.learn("picking_backlog", [60.0])
    expected = delays.of("picking_backlog", 5_000.0)
    assert expected is not None
    assert expected.middle_s == pytest.approx(10_000.0, rel=0.02)
    assert expected.error_s == pytest.approx(5_000.0, rel=0.02)


def test_delays_that_were_learnt_are_kept() -> None:
    due = 24 * HOURS
    operator = incidents()
    operator.update(
        [
            finding(10, "picking_backlog", NODE, orders("d", range(5))),
            finding(20, "picking_backlog", NODE, closed=20, found=10),
        ]
    )
    operator.advance(at(due - 60))
    operator = resumed(operator)
    operator.update([finding(due, "picking_backlog", NODE, [order("x", promised=due + 100)], name="last")])
    assert only(operator.advance(at(due) + 1)).promises_at_risk == 0


def test_a_promise_that_is_moved_is_no_longer_missed() -> None:
    soon, moved = orders("o", range(3), promised=40), [order("o1", promised=3_000)]
    rows = run(
        [
            finding(10, "queue_saturation", {"queue": "q"}, soon, since=9),
            finding(12, "queue_saturation", {"queue": "q"}, moved, since=9, found=10),
        ]
    )
    incident = only(rows)
    assert incident.promises_at_risk == 2
    row = touched(rows, incident.incident_id)["o1"]
    assert (row.promised_at_us, row.breach_predicted_at_us) == (at(3_000), None)


def test_promises_are_predicted_anew_when_the_cause_changes() -> None:
    soon = orders("o", range(9), promised=45)
    rows = run(
        [
            finding(10, "posting_missing", NODE, soon),
            finding(20, "queue_saturation", {"source": "w"}, soon, since=5),
        ]
    )
    assert [row.promises_at_risk for row in rows if isinstance(row, Incident)] == [0, 9]


def test_priority_rises_with_what_is_at_stake() -> None:
    def urgency(count: int, promised: float | None, severity: str = "medium", value: float = 100.0) -> int:
        some = [order(f"o{n}", promised=promised, value=value) for n in range(count)]
        return only(run([finding(10, "picking_backlog", NODE, some, severity=severity)])).priority

    assert urgency(0, None, "info") == 5
    assert urgency(1, None, "medium") == 4
    assert urgency(20, None, "high") == 3
    assert urgency(60, None, "high") == 2
    assert urgency(300, 30, "high") == 1
    assert urgency(60, 200) < urgency(60, 72 * HOURS), "a promise that will be broken counts"


def test_severity_follows_priority() -> None:
    incident = only(run([finding(10, "picking_backlog", NODE, severity="info")]))
    assert (incident.priority, incident.severity, incident.score) == (5, "info", 0.0)


def test_weights_in_the_settings_decide() -> None:
    some = orders("o", range(300), promised=30)
    silent = PriorityWeights(sla=0.0, value=0.0, margin=0.0, customers=0.0, severity=0.0)
    assert only(run([finding(10, "picking_backlog", NODE, some)], priority=silent)).priority == 5


def test_cases_beyond_the_bound_are_not_named() -> None:
    operator = incidents(most_orders=100)
    operator.update([finding(10, "picking_backlog", NODE, orders("o", range(150)))])
    rows = operator.advance(at(10) + 1)
    assert only(rows).orders_affected == 100
    assert operator.sizes()["unnamed_cases"] == 50


def test_findings_that_are_over_are_let_go_beyond_the_bound() -> None:
    operator = incidents(most_findings=100)
    rows = []
    for number in range(300):
        scope = {"node": "s1", "sku": str(number)}
        rows += operator.update(
            [
                finding(10 + number, "phantom_stock", scope, orders("o", [number])),
                finding(11 + number, "phantom_stock", scope, closed=11 + number, found=10 + number),
            ]
        )
    rows += operator.advance(at(320))
    incident = only(rows)
    assert (incident.signals, incident.orders_affected) == (300, 300)
    assert operator.sizes()["findings"] <= 101
    assert minute_of(incident.opened_at_us) == 9


def test_a_candidate_that_was_told_is_not_let_go_before_it_is_told_that_it_is_none() -> None:
    def web(sku: int) -> dict[str, str]:
        return {"channel": "web", "sku": str(sku)}

    stream = [
        finding(0, "oversell", web(1)),
        finding(1, "oversell", web(2), since=-5),  # the strongest of its kind, but the other one was told
        finding(1, "misrouting", web(1), since=0),
        *[finding(2, "oversell", web(sku)) for sku in range(3, 103)],
        finding(3, "oversell", web(1), closed=3, found=0),
        finding(4, "misrouting", web(1), since=-90, found=1),  # the cause from here on
        *[finding(4, "oversell", web(sku), closed=4, found=2) for sku in range(3, 103)],
        finding(6, "oversell", web(2), orders("p", range(3)), since=-5, found=1),
    ]
    rows = run(stream, until=10, most_findings=100)
    assert only(rows).kind == "misrouting"
    ranks = {row.signal_id: row.rank for row in rows if isinstance(row, IncidentSignal) and row.rank < 3}
    assert (ranks["oversell[channel=web,sku=1]"], ranks["oversell[channel=web,sku=2]"]) == (0, 2)
