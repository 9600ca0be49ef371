"""Every metric of `andon deliver` that is not the job's, too: what becomes of alerts. Declarations only."""

from schemas.metric import Metric

DELIVERIES = Metric(
    "andon_deliveries_total",
    "counter",
    ("receiver", "outcome"),
    "Alerts that are settled, by receiver and outcome: `delivered`, or `dead` (given up).",
    "dead grows: somebody was not told. `andon deliver dead list` says what and why; once the receiver is mended, "
    "`andon deliver dead replay`. delivered stands still while `andon_outbox_alerts` grows: see "
    "`andon_endpoint_state`.",
)
DELIVERY_ATTEMPTS = Metric(
    "andon_delivery_attempts_total",
    "counter",
    ("receiver", "outcome"),
    "Attempts to deliver, by receiver and what came of them: `delivered`, `retrying`, `rejected` or `disabled`.",
    "retrying in most attempts: the receiver is away or overloaded; the view `alert_deliveries` has what it answered. "
    "rejected: it answers what would be answered the same again, mostly a key or a URL that is not (or no longer) "
    "right.",
)
DELIVERY_SECONDS = Metric(
    "andon_delivery_seconds",
    "histogram",
    ("receiver",),
    "How long an attempt took, from looking up the name to the last byte of the answer that is read.",
    "Near `delivery.read_timeout` or `delivery.total_timeout`: the receiver hangs. One slow receiver delays no other, "
    "only its own alerts: it is sent one at a time.",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
ALERT_DELAY = Metric(
    "andon_alert_delay_seconds",
    "histogram",
    ("receiver",),
    "From when the log got what caused an alert to when its receiver had it.",
    "This is how late people hear of it. It holds the wait of the alert's group (`group_wait`), then "
    "`andon_end_to_end_seconds`, `delivery.poll` and the attempts: look at those. A backfill of old alerts counts in "
    "full.",
    (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0),
)
OUTBOX_ALERTS = Metric(
    "andon_outbox_alerts",
    "gauge",
    ("receiver", "state"),
    "Alerts in the outbox that are not delivered: `new` ones that wait for their first attempt, `retrying` ones that "
    "wait for another, `dead` ones that were given up and can be replayed.",
    "new or retrying grows: `andon_endpoint_state` says whether the receiver is left alone; what waits longest says "
    "`andon_outbox_oldest_seconds`. dead: `andon deliver dead list`, then `andon deliver dead replay`; what nobody "
    "replays is dropped after `delivery.keep`.",
)
OUTBOX_OLDEST = Metric(
    "andon_outbox_oldest_seconds",
    "gauge",
    ("receiver",),
    "For how long the alert that waits longest has been in the outbox; 0 where none waits.",
    "People are not told for so long. After `delivery.give_up_after` it goes to the dead letters. "
    "`andon deliver endpoints` says what the receiver answers; mend it, or route its alerts to another.",
)
OUTBOX_BYTES = Metric(
    "andon_outbox_bytes",
    "gauge",
    (),
    "Size of the outbox's file and its write-ahead log.",
    "It grows with what waits and with what is remembered for `delivery.keep`. On a full disk nothing can be noted, "
    "and the process ends rather than send unrecorded: give the volume room, or shorten `delivery.keep`.",
)
OUTBOX_RECORDS = Metric(
    "andon_outbox_records",
    "gauge",
    (),
    "Attempts that are not yet on record in ClickHouse.",
    "It grows while ClickHouse is away (`andon_condition`) and goes back to 0 by itself. Beyond 100,000 the oldest are "
    "dropped every hour: then `alert_deliveries` lacks them, but nothing is delivered less.",
)
ENDPOINT_STATE = Metric(
    "andon_endpoint_state",
    "gauge",
    ("receiver", "state"),
    "1 for the state that a receiver's endpoint is in, 0 for the others: `closed` (it takes alerts), `open` (so much "
    "has failed that it is tried once in a while only), `disabled` (it said that it is gone, HTTP 410).",
    "open: look at the receiver; it is tried again by itself. disabled: nothing is sent there until its URL is set "
    "right and `andon deliver enable` has been told; meanwhile its alerts wait.",
)
INTAKE_ALERTS = Metric(
    "andon_intake_alerts_total",
    "counter",
    (),
    "Alerts taken from ClickHouse into the outbox.",
    "It stands still while the job writes alerts: look at `andon_intake_timestamp_seconds` and `andon_condition`. A "
    "burst is what waits for its receivers now.",
)
INTAKE_AT = Metric(
    "andon_intake_timestamp_seconds",
    "gauge",
    (),
    "When ClickHouse was last read to the end for new alerts, as Unix time; before the first time, when the process "
    "began.",
    "It stays behind the clock by more than a few times `delivery.poll`: ClickHouse is away, or refuses the user; "
    "`andon_condition` and `/readyz` say why. What is in the outbox is delivered, nothing new is told meanwhile.",
)

#: In the order in which a person reads them.
DELIVERED: tuple[Metric, ...] = (
    *(DELIVERIES, DELIVERY_ATTEMPTS, DELIVERY_SECONDS, ALERT_DELAY),
    *(OUTBOX_ALERTS, OUTBOX_OLDEST, OUTBOX_BYTES, OUTBOX_RECORDS, ENDPOINT_STATE, INTAKE_ALERTS, INTAKE_AT),
)
