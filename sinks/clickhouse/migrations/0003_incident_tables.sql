-- Incidents, alerts and the health of models: one table for each record of schemas/incident_rows.py, as those of 0001.

CREATE TABLE IF NOT EXISTS {database}.incident_log
(
    incident_id String COMMENT 'Deterministic id' CODEC(ZSTD(1)),
    status LowCardinality(String) COMMENT 'open, growing, recovering, resolved or reopened',
    kind LowCardinality(String) COMMENT 'Kind of breakdown, that of the probable cause',
    cause_signal_id String COMMENT 'Finding that is the probable cause' CODEC(ZSTD(1)),
    candidates Array(String) COMMENT 'Probable causes, best first, each with why' CODEC(ZSTD(1)),
    scope Map(LowCardinality(String), String) COMMENT 'What it is about: node, sku, region, channel, queue, interface …' CODEC(ZSTD(1)),
    severity LowCardinality(String) COMMENT 'info, low, medium, high or critical',
    priority UInt8 COMMENT '1 (first) to 5, from SLA, margin and customers' CODEC(ZSTD(1)),
    score Float64 COMMENT 'What the priority was made of; higher is worse' CODEC(ZSTD(1)),
    opened_at DateTime64(6, 'UTC') COMMENT 'Since when it had held (event time of the first sign)' CODEC(Delta, ZSTD(1)),
    found_at DateTime64(6, 'UTC') COMMENT 'Arrival time at which it was first said' CODEC(Delta, ZSTD(1)),
    closed_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was over; NULL while it is not' CODEC(ZSTD(1)),
    signals UInt32 COMMENT 'Findings in it' CODEC(T64, ZSTD(1)),
    orders_affected UInt32 COMMENT 'Orders that it touches' CODEC(T64, ZSTD(1)),
    customers_affected UInt32 COMMENT 'Customers of these' CODEC(T64, ZSTD(1)),
    units_affected Float64 COMMENT 'Units in the touched lines' CODEC(ZSTD(1)),
    promises_at_risk UInt32 COMMENT 'Orders whose promise is expected to be broken' CODEC(T64, ZSTD(1)),
    first_breach_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When the first of them is' CODEC(ZSTD(1)),
    breach_error_s Nullable(Float64) COMMENT 'Half the width of the 80 % interval around the predicted breach, seconds' CODEC(ZSTD(1)),
    value_at_risk Float64 COMMENT 'Value of the goods in the touched lines, in currency' CODEC(ZSTD(1)),
    margin_at_risk Nullable(Float64) COMMENT 'Margin of these; NULL where costs are not known' CODEC(ZSTD(1)),
    refunds_exposed Float64 COMMENT 'What customers wait to get back' CODEC(ZSTD(1)),
    currency LowCardinality(String) COMMENT 'ISO 4217 code; of an incident, the one with most',
    values_at_risk Map(LowCardinality(String), Float64) COMMENT 'Value at risk in every currency' CODEC(ZSTD(1)),
    summary String COMMENT 'The incident as a sentence' CODEC(ZSTD(1)),
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (incident_id)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Findings that belong together, in every version written';

CREATE TABLE IF NOT EXISTS {database}.incident_order_log
(
    incident_id String COMMENT 'Deterministic id' CODEC(ZSTD(1)),
    order_id String COMMENT 'Order; a case that belongs to none stands under its own id' CODEC(ZSTD(1)),
    case_id String COMMENT 'Return or purchase order through which it is touched, empty for the order itself' CODEC(ZSTD(1)),
    customer_id String COMMENT 'Customer, empty where not known' CODEC(ZSTD(1)),
    signal_id String COMMENT 'Finding that named it first' CODEC(ZSTD(1)),
    units Float64 COMMENT 'Units in the touched lines' CODEC(ZSTD(1)),
    value Float64 COMMENT 'What they sell for' CODEC(ZSTD(1)),
    margin Nullable(Float64) COMMENT 'Margin of these; NULL where costs are not known' CODEC(ZSTD(1)),
    currency LowCardinality(String) COMMENT 'ISO 4217 code',
    promised_at Nullable(DateTime64(6, 'UTC')) COMMENT 'Promised to the customer; NULL without a promise' CODEC(ZSTD(1)),
    breach_predicted_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When the promise is expected to be kept too late; NULL where it is expected to be kept' CODEC(ZSTD(1)),
    breach_error_s Nullable(Float64) COMMENT 'Half the width of the 80 % interval around the predicted breach, seconds' CODEC(ZSTD(1)),
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (incident_id, order_id)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Orders that incidents touch, in every version written';

CREATE TABLE IF NOT EXISTS {database}.incident_signal_log
(
    incident_id String COMMENT 'Deterministic id' CODEC(ZSTD(1)),
    signal_id String COMMENT 'Finding' CODEC(ZSTD(1)),
    kind LowCardinality(String) COMMENT 'Kind of the finding',
    role LowCardinality(String) COMMENT 'cause, candidate, consequence or evidence',
    rank UInt32 COMMENT 'Place among the candidates, 0 for others' CODEC(T64, ZSTD(1)),
    reason String COMMENT 'Why' CODEC(ZSTD(1)),
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (incident_id, signal_id)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Findings of incidents, and their part in them, in every version written';

CREATE TABLE IF NOT EXISTS {database}.alert_log
(
    alert_id String COMMENT 'Deterministic id, the idempotency key of deliveries' CODEC(ZSTD(1)),
    group_key String COMMENT 'Incidents that are told together' CODEC(ZSTD(1)),
    receiver LowCardinality(String) COMMENT 'To whom',
    action LowCardinality(String) COMMENT 'trigger, update, acknowledge or resolve',
    status LowCardinality(String) COMMENT 'firing or resolved',
    sequence UInt32 COMMENT 'Counts what is told of a group to a receiver, from 1' CODEC(T64, ZSTD(1)),
    reason String COMMENT 'Why' CODEC(ZSTD(1)),
    severity LowCardinality(String) COMMENT 'info, low, medium, high or critical',
    priority UInt8 COMMENT '1 (first) to 5, from SLA, margin and customers' CODEC(ZSTD(1)),
    incident_ids Array(String) COMMENT 'Incidents that it is about' CODEC(ZSTD(1)),
    labels Map(LowCardinality(String), String) COMMENT 'What routes and silences match' CODEC(ZSTD(1)),
    annotations Map(LowCardinality(String), String) COMMENT 'Texts: summary, links …' CODEC(ZSTD(1)),
    starts_at DateTime64(6, 'UTC') COMMENT 'Begin of what it is about' CODEC(Delta, ZSTD(1)),
    ends_at Nullable(DateTime64(6, 'UTC')) COMMENT 'Its end; NULL while it goes on' CODEC(ZSTD(1)),
    sent_at DateTime64(6, 'UTC') COMMENT 'Arrival time at which it was decided' CODEC(Delta, ZSTD(1)),
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (alert_id)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Notifications, in every version written';

CREATE TABLE IF NOT EXISTS {database}.alert_decision_log
(
    decision_id String COMMENT 'Deterministic id' CODEC(ZSTD(1)),
    incident_id String COMMENT 'Incident' CODEC(ZSTD(1)),
    receiver LowCardinality(String) COMMENT 'To whom',
    decision LowCardinality(String) COMMENT 'notified, grouped, waiting, silenced, inhibited, muted, acknowledged, deduplicated, unrouted or not_firing_yet',
    by String COMMENT 'What decided: a silence, an incident, a route' CODEC(ZSTD(1)),
    reason String COMMENT 'Why' CODEC(ZSTD(1)),
    decided_at DateTime64(6, 'UTC') COMMENT 'Arrival time of the decision' CODEC(Delta, ZSTD(1)),
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (decision_id)
TTL toDateTime(written_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Why a change of an incident was told or not, in every version written';

CREATE TABLE IF NOT EXISTS {database}.silence_log
(
    silence_id String COMMENT 'Id of the silence or acknowledgement' CODEC(ZSTD(1)),
    incident_id String COMMENT 'Incident that was acknowledged, empty for a silence' CODEC(ZSTD(1)),
    matchers Array(String) COMMENT 'What it matches, as kind="queue_saturation"' CODEC(ZSTD(1)),
    starts_at DateTime64(6, 'UTC') COMMENT 'From when' CODEC(Delta, ZSTD(1)),
    ends_at DateTime64(6, 'UTC') COMMENT 'Until when' CODEC(Delta, ZSTD(1)),
    created_by String COMMENT 'Who' CODEC(ZSTD(1)),
    comment String COMMENT 'Why' CODEC(ZSTD(1)),
    expired_by String COMMENT 'Who ended it early, empty otherwise' CODEC(ZSTD(1)),
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (silence_id)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Silences and acknowledgements, in every version written';

CREATE TABLE IF NOT EXISTS {database}.alert_delivery_log
(
    alert_id String COMMENT 'Deterministic id, the idempotency key of deliveries' CODEC(ZSTD(1)),
    receiver LowCardinality(String) COMMENT 'To whom',
    attempt UInt32 COMMENT 'Counts the attempts, from 1' CODEC(T64, ZSTD(1)),
    outcome LowCardinality(String) COMMENT 'delivered, retrying, rejected, disabled or dead',
    http_status Nullable(Int32) COMMENT 'Answer of the receiver; NULL without one' CODEC(ZSTD(1)),
    detail String COMMENT 'What went wrong' CODEC(ZSTD(1)),
    latency_ms Float64 COMMENT 'How long the attempt took, ms' CODEC(ZSTD(1)),
    attempted_at DateTime64(6, 'UTC') COMMENT 'When' CODEC(Delta, ZSTD(1)),
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (alert_id, receiver, attempt)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Attempts to deliver notifications, in every version written';

CREATE TABLE IF NOT EXISTS {database}.model_health_log
(
    model LowCardinality(String) COMMENT 'Family of models',
    metric LowCardinality(String) COMMENT 'What its series measure',
    minute DateTime64(6, 'UTC') COMMENT 'Minute of arrival' CODEC(Delta, ZSTD(1)),
    series UInt32 COMMENT 'Series of that metric' CODEC(T64, ZSTD(1)),
    young UInt32 COMMENT 'Of those, how many have seen too little' CODEC(T64, ZSTD(1)),
    fallback UInt32 COMMENT 'How many are judged by the rule meanwhile' CODEC(T64, ZSTD(1)),
    points UInt32 COMMENT 'Points scored in the minute' CODEC(T64, ZSTD(1)),
    alarms UInt32 COMMENT 'Of those, how many were findings' CODEC(T64, ZSTD(1)),
    state LowCardinality(String) COMMENT 'healthy, young, drifting, cold, failed or off',
    detail String COMMENT 'Why it is in that state' CODEC(ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (model, metric, minute)
TTL toDateTime(written_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'How models fare, by the minute, in every version written';

CREATE TABLE IF NOT EXISTS {database}.series_score_log
(
    metric LowCardinality(String) COMMENT 'Column of handoff_latency that is judged',
    handoff LowCardinality(String) COMMENT 'Handoff of the process map',
    scope_by LowCardinality(String) COMMENT 'What the scope is: node, carrier, supplier …; empty without one',
    scope String COMMENT 'Value of the scope: the node …' CODEC(ZSTD(1)),
    at DateTime64(6, 'UTC') COMMENT 'End of the window (event time)' CODEC(Delta, ZSTD(1)),
    value Float64 COMMENT 'What the window had' CODEC(ZSTD(1)),
    expected Float64 COMMENT 'What the model expected' CODEC(ZSTD(1)),
    lower Nullable(Float64) COMMENT 'Lower end of the band that holds about 98 % of points; NULL where the rule judged alone' CODEC(ZSTD(1)),
    upper Nullable(Float64) COMMENT 'Its upper end' CODEC(ZSTD(1)),
    score Float64 COMMENT 'Surprise in powers of ten where it beats the recent ones, else 0; 3.3 is one window in 2,000' CODEC(ZSTD(1)),
    confidence Float64 COMMENT '0 to 1; low while the model is young, after a gap, while it drifts' CODEC(ZSTD(1)),
    method LowCardinality(String) COMMENT 'Who judged: model, or rule while the model can not',
    alarm LowCardinality(String) COMMENT 'spike, shift, drift or gap; empty where the point is no alarm',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (metric, handoff, scope_by, scope, at)
TTL toDateTime(written_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'Windows of handoffs as the models judged them, in every version written';
