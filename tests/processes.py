"""Starting the command line as a real process, and asking its database afterwards."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-c", "from dataflows.cli import main; main()")
#: How a process ends whose peer has gone: the engine's threads panic, and two that panic at once abort it.
PEER_GONE = frozenset({1, -signal.SIGABRT})


def environment(**extra: str) -> dict[str, str]:
    """Ours, without what a person may have set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANDON_")}
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | extra


def andon(*arguments: str, cwd: Path, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def start(*arguments: str, cwd: Path, **extra: str) -> subprocess.Popen[str]:
    """Start a command; whoever does ends it."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def query(sql: str, cwd: Path) -> list[dict[str, object]]:
    """Rows of a query over `andon.db` in `cwd`, asked by another process (chDB allows one path a process)."""
    rows: list[dict[str, object]] = json.loads(andon("sql", sql, "--json", cwd=cwd).stdout)
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
    rows = query(" UNION ALL ".join(parts), cwd)
    return {str(row["view"]): (row["rows"], row["hash"]) for row in rows}
