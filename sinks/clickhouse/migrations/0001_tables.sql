-- Tables: one for each record of schemas/rows.py, its fields in order, then who wrote the row and when.
--
-- ReplacingMergeTree on the deterministic key: a row written again replaces itself, the highest version stays. Reading
-- a table needs FINAL; the views of 0002 do that. No partitions: rows of one key must meet in one, and times in
-- backfilled data span decades (a part for each). The TTL counts from when a row was written: counted from event time,
-- the replay of an old log would vanish as it is inserted.
-- Deduplication by token is off by default for tables that are not replicated, hence the window.

CREATE TABLE IF NOT EXISTS {database}.handoff_passes
(
    handoff LowCardinality(String) COMMENT 'Name of the handoff in the process map',
    case_id String COMMENT 'Id of the case: order, return, purchase order …' CODEC(ZSTD(1)),
    pass_key String COMMENT 'Tells the passes of one case through one handoff apart' CODEC(ZSTD(1)),
    scope_by LowCardinality(String) COMMENT 'Field that the handoff is aggregated by (node, carrier, supplier …), empty without one',
    scope String COMMENT 'Value of that field' CODEC(ZSTD(1)),
    started_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it began (event time); NULL where the start was not seen' CODEC(ZSTD(1)),
    ended_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it ended (event time); NULL while open' CODEC(ZSTD(1)),
    latency_s Nullable(Float64) COMMENT 'ended_at minus started_at, seconds' CODEC(ZSTD(1)),
    deadline_at Nullable(DateTime64(6, 'UTC')) COMMENT 'By when it has to end; NULL without a deadline' CODEC(ZSTD(1)),
    status LowCardinality(String) COMMENT 'open, done, late, overdue, out_of_sequence, duplicate or cancelled (given up)',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (handoff, case_id, pass_key)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'One case\'s pass through one handoff, in every version written';

CREATE TABLE IF NOT EXISTS {database}.handoff_windows
(
    handoff LowCardinality(String) COMMENT 'Name of the handoff in the process map',
    scope_by LowCardinality(String) COMMENT 'Field that the handoff is aggregated by, empty without one',
    scope String COMMENT 'Value of that field' CODEC(ZSTD(1)),
    window_start DateTime64(6, 'UTC') COMMENT 'Begin of the window (event time), inclusive' CODEC(Delta, ZSTD(1)),
    window_end DateTime64(6, 'UTC') COMMENT 'End of the window (event time), exclusive' CODEC(Delta, ZSTD(1)),
    started UInt32 COMMENT 'Passes that began in the window' CODEC(T64, ZSTD(1)),
    completed UInt32 COMMENT 'Passes that ended in the window' CODEC(T64, ZSTD(1)),
    over_target UInt32 COMMENT 'Of those, how many took longer than the target' CODEC(T64, ZSTD(1)),
    overdue UInt32 COMMENT 'Deadlines that passed in the window with the end not seen' CODEC(T64, ZSTD(1)),
    backlog UInt32 COMMENT 'Passes open at the end of the window' CODEC(T64, ZSTD(1)),
    oldest_age_s Nullable(Float64) COMMENT 'Age of the oldest open pass at the end of the window, seconds; NULL without one' CODEC(ZSTD(1)),
    p50_s Nullable(Float64) COMMENT 'Median latency of the completed passes, seconds; NULL without one' CODEC(ZSTD(1)),
    p95_s Nullable(Float64) COMMENT '95th percentile of their latency, seconds' CODEC(ZSTD(1)),
    p99_s Nullable(Float64) COMMENT '99th percentile of their latency, seconds' CODEC(ZSTD(1)),
    max_s Nullable(Float64) COMMENT 'Longest latency, seconds' CODEC(ZSTD(1)),
    latency_buckets Map(Int32, UInt32) COMMENT 'Mergeable latency sketch: bucket to count; add them up with sumMap' CODEC(ZSTD(1)),
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (handoff, scope_by, scope, window_start, window_end)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Handoff x scope x window, in every version written';

CREATE TABLE IF NOT EXISTS {database}.stock_windows
(
    sku String COMMENT 'Stock keeping unit' CODEC(ZSTD(1)),
    node LowCardinality(String) COMMENT 'Store, warehouse or other place that holds stock',
    window_start DateTime64(6, 'UTC') COMMENT 'Begin of the window (event time), inclusive' CODEC(Delta, ZSTD(1)),
    window_end DateTime64(6, 'UTC') COMMENT 'End of the window (event time), exclusive' CODEC(Delta, ZSTD(1)),
    on_hand Map(LowCardinality(String), Float64) COMMENT 'Physical stock by system at the end of the window, units' CODEC(ZSTD(1)),
    delta Float64 COMMENT 'Largest difference between two systems, units' CODEC(ZSTD(1)),
    available_to_promise Nullable(Float64) COMMENT 'on_hand less reserved less safety stock, units; NULL where not known' CODEC(ZSTD(1)),
    value_at_risk Nullable(Float64) COMMENT '|delta| times unit cost, an estimate in currency; NULL where the cost is not known' CODEC(ZSTD(1)),
    currency LowCardinality(String) COMMENT 'ISO 4217 code, empty where not known',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (sku, node, window_start, window_end)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Item x window in which something was seen, in every version written';

CREATE TABLE IF NOT EXISTS {database}.signal_log
(
    signal_id String COMMENT 'Deterministic id' CODEC(ZSTD(1)),
    detector LowCardinality(String) COMMENT 'What found it',
    kind LowCardinality(String) COMMENT 'Kind of breakdown',
    handoff LowCardinality(String) COMMENT 'Handoff that it is about, empty without one',
    scope Map(LowCardinality(String), String) COMMENT 'What it is about: node, sku, region, channel, interface …' CODEC(ZSTD(1)),
    case_id String COMMENT 'Case that it is about, empty without one' CODEC(ZSTD(1)),
    opened_at DateTime64(6, 'UTC') COMMENT 'Since when what was found had held' CODEC(Delta, ZSTD(1)),
    found_at DateTime64(6, 'UTC') COMMENT 'Arrival time at which it was first said' CODEC(Delta, ZSTD(1)),
    closed_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it ended; NULL while open' CODEC(ZSTD(1)),
    severity LowCardinality(String) COMMENT 'info, low, medium, high or critical',
    score Float64 COMMENT 'How far from expected; higher is worse' CODEC(ZSTD(1)),
    confidence Float64 COMMENT 'How sure, 0 to 1' CODEC(ZSTD(1)),
    expected String COMMENT 'What was expected' CODEC(ZSTD(1)),
    observed String COMMENT 'What was seen' CODEC(ZSTD(1)),
    method LowCardinality(String) COMMENT 'model or rule',
    explanation String COMMENT 'The finding as a sentence' CODEC(ZSTD(1)),
    evidence Array(String) COMMENT 'Ids of the events that it rests on' CODEC(ZSTD(1)),
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (signal_id)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Findings, in every version written';

CREATE TABLE IF NOT EXISTS {database}.dead_letter_log
(
    topic LowCardinality(String) COMMENT 'Topic or file; andon.TABLE for a row that the store refused',
    `partition` Int32 COMMENT 'Partition of the topic' CODEC(ZSTD(1)),
    `offset` Int64 COMMENT 'Position in the partition' CODEC(Delta, ZSTD(1)),
    reason LowCardinality(String) COMMENT 'transport, schema, rule or downstream',
    path LowCardinality(String) COMMENT 'The offending field, as $.lines[0].qty',
    detail String COMMENT 'What is wrong with it' CODEC(ZSTD(1)),
    source LowCardinality(String) COMMENT 'System instance that sent it, where readable',
    channel LowCardinality(String) COMMENT 'Sales channel, where readable',
    raw String COMMENT 'The message, byte for byte; not always UTF-8' CODEC(ZSTD(3)),
    seen_at DateTime64(6, 'UTC') COMMENT 'Arrival time' CODEC(Delta, ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(written_at)
ORDER BY (topic, `partition`, `offset`)
TTL toDateTime(written_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Messages that can\'t be used, kept whole';

CREATE TABLE IF NOT EXISTS {database}.late_event_log
(
    topic LowCardinality(String) COMMENT 'Topic or file',
    `partition` Int32 COMMENT 'Partition of the topic' CODEC(ZSTD(1)),
    `offset` Int64 COMMENT 'Position in the partition' CODEC(Delta, ZSTD(1)),
    stage LowCardinality(String) COMMENT 'Which windows it came too late for',
    `type` LowCardinality(String) COMMENT 'Event type',
    source LowCardinality(String) COMMENT 'System instance that sent it',
    event_id String COMMENT 'Id of the event within its source' CODEC(ZSTD(1)),
    occurred_at DateTime64(6, 'UTC') COMMENT 'Event time' CODEC(Delta, ZSTD(1)),
    window_start DateTime64(6, 'UTC') COMMENT 'Begin of the window that it belongs to' CODEC(Delta, ZSTD(1)),
    effect String COMMENT 'What it would have changed' CODEC(ZSTD(1)),
    seen_at DateTime64(6, 'UTC') COMMENT 'Arrival time' CODEC(Delta, ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(written_at)
ORDER BY (topic, `partition`, `offset`, stage)
TTL toDateTime(written_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Events too late for their window to be corrected';

CREATE TABLE IF NOT EXISTS {database}.duplicate_event_log
(
    topic LowCardinality(String) COMMENT 'Topic or file',
    `partition` Int32 COMMENT 'Partition of the topic' CODEC(ZSTD(1)),
    `offset` Int64 COMMENT 'Position in the partition' CODEC(Delta, ZSTD(1)),
    `type` LowCardinality(String) COMMENT 'Event type',
    source LowCardinality(String) COMMENT 'System instance that sent it',
    event_id String COMMENT 'Id of the event within its source' CODEC(ZSTD(1)),
    first_arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of the delivery that counted' CODEC(Delta, ZSTD(1)),
    seen_at DateTime64(6, 'UTC') COMMENT 'Arrival time of this one' CODEC(Delta, ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(written_at)
ORDER BY (topic, `partition`, `offset`)
TTL toDateTime(written_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Second deliveries of an event, dropped';

CREATE TABLE IF NOT EXISTS {database}.pipeline_health_log
(
    component LowCardinality(String) COMMENT 'Part of the pipeline: an input partition',
    minute DateTime64(6, 'UTC') COMMENT 'Begin of the minute (arrival time)' CODEC(Delta, ZSTD(1)),
    messages UInt64 COMMENT 'Messages read' CODEC(T64, ZSTD(1)),
    events UInt64 COMMENT 'Of those, events of the contract' CODEC(T64, ZSTD(1)),
    dead_letters UInt64 COMMENT 'Of those, dead letters' CODEC(T64, ZSTD(1)),
    bytes UInt64 COMMENT 'Bytes read' CODEC(T64, ZSTD(1)),
    feed_delay_max_s Float64 COMMENT 'Longest delay from event time to arrival, seconds' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (component, minute)
TTL toDateTime(written_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'What one part of the input gave in one minute of arrival, in every version written';
