"""Dashboards: every panel's SQL runs in the real engine over a simulated day, every metric asked for is reported."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from schemas.metrics import DELIVERY_METRICS, JOB_METRICS, METRICS
from schemas.rows import StockWindow
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import Store, open_store
from sinks.clickhouse.writer import BlockWriter
from tests import infra_day
from tests.infra_rules import problems_of
from tests.processes import ROOT

GRAFANA = ROOT / "infra" / "grafana"
FILES = ("operations.json", "platform.json")
#: The day that is looked at, as Grafana fills it in.
FROM_S, TO_S, STEP_S = 1_772_409_600, 1_772_496_000, 300  # 2026-03-02, a day
#: What a replay does not have: its models have no minutes yet.
MAY_BE_EMPTY = {"How models fare", "Judged by the rule instead of the model"}


@cache
def document(file: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((GRAFANA / "dashboards" / file).read_text())
    return read


def panels(file: str) -> list[dict[str, Any]]:
    return [panel for panel in document(file)["panels"] if panel["type"] != "row"]


def asked(key: str) -> list[tuple[str, str, str]]:
    """(panel's title, its type, query) of every query of a kind."""
    return [
        (panel["title"], panel["type"], target[key])
        for file in FILES
        for panel in panels(file)
        for target in panel["targets"]
        if key in target
    ]


def as_grafana_asks(sql: str, incident: str) -> str:
    """A query with its macros filled in as the data source does; fails on one that it does not know."""
    filled = re.sub(r"\$__timeFilter\((\w+)\)", rf"(\1 >= toDateTime({FROM_S}) AND \1 <= toDateTime({TO_S}))", sql)
    filled = re.sub(
        r"\$__timeInterval\((\w+)\)", rf"toStartOfInterval(toDateTime(\1), INTERVAL {STEP_S} second)", filled
    )
    filled = filled.replace("$__fromTime", f"toDateTime({FROM_S})").replace("$__toTime", f"toDateTime({TO_S})")
    filled = filled.replace("${incident:sqlstring}", f"'{incident}'")
    assert "$" not in filled, filled
    return filled


def test_an_item_is_shown_as_it_was_last_seen(tmp_path: Path) -> None:
    begin_us = FROM_S * 1_000_000
    early = StockWindow("s", "n", begin_us, begin_us + 1, {"erp": 5.0, "wms": 1.0}, 4.0, 1.0, None, "", begin_us, 1)
    later = msgspec.structs.replace(
        early,
        window_start_us=begin_us + 1,
        window_end_us=begin_us + 2,
        available_to_promise=None,
        value_at_risk=36.0,
        currency="EUR",
    )
    (sql,) = (sql for title, _, sql in asked("rawSql") if title == "Largest differences, as last seen")
    with open_store(f"chdb://{tmp_path}/db") as store:
        migrate(store)
        writer = BlockWriter(store, "run-1")
        writer.write([early, later])
        writer.flush()
        (row,) = store.query(as_grafana_asks(sql, "")).rows
    assert row[4:7] == (None, 36.0, "EUR")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(infra_day.make(tmp_path_factory.mktemp("day")), readonly=True) as store:
        yield store


@pytest.fixture(scope="module")
def incident(day: Store) -> str:
    """One that has findings and orders."""
    found = day.query("SELECT incident_id FROM incident_orders GROUP BY ALL ORDER BY count() DESC LIMIT 1").rows
    return str(found[0][0])


def test_every_panels_sql_answers(day: Store, incident: str) -> None:
    queries = asked("rawSql")
    assert len(queries) > 20
    empty = []
    for title, kind, sql in queries:
        answer = day.query(as_grafana_asks(sql, incident))
        if kind == "timeseries":
            assert answer.names[0] == "time", title
            assert answer.types[0].startswith("DateTime"), title
            times = [row[0] for row in answer.rows]
            assert times == sorted(times), f"{title}: Grafana wants times in order"
        if not answer.rows:
            empty.append(title)
    assert set(empty) <= MAY_BE_EMPTY


def test_figures_are_those_of_the_views(day: Store, incident: str) -> None:
    shown = {title: day.query(as_grafana_asks(sql, incident)).rows for title, _, sql in asked("rawSql")}
    incidents = day.query("SELECT incident_id, currency, value_at_risk FROM incidents WHERE status != 'resolved'").rows
    assert shown["Open incidents"] == [(len(incidents),)]
    assert len(incidents) > 2
    alone = day.query("SELECT count(), countIf(signals = 0) FROM incidents").rows
    assert alone[0][1] > 0, "some were merged into another one"
    assert sum(row[2] for row in shown["Found, by kind"]) == alone[0][0] - alone[0][1]
    orders: dict[str, float] = {}
    late = set()
    for found, order, value, breach in day.query(
        "SELECT incident_id, order_id, value, breach_predicted_at FROM incident_orders"
    ).rows:
        if found in {one for one, _, _ in incidents}:
            orders[order] = max(value, orders.get(order, 0.0))
            late |= {order} if breach else set()
    assert shown["Orders touched"] == [(len(orders),)]
    assert shown["Promises expected to be broken"] == [(len(late),)]
    assert shown["Value at risk"] == [("EUR", pytest.approx(sum(orders.values()), abs=0.01))]
    last = {currency: value for _, currency, value in shown["Value at risk in open incidents"]}
    for currency in {currency for _, currency, _ in incidents}:
        expected = sum(value for _, its, value in incidents if its == currency)
        assert last[currency] == pytest.approx(expected, abs=0.01)


def test_metrics_that_are_asked_for_are_reported_with_those_labels() -> None:
    expressions = asked("expr")
    assert len(expressions) > 25
    for title, _, expression in expressions:
        assert problems_of(expression) == [], title


def test_processes_of_the_job_are_counted_without_the_delivery() -> None:
    """Their number is held against the pods of the StatefulSet; the delivery reports of itself, too."""
    (expression,) = [expression for title, _, expression in asked("expr") if title == "Processes"]
    (counted,) = re.findall(r"andon_\w+", expression)
    assert counted in {metric.name for metric in JOB_METRICS} - {metric.name for metric in DELIVERY_METRICS}


def test_every_metric_is_on_the_platforms_dashboard() -> None:
    text = " ".join(expression for _, _, expression in asked("expr"))
    unseen = [metric.name for metric in METRICS if metric.name not in text]
    assert unseen == ["andon_dead_letters_forwarded_total"], "shown in docs/metrics.md only: or add a panel"


def test_what_is_checked_in_is_what_is_built(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(GRAFANA / "build.py"), str(tmp_path)], check=True, timeout=60)
    for file in FILES:
        assert (tmp_path / file).read_text() == (GRAFANA / "dashboards" / file).read_text(), file


def test_panels_name_sources_that_are_provisioned_and_do_not_overlap() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "andon.yaml").read_text())["datasources"]
    sources = {(one["type"], one["uid"]) for one in provisioned}
    for file in FILES:
        taken: set[tuple[int, int]] = set()
        for panel in document(file)["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells
        for panel in panels(file):
            for target in panel["targets"]:
                assert (target["datasource"]["type"], target["datasource"]["uid"]) in sources
        ids = [panel["id"] for panel in document(file)["panels"]]
        assert len(ids) == len(set(ids))


def test_links_of_alerts_can_name_the_incident() -> None:
    operations = document("operations.json")
    assert operations["uid"] == "andon", "docs/webhooks.md links to it"
    assert [one["name"] for one in operations["templating"]["list"]] == ["incident"]
