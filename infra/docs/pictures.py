"""The pictures of docs/architecture.md and docs/concepts.md."""

from drawing import Arrow, Box, Frame, Picture

FLOW = Picture(
    "The dataflow: from messages to rows and alerts",
    {
        "kafka": Box(0, 0, "Kafka topics", ("nine topics", "JSON events"), "outside"),
        "files": Box(0, 1, "files", ("JSON lines, .gz",), "outside"),
        "tables": Box(0, 2, "tables", ("CSV, Parquet", "through a mapping"), "outside"),
        "lanes": Box(1, 1, "lanes", ("decode, check, dead-letter", "merge by arrival time")),
        "case": Box(2, 0, "case groups", ("drop duplicates", "handoffs, deadlines", "count by scope")),
        "item": Box(2, 1, "item groups", ("drop duplicates", "stock of n systems")),
        "interface": Box(2, 2, "interface group", ("calls, queues, traffic", "orders at capture, demand")),
        "site": Box(3, 1, "site groups", ("windows by event time", "findings by scope")),
        "incident": Box(4, 1, "incident group", ("models over series", "incidents, cause, money", "alerts")),
        "store": Box(3, 2.6, "ClickHouse", ("tables, views",), "store"),
        "deliver": Box(4, 2.6, "andon deliver", ("outbox, webhooks",)),
    },
    (
        Arrow("kafka", "lanes"),
        Arrow("files", "lanes"),
        Arrow("tables", "lanes"),
        Arrow("lanes", "case"),
        Arrow("lanes", "item"),
        Arrow("lanes", "interface"),
        Arrow("case", "site"),
        Arrow("item", "site"),
        Arrow("interface", "site"),
        Arrow("site", "incident"),
        Arrow("site", "store", "rows"),
        Arrow("incident", "store", "rows"),
        Arrow("store", "deliver", "alerts"),
    ),
)

TIME = Picture(
    "How arrival order and watermarks go from partitions to a key group",
    {
        "orders": Box(0, 0, "orders/0", ("read up to 12:03:40",), "outside"),
        "reservations": Box(0, 0.8, "reservations/0", ("read up to 12:03:41",), "outside"),
        "erp": Box(0, 1.8, "erp/0", ("nothing new,", "read up to 12:03:39"), "outside"),
        "lane0": Box(1, 0.4, "lane 0", ("merges by arrival", "watermark 12:03:40")),
        "lane1": Box(1, 1.8, "lane 1", ("merges by arrival", "watermark 12:03:39")),
        "group": Box(
            2,
            1.1,
            "case group 5",
            ("watermark 12:03:39:", "takes what arrived till then", "fires what was due till then"),
        ),
        "site": Box(3, 1.1, "site groups", ("as far as the slowest", "group that feeds them")),
        "incident": Box(4, 1.1, "incident group", ("likewise",)),
    },
    (
        Arrow("orders", "lane0"),
        Arrow("reservations", "lane0"),
        Arrow("erp", "lane1"),
        Arrow("lane0", "group"),
        Arrow("lane1", "group"),
        Arrow("group", "site"),
        Arrow("site", "incident"),
    ),
)

RUNNING = Picture(
    "What runs beside what, and who talks to whom",
    {
        "systems": Box(0, 0.5, "shop, OMS, WMS,", ("TMS, ERP, suppliers,", "middleware"), "outside"),
        "kafka": Box(1, 0.5, "Kafka", ("topics", "dead-letter topic"), "store"),
        "run0": Box(2, 0, "andon run, process 0", ("its lanes, its groups",)),
        "run1": Box(2, 1, "andon run, process n", ("its lanes, its groups",)),
        "state": Box(2, 2.1, "recovery directory", ("a snapshot each epoch",), "store"),
        "store": Box(3, 0.5, "ClickHouse", ("or the embedded engine",), "store"),
        "deliver": Box(4, 0, "andon deliver", ("outbox on disk",)),
        "receivers": Box(5, 0, "PagerDuty, Slack,", ("Alertmanager, …",), "people"),
        "analyst": Box(4, 1.1, "andon sql, Grafana,", ("andon report",), "people"),
        "prometheus": Box(3, 2.1, "Prometheus", ("metrics, alert rules",), "people"),
    },
    (
        Arrow("systems", "kafka", "events"),
        Arrow("kafka", "run0"),
        Arrow("kafka", "run1"),
        Arrow("run0", "store"),
        Arrow("run1", "store"),
        Arrow("run1", "state"),
        Arrow("store", "deliver", "alerts"),
        Arrow("deliver", "receivers"),
        Arrow("store", "analyst", dashed=True),
        Arrow("run1", "prometheus", dashed=True),
    ),
    (Frame("one job", ("run0", "run1")),),
)

STORY = Picture(
    "One order: a reservation that was made in time and told late",
    {
        "event": Box(0, 0, "11:50:30", ("reservation is made", "(event time)"), "outside"),
        "due": Box(1, 0, "12:00:28", ("deadline passes:", "signal overdue")),
        "arrives": Box(2, 0, "12:03:38", ("its event arrives:", "the signal is closed")),
        "queue": Box(0, 1.1, "11:34:31", ("the queue fills",), "outside"),
        "found": Box(1, 1.1, "11:39:00", ("signal and incident", "queue_saturation")),
        "orders": Box(3, 0.55, "incident", ("one cause, 375 orders,", "14,262.61 EUR")),
        "alert": Box(2, 1.65, "11:39:30", ("first alert",), "people"),
    },
    (
        Arrow("event", "due"),
        Arrow("due", "arrives"),
        Arrow("queue", "found"),
        Arrow("found", "orders", "names what it touches"),
        Arrow("found", "alert"),
        Arrow("arrives", "orders"),
    ),
)

PICTURES = {
    "flow": FLOW,
    "time": TIME,
    "running": RUNNING,
    "story": STORY,
}
