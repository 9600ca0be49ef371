"""The dashboard of those who run the platform: is it there, how far has it come, what does not go through."""

from panels import Panel, Row

_STATE = Row(
    "Is it there",
    (
        Panel("Healthy", "stat", promql=(("min(andon_healthy)", "healthy"),), width=4, height=5),
        Panel("Ready", "stat", promql=(("min(andon_ready)", "ready"),), width=4, height=5),
        Panel("Processes", "stat", promql=(("count(andon_healthy)", "processes"),), width=4, height=5),
        Panel("Source", "stat", promql=(("min(andon_source_up)", "source"),), width=4, height=5),
        Panel("Store", "stat", promql=(("min(andon_store_up)", "store"),), width=4, height=5),
        Panel(
            "Since progress",
            "stat",
            promql=(("max(time() - andon_last_progress_timestamp_seconds)", "idle"),),
            unit="s",
            width=4,
            height=5,
        ),
        Panel(
            "Conditions that fail",
            "table",
            promql=(("andon_condition == 0", ""),),
            description="/readyz and `andon status` say why, in words.",
        ),
        Panel("Topics that do not exist", "table", promql=(("max by (topic) (andon_topic_missing)", ""),)),
        Panel("Versions", "table", promql=(("count by (version) (andon_build_info)", ""),)),
    ),
)

_PROGRESS = Row(
    "How far it has come",
    (
        Panel("Behind", "timeseries", promql=(("max by (topic) (andon_lag_seconds)", "{{topic}}"),), unit="s"),
        Panel("Messages that wait", "timeseries", promql=(("sum by (topic) (andon_lag_messages)", "{{topic}}"),)),
        Panel(
            "Watermarks behind the clock",
            "timeseries",
            promql=(("max by (lane) (andon_watermark_age_seconds)", "{{lane}}"),),
            unit="s",
            description="The slowest lane decides for all.",
        ),
        Panel("What holds time back", "table", promql=(("andon_holding_back == 1", ""),)),
        Panel(
            "From message to row",
            "timeseries",
            promql=tuple(
                (
                    f"histogram_quantile({share}, sum by (le) (rate(andon_end_to_end_seconds_bucket[5m])))",
                    f"{share * 100:g} %",
                )
                for share in (0.5, 0.95, 0.99)
            ),
            unit="s",
        ),
        Panel(
            "Delay of feeds",
            "timeseries",
            """
SELECT minute AS time, component, max(feed_delay_max_s) AS delay_s
FROM pipeline_health
WHERE $__timeFilter(minute)
GROUP BY time, component
ORDER BY time""",
            unit="s",
            description="Longest time from event to arrival, by input partition and minute of arrival.",
        ),
    ),
)

_INPUT = Row(
    "What comes in, and what does not go through",
    (
        Panel(
            "Messages",
            "timeseries",
            promql=(("sum by (topic) (rate(andon_messages_total[1m]))", "{{topic}}"),),
            unit="cps",
        ),
        Panel(
            "Events", "timeseries", promql=(("sum by (type) (rate(andon_events_total[1m]))", "{{type}}"),), unit="cps"
        ),
        Panel(
            "Dead letters",
            "timeseries",
            promql=(("sum by (reason) (rate(andon_dead_letters_total[5m]))", "{{reason}}"),),
            unit="cps",
        ),
        Panel(
            "Share of dead letters",
            "timeseries",
            promql=(("max(andon_dead_letter_ratio)", "share"),),
            unit="percentunit",
        ),
        Panel(
            "Dead letters, by what is wrong",
            "table",
            """
SELECT topic, reason, path, source, count() AS messages, any(detail) AS example, max(seen_at) AS last_at
FROM dead_letters
WHERE $__timeFilter(seen_at)
GROUP BY topic, reason, path, source
ORDER BY messages DESC
LIMIT 50""",
        ),
        Panel(
            "Late, and delivered twice",
            "timeseries",
            promql=(
                ("sum by (stage) (rate(andon_late_events_total[5m]))", "late: {{stage}}"),
                ("sum(rate(andon_duplicates_total[5m]))", "duplicates"),
                ("sum by (topic) (rate(andon_overtaken_messages_total[5m]))", "after time had gone on: {{topic}}"),
            ),
            unit="cps",
        ),
        Panel(
            "Sequence findings withheld: a wrong clock",
            "timeseries",
            promql=(("sum by (source) (andon_withheld_findings)", "{{source}}"),),
        ),
        Panel(
            "Read ahead",
            "timeseries",
            promql=(
                ("sum by (lane) (andon_buffered_messages)", "{{lane}}: messages"),
                ("sum by (lane) (andon_paused_partitions)", "{{lane}}: paused partitions"),
            ),
        ),
        Panel(
            "Offsets committed to the group",
            "timeseries",
            promql=(
                ("sum(rate(andon_offsets_committed_total[5m]))", "committed"),
                ("sum(rate(andon_offset_commit_failures_total[5m]))", "refused"),
            ),
            unit="cps",
        ),
    ),
)

_STORE = Row(
    "What is written",
    (
        Panel(
            "Rows",
            "timeseries",
            promql=(("sum by (table) (rate(andon_rows_written_total[1m]))", "{{table}}"),),
            unit="cps",
        ),
        Panel(
            "Rows a block",
            "timeseries",
            promql=(
                (
                    (
                        "sum by (table) (rate(andon_rows_written_total[5m]))"
                        " / sum by (table) (rate(andon_blocks_written_total[5m]))"
                    ),
                    "{{table}}",
                ),
            ),
        ),
        Panel(
            "Inserts, 95th percentile",
            "timeseries",
            promql=(
                ("histogram_quantile(0.95, sum by (le, table) (rate(andon_insert_seconds_bucket[5m])))", "{{table}}"),
            ),
            unit="s",
        ),
        Panel(
            "Tried again, refused",
            "timeseries",
            promql=(
                ("sum(rate(andon_write_retries_total[5m]))", "tried again"),
                ("sum by (table) (rate(andon_rows_refused_total[5m]))", "refused: {{table}}"),
            ),
            unit="cps",
        ),
    ),
)

_KEPT = Row(
    "What is kept",
    (
        Panel(
            "Epochs, 95th percentile",
            "timeseries",
            promql=(
                (
                    "histogram_quantile(0.95, sum by (le, instance) (rate(andon_epoch_seconds_bucket[10m])))",
                    "{{instance}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Share of time that snapshots take",
            "timeseries",
            promql=(
                (
                    (
                        "sum by (instance) (rate(andon_snapshot_seconds_sum[10m]))"
                        " / sum by (instance) (rate(andon_epoch_seconds_sum[10m]))"
                    ),
                    "{{instance}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel("A snapshot", "timeseries", promql=(("andon_snapshot_bytes", "{{instance}}"),), unit="bytes"),
        Panel(
            "What operators keep",
            "timeseries",
            promql=(("sum by (operator, what) (andon_state_entries)", "{{operator}}: {{what}}"),),
        ),
        Panel("Memory", "timeseries", promql=(("process_resident_memory_bytes", "{{instance}}"),), unit="bytes"),
        Panel("Processor", "timeseries", promql=(("rate(process_cpu_seconds_total[1m])", "{{instance}}"),)),
    ),
)

_MODELS = Row(
    "Models",
    (
        Panel(
            "How models fare",
            "table",
            """
SELECT model, metric, argMax(state, minute) AS state, argMax(detail, minute) AS why, argMax(series, minute) AS series,
    argMax(young, minute) AS young, argMax(fallback, minute) AS fallback, sum(points) AS scored, sum(alarms) AS found,
    max(minute) AS as_of
FROM model_health
WHERE $__timeFilter(minute)
GROUP BY model, metric
ORDER BY model, metric""",
        ),
        Panel(
            "Judged by the rule instead of the model",
            "timeseries",
            """
SELECT minute AS time, metric, sum(fallback) AS series
FROM model_health
WHERE $__timeFilter(minute)
GROUP BY time, metric
ORDER BY time""",
            description="Series that are young, cold or whose model failed.",
        ),
    ),
)

_DELIVERY = Row(
    "Delivery",
    (
        Panel(
            "Alerts that are settled, and attempts a minute",
            "timeseries",
            promql=(
                ("sum by (receiver, outcome) (rate(andon_deliveries_total[5m])) * 60", "{{receiver}}: {{outcome}}"),
                (
                    "sum by (receiver, outcome) (rate(andon_delivery_attempts_total[5m])) * 60",
                    "{{receiver}}: attempt {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Alerts in the outbox",
            "timeseries",
            promql=(("sum by (receiver, state) (andon_outbox_alerts)", "{{receiver}}: {{state}}"),),
            description="dead: `andon deliver dead list`.",
        ),
        Panel(
            "The oldest that waits",
            "timeseries",
            promql=(("max by (receiver) (andon_outbox_oldest_seconds)", "{{receiver}}"),),
            unit="s",
        ),
        Panel(
            "From the alert to the receiver, and an attempt, 95 of 100",
            "timeseries",
            promql=(
                (
                    "histogram_quantile(0.95, sum by (le, receiver) (rate(andon_alert_delay_seconds_bucket[15m])))",
                    "{{receiver}}",
                ),
                (
                    "histogram_quantile(0.95, sum by (le, receiver) (rate(andon_delivery_seconds_bucket[15m])))",
                    "{{receiver}}: attempt",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Receivers that are left alone",
            "timeseries",
            promql=(("max by (receiver, state) (andon_endpoint_state)", "{{receiver}}: {{state}}"),),
        ),
        Panel(
            "Alerts taken in a minute",
            "timeseries",
            promql=(("sum(rate(andon_intake_alerts_total[5m])) * 60", "alerts"),),
        ),
        Panel(
            "Since ClickHouse was read to its end",
            "timeseries",
            promql=(("time() - max(andon_intake_timestamp_seconds)", "seconds"),),
            unit="s",
        ),
        Panel("The outbox", "timeseries", promql=(("andon_outbox_bytes", "{{instance}}"),), unit="bytes"),
        Panel("Attempts not yet in ClickHouse", "timeseries", promql=(("andon_outbox_records", "{{instance}}"),)),
    ),
)

ROWS = (_STATE, _PROGRESS, _INPUT, _STORE, _KEPT, _MODELS, _DELIVERY)
