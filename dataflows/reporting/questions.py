"""The queries behind the page, over the public views.

Parameters: the period's `begin` and `end`, `now` (where the data ends), and of the steps `first` and `step`, all in
microseconds, and how many `steps`.
"""

SPAN = """
SELECT toUnixTimestamp64Micro(min(begins)), toUnixTimestamp64Micro(max(ends)), count()
FROM
(
    SELECT min(window_start) AS begins, max(window_end) AS ends FROM handoff_latency HAVING count() > 0
    UNION ALL
    SELECT min(opened_at), max(ifNull(closed_at, arrival)) FROM incidents HAVING count() > 0
    UNION ALL
    SELECT min(minute), max(minute) + INTERVAL 1 MINUTE FROM pipeline_health HAVING count() > 0
)
"""

# Until when there was work: deadlines that `--close-at` lets pass afterwards may lie months later.
WORK_END = """
SELECT max(ends), count()
FROM
(
    SELECT toUnixTimestamp64Micro(max(window_end)) AS ends FROM handoff_latency WHERE started + completed > 0
    HAVING count() > 0
    UNION ALL
    SELECT toUnixTimestamp64Micro(max(minute) + INTERVAL 1 MINUTE) FROM pipeline_health HAVING count() > 0
)
"""

# Incidents that were open in the period, without those that turned out to be part of another one.
_CHOSEN = """
    SELECT * FROM incidents
    WHERE signals > 0 AND toUnixTimestamp64Micro(opened_at) < {end:Int64}
        AND (closed_at IS NULL OR toUnixTimestamp64Micro(assumeNotNull(closed_at)) >= {begin:Int64})
"""

# What is at risk from when to when: an order from when its incident and itself had begun; beside orders, the money
# that an incident is about (stock that systems disagree on). What is open is so at the last moment that is known, too.
_AT_RISK = """
    SELECT
        order_id AS of,
        true AS is_order,
        currency,
        value,
        greatest(toUnixTimestamp64Micro(opened_at), orders.began) AS since,
        ifNull(toUnixTimestamp64Micro(closed_at), {now:Int64} + 1) AS until
    FROM incident_orders
    INNER JOIN (SELECT incident_id, opened_at, closed_at FROM chosen) AS them USING (incident_id)
    LEFT JOIN
    (
        SELECT case_id AS order_id, toUnixTimestamp64Micro(min(assumeNotNull(started_at))) AS began
        FROM handoffs WHERE started_at IS NOT NULL AND case_id IN (SELECT order_id FROM named) GROUP BY case_id
    ) AS orders USING (order_id)
    WHERE value > 0
    UNION ALL
    SELECT
        incident_id,
        false,
        money.1,
        money.2 - in_orders.value,
        toUnixTimestamp64Micro(opened_at),
        ifNull(toUnixTimestamp64Micro(closed_at), {now:Int64} + 1)
    FROM
    (
        SELECT *, arrayJoin(arrayZip(mapKeys(values_at_risk), mapValues(values_at_risk))) AS money FROM chosen
    ) AS held
    LEFT JOIN
    (
        SELECT incident_id, currency, sum(value) AS value FROM incident_orders GROUP BY incident_id, currency
    ) AS in_orders ON in_orders.incident_id = held.incident_id AND in_orders.currency = held.money.1
    WHERE money.2 - in_orders.value >= 0.01
"""

_PROMISES = """
    SELECT case_id AS order_id, argMax(toString(status), arrival) AS became
    FROM handoffs
    WHERE handoff = 'delivery_promise' AND deadline_at IS NOT NULL AND case_id IN (SELECT order_id FROM named)
    GROUP BY case_id
"""

_WITH = f"""
WITH
    chosen AS ({_CHOSEN}),
    named AS
    (
        SELECT DISTINCT order_id FROM incident_orders WHERE incident_id IN (SELECT incident_id FROM chosen)
    ),
    at_risk AS ({_AT_RISK}),
    promises AS ({_PROMISES})
"""  # noqa: S608 - made of constants

TOTALS = f"""
{_WITH}
SELECT
    (SELECT count() FROM chosen),
    (SELECT countIf(closed_at IS NULL) FROM chosen),
    (SELECT count() FROM named),
    (
        SELECT mapFromArrays(groupArray(currency), groupArray(value))
        FROM
        (
            SELECT currency, sum(value) AS value
            FROM (SELECT of, currency, max(value) AS value FROM at_risk GROUP BY of, currency)
            GROUP BY currency ORDER BY value DESC, currency
        )
    ),
    (SELECT avgOrNull(dateDiff('millisecond', opened_at, found_at)) / 1000 FROM chosen),
    (
        SELECT avgOrNullIf(dateDiff('millisecond', opened_at, assumeNotNull(closed_at)), closed_at IS NOT NULL) / 1000
        FROM chosen
    ),
    (SELECT countIf(became IN ('late', 'overdue')) FROM named INNER JOIN promises USING (order_id)),
    (SELECT countIf(became = 'done') FROM named INNER JOIN promises USING (order_id))
"""  # noqa: S608 - as above

INCIDENTS = f"""
{_WITH}
SELECT
    incident_id,
    status,
    kind,
    scope,
    severity,
    priority,
    toUnixTimestamp64Micro(opened_at),
    toUnixTimestamp64Micro(found_at),
    toUnixTimestamp64Micro(closed_at),
    signals,
    orders_affected,
    customers_affected,
    promises_at_risk,
    value_at_risk,
    currency,
    summary,
    candidates
FROM chosen
ORDER BY score DESC, opened_at, incident_id
LIMIT {{most:UInt32}}
"""  # noqa: S608 - as above

ORDERS = f"""
{_WITH}
SELECT order_id, customer, worth, of_currency, promised, breach, of_incidents, became
FROM
(
    SELECT
        order_id,
        max(customer_id) AS customer,
        max(value) AS worth,
        argMax(currency, value) AS of_currency,
        toUnixTimestamp64Micro(max(promised_at)) AS promised,
        toUnixTimestamp64Micro(min(breach_predicted_at)) AS breach,
        arraySort(groupUniqArray(incident_id)) AS of_incidents
    FROM incident_orders
    WHERE incident_id IN (SELECT incident_id FROM chosen)
    GROUP BY order_id
) AS touched
LEFT JOIN promises USING (order_id)
ORDER BY
    indexOf(['overdue', 'late', 'open'], became) = 0,
    indexOf(['overdue', 'late', 'open'], became),
    breach IS NULL,
    worth DESC,
    order_id
LIMIT {{most:UInt32}}
"""  # noqa: S608 - as above

HANDOFFS = """
SELECT
    handoff,
    count() AS passes,
    countIf(status = 'done' AND deadline_at IS NOT NULL) AS in_time,
    countIf(status = 'late') AS late,
    countIf(status = 'overdue') AS overdue,
    quantileExactInclusiveOrNullIf(0.5)(latency_s, status != 'duplicate') AS p50_s,
    quantileExactInclusiveOrNullIf(0.95)(latency_s, status != 'duplicate') AS p95_s
FROM handoffs
WHERE toUnixTimestamp64Micro(ifNull(started_at, ended_at)) >= {begin:Int64}
    AND toUnixTimestamp64Micro(ifNull(started_at, ended_at)) < {end:Int64}
GROUP BY handoff
ORDER BY (late + overdue) / greatest(in_time + late + overdue, 1) DESC, passes DESC, handoff
"""

# The percentile is read from the sum of the windows' sketches, as docs/cookbook.md does.
CELLS = """
SELECT
    handoff,
    scope,
    at,
    sum(done),
    sum(missed),
    if(empty(counts), NULL, if(
        buckets[place] <= -1000000, 0, 2 * pow(101 / 99, buckets[place]) / (101 / 99 + 1)
    )) AS p95_s
FROM
(
    SELECT
        handoff,
        scope,
        intDiv(toUnixTimestamp64Micro(window_start) - {first:Int64}, {step:Int64}) AS at,
        sum(completed) AS done,
        sum(overdue) AS missed,
        sumMap(latency_buckets) AS sketch,
        mapKeys(sketch) AS buckets,
        mapValues(sketch) AS counts,
        arrayFirstIndex(seen -> seen >= 0.95 * arraySum(counts), arrayCumSum(counts)) AS place
    FROM handoff_latency
    WHERE scope_by = 'node' AND toUnixTimestamp64Micro(window_start) >= {begin:Int64}
        AND toUnixTimestamp64Micro(window_start) < {end:Int64}
    GROUP BY handoff, scope, at
    HAVING done > 0 OR missed > 0
)
GROUP BY handoff, scope, at, counts, buckets, place
ORDER BY handoff, scope, at
"""

# Looked at where each step begins, and once more at the end of the period.
MONEY = f"""
{_WITH}
SELECT currency, at, countIf(is_order), sum(value)
FROM
(
    SELECT of, is_order, currency, at, max(value) AS value
    FROM at_risk
    ARRAY JOIN arrayFilter(
        number -> least({{first:Int64}} + number * {{step:Int64}}, {{end:Int64}}) >= since
            AND least({{first:Int64}} + number * {{step:Int64}}, {{end:Int64}}) < until,
        range(toUInt32({{steps:UInt32}}) + 1)
    ) AS at
    GROUP BY of, is_order, currency, at
)
GROUP BY currency, at
ORDER BY currency, at
"""  # noqa: S608 - as above

RECEIVERS = f"""
{_WITH}
SELECT
    receiver,
    countIf(decision = 'notified') AS told,
    uniqExactIf(incident_id, decision = 'notified'),
    countIf(decision IN ('silenced', 'muted', 'inhibited', 'acknowledged'))
FROM alert_decisions
WHERE receiver != '' AND incident_id IN (SELECT incident_id FROM chosen)
GROUP BY receiver
ORDER BY told DESC, receiver
"""  # noqa: S608 - as above

FEEDS = """
SELECT component, sum(events), sum(dead_letters), max(feed_delay_max_s)
FROM pipeline_health
WHERE toUnixTimestamp64Micro(minute) >= {begin:Int64} AND toUnixTimestamp64Micro(minute) < {end:Int64}
GROUP BY component
ORDER BY component
"""
