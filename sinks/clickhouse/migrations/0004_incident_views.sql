-- Views over the tables of 0003, as those of 0002.

CREATE OR REPLACE VIEW {database}.incidents
(
    incident_id String COMMENT 'Deterministic id',
    status LowCardinality(String) COMMENT 'open, growing, recovering, resolved or reopened',
    kind LowCardinality(String) COMMENT 'Kind of breakdown, that of the probable cause',
    cause_signal_id String COMMENT 'Finding that is the probable cause',
    candidates Array(String) COMMENT 'Probable causes, best first, each with why',
    scope Map(LowCardinality(String), String) COMMENT 'What it is about: node, sku, region, channel, queue, interface …',
    severity LowCardinality(String) COMMENT 'info, low, medium, high or critical',
    priority UInt8 COMMENT '1 (first) to 5, from SLA, margin and customers',
    score Float64 COMMENT 'What the priority was made of; higher is worse',
    opened_at DateTime64(6, 'UTC') COMMENT 'Since when it had held (event time of the first sign)',
    found_at DateTime64(6, 'UTC') COMMENT 'Arrival time at which it was first said',
    closed_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was over; NULL while it is not',
    signals UInt32 COMMENT 'Findings in it',
    orders_affected UInt32 COMMENT 'Orders that it touches',
    customers_affected UInt32 COMMENT 'Customers of these',
    units_affected Float64 COMMENT 'Units in the touched lines',
    promises_at_risk UInt32 COMMENT 'Orders whose promise is expected to be broken',
    first_breach_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When the first of them is',
    breach_error_s Nullable(Float64) COMMENT 'Half the width of the 80 % interval around the predicted breach, seconds',
    value_at_risk Float64 COMMENT 'Value of the goods in the touched lines, in currency',
    margin_at_risk Nullable(Float64) COMMENT 'Margin of these; NULL where costs are not known',
    refunds_exposed Float64 COMMENT 'What customers wait to get back',
    currency LowCardinality(String) COMMENT 'ISO 4217 code; of an incident, the one with most',
    values_at_risk Map(LowCardinality(String), Float64) COMMENT 'Value at risk in every currency',
    summary String COMMENT 'The incident as a sentence',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    incident_id,
    status,
    kind,
    cause_signal_id,
    candidates,
    scope,
    severity,
    priority,
    score,
    opened_at,
    found_at,
    closed_at,
    signals,
    orders_affected,
    customers_affected,
    units_affected,
    promises_at_risk,
    first_breach_at,
    breach_error_s,
    value_at_risk,
    margin_at_risk,
    refunds_exposed,
    currency,
    values_at_risk,
    summary,
    arrival
FROM {database}.incident_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Findings that belong together, current state';

CREATE OR REPLACE VIEW {database}.incident_orders
(
    incident_id String COMMENT 'Deterministic id',
    order_id String COMMENT 'Order; a case that belongs to none stands under its own id',
    case_id String COMMENT 'Return or purchase order through which it is touched, empty for the order itself',
    customer_id String COMMENT 'Customer, empty where not known',
    signal_id String COMMENT 'Finding that named it first',
    units Float64 COMMENT 'Units in the touched lines',
    value Float64 COMMENT 'What they sell for',
    margin Nullable(Float64) COMMENT 'Margin of these; NULL where costs are not known',
    currency LowCardinality(String) COMMENT 'ISO 4217 code',
    promised_at Nullable(DateTime64(6, 'UTC')) COMMENT 'Promised to the customer; NULL without a promise',
    breach_predicted_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When the promise is expected to be kept too late; NULL where it is expected to be kept',
    breach_error_s Nullable(Float64) COMMENT 'Half the width of the 80 % interval around the predicted breach, seconds',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    incident_id,
    order_id,
    case_id,
    customer_id,
    signal_id,
    units,
    value,
    margin,
    currency,
    promised_at,
    breach_predicted_at,
    breach_error_s,
    arrival
FROM {database}.incident_order_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Orders that incidents touch, current state';

CREATE OR REPLACE VIEW {database}.incident_signals
(
    incident_id String COMMENT 'Deterministic id',
    signal_id String COMMENT 'Finding',
    kind LowCardinality(String) COMMENT 'Kind of the finding',
    role LowCardinality(String) COMMENT 'cause, candidate, consequence or evidence',
    rank UInt32 COMMENT 'Place among the candidates, 0 for others',
    reason String COMMENT 'Why',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    incident_id,
    signal_id,
    kind,
    role,
    rank,
    reason,
    arrival
FROM {database}.incident_signal_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Findings of incidents, and their part in them, current state';

CREATE OR REPLACE VIEW {database}.alerts
(
    alert_id String COMMENT 'Deterministic id, the idempotency key of deliveries',
    group_key String COMMENT 'Incidents that are told together',
    receiver LowCardinality(String) COMMENT 'To whom',
    action LowCardinality(String) COMMENT 'trigger, update, acknowledge or resolve',
    status LowCardinality(String) COMMENT 'firing or resolved',
    sequence UInt32 COMMENT 'Counts what is told of a group to a receiver, from 1',
    reason String COMMENT 'Why',
    severity LowCardinality(String) COMMENT 'info, low, medium, high or critical',
    priority UInt8 COMMENT '1 (first) to 5, from SLA, margin and customers',
    incident_ids Array(String) COMMENT 'Incidents that it is about',
    labels Map(LowCardinality(String), String) COMMENT 'What routes and silences match',
    annotations Map(LowCardinality(String), String) COMMENT 'Texts: summary, links …',
    starts_at DateTime64(6, 'UTC') COMMENT 'Begin of what it is about',
    ends_at Nullable(DateTime64(6, 'UTC')) COMMENT 'Its end; NULL while it goes on',
    sent_at DateTime64(6, 'UTC') COMMENT 'Arrival time at which it was decided',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    alert_id,
    group_key,
    receiver,
    action,
    status,
    sequence,
    reason,
    severity,
    priority,
    incident_ids,
    labels,
    annotations,
    starts_at,
    ends_at,
    sent_at,
    arrival
FROM {database}.alert_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Notifications, current state';

CREATE OR REPLACE VIEW {database}.alert_decisions
(
    decision_id String COMMENT 'Deterministic id',
    incident_id String COMMENT 'Incident',
    receiver LowCardinality(String) COMMENT 'To whom',
    decision LowCardinality(String) COMMENT 'notified, grouped, waiting, silenced, inhibited, muted, acknowledged, deduplicated, unrouted or not_firing_yet',
    by String COMMENT 'What decided: a silence, an incident, a route',
    reason String COMMENT 'Why',
    decided_at DateTime64(6, 'UTC') COMMENT 'Arrival time of the decision',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    decision_id,
    incident_id,
    receiver,
    decision,
    by,
    reason,
    decided_at,
    arrival
FROM {database}.alert_decision_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Why a change of an incident was told or not, current state';

CREATE OR REPLACE VIEW {database}.silences
(
    silence_id String COMMENT 'Id of the silence or acknowledgement',
    incident_id String COMMENT 'Incident that was acknowledged, empty for a silence',
    matchers Array(String) COMMENT 'What it matches, as kind="queue_saturation"',
    starts_at DateTime64(6, 'UTC') COMMENT 'From when',
    ends_at DateTime64(6, 'UTC') COMMENT 'Until when',
    created_by String COMMENT 'Who',
    comment String COMMENT 'Why',
    expired_by String COMMENT 'Who ended it early, empty otherwise',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    silence_id,
    incident_id,
    matchers,
    starts_at,
    ends_at,
    created_by,
    comment,
    expired_by,
    arrival
FROM {database}.silence_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Silences and acknowledgements, current state';

CREATE OR REPLACE VIEW {database}.alert_deliveries
(
    alert_id String COMMENT 'Deterministic id, the idempotency key of deliveries',
    receiver LowCardinality(String) COMMENT 'To whom',
    attempt UInt32 COMMENT 'Counts the attempts, from 1',
    outcome LowCardinality(String) COMMENT 'delivered, retrying, rejected, disabled or dead',
    http_status Nullable(Int32) COMMENT 'Answer of the receiver; NULL without one',
    detail String COMMENT 'What went wrong',
    latency_ms Float64 COMMENT 'How long the attempt took, ms',
    attempted_at DateTime64(6, 'UTC') COMMENT 'When',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    alert_id,
    receiver,
    attempt,
    outcome,
    http_status,
    detail,
    latency_ms,
    attempted_at,
    arrival
FROM {database}.alert_delivery_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Attempts to deliver notifications, current state';

CREATE OR REPLACE VIEW {database}.model_health
(
    model LowCardinality(String) COMMENT 'Family of models',
    metric LowCardinality(String) COMMENT 'What its series measure',
    minute DateTime64(6, 'UTC') COMMENT 'Minute of arrival',
    series UInt32 COMMENT 'Series of that metric',
    young UInt32 COMMENT 'Of those, how many have seen too little',
    fallback UInt32 COMMENT 'How many are judged by the rule meanwhile',
    points UInt32 COMMENT 'Points scored in the minute',
    alarms UInt32 COMMENT 'Of those, how many were findings',
    state LowCardinality(String) COMMENT 'healthy, young, drifting, cold, failed or off',
    detail String COMMENT 'Why it is in that state'
)
SQL SECURITY INVOKER
AS SELECT
    model,
    metric,
    minute,
    series,
    young,
    fallback,
    points,
    alarms,
    state,
    detail
FROM {database}.model_health_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'How models fare, by the minute, current state';

CREATE OR REPLACE VIEW {database}.series_scores
(
    metric LowCardinality(String) COMMENT 'Column of handoff_latency that is judged',
    handoff LowCardinality(String) COMMENT 'Handoff of the process map',
    scope_by LowCardinality(String) COMMENT 'What the scope is: node, carrier, supplier …; empty without one',
    scope String COMMENT 'Value of the scope: the node …',
    at DateTime64(6, 'UTC') COMMENT 'End of the window (event time)',
    value Float64 COMMENT 'What the window had',
    expected Float64 COMMENT 'What the model expected',
    lower Nullable(Float64) COMMENT 'Lower end of the band that holds about 98 % of points; NULL where the rule judged alone',
    upper Nullable(Float64) COMMENT 'Its upper end',
    score Float64 COMMENT 'Surprise in powers of ten where it beats the recent ones, else 0; 3.3 is one window in 2,000',
    confidence Float64 COMMENT '0 to 1; low while the model is young, after a gap, while it drifts',
    method LowCardinality(String) COMMENT 'Who judged: model, or rule while the model can not',
    alarm LowCardinality(String) COMMENT 'spike, shift, drift or gap; empty where the point is no alarm',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time of what caused this version'
)
SQL SECURITY INVOKER
AS SELECT
    metric,
    handoff,
    scope_by,
    scope,
    at,
    value,
    expected,
    lower,
    upper,
    score,
    confidence,
    method,
    alarm,
    arrival
FROM {database}.series_score_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'Windows of handoffs as the models judged them, current state';
