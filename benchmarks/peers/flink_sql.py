"""Flink SQL, streaming, on the JVM alone: Python only hands over the statements. Variants: `files-1`, `kafka-2`: slots.

Output A: the last quantity of each system in a tumbling minute of each item, carried forward by an OVER window. Flink's
event time has milliseconds, so the last is found as the largest of (time in microseconds, quantity) spelled as text.
Output B: an interval join by order, then tumbling minutes by node and order (copies fall together) and by node.
The watermark is 10 s behind the largest time, twice what is needed. State is in memory, and there are no checkpoints.
Rows go to CSV files.
"""

import os
import sys
from pathlib import Path

from entry import COPIES_S, LONGEST_S, SECOND_US, SYSTEMS, Entry, entry
from pyflink.table import EnvironmentSettings, StatementSet, TableEnvironment

_JARS = Path(sys.prefix) / "jars"

_EVENTS = """
CREATE TABLE {table}
(
    `type` STRING, `system` STRING, occurred_at TIMESTAMP_LTZ(6), sku STRING, node STRING, on_hand DOUBLE,
    order_id STRING, task_type STRING,
    at_us AS {second_us} * CAST(TIMESTAMPDIFF(SECOND, TO_TIMESTAMP_LTZ(0, 3), occurred_at) AS BIGINT)
        + MOD(EXTRACT(MICROSECOND FROM occurred_at), {second_us}),
    rowtime AS CAST(occurred_at AS TIMESTAMP_LTZ(3)),
    WATERMARK FOR rowtime AS rowtime - INTERVAL '{wait_s}' SECOND
)
WITH ('format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601', {source})
"""
_OUTPUTS = {
    "a": "sku STRING, node STRING, minute_s BIGINT, ecom DOUBLE, erp DOUBLE, wms DOUBLE, delta DOUBLE",
    "b": "node STRING, minute_s BIGINT, picks INT, p95_us BIGINT",
}
_SINK = "CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = '{path}')"
_VIEWS = """
CREATE TEMPORARY VIEW minutes AS
SELECT
    sku, node, window_time,
    TIMESTAMPDIFF(SECOND, TO_TIMESTAMP_LTZ(0, 3), CAST(window_start AS TIMESTAMP_LTZ(3))) AS minute_s,
    {lasts}
FROM
(
    SELECT
        sku, node, `system`, window_start, window_end, window_time,
        CAST(at_us AS STRING) || '|' || CAST(on_hand AS STRING) AS placed
    FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE))
    WHERE `type` = 'inventory.level'
)
GROUP BY sku, node, window_start, window_end, window_time
;
CREATE TEMPORARY VIEW carried AS
SELECT sku, node, minute_s, {quantities}
FROM (SELECT sku, node, minute_s, {carried} FROM minutes
    WINDOW item AS (PARTITION BY sku, node ORDER BY window_time RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))
;
CREATE TEMPORARY VIEW latencies AS
SELECT picked.node, picked.rowtime, picked.at_us - reserved.at_us AS latency_us, picked.order_id
FROM (SELECT order_id, node, at_us, rowtime FROM events WHERE `type` = 'task.completed' AND task_type = 'pick') picked
JOIN (SELECT order_id, at_us, rowtime FROM events WHERE `type` = 'reservation.created') reserved
ON picked.order_id = reserved.order_id
AND picked.rowtime BETWEEN reserved.rowtime AND reserved.rowtime + INTERVAL '{longest_s}' SECOND(3)
;
CREATE TEMPORARY VIEW windows AS
SELECT node, minute_s, ARRAY_SORT(ARRAY_AGG(latency_us)) AS ordered
FROM
(
    SELECT
        node, order_id, MIN(latency_us) AS latency_us,
        TIMESTAMPDIFF(SECOND, TO_TIMESTAMP_LTZ(0, 3), CAST(window_start AS TIMESTAMP_LTZ(3))) AS minute_s,
        window_start, window_end
    FROM TABLE(TUMBLE(TABLE latencies, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE))
    GROUP BY node, order_id, window_start, window_end
)
GROUP BY node, minute_s, window_start, window_end
"""
_INSERTS = (
    """
    INSERT INTO a SELECT sku, node, minute_s, ecom, erp, wms,
        GREATEST(COALESCE(ecom, -1E300), COALESCE(erp, -1E300), COALESCE(wms, -1E300))
        - LEAST(COALESCE(ecom, 1E300), COALESCE(erp, 1E300), COALESCE(wms, 1E300))
    FROM carried
    """,
    """
    INSERT INTO b SELECT node, minute_s, CARDINALITY(ordered), ordered[(19 * CARDINALITY(ordered) + 19) / 20]
    FROM windows
    """,
)


def declare(environment: TableEnvironment, run: Entry, sources: dict[str, str]) -> StatementSet:
    """Tables, views, and the two statements that run as one job."""
    names: dict[str, object] = {"second_us": SECOND_US, "wait_s": COPIES_S, "longest_s": LONGEST_S}
    names["lasts"] = ", ".join(
        f"MAX(CASE WHEN `system` = '{system}' THEN placed END) AS {system}" for system in SYSTEMS
    )
    names["carried"] = ", ".join(f"MAX({system}) OVER item AS {system}" for system in SYSTEMS)
    names["quantities"] = ", ".join(f"CAST(SUBSTRING({system}, 18) AS DOUBLE) AS {system}" for system in SYSTEMS)
    for table, source in sources.items():
        environment.execute_sql(_EVENTS.format(table=table, source=source, **names))
    tables = " UNION ALL ".join(f"SELECT * FROM {table}" for table in sources)
    environment.execute_sql(f"CREATE TEMPORARY VIEW events AS {tables}")
    for name, columns in _OUTPUTS.items():
        environment.execute_sql(_SINK.format(name=name, columns=columns, path=run.out / f"{name}.csv"))
    for view in _VIEWS.format(**names).split(";"):
        environment.execute_sql(view)
    statements = environment.create_statement_set()
    for insert in _INSERTS:
        statements.add_insert_sql(insert)
    return statements


def sources_of(run: Entry, where: str) -> dict[str, str]:
    """The merged file; or each topic, up to its last message, with a watermark of its own."""
    if where == "files":
        return {"merged": f"'connector' = 'filesystem', 'path' = '{run.arrival}'"}
    return {
        Path(file).stem: f"'connector' = 'kafka', 'topic' = '{topic}', 'scan.startup.mode' = 'earliest-offset',"
        f" 'properties.bootstrap.servers' = '{run.bootstrap}', 'properties.group.id' = 'flink-{os.getpid()}',"
        " 'scan.bounded.mode' = 'specific-offsets',"
        f" 'scan.bounded.specific-offsets' = 'partition:0,offset:{_end(file)}'"
        for file, topic in zip(run.files, run.topics, strict=True)
    }


def _end(file: str) -> int:
    """How many messages a topic has: the file's, and one behind them."""
    with Path(file).open("rb") as lines:
        return sum(1 for _ in lines) + 1


def main(run: Entry) -> None:
    """Run the job to its end."""
    where, _, slots = run.variant.partition("-")
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    settings = environment.get_config()
    settings.set("table.local-time-zone", "UTC")
    settings.set("parallelism.default", slots)
    if where == "kafka":
        settings.set("pipeline.jars", ";".join(f"file://{jar}" for jar in sorted(_JARS.glob("*.jar"))))
    statements = declare(environment, run, sources_of(run, where))
    with run.timed():
        statements.execute().wait()


if __name__ == "__main__":
    this = entry()
    main(this)
    this.done()
