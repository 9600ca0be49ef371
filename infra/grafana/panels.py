"""What a dashboard is made of, and Grafana's JSON for it.

A panel is a title, its kind, what it asks, and its size; Grafana's JSON around that is made here. The time macros are
those of Grafana's ClickHouse data source; names without a database mean Andon's.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

CLICKHOUSE = {"type": "grafana-clickhouse-datasource", "uid": "andon-clickhouse"}
PROMETHEUS = {"type": "prometheus", "uid": "andon-prometheus"}
_WIDTH = 24

Kind = Literal["stat", "timeseries", "table", "bars"]


class Panel(NamedTuple):
    """One panel. `sql` or `promql` says what it asks; `legend` names the series of PromQL."""

    title: str
    kind: Kind
    sql: str = ""
    promql: tuple[tuple[str, str], ...] = ()
    unit: str = "short"
    width: int = 12
    height: int = 8
    description: str = ""


class Row(NamedTuple):
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


class Variable(NamedTuple):
    """A text that the person who looks can set, and links can: `?var-NAME=…`."""

    name: str
    label: str


def dashboard(
    uid: str, title: str, rows: Iterable[Row], variables: Sequence[Variable], since: str
) -> dict[str, object]:
    """Grafana's JSON of a dashboard."""
    placed: list[dict[str, object]] = []
    top = 0
    for row in rows:
        placed.append(_heading(row.title, len(placed) + 1, top))
        top += 1
        left = height = 0
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                top, left, height = top + height, 0, 0
            placed.append(_panel(panel, len(placed) + 1, left, top))
            left, height = left + panel.width, max(height, panel.height)
        top += height
    return {
        "uid": uid,
        "title": title,
        "tags": ["andon"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": since, "to": "now"},
        "templating": {
            "list": [
                {"name": one.name, "label": one.label, "type": "textbox", "query": "", "current": {"value": ""}}
                for one in variables
            ]
        },
        "links": [{"type": "dashboards", "tags": ["andon"], "title": "Andon", "asDropdown": False}],
        "panels": placed,
    }


def _heading(title: str, number: int, top: int) -> dict[str, object]:
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1},
    }


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, object]:
    source = CLICKHOUSE if panel.sql else PROMETHEUS
    made: dict[str, object] = {
        "id": number,
        "type": "timeseries" if panel.kind == "bars" else panel.kind,
        "title": panel.title,
        "datasource": source,
        "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": {"unit": panel.unit, **_drawn(panel.kind)}, "overrides": []},
        "targets": list(_targets(panel)),
    }
    if panel.description:
        made["description"] = panel.description
    if panel.kind == "stat":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"], "values": bool(panel.sql)}}
    return made


def _drawn(kind: Kind) -> dict[str, object]:
    if kind == "bars":
        return {"custom": {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal"}}}
    return {"custom": {"showPoints": "never"}} if kind == "timeseries" else {}


def _targets(panel: Panel) -> Iterable[dict[str, object]]:
    if panel.sql:
        over_time = panel.kind in {"timeseries", "bars"}
        yield {
            "refId": "A",
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "queryType": "timeseries" if over_time else "table",
            "format": 0 if over_time else 1,
            "rawSql": panel.sql.strip(),
        }
    for letter, (expression, legend) in zip("ABCDEF", panel.promql, strict=False):
        yield {
            "refId": letter,
            "datasource": PROMETHEUS,
            "expr": expression,
            "legendFormat": legend,
            "instant": panel.kind == "table",
            "range": panel.kind != "table",
            "format": "table" if panel.kind == "table" else "time_series",
        }
