-- How a call's history was sent: as it was, masked, or as a block; its tokens before and after, and what
-- that was expected to save. NULL and empty where no history was looked at. The saving is an estimate beside
-- the bill, never a part of it.

ALTER TABLE charges ADD COLUMN IF NOT EXISTS context_decision LowCardinality(String) AFTER climbed_from;
ALTER TABLE charges ADD COLUMN IF NOT EXISTS context_tokens_before Nullable(UInt64) AFTER context_decision;
ALTER TABLE charges ADD COLUMN IF NOT EXISTS context_tokens_after Nullable(UInt64) AFTER context_tokens_before;
ALTER TABLE charges ADD COLUMN IF NOT EXISTS context_saved Nullable(Decimal(18, 9)) AFTER context_tokens_after;

ALTER TABLE charges_mv MODIFY QUERY
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
    SpanAttributes['farthing.intent'] AS intent,
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
    SpanAttributes['farthing.context.decision'] AS context_decision,
    toUInt64OrNull(SpanAttributes['farthing.context.tokens_before']) AS context_tokens_before,
    toUInt64OrNull(SpanAttributes['farthing.context.tokens_after']) AS context_tokens_after,
    toDecimal64OrNull(SpanAttributes['farthing.context.saved'], 9) AS context_saved,
    SpanAttributes['farthing.gateway.instance'] AS gateway_instance,
    toUInt64OrZero(SpanAttributes['farthing.gateway.sequence']) AS sequence,
    TraceId AS trace_id,
    SpanId AS span_id
FROM otel_traces
WHERE SpanAttributes['farthing.charge.id'] != '';

-- A view keeps the columns it was made with; made again, it has the new ones.
CREATE OR REPLACE VIEW charges_final AS
SELECT *
FROM charges FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
