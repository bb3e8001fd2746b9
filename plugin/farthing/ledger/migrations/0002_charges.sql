-- Charges: what each call cost, one row for each charge id.
--
-- Spans arrive at least once, so a charge may arrive twice. ReplacingMergeTree drops the repeat, but
-- only within one partition and one sorting key: both are therefore made of things that never change
-- for a charge (its id and the UTC day it started). Until parts merge, a repeat is still stored: read
-- charges_final, which never shows it.
--
-- Money is USD as Decimal(18, 9). NULL means that the price is not known, which is not the same as free.

CREATE TABLE IF NOT EXISTS charges
(
    day Date,
    id String,
    kind LowCardinality(String),
    outcome LowCardinality(String),
    started DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    ended DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    key_hash LowCardinality(String),
    user LowCardinality(String),
    department LowCardinality(String),
    cost_centre LowCardinality(String),
    session_id String,
    session_step UInt64,
    surface LowCardinality(String),
    streamed Bool,
    grade LowCardinality(String),
    grade_score Nullable(Float64),
    grade_source LowCardinality(String),
    tier LowCardinality(String),
    model LowCardinality(String),
    provider LowCardinality(String),
    stand_in Bool,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_tokens UInt64,
    cache_write_tokens UInt64,
    cache_write_1h_tokens UInt64,
    reasoning_tokens UInt64,
    usage_estimated Bool,
    cost_total Nullable(Decimal(18, 9)),
    cost_input Nullable(Decimal(18, 9)),
    cost_output Nullable(Decimal(18, 9)),
    cost_cache_read Nullable(Decimal(18, 9)),
    cost_cache_write Nullable(Decimal(18, 9)),
    currency LowCardinality(String),
    price_version LowCardinality(String),
    cost_source LowCardinality(String),
    baseline_model LowCardinality(String),
    baseline_cost Nullable(Decimal(18, 9)),
    held Nullable(Decimal(18, 9)),
    settled Nullable(Decimal(18, 9)),
    balance Nullable(Decimal(18, 9)),
    climbed_from LowCardinality(String),
    gateway_instance LowCardinality(String),
    sequence UInt64,
    trace_id String,
    span_id String
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, id);

CREATE MATERIALIZED VIEW IF NOT EXISTS charges_mv TO charges AS
SELECT
    toDate(started) AS day,
    SpanAttributes['farthing.charge.id'] AS id,
    SpanAttributes['farthing.charge.kind'] AS kind,
    SpanAttributes['farthing.charge.outcome'] AS outcome,
    toTimeZone(Timestamp, 'UTC') AS started,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(Timestamp) + toInt64(Duration), 'UTC') AS ended,
    SpanAttributes['farthing.account.key_hash'] AS key_hash,
    SpanAttributes['farthing.account.user'] AS user,
    SpanAttributes['farthing.account.department'] AS department,
    SpanAttributes['farthing.account.cost_centre'] AS cost_centre,
    SpanAttributes['farthing.session.id'] AS session_id,
    toUInt64OrZero(SpanAttributes['farthing.session.step']) AS session_step,
    SpanAttributes['farthing.surface'] AS surface,
    SpanAttributes['farthing.streamed'] = 'true' AS streamed,
    SpanAttributes['farthing.grade'] AS grade,
    toFloat64OrNull(SpanAttributes['farthing.grade.score']) AS grade_score,
    SpanAttributes['farthing.grade.source'] AS grade_source,
    SpanAttributes['farthing.tier'] AS tier,
    SpanAttributes['gen_ai.response.model'] AS model,
    SpanAttributes['gen_ai.provider.name'] AS provider,
    SpanAttributes['farthing.stand_in'] = 'true' AS stand_in,
    toUInt64OrZero(SpanAttributes['gen_ai.usage.input_tokens']) AS input_tokens,
    toUInt64OrZero(SpanAttributes['gen_ai.usage.output_tokens']) AS output_tokens,
    toUInt64OrZero(SpanAttributes['gen_ai.usage.cache_read.input_tokens']) AS cache_read_tokens,
    toUInt64OrZero(SpanAttributes['gen_ai.usage.cache_creation.input_tokens']) AS cache_write_tokens,
    toUInt64OrZero(SpanAttributes['farthing.usage.cache_write_1h_tokens']) AS cache_write_1h_tokens,
    toUInt64OrZero(SpanAttributes['gen_ai.usage.reasoning.output_tokens']) AS reasoning_tokens,
    SpanAttributes['farthing.usage.estimated'] = 'true' AS usage_estimated,
    toDecimal64OrNull(SpanAttributes['farthing.cost.total'], 9) AS cost_total,
    toDecimal64OrNull(SpanAttributes['farthing.cost.input'], 9) AS cost_input,
    toDecimal64OrNull(SpanAttributes['farthing.cost.output'], 9) AS cost_output,
    toDecimal64OrNull(SpanAttributes['farthing.cost.cache_read'], 9) AS cost_cache_read,
    toDecimal64OrNull(SpanAttributes['farthing.cost.cache_write'], 9) AS cost_cache_write,
    SpanAttributes['farthing.cost.currency'] AS currency,
    SpanAttributes['farthing.cost.price_version'] AS price_version,
    SpanAttributes['farthing.cost.source'] AS cost_source,
    SpanAttributes['farthing.baseline.model'] AS baseline_model,
    toDecimal64OrNull(SpanAttributes['farthing.baseline.cost'], 9) AS baseline_cost,
    toDecimal64OrNull(SpanAttributes['farthing.credits.held'], 9) AS held,
    toDecimal64OrNull(SpanAttributes['farthing.credits.settled'], 9) AS settled,
    toDecimal64OrNull(SpanAttributes['farthing.credits.balance'], 9) AS balance,
    SpanAttributes['farthing.climbed_from'] AS climbed_from,
    SpanAttributes['farthing.gateway.instance'] AS gateway_instance,
    toUInt64OrZero(SpanAttributes['farthing.gateway.sequence']) AS sequence,
    TraceId AS trace_id,
    SpanId AS span_id
FROM otel_traces
WHERE SpanAttributes['farthing.charge.id'] != '';

-- Each charge exactly once. A charge's partition follows from its key, so FINAL need not look across
-- partitions.
CREATE VIEW IF NOT EXISTS charges_final AS
SELECT *
FROM charges FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
