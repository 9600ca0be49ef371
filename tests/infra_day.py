"""A simulated day that ends in the middle of its breakdowns, so that a dashboard has incidents that are open."""

from pathlib import Path

import msgspec

from dataflows.cli import run_command
from scenarios.settings import PRESETS, BreakdownSpec
from scenarios.simulate import simulate
from schemas.durations import SECOND_US, Instant
from schemas.incident_rows import AlertDelivery
from sinks.clickhouse.store import open_store
from sinks.clickhouse.writer import BlockWriter

#: The log ends here: the interface of postings is down by then, and a carrier is late.
ENDS_US = int(Instant.parse("2026-03-02T16:45:00Z"))
BREAKDOWNS = (
    BreakdownSpec(kind="queue_saturation"),
    BreakdownSpec(kind="posting_interface_down"),
    BreakdownSpec(kind="posting_missing"),
    BreakdownSpec(kind="adjustments_lost"),
    BreakdownSpec(kind="schema_change"),
    BreakdownSpec(kind="oversell"),
    BreakdownSpec(kind="carrier_delay", parameters={"delay": "9h"}),
)
_SETTINGS = '[stock]\ncurrency = "EUR"\n\n[alerting]\nreceiver = "duty"\n'


class _Head(msgspec.Struct):
    occurred_at: str
    recorded_at: str | None = None


def make(folder: Path) -> str:
    """Simulate it, replay it, note that its alerts were delivered; gives the database's DSN."""
    events = folder / "events"
    simulate(msgspec.structs.replace(PRESETS["small"], breakdowns=BREAKDOWNS), events)
    (events / "truth.jsonl").unlink()
    for path in events.glob("*.jsonl"):
        _end(path)
    config = folder / "andon.toml"
    config.write_text(_SETTINGS)
    dsn = f"chdb://{folder}/db"
    sources = sorted(map(str, events.glob("*.jsonl")))
    assert run_command(["replay", *sources, "--clickhouse", dsn, "--config", str(config), "--json"]) == 0
    _deliver(dsn)
    return dsn


def _end(path: Path) -> None:
    decoder = msgspec.json.Decoder(_Head)
    heads = ((line, decoder.decode(line)) for line in path.read_bytes().splitlines(keepends=True))
    kept = [line for line, head in heads if Instant.parse(head.recorded_at or head.occurred_at) < ENDS_US]
    path.write_bytes(b"".join(kept))


def _deliver(dsn: str) -> None:
    """The record that `andon deliver` would have written: every other alert was taken at the second attempt."""
    with open_store(dsn) as store:
        alerts = store.query("SELECT alert_id, toUnixTimestamp64Micro(sent_at) FROM alerts ORDER BY sent_at").rows
        attempts = []
        for number, (alert, sent_us) in enumerate(alerts):
            at_us = sent_us + SECOND_US
            if number % 2:
                attempts.append(AlertDelivery(alert, "duty", 1, "retrying", 503, "busy", 9.0, at_us, at_us, at_us))
                at_us += 10 * SECOND_US
            last = 1 + number % 2
            attempts.append(AlertDelivery(alert, "duty", last, "delivered", 202, "", 90.0, at_us, at_us, at_us))
        writer = BlockWriter(store, "delivery")
        writer.write(attempts)
        writer.flush()
