"""Who is told of what, together with what, and when: routes, groups, repeats, `for`, ends."""

import pytest

from schemas.durations import END_OF_TIME_US, HOUR_US
from schemas.incident_rows import Alert, AlertDecision
from tests.alerting_script import SHORT, Script, second, told, us


def test_a_group_is_told_after_group_wait_with_all_that_came_meanwhile() -> None:
    play = Script()
    play.push(1, "a", node="n1")
    play.push(2.5, "b", node="n2")
    play.expect(4, 4, "trigger", "a", "b")
    (alert,) = play.run(60)
    assert alert.labels == {"kind": "oversell", "priority": "3", "severity": "medium"}
    assert (alert.sequence, alert.status, alert.reason) == (1, "firing", "first notification")
    assert alert.annotations["summary"] == "2 incidents, first: a is open"
    assert alert.annotations["value_at_risk"] == "20.00 EUR"
    assert second(alert.starts_at_us) == -4
    assert play.decisions("a") == ["1 waiting", "4 notified", "14 deduplicated"]
    assert play.decisions("b") == ["2.5 waiting", "4 notified", "14 deduplicated"]


def test_what_comes_later_is_told_at_the_next_interval() -> None:
    play = Script()
    play.push(1, "a")
    play.push(5, "b")
    play.expect(4, 4, "trigger", "a")
    play.expect(14, 14, "update", "a", "b")
    alerts = play.run(60)
    assert [alert.reason for alert in alerts] == ["first notification", "another incident in the group"]
    assert play.decisions("b") == ["5 grouped", "14 notified", "24 deduplicated"]


def test_other_values_of_group_by_are_other_groups() -> None:
    play = Script(SHORT + 'group_by = ["kind", "node"]\n')
    play.push(1, "a", node="n1")
    play.push(2, "b", node="n2")
    play.push(2, "c")
    play.expect(4, 4, "trigger", "a")
    play.expect(5, 5, "trigger", "b")
    play.expect(5, 5, "trigger", "c")
    alerts = play.run(30)
    assert [alert.group_key for alert in alerts] == [
        '{}:{kind="oversell",node="n1"}',
        '{}:{kind="oversell",node="n2"}',
        '{}:{kind="oversell"}',
    ]


def test_grouped_by_every_label_each_is_told_alone() -> None:
    play = Script(SHORT + 'group_by = ["..."]\n')
    play.push(1, "a")
    play.push(1, "b")
    play.expect(4, 4, "trigger", "a")
    play.expect(4, 4, "trigger", "b")
    play.run(30)


def test_the_same_is_not_told_again_before_repeat_interval() -> None:
    play = Script()
    play.push(1, "a")
    for at_s in (6, 17, 33, 48):  # figures grow, nothing worth telling changes
        play.push(at_s, "a", "growing", orders_affected=at_s, value_at_risk=at_s * 5.0)
    play.expect(4, 4, "trigger", "a")
    play.expect(64, 64, "update", "a")
    play.expect(124, 124, "update", "a")
    alerts = play.run(180)
    assert [alert.reason for alert in alerts[1:]] == ["still open after repeat_interval"] * 2
    assert alerts[1].annotations["orders_affected"] == "48", "a repeat has the newest figures"
    assert play.decisions("a")[:4] == ["1 waiting", "4 notified", "14 deduplicated", "64 notified"]


def test_a_repeat_comes_with_the_first_look_after_its_time() -> None:
    play = Script(SHORT.replace("60s", "25s"))
    play.push(1, "a")
    play.expect(4, 4, "trigger", "a")
    play.expect(34, 34, "update", "a")
    play.expect(64, 64, "update", "a")
    play.run(70)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"priority": 2}, "the priority has risen"),
        ({"priority": 4}, "what was told has changed"),
        ({"severity": "high"}, "what was told has changed"),
        ({"cause_signal_id": "s9"}, "what was told has changed"),
        ({"status": "recovering"}, "what was told has changed"),
    ],
)
def test_a_change_that_matters_is_told_at_the_next_look(change: dict[str, object], reason: str) -> None:
    play = Script()
    play.push(1, "a")
    play.push(7, "a", **({"status": "growing"} | change))  # type: ignore[arg-type] # fields of several types
    play.expect(4, 4, "trigger", "a")
    play.expect(14, 14, "update", "a")
    assert play.run(50)[1].reason == reason


def test_the_end_is_told_at_the_next_look_and_then_all_is_let_go() -> None:
    play = Script(SHORT + 'retention = "100s"\n')
    play.push(1, "a")
    play.push(20, "a", "resolved")
    play.expect(4, 4, "trigger", "a")
    play.expect(24, 24, "resolve", "a")
    alerts = play.run(50)
    assert (alerts[1].status, second(alerts[1].ends_at_us or 0)) == ("resolved", 20)
    assert alerts[0].ends_at_us is None
    assert play.operator.sizes() == {
        "incidents": 0,
        "groups": 1,
        "members": 0,
        "silences": 0,
        "inhibition": 0,
        "timers": 1,
        "ignored_controls": 0,
    }
    play.operator.advance(us(124))
    assert play.operator.sizes()["groups"] == 1
    play.operator.advance(us(124.1))
    assert play.operator.sizes()["groups"] == 0


def test_one_of_two_is_over() -> None:
    play = Script()
    play.push(1, "a")
    play.push(1, "b")
    play.push(6, "b", "resolved", priority=1)
    play.push(30, "a", "resolved")
    play.expect(4, 4, "trigger", "a", "b")
    play.expect(14, 14, "update", "a", "b")
    play.expect(34, 34, "resolve", "a")
    alerts = play.run(90)
    assert alerts[1].annotations["over"] == "b"
    assert alerts[1].incident_ids == ["a", "b"], "what is open comes first"


def test_what_is_over_before_it_was_told_is_never_told() -> None:
    play = Script()
    play.push(1, "a")
    play.push(3, "a", "resolved")
    play.run(90)
    assert play.decisions("a") == ["1 waiting", "4 deduplicated"]
    assert play.operator.sizes()["incidents"] == 0


def test_an_incident_that_reopens_is_told_anew_and_counted_on() -> None:
    play = Script()
    play.push(1, "a")
    play.push(20, "a", "resolved")
    play.push(40, "a", "reopened")
    play.expect(4, 4, "trigger", "a")
    play.expect(24, 24, "resolve", "a")
    play.expect(43, 43, "trigger", "a")
    assert [alert.sequence for alert in play.run(60)] == [1, 2, 3]
    assert play.decisions("a")[-3:] == ["40 waiting", "43 notified", "53 deduplicated"]


def test_a_group_is_counted_on_until_retention_after_its_last_end() -> None:
    play = Script(SHORT + 'retention = "30s"\n')
    for begin_s in (1, 31, 61, 111):  # over at 14, 44 and 74
        play.push(begin_s, "a", "open" if begin_s == 1 else "reopened")
        play.push(begin_s + 5, "a", "resolved")
        play.expect(begin_s + 3, begin_s + 3, "trigger", "a")
        play.expect(begin_s + 13, begin_s + 13, "resolve", "a")
    assert [alert.sequence for alert in play.run(130)] == [1, 2, 3, 4, 5, 6, 1, 2]


def test_a_group_began_when_the_first_of_what_is_open_did() -> None:
    play = Script()
    play.push(1, "a", opened_at_us=us(-50))
    play.push(6, "b", opened_at_us=us(-90))
    play.push(17, "c", opened_at_us=us(-10))
    play.push(18, "a", "resolved")
    play.push(18, "b", "resolved")
    play.expect(4, 4, "trigger", "a")
    play.expect(14, 14, "update", "a", "b")
    play.expect(24, 24, "update", "a", "b", "c")
    assert [second(alert.starts_at_us) for alert in play.run(60)] == [-50, -90, -90]


def test_an_end_and_a_reopening_between_two_looks_are_not_told() -> None:
    play = Script()
    play.push(1, "a")
    play.push(6, "a", "resolved")
    play.push(9, "a", "reopened")
    play.expect(4, 4, "trigger", "a")
    play.run(60)


def test_a_late_figure_of_what_is_over_begins_nothing() -> None:
    play = Script()
    play.push(1, "a")
    play.push(6, "a", "resolved")
    play.push(30, "a", "resolved", orders_affected=9)
    play.expect(4, 4, "trigger", "a")
    play.expect(14, 14, "resolve", "a")
    play.run(90)


def test_without_send_resolved_ends_are_not_told() -> None:
    play = Script(SHORT + "send_resolved = false\n")
    play.push(1, "a")
    play.push(1, "b")
    play.push(6, "b", "resolved")
    play.push(25, "a", "resolved")
    play.push(40, "a", "reopened")
    play.expect(4, 4, "trigger", "a", "b")
    play.expect(43, 43, "trigger", "a")
    play.run(60)
    assert play.decisions("b")[-1] == "14 muted"


def test_without_send_resolved_an_end_is_not_told_beside_something_else_either() -> None:
    play = Script(SHORT + "send_resolved = false\n")
    play.push(1, "a")
    play.push(1, "b")
    play.push(6, "b", "resolved")
    play.push(7, "c")
    play.expect(4, 4, "trigger", "a", "b")
    play.expect(14, 14, "update", "a", "c")
    alerts = play.run(60)
    assert "over" not in alerts[1].annotations
    assert play.decisions("b")[-1] == "14 muted"


FOR = SHORT + '[[route]]\nmatchers = ["kind=oversell"]\nfor = "20s"\n'


def test_for_waits_until_an_incident_has_been_open_so_long() -> None:
    play = Script(FOR)
    play.push(1, "a")
    play.push(15, "a", "growing")
    play.push(2, "other", kind="misrouting")
    play.expect(24, 24, "trigger", "a")
    play.expect(5, 5, "trigger", "other")
    play.run(60)
    assert play.decisions("a") == ["1 not_firing_yet", "21 waiting", "24 notified", "34 deduplicated"]


def test_for_begins_again_after_an_end() -> None:
    play = Script(FOR)
    play.push(1, "a")
    play.push(15, "a", "resolved")
    play.push(16, "a", "reopened")
    play.expect(39, 39, "trigger", "a")
    play.run(60)
    assert play.decisions("a")[:2] == ["1 not_firing_yet", "15 not_firing_yet"]


def test_a_route_that_no_longer_takes_it_tells_nothing_when_for_is_over() -> None:
    play = Script(FOR)
    play.push(1, "a")
    play.push(10, "a", "growing", kind="misrouting")
    play.expect(13, 13, "trigger", "a")
    play.run(60)
    assert play.decisions("a")[:2] == ["1 not_firing_yet", "10 waiting"]


TREE = (
    SHORT
    + """
[[route]]
matchers = ['severity=~"high|critical"']
receiver = "duty"
continue = true
[[route]]
matchers = ["kind=oversell"]
receiver = "shop"
group_wait = "1s"
[[route.route]]
matchers = ["channel=marketplace"]
receiver = "market"
repeat_interval = "20s"
[[route]]
matchers = ["kind=oversell"]
receiver = "never"
[[route]]
matchers = ["kind=clock_skew"]
receiver = ""
"""
)


def test_the_first_route_that_fits_takes_it_unless_it_says_continue() -> None:
    play = Script(TREE)
    play.push(1, "shop", channel="web")
    play.push(1, "market", channel="marketplace")
    play.push(1, "both", severity="critical", channel="web")
    play.push(1, "rest", kind="misrouting")
    play.push(1, "high", kind="misrouting", severity="high")
    play.push(1, "nobody", kind="clock_skew")
    play.expect(2, 2, "trigger", "shop", "both", receiver="shop")
    play.expect(2, 2, "trigger", "market", receiver="market")
    play.expect(22, 22, "update", "market", receiver="market")
    play.expect(42, 42, "update", "market", receiver="market")
    play.expect(4, 4, "trigger", "both", receiver="duty")
    play.expect(4, 4, "trigger", "high", receiver="duty")
    play.expect(4, 4, "trigger", "rest")
    alerts = play.run(50)
    assert play.decisions("nobody") == ["1 unrouted"]
    assert play.of(AlertDecision)[-1].receiver != ""
    keys = {alert.receiver: alert.group_key for alert in alerts}
    assert keys["market"] == '{}/{kind="oversell"}/{channel="marketplace"}:{kind="oversell"}'


def test_an_incident_that_nobody_is_told_of_again_is_on_record_as_that_again() -> None:
    play = Script(TREE)
    play.push(1, "a", kind="clock_skew")
    play.push(5, "a", "growing", kind="misrouting")
    play.push(11, "a", "growing", kind="clock_skew")
    play.expect(8, 8, "trigger", "a")
    play.expect(18, 18, "resolve", "a")
    play.run(30)
    assert [one for one in play.decisions("a") if "unrouted" in one] == ["1 unrouted", "11 unrouted"]


def test_an_incident_whose_route_changes_is_over_for_the_one_and_new_for_the_other() -> None:
    play = Script(TREE.replace("continue = true\n", ""))
    play.push(1, "a", channel="web")
    play.push(5, "a", "growing", channel="web", severity="high")
    play.push(30, "a", "growing", channel="web")
    play.expect(2, 2, "trigger", "a", receiver="shop")
    play.expect(8, 8, "trigger", "a", receiver="duty")
    play.expect(12, 12, "resolve", "a", receiver="shop")
    play.expect(31, 31, "trigger", "a", receiver="shop")
    play.expect(38, 38, "resolve", "a", receiver="duty")
    play.run(60)


def test_an_incident_stays_in_its_group_when_a_label_changes_that_it_is_grouped_by() -> None:
    play = Script(SHORT + 'group_by = ["kind", "node"]\n')
    play.push(1, "a", node="n1")
    play.push(6, "a", "growing")  # it has spread: no node any more
    play.push(6, "b")
    play.expect(4, 4, "trigger", "a")
    play.expect(9, 9, "trigger", "b")
    play.run(30)


def test_what_arrives_at_one_time_is_told_together_even_without_a_wait() -> None:
    play = Script(SHORT.replace("3s", "0s"))
    play.push(1, "a")
    play.push(1, "b")
    play.expect(1, 1, "trigger", "a", "b")
    play.run(30)


def test_at_the_end_of_time_what_waits_is_told_once_and_nothing_is_repeated() -> None:
    play = Script(FOR)
    play.push(1, "a", kind="misrouting")
    play.push(2, "b")
    play.push(100, "c", kind="misrouting")
    play.take(sorted(play.items, key=lambda item: item.arrival_us))
    rows = [*play.rows, *play.operator.advance(END_OF_TIME_US)]
    alerts = [row for row in rows if isinstance(row, Alert)]
    assert told(alerts) == [
        "4 pager trigger a",
        "25 pager trigger b",
        "64 pager update a",
        "85 pager update b",
        "104 pager update a c",
    ]
    assert play.operator.advance(END_OF_TIME_US) == []
    play.push(130, "d", kind="misrouting")  # a file that had ended has grown
    play.items = play.items[-1:]
    play.take(play.items)
    late = [row for row in (*play.rows, *play.operator.advance(us(150))) if isinstance(row, Alert)]
    assert "134 pager update a c d" in told(late)


def test_at_the_end_of_time_a_group_is_looked_at_for_what_has_a_longer_for_than_its_interval() -> None:
    play = Script(FOR)
    play.push(1, "a")
    play.push(30, "b")  # is told of from 50 on: the look at 34 is before, that at 44 too
    play.take(play.items)
    rows = [*play.rows, *play.operator.advance(us(31)), *play.operator.advance(END_OF_TIME_US)]
    assert told(row for row in rows if isinstance(row, Alert)) == ["24 pager trigger a", "54 pager update a b"]


def test_at_the_end_of_time_what_was_over_before_its_for_is_not_told() -> None:
    play = Script(FOR)
    play.push(1, "a")
    play.push(2, "a", "resolved")
    play.take(play.items)
    assert [row for row in play.operator.advance(END_OF_TIME_US) if isinstance(row, Alert)] == []


def test_values_that_look_like_labels_make_no_group_the_same() -> None:
    play = Script(SHORT + 'group_by = ["node", "sku"]\n')
    play.push(1, "a", node='x",sku="y')
    play.push(1, "b", node="x", sku="y")
    play.expect(4, 4, "trigger", "a")
    play.expect(4, 4, "trigger", "b")
    play.run(30)


def test_the_same_incidents_give_the_same_ids_and_no_two_notifications_share_one() -> None:
    def ids() -> list[str]:
        play = Script()
        play.push(1, "a")
        play.push(20, "a", "resolved")
        play.push(40, "a", "reopened")
        play.push(41, "b", kind="misrouting")
        play.take(sorted(play.items, key=lambda item: item.arrival_us))
        play.rows += play.operator.advance(us(HOUR_US / 1e6))
        return [row.alert_id for row in play.of(Alert)] + [row.decision_id for row in play.of(AlertDecision)]

    first = ids()
    assert first == ids()
    assert len(set(first)) == len(first) > 100
