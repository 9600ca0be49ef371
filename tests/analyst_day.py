"""A simulated day as an analyst finds it in the database: breakdowns, a silence, two receivers.

What comes from outside a replay (an acknowledgement, attempts to deliver) is written beside it with the writer that
the processes have which do so. `python -m tests.analyst_day DIR` makes it, to try queries on.
"""

import json
import sys
from pathlib import Path

import msgspec

from dataflows.cli import run_command
from scenarios.settings import PRESETS, BreakdownSpec
from scenarios.simulate import simulate
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US, Instant
from schemas.incident_rows import AlertDelivery, Silence
from sinks.clickhouse.store import open_store
from sinks.clickhouse.writer import BlockWriter

BREAKDOWNS = (
    BreakdownSpec(kind="queue_saturation"),
    BreakdownSpec(kind="posting_interface_down"),
    BreakdownSpec(kind="posting_missing"),
    BreakdownSpec(kind="adjustments_lost"),
    BreakdownSpec(kind="schema_change"),
    BreakdownSpec(kind="oversell"),
    BreakdownSpec(kind="carrier_delay", parameters={"delay": "9h"}),
)
SILENCE_ID = "stocktaking"
SILENCED_FROM, SILENCED_UNTIL = "2026-03-02T12:20:00Z", "2026-03-02T13:20:00Z"
NOISE = "noise: known maintenance"

_SETTINGS = """
[time]
window_retention = "45m"

[stock]
currency = "EUR"

[alerting]
receiver = "operations"

[[alerting.route]]
matchers = ['severity=~"high|critical"']
receiver = "duty"
repeat_interval = "30m"
continue = true

[[alerting.route]]
receiver = "operations"
"""


def make(folder: Path) -> str:
    """Simulate the day into `folder`/events and replay it into `folder`/db; gives the database's DSN."""
    events = folder / "events"
    simulate(msgspec.structs.replace(PRESETS["small"], breakdowns=BREAKDOWNS), events)
    (events / "controls.jsonl").write_text(json.dumps(_silence()) + "\n")
    config = folder / "andon.toml"
    config.write_text(_SETTINGS)
    dsn = f"chdb://{folder}/db"
    sources = sorted(str(path) for path in events.glob("*.jsonl") if path.name != "truth.jsonl")
    code = run_command(["replay", *sources, "--clickhouse", dsn, "--config", str(config), "--json"])
    assert code == 0
    _outside(dsn)
    return dsn


def _silence() -> dict[str, object]:
    return {
        "event_id": "c-1",
        "type": "silence.created",
        "version": 1,
        "source": "andon-cli",
        "system": "andon",
        "occurred_at": SILENCED_FROM,
        "recorded_at": SILENCED_FROM,
        "created_by": "ann",
        "comment": "stocktaking in the stores",
        "silence_id": SILENCE_ID,
        "matchers": ['kind=~".+"'],
        "starts_at": SILENCED_FROM,
        "ends_at": SILENCED_UNTIL,
    }


def _outside(dsn: str) -> None:
    """Attempts to deliver each alert (every third to `duty` needs a second one), and an acknowledgement as noise."""
    with open_store(dsn) as store:
        alerts = store.query(
            "SELECT alert_id, receiver, toUnixTimestamp64Micro(sent_at) FROM alerts ORDER BY sent_at, alert_id"
        ).rows
        (least,) = store.query(
            "SELECT incident_id, toUnixTimestamp64Micro(found_at) FROM incidents"
            " WHERE signals > 0 ORDER BY value_at_risk, incident_id LIMIT 1"
        ).rows
        attempts = []
        for number, (alert_id, receiver, sent_us) in enumerate(alerts):
            at_us = sent_us + 2 * SECOND_US
            if receiver == "duty" and number % 3 == 0:
                attempts.append(
                    AlertDelivery(alert_id, receiver, 1, "retrying", 503, "busy", 900.0, at_us, at_us, at_us)
                )
                at_us += MINUTE_US
            again = len(attempts) and attempts[-1].alert_id == alert_id
            attempts.append(
                AlertDelivery(
                    alert_id, receiver, 2 if again else 1, "delivered", 202, "", 120.0 + number, at_us, at_us, at_us
                )
            )
        incident_id, found_us = least
        writer = BlockWriter(store, "outside")
        writer.write(attempts)
        writer.write(
            [
                Silence(
                    f"ack-{incident_id}",
                    incident_id,
                    [],
                    found_us + MINUTE_US,
                    found_us + 100 * 24 * HOUR_US,
                    "bob",
                    NOISE,
                    "",
                    found_us + MINUTE_US,
                    1,
                )
            ]
        )
        writer.flush()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    print(make(place), Instant.parse(SILENCED_FROM))  # noqa: T201 - what it made is its output
