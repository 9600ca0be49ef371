"""What plain Python makes of incidents, alerts and feeds, to hold the cookbook's queries against."""

from collections import Counter, defaultdict
from datetime import datetime
from statistics import mean

import pytest

from tests import analyst_day
from tests.cookbook_day import Day, Rows, fact, moment, truth

# --- incidents ---------------------------------------------------------------------------------------------


@fact("Recovery time")
def _recovery(rows: Rows, day: Day) -> None:
    for row in rows:
        own = [one for one in day.incidents.values() if one["kind"] == row["kind"]]
        over = [(one["closed_at"] - one["opened_at"]).total_seconds() / 60 for one in own if one["closed_at"]]
        assert (row["incidents"], row["resolved"]) == (len(own), sum(one["status"] == "resolved" for one in own))
        assert row["mean_min"] == (pytest.approx(mean(over), abs=0.1) if over else None)
        assert row["longest_min"] == (pytest.approx(max(over), abs=0.1) if over else None)
    assert any(row["resolved"] for row in rows)


@fact("Mean time to detect")
def _detection(rows: Rows, day: Day) -> None:
    for row in rows:
        own = [one for one in day.incidents.values() if one["kind"] == row["kind"]]
        took = [(one["found_at"] - one["opened_at"]).total_seconds() / 60 for one in own]
        assert row["mean_min"] == pytest.approx(mean(took), abs=0.01)
        assert row["longest_min"] == pytest.approx(max(took), abs=0.01)


@fact("False-alarm rate")
def _false_alarms(rows: Rows, day: Day) -> None:
    (acknowledged,) = (row["incident_id"] for row in day.view("silences") if row["comment"] == analyst_day.NOISE)
    for row in rows:
        own = [one for one in day.incidents.values() if one["kind"] == row["kind"]]
        assert row["noise"] == sum(one["incident_id"] == acknowledged for one in own)
        assert row["false_alarm_percent"] == pytest.approx(100 * row["noise"] / len(own), abs=0.06)
    assert sum(row["noise"] for row in rows) == 1


@fact("Money at risk over time")
def _money(rows: Rows, day: Day) -> None:
    now = max(row["arrival"] for row in day.incidents.values())
    began: dict[str, datetime] = {}
    for row in day.view("handoffs"):
        if row["started_at"] is not None:
            began[row["case_id"]] = min(row["started_at"], began.get(row["case_id"], row["started_at"]))
    for row in rows:
        worth: dict[str, float] = {}
        for one in day.view("incident_orders"):
            incident = day.incidents.get(one["incident_id"])
            if incident is None or one["currency"] != row["currency"] or not one["value"]:
                continue
            since = max(incident["opened_at"], began.get(one["order_id"], incident["opened_at"]))
            if since <= row["at"] <= (incident["closed_at"] or now):
                worth[one["order_id"]] = max(one["value"], worth.get(one["order_id"], 0))
        assert (row["orders"], row["at_risk"]) == (len(worth), pytest.approx(sum(worth.values()), abs=0.01))


@fact("What costs most: top causes")
def _causes(rows: Rows, day: Day) -> None:
    worst = max(day.incidents.values(), key=lambda row: row["value_at_risk"])
    assert rows[0]["kind"] == worst["kind"]
    assert rows[0]["place"] == ", ".join(f"{name} {value}" for name, value in worst["scope"].items())
    assert sum(row["incidents"] for row in rows) == len(day.incidents)


@fact("Which orders does this incident touch")
def _orders(rows: Rows, day: Day) -> None:
    gravest = max(day.incidents.values(), key=lambda row: row["score"])
    assert len(rows) == gravest["orders_affected"]
    assert sum(row["value"] for row in rows) == pytest.approx(gravest["value_at_risk"], abs=0.01)
    assert {row["order_id"] for row in rows} <= {e.get("order_id") for e in day.events("orders")}


@fact("Which customers were hit more than once")
def _customers(rows: Rows, day: Day) -> None:
    orders: dict[str, set[str]] = defaultdict(set)
    places: dict[str, set[str]] = defaultdict(set)
    for row in day.view("incident_orders"):
        if row["customer_id"] and row["incident_id"] in day.incidents:
            orders[row["customer_id"]].add(row["order_id"])
            places[row["customer_id"]].add(row["incident_id"])
    expected = {name for name in orders if len(orders[name]) > 1 or len(places[name]) > 1}
    assert {row["customer_id"] for row in rows} <= expected
    assert len({row["customer_id"] for row in rows}) == min(100, len(expected))
    for row in rows:
        assert (row["orders"], row["incidents"]) == (len(orders[row["customer_id"]]), len(places[row["customer_id"]]))
    assert rows[0]["orders"] == max(len(orders[name]) for name in expected)


@fact("Promises that were expected to be broken")
def _promises(rows: Rows, day: Day) -> None:
    became = {row["case_id"]: row["status"] for row in day.passes("delivery_promise") if row["deadline_at"] is not None}
    broken, kept, expected = Counter[str](), Counter[str](), Counter[str]()
    for row in day.view("incident_orders"):
        if row["incident_id"] in day.incidents and row["order_id"] in became:
            said = f"expected to be {'kept' if row['breach_predicted_at'] is None else 'broken'}"
            expected[said] += 1
            kept[said] += became[row["order_id"]] == "done"
            broken[said] += became[row["order_id"]] in ("late", "overdue")
    assert {row["said"]: row["orders"] for row in rows} == dict(expected)
    assert {row["said"]: row["broken"] for row in rows} == dict(broken)
    assert {row["said"]: row["kept"] for row in rows} == dict(kept)
    assert sum(broken.values()) > 0


@fact("What belongs to an incident")
def _members(rows: Rows, day: Day) -> None:
    findings = [row for row in day.view("incident_signals") if row["incident_id"] in day.incidents]
    assert sum(row["findings"] for row in rows) == len(findings)
    kinds = {row["incident_id"]: row["kind"] for row in rows if row["role"] == "cause"}
    opened = {row["signal_id"]: row["opened_at"] for row in day.view("signals")}
    for row in rows:
        if row["role"] == "cause":
            assert row["first_at"] == opened[day.incidents[row["incident_id"]]["cause_signal_id"]]
    assert all(kinds[name] == incident["kind"] for name, incident in day.incidents.items())


@fact("Recompute an incident from what is under it")
def _recomputed(rows: Rows, day: Day) -> None:
    assert len(rows) == len(day.incidents)
    for row in rows:
        assert row["orders"] == row["orders_affected"], row
        assert row["units"] == pytest.approx(row["units_affected"], abs=0.01)
        assert row["findings_recomputed"] == row["findings"]
    (queue,) = (row for row in rows if day.incidents[row["incident_id"]]["kind"] == "queue_saturation")
    assert queue["value"] == pytest.approx(queue["value_at_risk"], abs=0.01)
    assert queue["score_recomputed"] == pytest.approx(queue["score"], abs=0.001)
    assert queue["priority_recomputed"] == queue["priority"]


@fact("Recompute an incident's life")
def _life(rows: Rows, day: Day) -> None:
    assert {row["incident_id"] for row in rows} == set(day.incidents)
    for row in rows:
        assert row["opened_recomputed"] == row["opened_at"] == day.incidents[row["incident_id"]]["opened_at"]
        assert row["closed_recomputed"] == row["closed_at"] == day.incidents[row["incident_id"]]["closed_at"]
        assert row["status_recomputed"] == row["status"] == day.incidents[row["incident_id"]]["status"]
    assert any(row["closed_at"] for row in rows)


# --- alerts and feeds --------------------------------------------------------------------------------------


@fact("What did a silence hide")
def _hidden(rows: Rows, day: Day) -> None:
    assert {row["silence_id"] for row in rows} == {analyst_day.SILENCE_ID}
    hidden = {
        (row["incident_id"], row["receiver"]) for row in day.view("alert_decisions") if row["decision"] == "silenced"
    }
    assert {(row["incident_id"], row["receiver"]) for row in rows} == hidden
    assert "queue_saturation" in {row["kind"] for row in rows}  # it was open all the while
    assert all(0 < row["hidden_min"] <= 60 for row in rows)


@fact("Alert noise")
def _noise(rows: Rows, day: Day) -> None:
    decisions = Counter((row["receiver"], row["decision"]) for row in day.view("alert_decisions"))
    for row in rows:
        assert row["told"] == decisions[row["receiver"], "notified"]
        assert row["knew_already"] == decisions[row["receiver"], "deduplicated"]
    assert {"operations", "duty"} <= {row["receiver"] for row in rows}


@fact("From the first sign")
def _screens(rows: Rows, day: Day) -> None:
    tried = {
        row["alert_id"]: row["attempted_at"] for row in day.view("alert_deliveries") if row["outcome"] == "delivered"
    }
    opened = {row["incident_id"]: row["opened_at"] for row in day.view("incidents")}  # merged ones were told as well
    for row in rows:
        first: dict[str, datetime] = {}
        for alert in day.view("alerts"):
            if alert["receiver"] == row["receiver"] and alert["action"] == "trigger":
                for name in alert["incident_ids"]:
                    at = tried[alert["alert_id"]]
                    first[name] = min(at, first.get(name, at))
        took = [(at - opened[name]).total_seconds() / 60 for name, at in first.items()]
        assert (row["incidents"], row["longest_min"]) == (len(took), pytest.approx(max(took), abs=0.1))
        assert row["mean_min"] == pytest.approx(mean(took), abs=0.1)


@fact("Do receivers take")
def _taken(rows: Rows, day: Day) -> None:
    for row in rows:
        own = [one for one in day.view("alert_deliveries") if one["receiver"] == row["receiver"]]
        assert row["attempts"] == len(own) == row["alerts"] + row["tried_again"]
        assert row["delivered"] == len(
            {one["alert_id"] for one in day.view("alerts") if one["receiver"] == row["receiver"]}
        )
    assert sum(row["tried_again"] for row in rows) > 0


@fact("Feed delay")
def _feeds(rows: Rows, day: Day) -> None:
    worst = 0.0
    for event in day.events("reservations"):
        worst = max(worst, (moment(event, "recorded_at") - moment(event)).total_seconds())
    own = [row for row in rows if row["component"].startswith("reservations")]
    assert own[0]["longest_delay_s"] == pytest.approx(worst, abs=0.1)
    assert sum(row["events"] for row in own) == len(day.events("reservations"))


@fact("Dead letters")
def _dead(rows: Rows, day: Day) -> None:
    (broken,) = (row for row in truth(day) if row["kind"] == "schema_change")
    without = sum("order_id" not in event for event in day.events("orders") if event["type"] == "order.created")
    assert rows[0]["path"] == "$.order_id"
    assert rows[0]["messages"] == without
    assert moment({"at": broken["begin"]}, "at") <= rows[0]["first_at"] <= rows[0]["last_at"]
    seen = [row["seen_at"] for row in day.view("dead_letters") if row["path"] == "$.order_id"]
    assert (rows[0]["first_at"], rows[0]["last_at"]) == (min(seen), max(seen))


@fact("Duplicates")
def _duplicates(rows: Rows, day: Day) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for path in (day._folder / "events").glob("*.jsonl"):
        if path.name != "truth.jsonl":
            usable = (
                event for event in day.events(path.stem) if event["type"] != "order.created" or "order_id" in event
            )
            seen.update((event["source"], event["event_id"]) for event in usable)
    again: Counter[str] = Counter()
    for (source, _), count in seen.items():
        again[source] += count - 1
    assert {row["source"]: row["duplicates"] for row in rows} == {name: n for name, n in again.items() if n}


@fact("Late events")
def _late(rows: Rows, day: Day) -> None:
    sources: dict[str, set[str]] = defaultdict(set)
    lags: dict[str, list[float]] = defaultdict(list)
    for row in day.view("late_events"):
        assert (row["seen_at"] - row["occurred_at"]).total_seconds() > 40 * 60  # they are kept for 45 min
        sources[row["source"]].add(row["event_id"])
        lags[row["source"]].append((row["seen_at"] - row["occurred_at"]).total_seconds() / 60)
    assert {row["source"] for row in rows} == set(sources)
    assert all(min(lags[row["source"]]) <= row["median_late_min"] <= max(lags[row["source"]]) for row in rows)
    assert any(row["source"].startswith("wms-stores") and row["type"] == "reservation.created" for row in rows)
    assert all(row["events"] <= len(sources[row["source"]]) for row in rows)


@fact("Can the models be believed")
def _models(rows: Rows, day: Day) -> None:
    health = sorted(day.view("model_health"), key=lambda row: row["minute"])
    last = {(row["model"], row["metric"]): row for row in health}
    points, alarms = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for row in health:
        points[row["model"], row["metric"]] += row["points"]
        alarms[row["model"], row["metric"]] += row["alarms"]
    assert len(rows) == len(last)
    for row in rows:
        key = row["model"], row["metric"]
        now = last[key]
        assert (row["state_now"], row["series_now"], row["by_rule_now"]) == (
            now["state"],
            now["series"],
            now["fallback"],
        )
        assert (row["points_scored"], row["alarms_raised"]) == (points[key], alarms[key])


@fact("Which windows did the models find")
def _unusual(rows: Rows, day: Day) -> None:
    alarms = [row for row in day.view("series_scores") if row["alarm"]]
    assert len(rows) == min(50, len(alarms))
    assert rows[0]["score"] == pytest.approx(max(row["score"] for row in alarms), abs=0.006)
    assert {(row["at"], row["handoff"], row["scope"]) for row in rows} <= {
        (row["at"], row["handoff"], row["scope"]) for row in alarms
    }
