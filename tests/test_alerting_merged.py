"""What is told when two incidents that were told apart turn out to be one."""

import pytest

from operators.alerting.alerting import Alerting
from schemas.durations import MINUTE_US
from schemas.incident_rows import Alert, AlertDecision, Incident
from tests.alerting_script import SHORT, Script, settings_of
from tests.incident_streams import at, finding, minute_of, only, orders, run, standing

_GIVEN_UP = {"signals": 0, "summary": "Merged into b: it has the same cause."}


def test_one_that_turned_out_to_be_part_of_another_is_resolved_with_that_reason() -> None:
    play = Script(SHORT + 'group_by = ["incident"]\n')
    play.push(1, "a", node="n1")
    play.push(1, "b", node="n2")
    play.push(8, "a", "resolved", node="n1", **_GIVEN_UP)
    play.push(28, "b", "resolved", node="n2")
    play.expect(4, 4, "trigger", "a")
    play.expect(4, 4, "trigger", "b")
    play.expect(14, 14, "resolve", "a")
    play.expect(34, 34, "resolve", "b")
    ends = {one.incident_ids[0]: one for one in play.run(60) if one.action == "resolve"}
    assert ends["a"].reason == "it turned out to be part of another incident"
    assert ends["a"].annotations["summary"] == "Merged into b: it has the same cause."
    assert ends["b"].reason == "all of the group are over"
    told = {row.reason for row in play.of(AlertDecision) if row.incident_id == "a" and row.decision == "notified"}
    assert told == {"first notification", "it turned out to be part of another incident"}


def test_in_a_group_with_others_its_decision_says_so() -> None:
    play = Script()
    play.push(1, "a")
    play.push(1, "b")
    play.push(8, "a", "resolved", **_GIVEN_UP)
    play.push(28, "b", "resolved")
    play.expect(4, 4, "trigger", "a", "b")
    play.expect(14, 14, "update", "a", "b")
    play.expect(34, 34, "resolve", "b")
    alerts = play.run(60)
    assert (alerts[1].reason, alerts[1].annotations["over"]) == ("some of the group are over", "a")
    assert alerts[2].reason == "all of the group are over"
    last = [row for row in play.of(AlertDecision) if row.incident_id == "a"][-1]
    assert (last.decision, last.reason) == ("notified", "it turned out to be part of another incident")


def test_one_that_nobody_was_told_of_is_on_record() -> None:
    play = Script()
    play.push(1, "a")
    play.push(2, "a", "resolved", **_GIVEN_UP)
    play.run(60)
    last = [row for row in play.of(AlertDecision) if row.incident_id == "a"][-1]
    assert (last.decision, last.reason) == ("deduplicated", "Merged into b: it has the same cause.")


@pytest.mark.parametrize("cut", [1, 3, 1_000])
def test_a_cause_that_is_found_last_ends_the_alert_of_its_consequence(cut: int) -> None:
    """Incidents and alerting together: two are told, the queue behind both is found, one of them goes on."""
    late = orders("o", range(40))
    rows = run(
        [
            finding(10, "oversell", {"channel": "web", "sku": "1"}, late[:10], since=8),
            finding(14, "picking_backlog", {"node": "s1"}, late[20:30], since=9),
            finding(30, "queue_saturation", {"source": "wms"}, late, since=2),
        ]
    )
    goes_on = only(rows).incident_id
    (given_up,) = (one for one in standing(rows) if one != goes_on)
    changes = [row for row in rows if isinstance(row, Incident)]
    alerting = Alerting(settings_of('receiver = "pager"\ngroup_by = ["incident"]\ngroup_interval = "5m"\n'))
    told = [row for begin in range(0, len(changes), cut) for row in alerting.update(changes[begin : begin + cut], [])]
    told += alerting.advance(at(60))
    alerts = [row for row in told if isinstance(row, Alert)]
    said = [(one.incident_ids[0], one.action, one.reason) for one in alerts if minute_of(one.sent_at_us) < 36]
    assert said == [
        (goes_on, "trigger", "first notification"),
        (given_up, "trigger", "first notification"),
        (goes_on, "update", "what was told has changed"),
        (given_up, "resolve", "it turned out to be part of another incident"),
    ]
    (end,) = (one for one in alerts if one.action == "resolve")
    assert end.annotations["summary"] == f"Merged into {goes_on}: it has the same cause."
    assert end.sent_at_us <= at(30) + 5 * MINUTE_US
