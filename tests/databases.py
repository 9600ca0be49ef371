"""The database of a folder in which commands are run, before and afterwards: its schema, its views."""

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

import msgspec

from dataflows.cli.answers import as_json
from dataflows.settings import ClickHouseSettings, load_settings
from sinks.clickhouse.dsn import Embedded, parse_dsn, read_password
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import Store, open_store


def store_of(cwd: Path, *, readonly: bool = False) -> Store:
    """The database of the settings in `cwd`, without them its `andon.db`, opened by this process.

    `andon sql` and `andon migrate` as processes would take half a second of a processor more, each time. A process has
    one path of chDB open, and a path is open in one process: close it before a command is run over it.
    """
    file = cwd / "andon.toml"
    settings = load_settings(str(file), {}).clickhouse if file.is_file() else ClickHouseSettings()
    target = parse_dsn(settings.dsn)
    if isinstance(target, Embedded):
        target = msgspec.structs.replace(target, path=cwd / target.path)
    return open_store(target, password=read_password(settings.password_file), readonly=readonly)


def migrated(cwd: Path) -> None:
    """What `andon migrate` does there."""
    with store_of(cwd) as store:
        migrate(store)


def rows_of(sql: str, cwd: Path) -> list[dict[str, object]]:
    """Rows of a query over the database in `cwd`, as `andon sql --json` prints them."""
    printed = io.StringIO()
    with store_of(cwd, readonly=True) as store, redirect_stdout(printed):
        as_json(store.query(sql, binary=True))
    rows: list[dict[str, object]] = json.loads(printed.getvalue())
    return rows


#: Every view, in full and in one order: what an analyst could see.
VIEWS = {
    "handoffs": "case_id, handoff, scope, started_at, ended_at, latency_s, deadline_at, status",
    "handoff_latency": "handoff, scope, window_start, window_end, started, completed, "
    "p50_s, p95_s, p99_s, max_s, backlog, oldest_age_s, overdue",
    "stock_deltas": "sku, node, window_start, window_end, on_hand, delta, "
    "available_to_promise, value_at_risk, currency",
    "signals": "signal_id, kind, handoff, scope, case_id, opened_at, found_at, closed_at, "
    "severity, explanation, evidence",
    "dead_letters": "topic, partition, offset, reason, path, raw",
    "late_events": "topic, partition, offset, effect",
    "duplicate_events": "topic, partition, offset",
    "series_scores": "*",
    "model_health": "*",
    "incidents": "*",
    "incident_orders": "*",
    "incident_signals": "*",
    "alerts": "*",
    "alert_decisions": "*",
    "promotion_readiness": "*",
}


def fingerprints(cwd: Path) -> dict[str, object]:
    """Row count and hash of each view, whatever order its rows come in."""
    return views_hashed(VIEWS, cwd)


def views_hashed(views: Mapping[str, str], cwd: Path) -> dict[str, object]:
    """Row count and hash of these columns of each view, over whole rows (a hash of columns drops those with a NULL)."""
    parts = [
        f"SELECT '{view}' AS view, count() AS rows, toString(sum(cityHash64(tuple({columns})))) AS hash FROM {view}"
        for view, columns in views.items()
    ]
    rows = rows_of(" UNION ALL ".join(parts), cwd)
    return {str(row["view"]): (row["rows"], row["hash"]) for row in rows}
