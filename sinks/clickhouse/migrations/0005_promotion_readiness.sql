-- How ready promotions are: a table for the record PromotionReadiness of schemas/rows.py, and its view.

CREATE TABLE IF NOT EXISTS {database}.promotion_readiness_log
(
    promotion_id String COMMENT 'Promotion' CODEC(ZSTD(1)),
    channel LowCardinality(String) COMMENT 'Sales channel of its start, empty where it named none',
    started_at DateTime64(6, 'UTC') COMMENT 'When it started (event time)' CODEC(Delta, ZSTD(1)),
    score Nullable(Float64) COMMENT '0 to 100: the part of the units expected of its items over the horizon (a day unless set otherwise) that is there, of each item at most all; NULL where nothing is known of the demand of any' CODEC(ZSTD(1)),
    skus UInt32 COMMENT 'Items of the promotion' CODEC(T64, ZSTD(1)),
    skus_short UInt32 COMMENT 'Of those, how many have less than they are to have (detectors.demand.cover.ready) of the units expected' CODEC(T64, ZSTD(1)),
    skus_unknown UInt32 COMMENT 'Of those, how many nothing is known of the demand of; they do not count in the score' CODEC(T64, ZSTD(1)),
    units_expected Float64 COMMENT 'Units that its items are expected to need over the horizon' CODEC(ZSTD(1)),
    units_there Float64 COMMENT 'Units of its items on hand at all nodes, or coming within the horizon' CODEC(ZSTD(1)),
    units_coming Float64 COMMENT 'Of those, units that are coming' CODEC(ZSTD(1)),
    worst_skus Array(String) COMMENT 'Items that lack most units, most first, at most ten; the other worst lists are in the same order' CODEC(ZSTD(1)),
    worst_hours Array(Float64) COMMENT 'How many hours the stock of each lasts, at what is expected or what goes out now, whichever is more' CODEC(ZSTD(1)),
    worst_expected Array(Float64) COMMENT 'Units expected of each' CODEC(ZSTD(1)),
    worst_there Array(Float64) COMMENT 'Units of each on hand or coming' CODEC(ZSTD(1)),
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time as of which it was judged: its start, then whole hours' CODEC(Delta, ZSTD(1)),
    version UInt64 COMMENT 'Grows with each correction; the highest counts' CODEC(ZSTD(1)),
    run_id LowCardinality(String) COMMENT 'Run that wrote the row last',
    written_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was written' CODEC(Delta, ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
ORDER BY (promotion_id, arrival)
TTL toDateTime(written_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192
COMMENT 'How ready promotions were, at their start and at whole hours while they ran';

CREATE OR REPLACE VIEW {database}.promotion_readiness
(
    promotion_id String COMMENT 'Promotion',
    channel LowCardinality(String) COMMENT 'Sales channel of its start, empty where it named none',
    started_at DateTime64(6, 'UTC') COMMENT 'When it started (event time)',
    arrival DateTime64(6, 'UTC') COMMENT 'Arrival time as of which it was judged: its start, then whole hours',
    score Nullable(Float64) COMMENT '0 to 100: the part of the units expected of its items over the horizon (a day unless set otherwise) that is there, of each item at most all; NULL where nothing is known of the demand of any',
    skus UInt32 COMMENT 'Items of the promotion',
    skus_short UInt32 COMMENT 'Of those, how many have less than they are to have (detectors.demand.cover.ready) of the units expected',
    skus_unknown UInt32 COMMENT 'Of those, how many nothing is known of the demand of; they do not count in the score',
    units_expected Float64 COMMENT 'Units that its items are expected to need over the horizon',
    units_there Float64 COMMENT 'Units of its items on hand at all nodes, or coming within the horizon',
    units_coming Float64 COMMENT 'Of those, units that are coming',
    worst_skus Array(String) COMMENT 'Items that lack most units, most first, at most ten; the other worst lists are in the same order',
    worst_hours Array(Float64) COMMENT 'How many hours the stock of each lasts, at what is expected or what goes out now, whichever is more',
    worst_expected Array(Float64) COMMENT 'Units expected of each',
    worst_there Array(Float64) COMMENT 'Units of each on hand or coming'
)
SQL SECURITY INVOKER
AS SELECT
    promotion_id,
    channel,
    started_at,
    arrival,
    score,
    skus,
    skus_short,
    skus_unknown,
    units_expected,
    units_there,
    units_coming,
    worst_skus,
    worst_hours,
    worst_expected,
    worst_there
FROM {database}.promotion_readiness_log FINAL
SETTINGS optimize_move_to_prewhere_if_final = 0
COMMENT 'How ready promotions were, at their start and at whole hours while they ran';
