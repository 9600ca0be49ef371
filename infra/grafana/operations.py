"""The dashboard of those who run the operations: incidents, money, handoffs, stock, alerts."""

from panels import Panel, Row, Variable

VARIABLES = (Variable("incident", "Incident"),)

_NOW = Row(
    "Now",
    (
        Panel("Open incidents", "stat", "SELECT count() AS incidents FROM incidents WHERE closed_at IS NULL", width=6),
        Panel(
            "Orders touched",
            "stat",
            """
SELECT uniqExact(order_id) AS orders
FROM incident_orders
WHERE incident_id IN (SELECT incident_id FROM incidents WHERE closed_at IS NULL)""",
            width=6,
        ),
        Panel(
            "Promises expected to be broken",
            "stat",
            """
SELECT uniqExact(order_id) AS orders
FROM incident_orders
WHERE breach_predicted_at IS NOT NULL AND incident_id IN (SELECT incident_id FROM incidents WHERE closed_at IS NULL)""",
            width=6,
        ),
        Panel(
            "Value at risk",
            "stat",
            """
SELECT currency, round(sum(value), 2) AS at_risk
FROM
(
    SELECT order_id, currency, max(value) AS value
    FROM incident_orders
    WHERE incident_id IN (SELECT incident_id FROM incidents WHERE closed_at IS NULL)
    GROUP BY order_id, currency
)
GROUP BY currency
HAVING at_risk > 0
ORDER BY at_risk DESC""",
            width=6,
            description="Goods in the touched lines of open incidents; an order in two of them counts once.",
        ),
    ),
)

_INCIDENTS = Row(
    "Incidents",
    (
        Panel(
            "Incidents, those that are open and those that ended in this time",
            "table",
            """
SELECT priority, status, kind, severity, summary, orders_affected, promises_at_risk, value_at_risk, currency,
    opened_at, found_at, closed_at, incident_id
FROM incidents
WHERE closed_at IS NULL OR $__timeFilter(closed_at)
ORDER BY closed_at IS NULL DESC, priority, value_at_risk DESC
LIMIT 200""",
            width=24,
            height=10,
        ),
        Panel(
            "Found, by kind",
            "bars",
            """
SELECT $__timeInterval(found_at) AS time, kind, count() AS incidents
FROM incidents
WHERE $__timeFilter(found_at) AND signals > 0
GROUP BY time, kind
ORDER BY time""",
            description="Without those that turned out to be part of another one.",
        ),
        Panel(
            "Value at risk in open incidents",
            "timeseries",
            """
SELECT time, currency,
    round(sum(sum(change)) OVER (PARTITION BY currency ORDER BY time), 2) AS at_risk
FROM
(
    SELECT $__timeInterval(at) AS time, currency, change
    FROM
    (
        SELECT greatest(found_at, $__fromTime) AS at, currency, value_at_risk AS change
        FROM incidents
        WHERE found_at <= $__toTime AND (closed_at IS NULL OR closed_at >= $__fromTime)
        UNION ALL
        SELECT greatest(assumeNotNull(closed_at), found_at) AS at, currency, -value_at_risk AS change
        FROM incidents
        WHERE $__timeFilter(closed_at)
    )
)
GROUP BY time, currency
ORDER BY time""",
            description="By when they were found and were over, with what they touch as known now. An order in two "
            "incidents counts twice.",
        ),
    ),
)

_ONE_INCIDENT = Row(
    "The incident chosen above",
    (
        Panel(
            "Why: its findings",
            "table",
            """
SELECT s.role AS part, s.rank AS rank, f.kind AS kind, f.severity AS severity, f.explanation AS explanation,
    s.reason AS reason, f.found_at AS found_at, f.scope AS scope, s.signal_id AS signal_id
FROM incident_signals AS s
INNER JOIN signals AS f ON f.signal_id = s.signal_id
WHERE s.incident_id = ${incident:sqlstring}
ORDER BY indexOf(['cause', 'candidate', 'consequence', 'evidence'], part), rank, found_at
LIMIT 200""",
        ),
        Panel(
            "Whom: its orders",
            "table",
            """
SELECT order_id, case_id, customer_id, value, currency, promised_at, breach_predicted_at
FROM incident_orders
WHERE incident_id = ${incident:sqlstring}
ORDER BY breach_predicted_at IS NULL, breach_predicted_at, value DESC
LIMIT 1000""",
        ),
    ),
)

_HANDOFFS = Row(
    "Handoffs",
    (
        Panel(
            "Latency, 95th percentile of the slowest site",
            "timeseries",
            """
SELECT window_start AS time, handoff, max(p95_s) AS p95_s
FROM handoff_latency
WHERE $__timeFilter(window_start) AND completed > 0
GROUP BY time, handoff
ORDER BY time""",
            unit="s",
        ),
        Panel(
            "Backlog",
            "timeseries",
            """
SELECT window_start AS time, handoff, sum(backlog) AS backlog
FROM handoff_latency
WHERE $__timeFilter(window_start)
GROUP BY time, handoff
ORDER BY time""",
        ),
        Panel(
            "Deadlines missed",
            "bars",
            """
SELECT window_start AS time, handoff, sum(overdue) AS missed
FROM handoff_latency
WHERE $__timeFilter(window_start)
GROUP BY time, handoff
HAVING missed > 0
ORDER BY time""",
        ),
        Panel(
            "Where work waits longest",
            "table",
            """
SELECT handoff, scope_by, scope, argMax(backlog, window_start) AS waiting,
    argMax(oldest_age_s, window_start) AS oldest_s, max(window_end) AS as_of
FROM handoff_latency
WHERE $__timeFilter(window_start)
GROUP BY handoff, scope_by, scope
HAVING waiting > 0
ORDER BY oldest_s DESC
LIMIT 50""",
        ),
    ),
)

_STOCK = Row(
    "Stock",
    (
        Panel(
            "Value of differences between systems",
            "timeseries",
            """
SELECT window_start AS time, currency, sum(value_at_risk) AS at_risk
FROM stock_deltas
WHERE $__timeFilter(window_start) AND value_at_risk IS NOT NULL
GROUP BY time, currency
ORDER BY time""",
            description="Of the items in which something was seen in a window, at unit cost.",
        ),
        Panel(
            "Items promised beyond what there is",
            "timeseries",
            """
SELECT window_start AS time, node, uniqExact(sku) AS items
FROM stock_deltas
WHERE $__timeFilter(window_start) AND available_to_promise < 0
GROUP BY time, node
ORDER BY time""",
        ),
        Panel(
            "Largest differences, as last seen",
            "table",
            """
SELECT node, sku, argMax(delta, window_start) AS difference, argMax(on_hand, window_start) AS systems,
    argMax(tuple(available_to_promise), window_start).1 AS to_promise,
    argMax(tuple(value_at_risk), window_start).1 AS at_risk,
    argMax(currency, window_start) AS currency, max(window_end) AS as_of
FROM stock_deltas
WHERE $__timeFilter(window_start)
GROUP BY node, sku
HAVING difference != 0
ORDER BY at_risk DESC NULLS LAST, difference DESC
LIMIT 100""",
            width=24,
        ),
    ),
)

_ALERTS = Row(
    "Alerts",
    (
        Panel(
            "Told",
            "table",
            """
SELECT sent_at, receiver, action, severity, priority, annotations['summary'] AS summary, reason, alert_id
FROM alerts
WHERE $__timeFilter(sent_at)
ORDER BY sent_at DESC
LIMIT 200""",
        ),
        Panel(
            "Told or not, and why",
            "bars",
            """
SELECT $__timeInterval(decided_at) AS time, decision, count() AS decisions
FROM alert_decisions
WHERE $__timeFilter(decided_at)
GROUP BY time, decision
ORDER BY time""",
        ),
        Panel(
            "Attempts to deliver, by outcome",
            "bars",
            """
SELECT $__timeInterval(attempted_at) AS time, outcome, count() AS attempts
FROM alert_deliveries
WHERE $__timeFilter(attempted_at)
GROUP BY time, outcome
ORDER BY time""",
        ),
        Panel(
            "Receivers",
            "table",
            """
SELECT receiver, countIf(outcome = 'delivered') AS delivered, countIf(outcome != 'delivered') AS failed,
    countIf(outcome IN ('rejected', 'dead')) AS given_up, argMax(outcome, attempted_at) AS last,
    argMaxIf(detail, attempted_at, outcome != 'delivered') AS last_failure, max(attempted_at) AS last_at
FROM alert_deliveries
WHERE $__timeFilter(attempted_at)
GROUP BY receiver
ORDER BY failed DESC""",
        ),
    ),
)

ROWS = (_NOW, _INCIDENTS, _ONE_INCIDENT, _HANDOFFS, _STOCK, _ALERTS)
