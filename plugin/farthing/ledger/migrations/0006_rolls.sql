-- Labels for unit costs, and pre-aggregates ("rolls") that stay exact when charges come twice or late.
--
-- charge_arrivals counts the rows ever inserted into charges: it only grows. A roll of a day reads that
-- day's count first, then sums its charges into daily_rolls and hourly_rolls under a number of its own, and
-- last writes the count into charge_rolls. The roll is in force as long as the count is still the same:
-- every row that arrived since, a repeat included, makes it void, and the day is then summed from its
-- charges again. Hours of a busy day are rolled in the same way, each by itself. charges_daily and
-- charges_hourly choose for each query. Their rows are parts to be summed: one set of dimensions may stand
-- in several rows of a day.
--
-- A slot is an hour, counted from 1970 in UTC, or -1: the whole day. Neither a charge's day nor its hour
-- ever changes. Sums of Decimal(18, 9) are Decimal(38, 9): exact. A sum is NULL if no charge in it knows the
-- amount.

ALTER TABLE charges ADD COLUMN IF NOT EXISTS agent LowCardinality(String) AFTER intent;
ALTER TABLE charges ADD COLUMN IF NOT EXISTS task String AFTER agent;
ALTER TABLE charges ADD COLUMN IF NOT EXISTS refused Array(LowCardinality(String)) AFTER context_saved;

-- Charge ids that begin with the time lie in the table by the hour, and an hour is then read alone.
ALTER TABLE charges ADD INDEX IF NOT EXISTS started_slot intDiv(toUnixTimestamp64Nano(started), 3600000000000)
    TYPE minmax GRANULARITY 1;

-- What can only be wrong is refused: an amount that is not a plain number of at most nine decimals (negative,
-- NaN, 1e400, 1.5.5), one in another currency, a count of tokens above 10^12. It is stored as NULL (unpriced)
-- or 0, in no sum, and its attribute's name stands in `refused`. Balances and estimates may be negative.
ALTER TABLE charges_mv MODIFY QUERY
WITH
    text -> if(match(text, '^[0-9]{1,10}([.][0-9]{1,9})?$'), toDecimal64OrNull(text, 9), NULL) AS amount,
    text -> if(match(text, '^-?[0-9]{1,10}([.][0-9]{1,9})?$'), toDecimal64OrNull(text, 9), NULL) AS signed,
    text -> if(toUInt64OrZero(text) > 1000000000000, 0, toUInt64OrZero(text)) AS tokens,
    (name, text, without) -> if(without AND text NOT IN ('', '0'), name, '') AS lost,
    SpanAttributes['farthing.cost.currency'] IN ('', 'USD') AS in_usd
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
    SpanAttributes['gen_ai.agent.name'] AS agent,
    SpanAttributes['farthing.task'] AS task,
    SpanAttributes['farthing.tier'] AS tier,
    SpanAttributes['gen_ai.response.model'] AS model,
    SpanAttributes['gen_ai.provider.name'] AS provider,
    SpanAttributes['farthing.stand_in'] = 'true' AS stand_in,
    tokens(SpanAttributes['gen_ai.usage.input_tokens']) AS input_tokens,
    tokens(SpanAttributes['gen_ai.usage.output_tokens']) AS output_tokens,
    tokens(SpanAttributes['gen_ai.usage.cache_read.input_tokens']) AS cache_read_tokens,
    tokens(SpanAttributes['gen_ai.usage.cache_creation.input_tokens']) AS cache_write_tokens,
    tokens(SpanAttributes['farthing.usage.cache_write_1h_tokens']) AS cache_write_1h_tokens,
    tokens(SpanAttributes['gen_ai.usage.reasoning.output_tokens']) AS reasoning_tokens,
    SpanAttributes['farthing.usage.estimated'] = 'true' AS usage_estimated,
    if(in_usd, amount(SpanAttributes['farthing.cost.total']), NULL) AS cost_total,
    if(in_usd, amount(SpanAttributes['farthing.cost.input']), NULL) AS cost_input,
    if(in_usd, amount(SpanAttributes['farthing.cost.output']), NULL) AS cost_output,
    if(in_usd, amount(SpanAttributes['farthing.cost.cache_read']), NULL) AS cost_cache_read,
    if(in_usd, amount(SpanAttributes['farthing.cost.cache_write']), NULL) AS cost_cache_write,
    SpanAttributes['farthing.cost.currency'] AS currency,
    SpanAttributes['farthing.cost.price_version'] AS price_version,
    SpanAttributes['farthing.cost.source'] AS cost_source,
    SpanAttributes['farthing.baseline.model'] AS baseline_model,
    if(in_usd, amount(SpanAttributes['farthing.baseline.cost']), NULL) AS baseline_cost,
    amount(SpanAttributes['farthing.credits.held']) AS held,
    amount(SpanAttributes['farthing.credits.settled']) AS settled,
    signed(SpanAttributes['farthing.credits.balance']) AS balance,
    SpanAttributes['farthing.climbed_from'] AS climbed_from,
    SpanAttributes['farthing.context.decision'] AS context_decision,
    toUInt64OrNull(SpanAttributes['farthing.context.tokens_before']) AS context_tokens_before,
    toUInt64OrNull(SpanAttributes['farthing.context.tokens_after']) AS context_tokens_after,
    signed(SpanAttributes['farthing.context.saved']) AS context_saved,
    arrayFilter(name -> name != '',
    [
        lost('farthing.cost.total', SpanAttributes['farthing.cost.total'], cost_total IS NULL),
        lost('farthing.cost.input', SpanAttributes['farthing.cost.input'], cost_input IS NULL),
        lost('farthing.cost.output', SpanAttributes['farthing.cost.output'], cost_output IS NULL),
        lost('farthing.cost.cache_read', SpanAttributes['farthing.cost.cache_read'], cost_cache_read IS NULL),
        lost('farthing.cost.cache_write',
            SpanAttributes['farthing.cost.cache_write'], cost_cache_write IS NULL),
        lost('farthing.baseline.cost', SpanAttributes['farthing.baseline.cost'], baseline_cost IS NULL),
        lost('farthing.credits.held', SpanAttributes['farthing.credits.held'], held IS NULL),
        lost('farthing.credits.settled', SpanAttributes['farthing.credits.settled'], settled IS NULL),
        lost('farthing.credits.balance', SpanAttributes['farthing.credits.balance'], balance IS NULL),
        lost('farthing.context.saved', SpanAttributes['farthing.context.saved'], context_saved IS NULL),
        lost('gen_ai.usage.input_tokens', SpanAttributes['gen_ai.usage.input_tokens'], input_tokens = 0),
        lost('gen_ai.usage.output_tokens', SpanAttributes['gen_ai.usage.output_tokens'], output_tokens = 0),
        lost('gen_ai.usage.cache_read.input_tokens',
            SpanAttributes['gen_ai.usage.cache_read.input_tokens'], cache_read_tokens = 0),
        lost('gen_ai.usage.cache_creation.input_tokens',
            SpanAttributes['gen_ai.usage.cache_creation.input_tokens'], cache_write_tokens = 0),
        lost('farthing.usage.cache_write_1h_tokens',
            SpanAttributes['farthing.usage.cache_write_1h_tokens'], cache_write_1h_tokens = 0),
        lost('gen_ai.usage.reasoning.output_tokens',
            SpanAttributes['gen_ai.usage.reasoning.output_tokens'], reasoning_tokens = 0)
    ]) AS refused,
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

CREATE TABLE IF NOT EXISTS charge_arrivals
(
    day Date,
    slot Int32,
    arrivals UInt64
)
ENGINE = SummingMergeTree
ORDER BY (day, slot);

-- The rows of an insert can be read from charges before, and never after, they are counted here: the view is
-- fed once the block is stored.
CREATE MATERIALIZED VIEW IF NOT EXISTS charge_arrivals_mv TO charge_arrivals AS
SELECT
    day,
    toInt32(intDiv(toUnixTimestamp64Nano(started), 3600000000000)) AS slot,
    count() AS arrivals
FROM charges
GROUP BY day, slot;

CREATE TABLE IF NOT EXISTS charge_rolls
(
    day Date,
    slot Int32,
    roll UInt128,
    arrivals UInt64,
    sealed Bool DEFAULT false,
    rolled_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (day, slot, roll);

CREATE TABLE IF NOT EXISTS daily_rolls
(
    day Date,
    slot Int32,
    roll UInt128,
    department LowCardinality(String),
    cost_centre LowCardinality(String),
    user LowCardinality(String),
    key_hash LowCardinality(String),
    agent LowCardinality(String),
    tier LowCardinality(String),
    model LowCardinality(String),
    provider LowCardinality(String),
    kind LowCardinality(String),
    outcome LowCardinality(String),
    grade LowCardinality(String),
    grade_source LowCardinality(String),
    climbed_from LowCardinality(String),
    baseline_model LowCardinality(String),
    cost_source LowCardinality(String),
    price_version LowCardinality(String),
    stand_in Bool,
    calls UInt64,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_tokens UInt64,
    cache_write_tokens UInt64,
    reasoning_tokens UInt64,
    unpriced UInt64,
    without_baseline UInt64,
    usage_estimated UInt64,
    cost_usd Nullable(Decimal(38, 9)),
    cost_input_usd Nullable(Decimal(38, 9)),
    cost_output_usd Nullable(Decimal(38, 9)),
    cost_cache_read_usd Nullable(Decimal(38, 9)),
    cost_cache_write_usd Nullable(Decimal(38, 9)),
    baseline_usd Nullable(Decimal(38, 9)),
    savings_usd Nullable(Decimal(38, 9)),
    settled_usd Nullable(Decimal(38, 9)),
    context_saved_usd Nullable(Decimal(38, 9)),
    busy_ms UInt64,
    sessions AggregateFunction(uniqCombined64, String),
    tasks AggregateFunction(uniqCombined64, String)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, slot, roll, department, user, model);

CREATE TABLE IF NOT EXISTS hourly_rolls
(
    day Date,
    slot Int32,
    roll UInt128,
    hour DateTime('UTC'),
    department LowCardinality(String),
    tier LowCardinality(String),
    model LowCardinality(String),
    provider LowCardinality(String),
    kind LowCardinality(String),
    outcome LowCardinality(String),
    grade LowCardinality(String),
    grade_source LowCardinality(String),
    climbed_from LowCardinality(String),
    surface LowCardinality(String),
    streamed Bool,
    stand_in Bool,
    latency_ms_bucket UInt32,
    calls UInt64,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_tokens UInt64,
    cost_usd Nullable(Decimal(38, 9)),
    baseline_usd Nullable(Decimal(38, 9)),
    savings_usd Nullable(Decimal(38, 9)),
    unpriced UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, slot, roll, hour, department, model);

-- How many rows arrived for each slot, the whole day (-1) included.
CREATE OR REPLACE VIEW arrivals_by_slot AS
SELECT
    a.day AS day,
    s AS slot,
    sum(a.arrivals) AS arrivals
FROM charge_arrivals AS a
ARRAY JOIN [a.slot, toInt32(-1)] AS s
GROUP BY day, slot;

-- Days whose charges are no longer kept. What arrives for them still is in no sum.
CREATE OR REPLACE VIEW sealed_days AS
SELECT
    r.day AS day,
    max(r.arrivals) AS arrivals
FROM charge_rolls AS r
WHERE r.slot = -1 AND r.sealed
GROUP BY r.day;

-- The rolls to read. A day's own hides those of its hours. A sealed day, whose charges are no longer kept,
-- is read from its roll whatever arrives.
CREATE OR REPLACE VIEW rolls_in_force AS
SELECT
    day,
    slot,
    roll
FROM
(
    SELECT
        rolled.day AS day,
        rolled.slot AS slot,
        rolled.last AS roll,
        countIf(rolled.slot = -1) OVER (PARTITION BY rolled.day) AS whole
    FROM
    (
        SELECT
            r.day AS day,
            r.slot AS slot,
            if(max(r.sealed), minIf(r.roll, r.sealed), max(r.roll)) AS last,
            argMax(r.arrivals, r.roll) AS seen,
            max(r.sealed) AS sealed
        FROM charge_rolls AS r
        GROUP BY r.day, r.slot
    ) AS rolled
    LEFT JOIN arrivals_by_slot AS arrived ON rolled.day = arrived.day AND rolled.slot = arrived.slot
    WHERE rolled.sealed OR rolled.seen = arrived.arrivals
)
WHERE slot = -1 OR whole = 0;

-- The charges of each hour, summed as a statement sums them: see statement_lines for the amounts.
CREATE OR REPLACE VIEW charges_daily_live AS
SELECT
    c.day AS day,
    toInt32(intDiv(toUnixTimestamp64Nano(c.started), 3600000000000)) AS slot,
    c.department AS department,
    c.cost_centre AS cost_centre,
    c.user AS user,
    c.key_hash AS key_hash,
    c.agent AS agent,
    c.tier AS tier,
    c.model AS model,
    c.provider AS provider,
    c.kind AS kind,
    c.outcome AS outcome,
    c.grade AS grade,
    c.grade_source AS grade_source,
    c.climbed_from AS climbed_from,
    c.baseline_model AS baseline_model,
    c.cost_source AS cost_source,
    c.price_version AS price_version,
    c.stand_in AS stand_in,
    count() AS calls,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cache_write_tokens) AS cache_write_tokens,
    sum(c.reasoning_tokens) AS reasoning_tokens,
    countIf(c.cost_total IS NULL) AS unpriced,
    countIf(c.kind = 'inference' AND c.cost_total IS NOT NULL AND c.baseline_cost IS NULL)
        AS without_baseline,
    countIf(c.usage_estimated) AS usage_estimated,
    sum(c.cost_total) AS cost_usd,
    sumIf(c.cost_input, c.cost_total IS NOT NULL) AS cost_input_usd,
    sumIf(c.cost_output, c.cost_total IS NOT NULL) AS cost_output_usd,
    sumIf(c.cost_cache_read, c.cost_total IS NOT NULL) AS cost_cache_read_usd,
    sumIf(c.cost_cache_write, c.cost_total IS NOT NULL) AS cost_cache_write_usd,
    sumIf(c.baseline_cost, c.kind = 'inference' AND c.cost_total IS NOT NULL) AS baseline_usd,
    sum(if(c.kind = 'inference', c.baseline_cost - c.cost_total, -c.cost_total)) AS savings_usd,
    sum(c.settled) AS settled_usd,
    sum(c.context_saved) AS context_saved_usd,
    sum(toUInt64(greatest(0, dateDiff('millisecond', c.started, c.ended)))) AS busy_ms,
    uniqCombined64StateIf(concat(c.key_hash, '/', c.session_id), c.session_id != '') AS sessions,
    uniqCombined64StateIf(c.task, c.task != '') AS tasks
FROM charges_final AS c
GROUP BY day, slot, department, cost_centre, user, key_hash, agent, tier, model, provider, kind,
    outcome, grade, grade_source, climbed_from, baseline_model, cost_source, price_version,
    stand_in;

-- The duration of a call is kept as the upper bound, in milliseconds, of a bucket two digits wide (12, 120,
-- 1300): enough for quantiles, few enough to count.
CREATE OR REPLACE VIEW charges_hourly_live AS
WITH
    toUInt64(greatest(1, dateDiff('millisecond', c.started, c.ended))) AS ms,
    toUInt64(intExp10(greatest(length(toString(ms)), 2) - 2)) AS step
SELECT
    c.day AS day,
    toInt32(intDiv(toUnixTimestamp64Nano(c.started), 3600000000000)) AS slot,
    toStartOfHour(c.started) AS hour,
    c.department AS department,
    c.tier AS tier,
    c.model AS model,
    c.provider AS provider,
    c.kind AS kind,
    c.outcome AS outcome,
    c.grade AS grade,
    c.grade_source AS grade_source,
    c.climbed_from AS climbed_from,
    c.surface AS surface,
    c.streamed AS streamed,
    c.stand_in AS stand_in,
    toUInt32(least(4294967295, intDiv(ms + step - 1, step) * step)) AS latency_ms_bucket,
    count() AS calls,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cost_total) AS cost_usd,
    sumIf(c.baseline_cost, c.kind = 'inference' AND c.cost_total IS NOT NULL) AS baseline_usd,
    sum(if(c.kind = 'inference', c.baseline_cost - c.cost_total, -c.cost_total)) AS savings_usd,
    countIf(c.cost_total IS NULL) AS unpriced
FROM charges_final AS c
GROUP BY day, slot, hour, department, tier, model, provider, kind, outcome, grade, grade_source,
    climbed_from, surface, streamed, stand_in, latency_ms_bucket;

-- Which rolls are read is found once for each query, though both halves ask for it: the engine evaluates a
-- scalar subquery once. A slot can therefore not change sides between them.
CREATE OR REPLACE VIEW charges_daily AS
SELECT
    r.day AS day,
    r.department AS department,
    r.cost_centre AS cost_centre,
    r.user AS user,
    r.key_hash AS key_hash,
    r.agent AS agent,
    r.tier AS tier,
    r.model AS model,
    r.provider AS provider,
    r.kind AS kind,
    r.outcome AS outcome,
    r.grade AS grade,
    r.grade_source AS grade_source,
    r.climbed_from AS climbed_from,
    r.baseline_model AS baseline_model,
    r.cost_source AS cost_source,
    r.price_version AS price_version,
    r.stand_in AS stand_in,
    r.calls AS calls,
    r.input_tokens AS input_tokens,
    r.output_tokens AS output_tokens,
    r.cache_read_tokens AS cache_read_tokens,
    r.cache_write_tokens AS cache_write_tokens,
    r.reasoning_tokens AS reasoning_tokens,
    r.unpriced AS unpriced,
    r.without_baseline AS without_baseline,
    r.usage_estimated AS usage_estimated,
    r.cost_usd AS cost_usd,
    r.cost_input_usd AS cost_input_usd,
    r.cost_output_usd AS cost_output_usd,
    r.cost_cache_read_usd AS cost_cache_read_usd,
    r.cost_cache_write_usd AS cost_cache_write_usd,
    r.baseline_usd AS baseline_usd,
    r.savings_usd AS savings_usd,
    r.settled_usd AS settled_usd,
    r.context_saved_usd AS context_saved_usd,
    r.busy_ms AS busy_ms,
    r.sessions AS sessions,
    r.tasks AS tasks
FROM daily_rolls AS r
WHERE (r.day, r.slot, r.roll) IN
    (SELECT arrayJoin((SELECT groupArray((day, slot, roll)) FROM rolls_in_force)))
UNION ALL
SELECT
    c.day AS day,
    c.department AS department,
    c.cost_centre AS cost_centre,
    c.user AS user,
    c.key_hash AS key_hash,
    c.agent AS agent,
    c.tier AS tier,
    c.model AS model,
    c.provider AS provider,
    c.kind AS kind,
    c.outcome AS outcome,
    c.grade AS grade,
    c.grade_source AS grade_source,
    c.climbed_from AS climbed_from,
    c.baseline_model AS baseline_model,
    c.cost_source AS cost_source,
    c.price_version AS price_version,
    c.stand_in AS stand_in,
    c.calls AS calls,
    c.input_tokens AS input_tokens,
    c.output_tokens AS output_tokens,
    c.cache_read_tokens AS cache_read_tokens,
    c.cache_write_tokens AS cache_write_tokens,
    c.reasoning_tokens AS reasoning_tokens,
    c.unpriced AS unpriced,
    c.without_baseline AS without_baseline,
    c.usage_estimated AS usage_estimated,
    c.cost_usd AS cost_usd,
    c.cost_input_usd AS cost_input_usd,
    c.cost_output_usd AS cost_output_usd,
    c.cost_cache_read_usd AS cost_cache_read_usd,
    c.cost_cache_write_usd AS cost_cache_write_usd,
    c.baseline_usd AS baseline_usd,
    c.savings_usd AS savings_usd,
    c.settled_usd AS settled_usd,
    c.context_saved_usd AS context_saved_usd,
    c.busy_ms AS busy_ms,
    c.sessions AS sessions,
    c.tasks AS tasks
FROM charges_daily_live AS c
WHERE c.day NOT IN
    (
        SELECT x.1
        FROM (SELECT arrayJoin((SELECT groupArray((day, slot, roll)) FROM rolls_in_force)) AS x)
        WHERE x.2 = -1
    )
    AND c.slot NOT IN
    (
        SELECT x.2
        FROM (SELECT arrayJoin((SELECT groupArray((day, slot, roll)) FROM rolls_in_force)) AS x)
        WHERE x.2 != -1
    );

CREATE OR REPLACE VIEW charges_hourly AS
SELECT
    r.day AS day,
    r.hour AS hour,
    r.department AS department,
    r.tier AS tier,
    r.model AS model,
    r.provider AS provider,
    r.kind AS kind,
    r.outcome AS outcome,
    r.grade AS grade,
    r.grade_source AS grade_source,
    r.climbed_from AS climbed_from,
    r.surface AS surface,
    r.streamed AS streamed,
    r.stand_in AS stand_in,
    r.latency_ms_bucket AS latency_ms_bucket,
    r.calls AS calls,
    r.input_tokens AS input_tokens,
    r.output_tokens AS output_tokens,
    r.cache_read_tokens AS cache_read_tokens,
    r.cost_usd AS cost_usd,
    r.baseline_usd AS baseline_usd,
    r.savings_usd AS savings_usd,
    r.unpriced AS unpriced
FROM hourly_rolls AS r
WHERE (r.day, r.slot, r.roll) IN
    (SELECT arrayJoin((SELECT groupArray((day, slot, roll)) FROM rolls_in_force)))
UNION ALL
SELECT
    c.day AS day,
    c.hour AS hour,
    c.department AS department,
    c.tier AS tier,
    c.model AS model,
    c.provider AS provider,
    c.kind AS kind,
    c.outcome AS outcome,
    c.grade AS grade,
    c.grade_source AS grade_source,
    c.climbed_from AS climbed_from,
    c.surface AS surface,
    c.streamed AS streamed,
    c.stand_in AS stand_in,
    c.latency_ms_bucket AS latency_ms_bucket,
    c.calls AS calls,
    c.input_tokens AS input_tokens,
    c.output_tokens AS output_tokens,
    c.cache_read_tokens AS cache_read_tokens,
    c.cost_usd AS cost_usd,
    c.baseline_usd AS baseline_usd,
    c.savings_usd AS savings_usd,
    c.unpriced AS unpriced
FROM charges_hourly_live AS c
WHERE c.day NOT IN
    (
        SELECT x.1
        FROM (SELECT arrayJoin((SELECT groupArray((day, slot, roll)) FROM rolls_in_force)) AS x)
        WHERE x.2 = -1
    )
    AND c.slot NOT IN
    (
        SELECT x.2
        FROM (SELECT arrayJoin((SELECT groupArray((day, slot, roll)) FROM rolls_in_force)) AS x)
        WHERE x.2 != -1
    );

-- One line for each month, department, cost centre, user, tier and model. A charge's saving is its baseline
-- less its cost. Failed attempts, gradings and summaries answered nobody, so they have no baseline: all of
-- their cost counts against the savings. Where a price is missing the saving is not known, and the charge is
-- left out of baseline and savings and counted in `unpriced` (cost not known) or `without_baseline` (cost
-- known, baseline not).
CREATE OR REPLACE VIEW statement_lines AS
SELECT
    toStartOfMonth(d.day) AS month,
    d.department AS department,
    d.cost_centre AS cost_centre,
    d.user AS user,
    d.tier AS tier,
    d.model AS model,
    sum(d.calls) AS calls,
    sum(d.input_tokens) AS input_tokens,
    sum(d.output_tokens) AS output_tokens,
    sum(d.cache_read_tokens) AS cached_tokens,
    sum(d.cost_usd) AS cost_usd,
    sum(d.baseline_usd) AS baseline_usd,
    sum(d.savings_usd) AS savings_usd,
    sum(d.unpriced) AS unpriced,
    sum(d.without_baseline) AS without_baseline,
    max(d.stand_in) AS stand_in
FROM charges_daily AS d
GROUP BY month, department, cost_centre, user, tier, model;
