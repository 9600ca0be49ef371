"""Findings of one cause are one incident; those of two causes are two."""

import pytest

from operators.detectors.records import Impact, ScopeFinding
from operators.incidents import grouping
from operators.incidents.links import judge
from schemas.incident_rows import Incident, IncidentSignal
from tests.incident_streams import (
    alive,
    at,
    finding,
    minute_of,
    only,
    orders,
    roles,
    run,
    standing,
    statuses,
    touched,
)


def seed_case() -> list[ScopeFinding]:
    """A queue saturates; what follows is found from other sides, mostly before and louder than the queue's messages."""
    late = orders("o", range(60), promised=200)
    return [
        finding(12, "queue_saturation", {"queue": "store-reservations"}, since=5, severity="medium"),
        finding(15, "queue_saturation", {"source": "wms-stores", "region": "north"}, late[:20], since=6),
        finding(18, "oversell", {"channel": "web", "sku": "4711"}, late[5:15], since=12, score=80.0),
        finding(18, "phantom_stock", {"node": "s1", "sku": "4711"}, late[7:11], since=13, score=60.0),
        finding(20, "queue_saturation", {"source": "wms-stores", "region": "north"}, late[20:50], since=6, found=15),
        finding(22, "misrouting", {"region": "north"}, late[5:25], since=15, score=90.0),
        finding(55, "posting_missing", {"node": "s1"}, late[5:30], since=25, handoff="goods_issue_posting"),
        finding(58, "posting_interface_down", {"interface": "erp-goods"}, late[3:40], since=27),
    ]


def test_the_seed_case_is_one_incident_with_the_queue_as_its_cause() -> None:
    rows = run(seed_case())
    incident = only(rows)
    assert list(standing(rows)) == [incident.incident_id], "nothing else was ever opened"
    assert incident.kind == "queue_saturation"
    assert incident.scope == {"queue": "store-reservations"}
    assert incident.signals == 7
    assert set(touched(rows, incident.incident_id)) == {f"o{number}" for number in range(50)}
    parts = roles(rows, incident.incident_id)
    assert parts["queue_saturation[queue=store-reservations]"] == "cause"
    assert parts["queue_saturation[region=north,source=wms-stores]"] == "evidence"
    others = {kind for name, role in parts.items() if role == "consequence" for kind in [name.partition("[")[0]]}
    assert others == {"oversell", "phantom_stock", "misrouting", "posting_missing", "posting_interface_down"}


def test_the_seed_case_is_told_at_once() -> None:
    first = next(row for row in run(seed_case()) if isinstance(row, Incident))
    assert minute_of(first.arrival_us) == 12
    assert first.kind == "queue_saturation"


def test_two_nodes_with_a_backlog_are_two_incidents() -> None:
    rows = run(
        [
            finding(10, "picking_backlog", {"node": "s1"}, orders("a", range(20))),
            finding(12, "picking_backlog", {"node": "s2"}, orders("b", range(20))),
        ],
        until=30,
    )
    assert [incident.scope for incident in alive(rows)] == [{"node": "s1"}, {"node": "s2"}]


def test_nodes_of_one_region_are_still_two() -> None:
    rows = run(
        [
            finding(10, "picking_backlog", {"node": "s1", "region": "north"}),
            finding(12, "picking_backlog", {"node": "s2", "region": "north"}),
        ],
        until=30,
    )
    assert len(alive(rows)) == 2


def test_many_siblings_at_once_have_one_reason() -> None:
    rows = run([finding(10 + n, "picking_backlog", {"node": f"s{n}", "region": "north"}) for n in range(6)])
    incident = only(rows)
    assert incident.scope == {"region": "north"}
    assert incident.signals == 6
    given_up = [row for row in standing(rows).values() if row.incident_id != incident.incident_id]
    assert len(given_up) == 3, "the first stays, the next three were told before the fifth came"
    assert {row.status for row in given_up} == {"resolved"}
    assert all(row.candidates == [f"{row.cause_signal_id}: merged into {incident.incident_id}"] for row in given_up)
    assert all((row.signals, row.orders_affected, row.value_at_risk) == (0, 0, 0.0) for row in given_up)


def test_siblings_far_apart_in_time_stay_apart() -> None:
    rows = run([finding(10 + 20 * n, "picking_backlog", {"node": f"s{n}"}) for n in range(6)])
    assert len(alive(rows)) == 6


@pytest.mark.parametrize("shared", [0, 2, 12, 14])
def test_an_effect_elsewhere_is_told_by_the_orders_it_shares(shared: int) -> None:
    rows = run(
        [
            finding(10, "queue_saturation", {"queue": "q"}, orders("a", range(40)), since=0),
            finding(
                20, "picking_backlog", {"node": "s1"}, orders("a", range(shared)) + orders("b", range(16 - shared))
            ),
        ],
        until=60,
    )
    assert len(alive(rows)) == (1 if shared == 14 else 2)


def test_what_shows_itself_directly_is_no_effect_of_a_wide_breakdown_that_hits_half_of_its_orders() -> None:
    """Doubled orders while a queue is slow, which touches most orders of the time: two breakdowns."""
    rows = run(
        [
            finding(10, "queue_saturation", {"queue": "q"}, orders("a", range(200)), since=0),
            finding(20, "duplicate_orders", {"channel": "web"}, orders("a", range(70)) + orders("b", range(30))),
        ],
        until=60,
    )
    assert len(alive(rows)) == 2


def test_what_orders_have_yet_to_tell_waits_and_then_stands_alone() -> None:
    rows = run(
        [
            finding(10, "queue_saturation", {"queue": "q"}, orders("a", range(40)), since=0),
            finding(20, "picking_backlog", {"node": "s1"}, orders("a", range(1)) + orders("b", range(15))),
        ],
        until=60,
    )
    second = next(incident for incident in alive(rows) if incident.kind == "picking_backlog")
    assert minute_of(second.found_at_us) == 25


def test_what_waits_joins_as_soon_as_orders_tell() -> None:
    rows = run(
        [
            finding(10, "queue_saturation", {"queue": "q"}, since=0),
            finding(20, "oversell", {"channel": "web", "sku": "1"}, orders("a", range(10))),
            finding(22, "queue_saturation", {"queue": "q"}, orders("a", range(30)), since=0, found=10),
        ],
        until=60,
    )
    incident = only(rows)
    assert len(standing(rows)) == 1
    assert incident.signals == 2
    assert "10 orders in common" not in incident.summary  # words of reasons stand with the signals
    assert incident.orders_affected == 30


def test_a_vague_effect_without_orders_is_told_by_time() -> None:
    rows = run(
        [
            finding(10, "queue_saturation", {"queue": "q"}, since=0),
            finding(20, "stockout_risk", {"sku": "1"}),
        ],
        until=60,
    )
    assert only(rows).kind == "queue_saturation"


@pytest.mark.parametrize("scope", [{"node": "s1"}, {"node": "s1", "region": "north"}])
def test_an_effect_that_names_its_orders_is_not_told_by_time_because_the_cause_names_none(
    scope: dict[str, str],
) -> None:
    """A region's orders go astray, and a node of it has no hands: which orders wait there is known only later."""
    astray, waiting = orders("a", range(40)), orders("b", range(40))
    rows = run(
        [
            finding(10, "misrouting", {"region": "north"}, astray, since=5),
            finding(20, "picking_backlog", scope, waiting[:1], since=2),
            finding(40, "picking_backlog", scope, waiting, since=2, found=20),
        ],
        until=60,
    )
    assert len(alive(rows)) == 2


def outbreak(count: int, *more: ScopeFinding) -> list[ScopeFinding]:
    """A queue from which shorts at so many nodes follow."""
    late = orders("a", range(60))
    queue = finding(10, "queue_saturation", {"source": "w"}, late, since=5)
    shorts = [
        finding(20 + n, "phantom_stock", {"node": f"s{n}", "sku": str(n)}, late[4 * n : 4 * n + 4])
        for n in range(count)
    ]
    return [queue, *shorts, *more]


@pytest.mark.parametrize(("count", "expected"), [(3, 2), (5, 1)])
def test_one_more_of_many_needs_half_the_orders_in_common(count: int, expected: int) -> None:
    another = finding(30, "phantom_stock", {"node": "x", "sku": "x"}, orders("a", range(4)) + orders("b", range(4)))
    assert len(alive(run(outbreak(count, another), until=60))) == expected


def test_one_more_long_after_the_many_needs_as_much_as_any() -> None:
    another = finding(90, "phantom_stock", {"node": "x", "sku": "x"}, orders("a", range(4)) + orders("b", range(4)))
    assert len(alive(run(outbreak(5, another), until=120))) == 2


def test_of_two_causes_that_time_allows_the_plainer_one_is_taken() -> None:
    rows = run(
        [
            finding(10, "duplicate_orders", {"channel": "web"}, since=0),
            finding(12, "downstream_outage", {"interface": "i"}, since=5),
            finding(20, "oversell", {"sku": "1"}),
        ],
        until=60,
    )
    assert {incident.kind: incident.signals for incident in alive(rows)} == {
        "duplicate_orders": 1,
        "downstream_outage": 2,
    }


@pytest.mark.parametrize(("node", "expected"), [("x", 2), ("s1", 1)])
def test_what_follows_in_the_place_of_a_consequence_needs_half_the_orders_in_common(node: str, expected: int) -> None:
    elsewhere = finding(30, "misrouting", {"node": node}, orders("a", range(4)) + orders("b", range(4)))
    assert len(alive(run(outbreak(2, elsewhere), until=60))) == expected


def test_time_alone_does_not_put_anything_down_to_what_may_have_many_reasons_itself() -> None:
    astray = finding(10, "misrouting", {"region": "north"}, orders("a", range(9)), since=0)
    vague = finding(20, "stockout_risk", {"sku": "1"})
    assert len(alive(run([astray, vague], until=60))) == 2
    queue = finding(12, "queue_saturation", {"queue": "q"}, since=5)
    incident = next(one for one in alive(run([astray, queue, vague], until=60)) if one.signals == 2)
    assert incident.kind == "queue_saturation"


def test_a_direct_finding_is_not_put_down_to_another_by_time_alone() -> None:
    rows = run(
        [finding(10, "queue_saturation", {"queue": "q"}, since=0), finding(20, "feed_stopped", {"node": "s1"})],
        until=60,
    )
    assert len(alive(rows)) == 2


def test_an_effect_before_its_cause_is_none() -> None:
    rows = run(
        [
            finding(100, "feed_stopped", {"node": "s1"}, since=95),
            finding(101, "phantom_stock", {"node": "s1", "sku": "1"}, since=40),
        ],
        until=120,
    )
    assert len(alive(rows)) == 2


def test_an_effect_long_after_its_cause_is_none() -> None:
    def after(hours: float) -> list[ScopeFinding]:
        return [
            finding(10, "queue_saturation", {"source": "w"}, orders("a", range(9))),
            finding(20, "queue_saturation", {"source": "w"}, closed=20, found=10),
            finding(60 * hours, "oversell", {"sku": "1"}, orders("a", range(9))),
        ]

    assert len(alive(run(after(1.5)))) == 1
    assert len(alive(run(after(2.5)))) == 2


def test_a_handoff_that_waits_for_another_in_the_same_place_follows_from_it() -> None:
    """No rule between these kinds: the process map says that posting waits for what comes before."""
    rows = run(
        [
            finding(10, "picking_backlog", {"node": "s1"}, handoff="pick"),
            finding(30, "posting_missing", {"node": "s1"}, handoff="goods_issue_posting"),
        ]
    )
    incident = only(rows)
    assert incident.kind == "picking_backlog"
    reasons = [row.reason for row in rows if getattr(row, "role", "") == "consequence"]
    assert reasons == ["from picking_backlog: goods_issue_posting waits for pick (process map)"]


def test_two_views_of_one_interface_are_one() -> None:
    rows = run(
        [
            finding(10, "posting_interface_down", {"interface": "i", "error_code": "E1"}),
            finding(11, "posting_interface_down", {"interface": "i", "error_code": "E2"}),
            finding(11, "posting_interface_down", {"interface": "j", "error_code": "E1"}),
        ],
        until=30,
    )
    assert sorted(str(incident.scope) for incident in alive(rows)) == [
        "{'interface': 'i'}",
        "{'interface': 'j', 'error_code': 'E1'}",
    ]


@pytest.mark.parametrize(("shared", "expected"), [(15, 2), (19, 1)])
def test_two_places_that_share_nearly_all_their_orders_are_one(shared: int, expected: int) -> None:
    rows = run(
        [
            finding(10, "oversell", {"channel": "web", "sku": "1"}, orders("a", range(20))),
            finding(12, "oversell", {"channel": "app", "sku": "2"}, orders("a", range(20 - shared, 40 - shared))),
        ],
        until=60,
    )
    assert len(alive(rows)) == expected


def test_two_views_of_one_kind_without_orders_are_one_at_once_where_they_began_together() -> None:
    def joined(since: float) -> float:
        rows = run(
            [
                finding(10, "queue_saturation", {"queue": "q"}, since=9),
                finding(70, "queue_saturation", {"source": "w"}, since=since),
            ],
            until=100,
        )
        assert len(standing(rows)) == 1
        return max(minute_of(row.arrival_us) for row in rows if isinstance(row, IncidentSignal))

    assert joined(15) == 70
    assert joined(65) == 75


def test_by_place_means_that_time_alone_does_not_tell() -> None:
    """A feed makes stock unknown at its node; of an item anywhere nothing is said."""
    rows = run([finding(10, "feed_stopped", {"node": "s1"}), finding(20, "stockout_risk", {"sku": "1"})], until=60)
    assert len(alive(rows)) == 2


def over_at_20(kind: str, scope: dict[str, str], touched_by_it: list[Impact]) -> list[ScopeFinding]:
    return [finding(10, kind, scope, touched_by_it), finding(20, kind, scope, closed=20, found=10)]


def test_what_is_over_is_not_opened_again_by_time_alone() -> None:
    queue = over_at_20("queue_saturation", {"queue": "q"}, [])
    assert len(alive(run([*queue, finding(30, "stockout_risk", {"sku": "1"})], until=60))) == 1
    assert len(alive(run([*queue, finding(60, "stockout_risk", {"sku": "1"})], until=90))) == 2


def test_what_is_over_opens_again_with_a_consequence_that_shares_its_orders() -> None:
    queue = over_at_20("queue_saturation", {"source": "w"}, orders("a", range(9)))
    rows = run([*queue, finding(60, "posting_missing", {"node": "s1"}, orders("a", range(5)))])
    assert [status for _, status in statuses(rows, only(rows).incident_id)] == [
        "open",
        "recovering",
        "resolved",
        "reopened",
    ]


def test_what_is_over_is_not_merged_into_what_was_told_apart_from_it() -> None:
    rows = run(
        [
            *over_at_20("oversell", {"channel": "web", "sku": "1"}, orders("a", range(9))),
            finding(30, "queue_saturation", {"source": "w"}, orders("b", range(9)), since=5),
            finding(50, "queue_saturation", {"source": "w"}, orders("a", range(9)), since=5, found=30),
        ],
        until=60,
    )
    assert len(alive(rows)) == 2


def test_items_that_vanish_from_one_node_are_one() -> None:
    rows = run([finding(10 + n, "phantom_stock", {"node": "s1", "sku": str(n)}, value=50.0) for n in range(4)])
    incident = only(rows)
    assert incident.scope == {"node": "s1"}
    assert incident.value_at_risk == 200.0


def test_two_causes_at_once_with_their_consequences_stay_two() -> None:
    queue = seed_case()
    down = orders("p", range(40))
    rows = run(
        [
            *queue,
            finding(14, "downstream_outage", {"interface": "carrier-labels"}, down[:5], since=10),
            finding(20, "downstream_outage", {"interface": "carrier-labels"}, down[5:], since=10, found=14),
            finding(30, "picking_backlog", {"node": "dc1"}, down[10:30], since=18),
        ],
        until=70,
    )
    assert sorted((incident.kind, incident.signals) for incident in alive(rows)) == [
        ("downstream_outage", 2),
        ("queue_saturation", 7),
    ]


def test_an_incident_opened_by_a_consequence_is_put_down_to_a_cause_found_later() -> None:
    late = orders("o", range(20))
    rows = run(
        [
            finding(10, "oversell", {"channel": "web", "sku": "1"}, late[:10], since=8),
            finding(20, "queue_saturation", {"source": "wms"}, late, since=2),
        ]
    )
    incident = only(rows)
    assert incident.kind == "queue_saturation"
    assert minute_of(incident.found_at_us) == 10
    assert minute_of(incident.opened_at_us) == 2
    assert list(standing(rows)) == [incident.incident_id], "the id stays, nothing else is opened"
    assert roles(rows, incident.incident_id) == {
        "queue_saturation[source=wms]": "cause",
        "oversell[channel=web,sku=1]": "consequence",
    }


def test_two_incidents_that_turn_out_to_have_one_cause_are_merged() -> None:
    late = orders("o", range(40))
    rows = run(
        [
            finding(10, "oversell", {"channel": "web", "sku": "1"}, late[:10], since=8),
            finding(14, "picking_backlog", {"node": "s1"}, late[20:30], since=9),
            finding(30, "queue_saturation", {"source": "wms"}, late, since=2),
        ]
    )
    incident = only(rows)
    assert (incident.kind, incident.signals, incident.orders_affected) == ("queue_saturation", 3, 40)
    given_up = next(row for row in standing(rows).values() if row.incident_id != incident.incident_id)
    assert statuses(rows, given_up.incident_id) == [(14, "open"), (30, "resolved")]
    assert given_up.candidates == [f"picking_backlog[node=s1]: merged into {incident.incident_id}"]
    assert incident.found_at_us == at(10), "the older one stays"
    assert len(touched(rows, incident.incident_id)) == 40


@pytest.mark.parametrize("together", [True, False])
def test_ten_thousand_findings_of_one_cause_are_one_incident(together: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def counted(*args: object) -> object:
        nonlocal calls
        calls += 1
        return judge(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(grouping, "judge", counted)
    many = 10_000
    late = orders("o", range(2_000))
    findings = [finding(10, "queue_saturation", {"queue": "q"}, late, since=5)]
    for number in range(many - 1):
        minute = 12 if together else 12 + number // 100
        kind = ("oversell", "phantom_stock", "posting_missing")[number % 3]
        some = [late[(number * 7 + step) % 2_000] for step in range(3)]
        findings.append(finding(minute, kind, {"node": f"s{number}"}, some, since=minute - 1))
    rows = run(findings)
    incident = only(rows)
    assert len(standing(rows)) == 1
    assert (incident.kind, incident.signals, incident.orders_affected) == ("queue_saturation", many, 2_000)
    assert calls <= 10 * many


def test_ten_thousand_places_without_a_known_cause_are_one_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def counted(*args: object) -> object:
        nonlocal calls
        calls += 1
        return judge(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(grouping, "judge", counted)
    rows = run([finding(10, "feed_stopped", {"node": f"s{number}"}) for number in range(10_000)])
    assert only(rows).signals == 10_000
    assert len(standing(rows)) == 1
    assert calls <= 100_000


@pytest.mark.parametrize(("fills", "incidents"), [(12, 1), (30, 2)])
def test_a_queue_that_fills_as_soon_as_an_interface_fails_is_an_effect_of_it(fills: float, incidents: int) -> None:
    """Neither the names of the two nor orders tell: a depth names none."""
    failing = finding(
        10, "posting_interface_down", {"interface": "i", "error_code": "E"}, orders("a", range(9)), since=8
    )
    rows = run([failing, finding(fills + 2, "queue_saturation", {"queue": "q"}, since=fills)], until=60)
    assert len(alive(rows)) == incidents
    assert alive(rows)[0].kind == "posting_interface_down"


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("picking_backlog", "node"),
        ("misrouting", "region"),
        ("price_error", "sku"),
        ("carrier_delay", "carrier"),
        ("supplier_delay", "supplier"),
        ("downstream_outage", "interface"),
        ("duplicate_orders", "channel"),
    ],
)
def test_findings_that_overlap_in_a_field_are_one_and_those_that_differ_in_it_are_two(kind: str, field: str) -> None:
    here = finding(10, kind, {field: "a"}, orders("o", range(10)), name="one")
    more = finding(11, kind, {field: "a", "detail": "x"}, orders("o", range(10)), name="more")
    there = finding(11, kind, {field: "b"}, orders("p", range(10)), name="other")
    assert only(run([here, more], until=30)).signals == 2
    assert [one.signals for one in alive(run([here, there], until=30))] == [1, 1]
