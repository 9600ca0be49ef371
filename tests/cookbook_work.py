"""What plain Python makes of stock and handoffs, to hold the cookbook's queries against."""

from collections import defaultdict
from datetime import datetime, timedelta

import pytest

from operators.quantiles import exact
from tests.cookbook_day import JUDGED, Day, Rows, fact, moment, near, truth

# --- stock -------------------------------------------------------------------------------------------------


@fact("Stockout rate")
def _stockouts(rows: Rows, day: Day) -> None:
    known = [row for row in day.view("stock_deltas") if row["available_to_promise"] is not None]
    end = max(row["window_end"] for row in day.view("stock_deltas"))
    series = defaultdict(list)
    for row in sorted(known, key=lambda row: row["window_start"]):
        series[row["node"], row["sku"]].append(row)
    for row in rows:
        own = [steps for (node, _), steps in series.items() if node == row["node"]]
        out = seen = 0.0
        for steps in own:
            for step, until in zip(steps, [*(next_["window_start"] for next_ in steps[1:]), end], strict=True):
                held = (until - step["window_start"]).total_seconds()
                seen += held
                out += held if step["available_to_promise"] <= 0 else 0
        assert row["items"] == len(own)
        assert row["out_at_some_time"] == sum(any(s["available_to_promise"] <= 0 for s in steps) for steps in own)
        assert row["out_at_the_end"] == sum(steps[-1]["available_to_promise"] <= 0 for steps in own)
        assert row["stockout_percent"] == pytest.approx(100 * row["out_at_some_time"] / len(own), abs=0.06)
        assert row["hours_out_percent"] == pytest.approx(100 * out / seen, abs=0.01)
    assert any(row["out_at_some_time"] for row in rows)


@fact("Oversell rate")
def _oversold(rows: Rows, day: Day) -> None:
    below = [row for row in day.view("stock_deltas") if (row["available_to_promise"] or 0) < 0]
    assert {row["node"] for row in rows} == {row["node"] for row in below}
    for row in rows:
        own = [one for one in below if one["node"] == row["node"]]
        assert row["oversold_items"] == len({one["sku"] for one in own})
        known = [one for one in day.view("stock_deltas") if one["available_to_promise"] is not None]
        assert row["items"] == len({one["sku"] for one in known if one["node"] == row["node"]})
        assert row["oversell_percent"] == pytest.approx(100 * row["oversold_items"] / row["items"], abs=0.006)
        assert row["most_units_short"] == -min(one["available_to_promise"] for one in own)


@fact("Inventory accuracy")
def _accuracy(rows: Rows, day: Day) -> None:
    last = [row for row in day.last_stock().values() if len(row["on_hand"]) > 1]
    for row in rows:
        own = [one for one in last if one["node"] == row["node"]]
        agreeing = sum(len(set(one["on_hand"].values())) == 1 for one in own)
        assert row["items"] == len(own)
        assert row["accurate_percent"] == pytest.approx(100 * agreeing / len(own), abs=0.06)
        apart = sum(max(one["on_hand"].values()) - min(one["on_hand"].values()) for one in own)
        there = sum(max(one["on_hand"].values()) for one in own)
        assert row["units_apart"] == apart
        assert row["unit_accuracy_percent"] == pytest.approx(100 * (1 - apart / there), abs=0.006)
        assert row["value_apart"] == {"EUR": pytest.approx(sum(one["value_at_risk"] or 0 for one in own), abs=0.01)}
    (broken,) = (row for row in truth(day) if row["kind"] == "adjustments_lost")
    assert rows[0]["node"] == broken["scope"]["node"]
    assert rows[0]["value_apart"]["EUR"] > 0


@fact("Which system is off")
def _systems(rows: Rows, day: Day) -> None:
    assert [row["system"] for row in rows] == ["erp", "oms"]  # what the ERP did not hear of is wrong there alone
    last = [row["on_hand"] for row in day.last_stock().values() if "wms" in row["on_hand"]]
    assert rows[0]["items_off"] == sum(one["erp"] != one["wms"] for one in last if "erp" in one) > 0
    assert rows[0]["units_too_many"] == sum(one["erp"] - one["wms"] for one in last if "erp" in one)
    assert rows[0]["off_percent"] == pytest.approx(100 * rows[0]["items_off"] / rows[0]["items"], abs=0.006)
    assert rows[1]["items_off"] == sum(one["oms"] != one["wms"] for one in last if "oms" in one)


@fact("How ready was each promotion")
def _promotions(rows: Rows, day: Day) -> None:
    started = {one["promotion_id"]: one for one in day.events("commerce") if one["type"] == "promotion.started"}
    assert {row["promotion_id"] for row in rows} == set(started)
    for row in rows:
        event, own = started[row["promotion_id"]], day.view("promotion_readiness")
        own = [one for one in own if one["promotion_id"] == row["promotion_id"]]
        assert moment(event) < row["from_at"] <= moment(event) + timedelta(minutes=2)
        assert row["items"] == len(set(event["skus"]))
        shelves: dict[tuple[str, str], float] = {}
        for one in sorted(day.view("stock_deltas"), key=lambda one: one["window_start"]):
            if one["sku"] in event["skus"] and one["window_end"] <= row["from_at"] and "wms" in one["on_hand"]:
                shelves[one["node"], one["sku"]] = one["on_hand"]["wms"]
        assert row["on_hand"] == pytest.approx(sum(shelves.values()), abs=3)
        coming = 0.0
        for one in day.events("supply"):
            known = one["type"] == "po.created" and moment(one) < row["from_at"]
            if known and row["from_at"] < moment(one, "expected_at") <= row["from_at"] + timedelta(days=1):
                coming += sum(line["qty"] for line in one["lines"] if line["sku"] in event["skus"])
        assert row["coming"] == coming
        first = min(own, key=lambda one: one["arrival"])
        lacks = sum(need - there for need, there in zip(first["worst_expected"], first["worst_there"], strict=True))
        lost = 100 * lacks / first["units_expected"]
        assert row["score_at_start"] == pytest.approx(100 - lost, abs=0.1)
        assert row["lowest_score"] == min(one["score"] for one in own)


# --- handoffs ----------------------------------------------------------------------------------------------


@fact("On-time share by node")
def _on_time(rows: Rows, day: Day) -> None:
    assert rows == sorted(rows, key=lambda row: (row["on_time_percent"], row["handoff"], row["node"]))
    for row in rows:
        own = [one for one in day.passes(row["handoff"], *JUDGED) if one["scope"] == row["node"] and one["deadline_at"]]
        in_time = sum(one["ended_at"] is not None and one["ended_at"] <= one["deadline_at"] for one in own)
        assert row["on_time_percent"] == pytest.approx(100 * in_time / len(own), abs=0.06)
    assert {row["handoff"] for row in rows if row["overdue"]} == {"invoice_posting"}  # those that were lost


@fact("On-time share by carrier")
def _carriers(rows: Rows, day: Day) -> None:
    (broken,) = (row for row in truth(day) if row["kind"] == "carrier_delay")
    assert rows[0]["carrier"] == broken["scope"]["carrier"]
    own = [
        one
        for one in day.passes("delivery", *JUDGED)
        if one["scope"] == rows[0]["carrier"] and one["deadline_at"] is not None
    ]
    assert rows[0]["parcels"] == len(own)
    assert rows[0]["in_time"] == sum(one["status"] == "done" for one in own)
    assert rows[0]["on_time_percent"] == pytest.approx(100 * rows[0]["in_time"] / len(own), abs=0.06)
    hours = sorted(one["latency_s"] / 3600 for one in own if one["latency_s"] is not None)
    assert near(0.5, hours, rows[0]["median_h"], 0.01)
    worst = max((one["ended_at"] - one["deadline_at"]).total_seconds() for one in own if one["status"] == "late")
    assert rows[0]["latest_h"] == pytest.approx(worst / 3600, abs=0.01)


@fact("Refund cycle time")
def _refunds(rows: Rows, day: Day) -> None:
    received = {e["return_id"]: e for e in day.events("fulfillment") if e["type"] == "return.received"}
    booked = {e["reference"]: e for e in day.events("erp") if e.get("posting_type") == "refund"}
    waits: dict[str, list[float]] = defaultdict(list)
    for case, event in received.items():
        if case in booked:
            waits[event["node"]].append((moment(booked[case]) - moment(event)).total_seconds() / 3600)
    got = {row["node"]: row for row in rows}
    for node, own in waits.items():
        assert got[node]["refunded"] == len(own)
        assert near(0.95, own, got[node]["p95_h"], 0.01)
        assert min(own) - 0.01 <= got[node]["median_h"] <= got[node]["p95_h"] <= max(own) + 0.01
    assert sum(row["waiting"] for row in rows) == len(set(received) - set(booked))


@fact("Order-exception cycle time")
def _exceptions(rows: Rows, day: Day) -> None:
    got = {row["kind"]: row for row in rows}
    refused = {e["reference"] for e in day.events("erp") if e["type"] == "posting.failed"}
    assert got["posting_failed"]["cases"] == len(refused)
    booked = {e["reference"] for e in day.events("erp") if e.get("posting_type") == "goods_issue" and "posting_id" in e}
    assert got["posting_failed"]["went_on_again"] == len(refused & booked)
    first: dict[str, datetime] = {}
    for row in day.view("signals"):
        if row["kind"] == "posting_failed":
            first[row["case_id"]] = min(row["opened_at"], first.get(row["case_id"], row["opened_at"]))
    ends = {row["case_id"]: row["ended_at"] for row in day.passes("goods_issue_posting")}
    waits = sorted((ends[case] - begun).total_seconds() / 60 for case, begun in first.items())
    assert near(0.5, waits, got["posting_failed"]["median_min"], 0.1)
    assert near(0.95, waits, got["posting_failed"]["p95_min"], 0.1)


@fact("Which handoff costs most")
def _costs(rows: Rows, day: Day) -> None:
    now = max(row["arrival"] for row in day.view("handoffs"))
    value = {row["order_id"]: row["value"] for row in day.view("incident_orders")}
    for handoff in {row["handoff"] for row in rows}:
        late = [row for row in day.passes(handoff, "late", "overdue") if row["deadline_at"] is not None]
        hours = [
            (((row["ended_at"] or now) - row["deadline_at"]).total_seconds() / 3600, row["case_id"]) for row in late
        ]
        own = [row for row in rows if row["handoff"] == handoff]
        assert sum(row["hours_late"] for row in own) == pytest.approx(sum(h for h, _ in hours), rel=0.01, abs=0.2)
        worth = sum(h * value.get(case, 0) for h, case in hours)
        assert sum(row["value_hours"] for row in own) == pytest.approx(worth, rel=0.01, abs=5)
    assert rows[0]["value_hours"] > 0


@fact("How long does each step take")
def _latencies(rows: Rows, day: Day) -> None:
    got = {row["handoff"]: row for row in rows}
    for handoff in ("pick", "pack", "dispatch", "order_approval"):  # none of these came too late to be counted
        samples = sorted(row["latency_s"] for row in day.passes(handoff) if row["latency_s"] is not None)
        if handoff in ("pick", "pack"):
            assert got[handoff]["completed"] == len(samples)
        assert got[handoff]["p50_s"] == pytest.approx(exact(0.5, samples), rel=0.03)
        assert got[handoff]["p95_s"] == pytest.approx(exact(0.95, samples), rel=0.05)


@fact("Backlog by node and hour")
def _backlog(rows: Rows, day: Day) -> None:
    top = rows[0]
    own = [
        row
        for row in day.view("handoff_latency")
        if (row["handoff"], row["scope"], row["window_start"].hour) == ("dispatch", top["node"], top["hour"].hour)
    ]
    assert top["most_waiting"] == max(row["backlog"] for row in own)
    assert top["oldest_min"] == pytest.approx(max(row["oldest_age_s"] or 0 for row in own) / 60, abs=0.06)
    assert top["most_waiting"] == max(r["backlog"] for r in day.view("handoff_latency") if r["handoff"] == "dispatch")


@fact("What is overdue right now")
def _overdue(rows: Rows, day: Day) -> None:
    now = max(row["arrival"] for row in day.view("handoffs"))
    waiting = [row for row in day.view("handoffs") if row["ended_at"] is None and row["status"] in ("open", "overdue")]
    due = [row for row in waiting if row["deadline_at"] is not None and row["deadline_at"] < now]
    assert len(rows) == min(100, len(due))
    assert rows[0]["min_over"] == round((now - min(row["deadline_at"] for row in due)).total_seconds() // 60)
