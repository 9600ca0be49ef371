"""A limit: ClickHouse's engine, embedded, answering with one statement over the merged file.

It is no stream: it sees all of the input at once. Variants: `1` one thread, `default` as many as it likes. The rows of
both outputs go into one table; W1's copies drop out by themselves, or by `GROUP BY order_id`.
"""

import tempfile
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import clickhouse_connect
from entry import Entry, entry

_TABLE = """
CREATE TABLE answer
(
    output LowCardinality(String), sku String, node LowCardinality(String), minute DateTime('UTC'),
    ecom Nullable(Float64), erp Nullable(Float64), wms Nullable(Float64), delta Float64, picks UInt32, p95_us Int64
)
ENGINE = MergeTree ORDER BY (output, sku, node, minute)
"""

_STATEMENT = """
INSERT INTO answer
WITH
events AS
(
    SELECT
        type, event_id, system, sku, node, order_id, on_hand, task_type,
        parseDateTime64BestEffort(occurred_at, 6, 'UTC') AS at
    FROM file('{file}', 'JSONEachRow', 'type LowCardinality(String), event_id String, system LowCardinality(String),
        occurred_at String, sku String, node LowCardinality(String), order_id String, on_hand Float64,
        task_type LowCardinality(String)')
),
minutes AS
(
    SELECT
        sku, node, toStartOfMinute(at) AS minute,
        argMaxIfOrNull(on_hand, (at, event_id), system = 'ecom') AS ecom,
        argMaxIfOrNull(on_hand, (at, event_id), system = 'erp') AS erp,
        argMaxIfOrNull(on_hand, (at, event_id), system = 'wms') AS wms
    FROM events
    WHERE type = 'inventory.level'
    GROUP BY sku, node, minute
),
carried AS
(
    SELECT
        sku, node, minute,
        anyLast(ecom) OVER item AS ecom, anyLast(erp) OVER item AS erp, anyLast(wms) OVER item AS wms
    FROM minutes
    WINDOW item AS (PARTITION BY sku, node ORDER BY minute ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
orders AS
(
    SELECT
        order_id, anyIf(node, type = 'task.completed') AS node,
        minIf(at, type = 'task.completed') AS picked, minIf(at, type = 'reservation.created') AS reserved
    FROM events
    WHERE type = 'reservation.created' OR (type = 'task.completed' AND task_type = 'pick')
    GROUP BY order_id
    HAVING countIf(type = 'task.completed') AND countIf(type = 'reservation.created')
),
latencies AS
(
    SELECT node, toStartOfMinute(picked) AS minute, arraySort(groupArray(dateDiff('us', reserved, picked))) AS sorted
    FROM orders
    GROUP BY node, minute
)
SELECT
    'a' AS output, sku, node, minute, ecom, erp, wms,
    arrayMax(arrayFilter(one -> isNotNull(one), [ecom, erp, wms]))
        - arrayMin(arrayFilter(one -> isNotNull(one), [ecom, erp, wms])) AS delta,
    0::UInt32 AS picks, 0::Int64 AS p95_us
FROM carried
UNION ALL
SELECT
    'b' AS output, '' AS sku, node, minute, NULL AS ecom, NULL AS erp, NULL AS wms, 0 AS delta,
    length(sorted)::UInt32 AS picks, sorted[intDiv(19 * length(sorted) + 19, 20)]::Int64 AS p95_us
FROM latencies
SETTINGS session_timezone = 'UTC'{threads}
"""


def main(run: Entry, folder: str) -> None:
    """Run it, and read the rows back."""
    client = clickhouse_connect.get_client(interface="chdb", path=f"{folder}/db", tz_mode="aware")
    client.command(_TABLE)
    threads = "" if run.variant == "default" else f", max_threads = {int(run.variant)}, max_insert_threads = 1"
    with run.timed():
        client.command(_STATEMENT.format(file=run.arrival, threads=threads))
    stock = "SELECT sku, node, minute, ecom, erp, wms, delta FROM answer WHERE output = 'a'"
    run.write("a", (_spelled(row, 2) for row in client.query(stock).result_rows))
    latency = "SELECT node, minute, picks, p95_us FROM answer WHERE output = 'b'"
    run.write("b", (_spelled(row, 1) for row in client.query(latency).result_rows))
    client.close()


def _spelled(row: Sequence[Any], at: int) -> tuple[Any, ...]:
    minute: datetime = row[at]
    return (*row[:at], int(minute.timestamp()), *("" if one is None else one for one in row[at + 1 :]))


if __name__ == "__main__":
    this = entry()
    with tempfile.TemporaryDirectory() as made:
        main(this, made)
    this.done()
