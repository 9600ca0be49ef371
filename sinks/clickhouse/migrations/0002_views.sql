-- Views: the public interface. Each shows every key once, in its highest version, to a reader who knows nothing of
-- the engine. FINAL rather than argMax or LIMIT BY, by measurement (docs/clickhouse.md): filters on the key still reach
-- the primary index, and a merged table costs next to nothing more. Filters on other columns are applied after FINAL
-- (optimize_move_to_prewhere_if_final = 0): applied before, they would bring superseded versions back.

CREATE OR REPLACE VIEW {database}.handoffs
(
    case_id String COMMENT 'Id of the case: order, return, purchase order …',
    handoff LowCardinality(String) COMMENT 'Name of the handoff in the process map',
    pass_key String COMMENT 'Tells the passes of one case through one handoff apart',
    scope_by LowCardinality(String) COMMENT 'Field that the handoff is aggregated by (node, carrier, supplier …), empty without one',
    scope String COMMENT 'Value of that field',
    started_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it began (event time); NULL where the start was not seen',
    ended_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it ended (event time); NULL while open',
    latency_s Nullable(Float64) COMMENT 'ended_at minus started_at, seconds',
    deadline_at Nullable(DateTime64(6, 'UTC')) COMMENT 'By when it has to end; NULL without a deadline',
    status LowCardinality(String) COMMENT 'open, done, late, overdue, out_of_sequence, duplicate or cancelled (given up)',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    case_id,
    handoff,
    pass_key,
    scope_by,
    scope,
    started_at,
    ended_at,
    latency_s,
    deadline_at,
    status,
    arrival
FROM {database}.handoff_passes FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'One case\'s pass through one handoff, current state';

CREATE OR REPLACE VIEW {database}.handoff_latency
(
    window_start DateTime64(6, 'UTC') COMMENT 'Begin of the window (event time), inclusive',
    window_end DateTime64(6, 'UTC') COMMENT 'End of the window (event time), exclusive',
    handoff LowCardinality(String) COMMENT 'Name of the handoff in the process map',
    scope_by LowCardinality(String) COMMENT 'Field that the handoff is aggregated by, empty without one',
    scope String COMMENT 'Value of that field',
    started UInt32 COMMENT 'Passes that began in the window',
    completed UInt32 COMMENT 'Passes that ended in the window',
    p50_s Nullable(Float64) COMMENT 'Median latency of the completed passes, seconds; NULL without one',
    p95_s Nullable(Float64) COMMENT '95th percentile of their latency, seconds',
    p99_s Nullable(Float64) COMMENT '99th percentile of their latency, seconds',
    max_s Nullable(Float64) COMMENT 'Longest latency, seconds',
    backlog UInt32 COMMENT 'Passes open at the end of the window',
    oldest_age_s Nullable(Float64) COMMENT 'Age of the oldest open pass at the end of the window, seconds; NULL without one',
    overdue UInt32 COMMENT 'Deadlines that passed in the window with the end not seen',
    over_target UInt32 COMMENT 'Of those, how many took longer than the target',
    latency_buckets Map(Int32, UInt32) COMMENT 'Mergeable latency sketch: bucket to count; add them up with sumMap',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    window_start,
    window_end,
    handoff,
    scope_by,
    scope,
    started,
    completed,
    p50_s,
    p95_s,
    p99_s,
    max_s,
    backlog,
    oldest_age_s,
    overdue,
    over_target,
    latency_buckets,
    arrival
FROM {database}.handoff_windows FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Handoff x scope x window, as last corrected';

CREATE OR REPLACE VIEW {database}.stock_deltas
(
    window_start DateTime64(6, 'UTC') COMMENT 'Begin of the window (event time), inclusive',
    window_end DateTime64(6, 'UTC') COMMENT 'End of the window (event time), exclusive',
    sku String COMMENT 'Stock keeping unit',
    node LowCardinality(String) COMMENT 'Store, warehouse or other place that holds stock',
    on_hand Map(LowCardinality(String), Float64) COMMENT 'Physical stock by system at the end of the window, units',
    delta Float64 COMMENT 'Largest difference between two systems, units',
    available_to_promise Nullable(Float64) COMMENT 'on_hand less reserved less safety stock, units; NULL where not known',
    value_at_risk Nullable(Float64) COMMENT '|delta| times unit cost, an estimate in currency; NULL where the cost is not known',
    currency LowCardinality(String) COMMENT 'ISO 4217 code, empty where not known',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    window_start,
    window_end,
    sku,
    node,
    on_hand,
    delta,
    available_to_promise,
    value_at_risk,
    currency,
    arrival
FROM {database}.stock_windows FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Stock of an item as its systems see it, by window, as last corrected';

CREATE OR REPLACE VIEW {database}.signals
(
    signal_id String COMMENT 'Deterministic id',
    detector LowCardinality(String) COMMENT 'What found it',
    kind LowCardinality(String) COMMENT 'Kind of breakdown',
    handoff LowCardinality(String) COMMENT 'Handoff that it is about, empty without one',
    scope Map(LowCardinality(String), String) COMMENT 'What it is about: node, sku, region, channel, interface …',
    case_id String COMMENT 'Case that it is about, empty without one',
    opened_at DateTime64(6, 'UTC') COMMENT 'Since when what was found had held',
    found_at DateTime64(6, 'UTC') COMMENT 'Arrival time at which it was first said',
    closed_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it ended; NULL while open',
    severity LowCardinality(String) COMMENT 'info, low, medium, high or critical',
    score Float64 COMMENT 'How far from expected; higher is worse',
    confidence Float64 COMMENT 'How sure, 0 to 1',
    expected String COMMENT 'What was expected',
    observed String COMMENT 'What was seen',
    method LowCardinality(String) COMMENT 'model or rule',
    explanation String COMMENT 'The finding as a sentence',
    evidence Array(String) COMMENT 'Ids of the events that it rests on',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    signal_id,
    detector,
    kind,
    handoff,
    scope,
    case_id,
    opened_at,
    found_at,
    closed_at,
    severity,
    score,
    confidence,
    expected,
    observed,
    method,
    explanation,
    evidence,
    arrival
FROM {database}.signal_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Findings, current state';

CREATE OR REPLACE VIEW {database}.dead_letters
(
    topic LowCardinality(String) COMMENT 'Topic or file; andon.TABLE for a row that the store refused',
    `partition` Int32 COMMENT 'Partition of the topic',
    `offset` Int64 COMMENT 'Position in the partition',
    reason LowCardinality(String) COMMENT 'transport, schema, rule or downstream',
    path LowCardinality(String) COMMENT 'The offending field, as $.lines[0].qty',
    detail String COMMENT 'What is wrong with it',
    source LowCardinality(String) COMMENT 'System instance that sent it, where readable',
    channel LowCardinality(String) COMMENT 'Sales channel, where readable',
    raw String COMMENT 'The message, byte for byte; not always UTF-8',
    seen_at DateTime64(6, 'UTC') COMMENT 'Arrival time'
)
SQL SECURITY INVOKER
AS SELECT
    topic,
    `partition`,
    `offset`,
    reason,
    path,
    detail,
    source,
    channel,
    raw,
    seen_at
FROM {database}.dead_letter_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Messages that can\'t be used';

CREATE OR REPLACE VIEW {database}.late_events
(
    topic LowCardinality(String) COMMENT 'Topic or file',
    `partition` Int32 COMMENT 'Partition of the topic',
    `offset` Int64 COMMENT 'Position in the partition',
    stage LowCardinality(String) COMMENT 'Which windows it came too late for',
    `type` LowCardinality(String) COMMENT 'Event type',
    source LowCardinality(String) COMMENT 'System instance that sent it',
    event_id String COMMENT 'Id of the event within its source',
    occurred_at DateTime64(6, 'UTC') COMMENT 'Event time',
    window_start DateTime64(6, 'UTC') COMMENT 'Begin of the window that it belongs to',
    effect String COMMENT 'What it would have changed',
    seen_at DateTime64(6, 'UTC') COMMENT 'Arrival time'
)
SQL SECURITY INVOKER
AS SELECT
    topic,
    `partition`,
    `offset`,
    stage,
    `type`,
    source,
    event_id,
    occurred_at,
    window_start,
    effect,
    seen_at
FROM {database}.late_event_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Events too late for their window to be corrected';

CREATE OR REPLACE VIEW {database}.duplicate_events
(
    topic LowCardinality(String) COMMENT 'Topic or file',
    `partition` Int32 COMMENT 'Partition of the topic',
    `offset` Int64 COMMENT 'Position in the partition',
    `type` LowCardinality(String) COMMENT 'Event type',
    source LowCardinality(String) COMMENT 'System instance that sent it',
    event_id String COMMENT 'Id of the event within its source',
    first_arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of the delivery that counted',
    seen_at DateTime64(6, 'UTC') COMMENT 'Arrival time of this one'
)
SQL SECURITY INVOKER
AS SELECT
    topic,
    `partition`,
    `offset`,
    `type`,
    source,
    event_id,
    first_arrival,
    seen_at
FROM {database}.duplicate_event_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Second deliveries of an event, dropped';

CREATE OR REPLACE VIEW {database}.pipeline_health
(
    component LowCardinality(String) COMMENT 'Part of the pipeline: an input partition',
    minute DateTime64(6, 'UTC') COMMENT 'Begin of the minute (arrival time)',
    messages UInt64 COMMENT 'Messages read',
    events UInt64 COMMENT 'Of those, events of the contract',
    dead_letters UInt64 COMMENT 'Of those, dead letters',
    bytes UInt64 COMMENT 'Bytes read',
    feed_delay_max_s Float64 COMMENT 'Longest delay from event time to arrival, seconds'
)
SQL SECURITY INVOKER
AS SELECT
    component,
    minute,
    messages,
    events,
    dead_letters,
    bytes,
    feed_delay_max_s
FROM {database}.pipeline_health_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'What each part of the input gave, minute by minute of arrival';
