"""Whether anything was lost, made up or doubled: what is in ClickHouse, held against what was sent."""

from pathlib import Path

from soak_load import MARK, Told
from soak_verdict import Criterion

from tests.processes import query

_IDS = {
    "order_id": ("orders", "case_id AS id FROM handoffs WHERE handoff = 'order_approval'"),
    "shipment_id": ("shipments", "pass_key AS id FROM handoffs WHERE handoff = 'delivery'"),
}


def losses(told: Told, cwd: Path, left: float, *, whole_minutes: bool) -> list[Criterion]:
    """All criteria of this kind; `left` is what the job said it had not processed."""
    sent = f"{told.sent:,} messages sent, {told.acked:,} confirmed"
    return [
        Criterion("all was sent", told.final and not told.failed and told.sent == told.acked, sent),
        Criterion("all was processed", left == 0, f"{left:,.0f} messages left behind"),
        _counted(told, cwd, whole_minutes=whole_minutes),
        *(_ids(told, cwd, kind) for kind in _IDS),
        _repeats(told, cwd),
        _dead_letters(told, cwd),
    ]


def counted(cwd: Path) -> int:
    """How many messages are in the counts so far."""
    return _numbers("SELECT sum(messages) AS messages FROM pipeline_health", cwd)["messages"]


def in_views(cwd: Path) -> str:
    """How much there is, in words."""
    views = ("handoffs", "handoff_latency", "stock_deltas", "signals", "late_events")
    found = _numbers("SELECT " + ", ".join(f"(SELECT count() FROM {view}) AS {view}" for view in views), cwd)
    return "In the views at the end: " + ", ".join(f"{count:,} `{view}`" for view, count in found.items()) + "."


def _numbers(sql: str, cwd: Path) -> dict[str, int]:
    return {name: int(str(value)) for name, value in query(sql, cwd)[0].items()}


def _counted(told: Told, cwd: Path, *, whole_minutes: bool) -> Criterion:
    name = "every message was counted once"
    if not whole_minutes:
        return Criterion(name, None, "whole minutes are counted, and the run is too short for it")
    usable = told.acked - sum(told.injected.values())
    found = _numbers("SELECT sum(messages) AS messages, sum(events) AS events FROM pipeline_health", cwd)
    figures = (
        f"{told.acked:,} sent, {found['messages']:,} counted in `pipeline_health`; "
        f"{usable:,} of them usable, {found['events']:,} events"
    )
    return Criterion(name, found == {"messages": told.acked, "events": usable}, figures)


def _ids(told: Told, cwd: Path, kind: str) -> Criterion:
    what, source = _IDS[kind]
    started = f"SELECT {source} AND started_at IS NOT NULL"
    found = _numbers(
        f"SELECT count() AS count, uniqExact(id) AS ids, sum(CRC32(id)) AS crc FROM ({started})",
        cwd,
    )
    count, crc = told.ids.get(kind, 0), told.sums.get(kind, 0)
    agree = "agree" if found["crc"] == crc else "differ"
    figures = f"{count:,} sent, {found['count']:,} rows of {found['ids']:,} in `handoffs`; sums over their ids {agree}"
    return Criterion(f"no {what} lost or made up", found == {"count": count, "ids": count, "crc": crc}, figures)


def _repeats(told: Told, cwd: Path) -> Criterion:
    dropped = _numbers("SELECT count() AS count FROM duplicate_events", cwd)["count"]
    figures = f"{told.repeated:,} sent twice, {dropped:,} in `duplicate_events`"
    return Criterion("repeats, and nothing else, were dropped", dropped == told.repeated, figures)


def _dead_letters(told: Told, cwd: Path) -> Criterion:
    others = f"countIf(position(raw, '{MARK}') = 0) AS others"
    rows = query(f"SELECT reason, count() AS count, {others} FROM dead_letters GROUP BY reason", cwd)
    found = {str(row["reason"]): int(str(row["count"])) for row in rows}
    strange = sum(int(str(row["others"])) for row in rows)
    wanted = {reason: count for reason, count in told.injected.items() if count}
    listed = ", ".join(f"{reason} {found.get(reason, 0):,} of {count:,}" for reason, count in wanted.items())
    holds = found == wanted and not strange
    return Criterion("dead letters are those injected", holds, f"{listed} injected; {strange:,} others")
