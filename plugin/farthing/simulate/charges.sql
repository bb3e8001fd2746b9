-- One part of a simulated month: the requests {first} … {first} + {requests} of one gateway's day, as charges.
--
-- Nothing is random: each draw is a slice of a hash of the seed, the day and the number of the request (or of
-- its session), so the same mix gives the same calls, whatever was interrupted. Money is whole nano-dollars:
-- tokens times 10^-15 USD, each component rounded half to even once, as the gateway does. Floats decide how
-- many tokens there are, never what they cost.
--
-- Models are numbered 1 local, 2 fast, 3 strong. A request makes up to three charges: (1) the grading, (2) the
-- attempt that failed, (3) the answer, one tier above if an attempt failed.
INSERT INTO charges
(
    day, id, kind, outcome, started, ended, key_hash, user, department, cost_centre, session_id, session_step,
    surface, streamed, grade, grade_score, grade_source, intent, agent, task, tier, model, provider, stand_in,
    input_tokens, output_tokens, cache_read_tokens, cost_total, cost_input, cost_output, cost_cache_read,
    cost_cache_write, currency, price_version, cost_source, baseline_model, baseline_cost, held, settled,
    climbed_from, gateway_instance, sequence
)
WITH
    -- 16 bits of a hash as a share below 1.
    (hash, piece) -> bitAnd(bitShiftRight(hash, 16 * piece), 65535) / 65536 AS share,
    -- Near enough to a normal draw: four even ones, added.
    hash -> (share(hash, 0) + share(hash, 1) + share(hash, 2) + share(hash, 3) - 2) * 1.7320508 AS normal,
    femto -> intDiv(femto + 500000, 1000000)
        - (femto % 1000000 = 500000 AND intDiv(femto + 500000, 1000000) % 2 = 1) AS nano,
    numbered AS
    (
        SELECT
            number AS request,
            number % length({steps:Array(UInt32)}) + 1 AS place,
            intDiv(number, length({steps:Array(UInt32)})) * {sessions_per_round:UInt32}
                + {session_of:Array(UInt32)}[place] AS session,
            {steps:Array(UInt32)}[place] AS step,
            {steps_of:Array(UInt32)}[place] AS session_steps
        FROM numbers({first:UInt64}, {requests:UInt64})
    ),
    drawn AS
    (
        SELECT
            *,
            cityHash64({seed:UInt32}, {day:Date}, session, 1) AS s,
            cityHash64({seed:UInt32}, {day:Date}, session, 2) AS when,
            cityHash64({seed:UInt32}, {day:Date}, request, 3) AS r,
            cityHash64({seed:UInt32}, {day:Date}, request, 4) AS asked,
            cityHash64({seed:UInt32}, {day:Date}, request, 5) AS said,
            cityHash64({seed:UInt32}, {day:Date}, request, 6) AS fate
        FROM numbered
    ),
    requests AS
    (
        SELECT
            *,
            toUInt32({agents:UInt32} * pow(bitShiftRight(s, 11) / 9007199254740992, {skew:Float64})) AS number_of_agent,
            toUInt64({pause_ms:Float64} * (0.5 + share(when, 0))) AS pause_ms,
            toUInt64({hours:Array(UInt8)}[toUInt32(share(when, 1) * length({hours:Array(UInt8)})) + 1]) AS hour,
            -- No session crosses midnight.
            least(
                86400000 - least(86400000, session_steps * (pause_ms + 1)),
                3600000 * hour + toUInt64(3600000 * share(when, 2))
            ) + (step - 1) * pause_ms AS at_ms
        FROM drawn
    ),
    answered AS
    (
        SELECT
            *,
            multiIf(share(r, 0) < a.low, 1, share(r, 0) < a.low + a.medium, 2, 3) AS base,
            share(fate, 0) < {failures:Array(Float64)}[base] AS failed,
            share(fate, 1) < {judged:Float64} AS judged,
            toUInt64(greatest(1., least(
                toFloat64({longest_input:UInt32}),
                a.input * exp({spread:Float64} * normal(asked)) * (1 + {growth:Float64} * (step - 1))
            ))) AS whole_input,
            toUInt64(greatest(1., least(32000., a.output * exp({spread:Float64} * normal(said))))) AS whole_output
        FROM requests
        INNER JOIN simulated_agents AS a ON a.agent = number_of_agent
    ),
    attempts AS
    (
        SELECT
            *,
            arrayJoin(multiIf(judged AND failed, [1, 2, 3], judged, [1, 3], failed, [2, 3], [3])) AS part,
            multiIf(part = 1, 2, part = 3 AND failed, base + 1, base) AS m
        FROM answered
    ),
    used AS
    (
        SELECT
            *,
            if(part = 1, least(whole_input, 600), whole_input) AS input_tokens,
            multiIf(part = 1, 8, part = 2, intDiv(whole_output, 4), whole_output) AS output_tokens,
            if(part != 1 AND step > 1 AND m > 1, least(whole_input, toUInt64(whole_input * cached_share)), 0) AS cached,
            part = 3 AND m > 1 AND share(fate, 2) < {unpriced:Float64} AS unpriced
        FROM attempts
    ),
    priced AS
    (
        SELECT
            *,
            nano((input_tokens - cached) * {input_rates:Array(UInt64)}[m]) AS cost_in,
            nano(output_tokens * {output_rates:Array(UInt64)}[m]) AS cost_out,
            nano(cached * {read_rates:Array(UInt64)}[m]) AS cost_read,
            nano((input_tokens - cached) * {input_rates:Array(UInt64)}[4])
                + nano(output_tokens * {output_rates:Array(UInt64)}[4])
                + nano(cached * {read_rates:Array(UInt64)}[4]) AS baseline
        FROM used
    ),
    calls AS
    (
        SELECT
            *,
            cost_in + cost_out + cost_read AS cost,
            {first_ms:Array(UInt32)}[m] + {token_ms:Array(UInt32)}[m] * output_tokens AS lasted_ms,
            {day_ms:Int64} + at_ms + if(part = 3 AND failed, {first_ms:Array(UInt32)}[base], 0) AS start_ms
        FROM priced
    )
SELECT
    {day:Date} AS day,
    concat({gateway:String}, '-', leftPad(toString(request - {first:UInt64}), 9, '0'), '-', toString(part)) AS id,
    ['grading', 'failed_attempt', 'inference'][part] AS kind,
    multiIf(part = 2, 'failed', part = 3 AND share(fate, 3) < {cancelled:Float64}, 'cancelled', 'ok') AS outcome,
    fromUnixTimestamp64Milli(start_ms, 'UTC') AS started,
    fromUnixTimestamp64Milli(start_ms + toInt64(lasted_ms), 'UTC') AS ended,
    key_hash,
    user,
    department,
    cost_centre,
    concat('simulated-', toString({day:Date}), '-', toString(session)) AS session_id,
    step AS session_step,
    'chat' AS surface,
    share(r, 1) < {streamed:Float64} AS streamed,
    ['LOW', 'MEDIUM', 'HIGH'][base] AS grade,
    round((base - 1 + share(r, 2)) / 3, 4) AS grade_score,
    multiIf(judged, 'judge', share(r, 3) < 0.2, 'cache', 'learned') AS grade_source,
    lower(hex(toUInt32(r % 5000))) AS intent,
    work AS agent,
    if(s % 1000 < 1000 * {tasks:Float64}, concat('task-', toString({day:Date}), '-', toString(session)), '') AS task,
    ['local', 'fast', 'strong'][m] AS tier,
    {models:Array(String)}[m] AS model,
    {providers:Array(String)}[m] AS provider,
    false AS stand_in,
    input_tokens,
    output_tokens,
    cached AS cache_read_tokens,
    if(unpriced, NULL, reinterpret(toInt64(cost), 'Decimal(18, 9)')) AS cost_total,
    if(unpriced, NULL, reinterpret(toInt64(cost_in), 'Decimal(18, 9)')) AS cost_input,
    if(unpriced, NULL, reinterpret(toInt64(cost_out), 'Decimal(18, 9)')) AS cost_output,
    if(unpriced, NULL, reinterpret(toInt64(cost_read), 'Decimal(18, 9)')) AS cost_cache_read,
    if(unpriced, NULL, toDecimal64(0, 9)) AS cost_cache_write,
    'USD' AS currency,
    {price_version:String} AS price_version,
    if(m = 1, 'local', 'provider') AS cost_source,
    {models:Array(String)}[4] AS baseline_model,
    if(part = 3 AND NOT unpriced, reinterpret(toInt64(baseline), 'Decimal(18, 9)'), NULL) AS baseline_cost,
    reinterpret(toInt64(if(unpriced, 0, 2 * cost)), 'Decimal(18, 9)') AS held,
    reinterpret(toInt64(if(unpriced, 0, cost)), 'Decimal(18, 9)') AS settled,
    if(part = 3 AND failed, ['local', 'fast', 'strong'][base], '') AS climbed_from,
    {gateway:String} AS gateway_instance,
    rowNumberInAllBlocks() + 1 AS sequence
FROM calls
