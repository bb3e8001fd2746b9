-- What is a month of charges in FOCUS rows (FinOps Open Cost and Usage Specification, 1.2 and 1.3's columns)?
--
-- One row for each day, department, cost centre, user, agent, tier, model, kind of call, grade, price and kind of
-- token. BilledCost, EffectiveCost and ContractedCost are what was charged; ListCost is the same tokens at the
-- price book's price of the day. The rows of a month add up to its statement, to the nano-dollar.
--
-- A closed month's lines that have changed since are one row each, as they were closed, for the whole month: what
-- the charges of each day were at that time is not kept. What came later is one row for each line, with ChargeClass
-- Correction and the old charge period, in the month whose statement shows it. Both kinds come with the days that
-- begin the month.
--
-- Parameters:
--   {first:Date}                     the first day to read, in UTC
--   {last:Date}                      the last day, included, of the same month
--   {department:String}              this department alone; empty: all
--   {organisation:String}            who is billed, and who provides the sovereign tier
--   {usd_per_credit:Decimal(38, 9)}  what a credit is worth
--
-- Columns are FOCUS's own. Ours are x_ListPriceSource (price book; as charged: the book has no price of the model),
-- x_UnsplitCost (what the parts of charges leave over of their totals, if anything: it is in this row's cost) and
-- x_StatementMonth (the closed statement that shows the row; NULL while the month is open).
--
-- Left out: calls without a price.
WITH
    {first:Date} AS first_day,
    {last:Date} AS last_day,
    toStartOfMonth(first_day) AS asked,
    (SELECT groupArray(month) FROM closed_months) AS closed,
    -- Lines of this month, if it is closed, that have changed since.
    (
        SELECT groupUniqArray(cityHash64(department, cost_centre, user, tier, model))
        FROM
        (
            SELECT department, cost_centre, user, tier, model
            FROM closed_lines
            WHERE entry = 'correction' AND month = asked
            UNION ALL
            SELECT department, cost_centre, user, tier, model
            FROM statement_corrections
            WHERE month = asked
        )
    ) AS changed,
    -- Groups in which some calls have a price and some have none: only their charges can tell them apart.
    (
        SELECT groupArray(cityHash64(day, department, cost_centre, user, agent, tier, model, provider, kind, grade, cost_source, price_version, stand_in))
        FROM
        (
            SELECT
                day, department, cost_centre, user, agent, tier, model, provider, kind, grade, cost_source,
                price_version, stand_in, sum(calls) AS n, sum(unpriced) AS missing
            FROM charges_daily
            WHERE day BETWEEN first_day AND last_day
                AND ({department:String} = '' OR department = {department:String})
            GROUP BY ALL
            HAVING missing > 0 AND missing < n
        )
    ) AS mixed,
    usage AS
    (
        SELECT
            day, department, cost_centre, user, agent, tier, model, provider, kind, grade, cost_source,
            price_version, stand_in,
            toInt64(sum(calls)) AS calls,
            toInt64(sum(input_tokens)) AS input,
            toInt64(sum(output_tokens)) AS output,
            toInt64(sum(cache_read_tokens)) AS cache_read,
            toInt64(sum(cache_write_tokens)) AS cache_write,
            assumeNotNull(sum(cost_usd)) AS cost,
            ifNull(sum(cost_input_usd), 0) AS cost_input,
            ifNull(sum(cost_output_usd), 0) AS cost_output,
            ifNull(sum(cost_cache_read_usd), 0) AS cost_cache_read,
            ifNull(sum(cost_cache_write_usd), 0) AS cost_cache_write
        FROM charges_daily
        WHERE day BETWEEN first_day AND last_day
            AND ({department:String} = '' OR department = {department:String})
            AND NOT has(changed, cityHash64(department, cost_centre, user, tier, model))
        GROUP BY ALL
        HAVING sum(unpriced) = 0
        UNION ALL
        SELECT
            day, department, cost_centre, user, agent, tier, model, provider, kind, grade, cost_source,
            price_version, stand_in,
            toInt64(count()) AS calls,
            toInt64(sum(input_tokens)) AS input,
            toInt64(sum(output_tokens)) AS output,
            toInt64(sum(cache_read_tokens)) AS cache_read,
            toInt64(sum(cache_write_tokens)) AS cache_write,
            assumeNotNull(sum(cost_total)) AS cost,
            ifNull(sum(c.cost_input), 0) AS cost_input,
            ifNull(sum(c.cost_output), 0) AS cost_output,
            ifNull(sum(c.cost_cache_read), 0) AS cost_cache_read,
            ifNull(sum(c.cost_cache_write), 0) AS cost_cache_write
        FROM charges_final AS c
        WHERE notEmpty(mixed)
            AND day BETWEEN first_day AND last_day
            AND ({department:String} = '' OR department = {department:String})
            AND cost_total IS NOT NULL
            AND NOT has(changed, cityHash64(department, cost_centre, user, tier, model))
            AND has(mixed, cityHash64(day, department, cost_centre, user, agent, tier, model, provider, kind, grade, cost_source, price_version, stand_in))
        GROUP BY ALL
    ),
    -- The book's price of each model and day: the one that was valid last on that day.
    prices AS
    (
        SELECT
            d.day AS day,
            replaceOne(p.model, ' (stand-in)', '') AS model,
            argMax(tuple(p.input_usd, p.output_usd, p.cache_read_usd, p.cache_write_usd), p.valid_from) AS per_token
        FROM (SELECT arrayJoin(arrayMap(n -> first_day + n, range(toUInt32(last_day - first_day) + 1))) AS day) AS d
        CROSS JOIN (SELECT * FROM price_book FINAL) AS p
        WHERE p.valid_from < toDateTime(d.day + 1, 'UTC')
            AND (p.valid_to IS NULL OR p.valid_to > toDateTime(d.day, 'UTC'))
        GROUP BY day, model
    ),
    priced AS
    (
        SELECT
            u.*,
            greatest(0, u.input - u.cache_read - u.cache_write) AS uncached,
            u.cost - u.cost_input - u.cost_output - u.cost_cache_read - u.cost_cache_write AS rest,
            -- The first kind of token that is there takes what the parts leave over; 5: there are no tokens.
            multiIf(uncached > 0, 1, u.output > 0, 2, u.cache_read > 0, 3, u.cache_write > 0, 4, 5) AS takes_rest,
            p.per_token AS per_token
        FROM usage AS u
        LEFT JOIN prices AS p ON u.day = p.day AND replaceOne(u.model, ' (stand-in)', '') = p.model
    ),
    metered AS
    (
        SELECT
            day, toDate(day + 1) AS until, false AS late, department, cost_centre, user, agent, tier, model,
            provider, kind, grade, cost_source, price_version, stand_in, calls,
            meter.1 AS nth,
            meter.2 AS meter_name,
            meter.3 AS meter_id,
            meter.4 AS quantity,
            meter.6 AS list_per_token,
            if(nth = takes_rest, rest, toDecimal128(0, 9)) AS unsplit,
            meter.5 + unsplit AS amount
        FROM priced
        ARRAY JOIN
            [
                (1, 'Input Tokens', 'input-tokens', uncached, cost_input, per_token.1),
                (2, 'Output Tokens', 'output-tokens', output, cost_output, per_token.2),
                (3, 'Cache Read Tokens', 'cache-read-tokens', cache_read, cost_cache_read, per_token.3),
                (4, 'Cache Write Tokens', 'cache-write-tokens', cache_write, cost_cache_write, per_token.4),
                (5, 'Requests', 'requests', calls, toDecimal128(0, 9), CAST(NULL, 'Nullable(Decimal(38, 15))'))
            ] AS meter
        WHERE (nth < 5 AND (quantity > 0 OR amount != 0)) OR (nth = 5 AND takes_rest = 5)
    ),
    -- Statement lines without days: as they were closed and have changed since, and corrections.
    booked AS
    (
        SELECT month, false AS late, department, cost_centre, user, tier, model, calls, input_tokens, output_tokens, cost_usd, unpriced, stand_in
        FROM closed_lines
        WHERE entry = 'close' AND month = asked AND has(changed, cityHash64(department, cost_centre, user, tier, model))
        UNION ALL
        SELECT month, true AS late, department, cost_centre, user, tier, model, calls, input_tokens, output_tokens, cost_usd, unpriced, stand_in
        FROM closed_lines
        WHERE entry = 'correction' AND booked_month = asked
        UNION ALL
        SELECT month, true AS late, department, cost_centre, user, tier, model, calls, input_tokens, output_tokens, cost_usd, unpriced, stand_in
        FROM statement_corrections
        WHERE asked = arrayFirst(m -> NOT has(closed, m), arrayMap(n -> addMonths(month, n), range(1, length(closed) + 2)))
    ),
    (SELECT groupUniqArray(model) FROM booked) AS booked_models,
    all_metered AS
    (
        SELECT * FROM metered
        UNION ALL
        SELECT
            b.month AS day, toDate(addMonths(b.month, 1)) AS until, b.late AS late, b.department, b.cost_centre,
            b.user, '' AS agent, b.tier, b.model, ifNull(w.provider, '') AS provider, '' AS kind, '' AS grade,
            ifNull(w.cost_source, '') AS cost_source, '' AS price_version, b.stand_in, b.calls AS calls,
            if(b.input_tokens + b.output_tokens != 0, 6, 5) AS nth,
            if(nth = 6, 'Tokens', 'Requests') AS meter_name,
            if(nth = 6, 'tokens', 'requests') AS meter_id,
            b.input_tokens + b.output_tokens AS quantity,
            CAST(NULL, 'Nullable(Decimal(38, 15))') AS list_per_token,
            assumeNotNull(b.cost_usd) AS unsplit,
            unsplit AS amount
        FROM booked AS b
        LEFT JOIN
        (
            SELECT tier, model, min(provider) AS provider, min(cost_source) AS cost_source
            FROM charges
            WHERE notEmpty(booked_models) AND has(booked_models, model)
            GROUP BY tier, model
        ) AS w ON b.tier = w.tier AND b.model = w.model
        WHERE first_day = asked
            AND b.cost_usd IS NOT NULL
            -- In a correction, which is a difference, no price counts as 0.
            AND NOT (b.late AND b.unpriced > 0 AND b.calls = b.unpriced AND b.cost_usd = 0)
            AND ({department:String} = '' OR b.department = {department:String})
            AND (b.cost_usd != 0 OR quantity != 0)
    ),
    rated AS
    (
        SELECT
            *,
            cost_source = 'local' AS own,
            nth != 5 AND quantity != 0 AS in_tokens,
            if(in_tokens, quantity, calls) AS consumed,
            -- Tokens are priced by the million, as the providers' price lists are.
            if(in_tokens, toDecimal128(quantity, 6) / 1000000, toDecimal128(calls, 6)) AS priced_quantity,
            if(priced_quantity = 0, NULL, toDecimal128(divideDecimal(toDecimal256(amount, 9), toDecimal256(if(priced_quantity = 0, 1, priced_quantity), 6), 15), 15)) AS charged_price,
            in_tokens AND list_per_token IS NOT NULL AS listed,
            if(listed, toDecimal128(assumeNotNull(list_per_token) * 1000000, 15), charged_price) AS list_price,
            if(listed, toDecimal128(toDecimal256(list_price, 15) * toDecimal256(priced_quantity, 6), 15), toDecimal128(amount, 15)) AS list_cost,
            multiIf(
                own, {organisation:String},
                transform(
                    lower(provider),
                    ['openai', 'anthropic', 'azure', 'azure_ai', 'bedrock', 'bedrock_converse', 'vertex_ai', 'gemini', 'mistral', 'groq', 'deepseek', 'xai', 'cohere', 'openrouter', 'together_ai', 'fireworks_ai'],
                    ['OpenAI', 'Anthropic', 'Microsoft', 'Microsoft', 'Amazon Web Services', 'Amazon Web Services', 'Google', 'Google', 'Mistral AI', 'Groq', 'DeepSeek', 'xAI', 'Cohere', 'OpenRouter', 'Together AI', 'Fireworks AI'],
                    if(provider = '', 'Unknown provider', provider)
                )
            ) AS provider_name,
            multiIf(
                own, {organisation:String},
                match(lower(model), '(^|[/.])(gpt-|chatgpt|o[0-9](-|$)|text-embedding|codex)'), 'OpenAI',
                match(lower(model), 'claude'), 'Anthropic',
                match(lower(model), 'gemini|gemma'), 'Google',
                match(lower(model), 'llama'), 'Meta',
                match(lower(model), 'mistral|mixtral|codestral|magistral'), 'Mistral AI',
                match(lower(model), 'qwen'), 'Alibaba Cloud',
                match(lower(model), 'deepseek'), 'DeepSeek',
                match(lower(model), 'grok'), 'xAI',
                provider_name
            ) AS publisher,
            concat(if(provider = '', 'unknown', provider), '/', model, ':', if(in_tokens, meter_id, 'requests')) AS sku,
            concat('sovereign-tier/', toString(day), '/', toString(until)) AS pool,
            -- Shares of a day's sovereign tier are cut from one running sum, so that they add up to exactly 1.
            if(sum(amount) OVER day_of_pool != 0, toDecimal256(abs(amount), 9), toDecimal256(abs(consumed), 9)) AS weight
        FROM all_metered
        WINDOW day_of_pool AS (PARTITION BY own, late, until, day)
    ),
    shared AS
    (
        SELECT
            *,
            sum(weight) OVER (PARTITION BY own, late, until, day ORDER BY department, cost_centre, user, agent, model, provider, kind, grade, tier, price_version, stand_in, nth ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS upto,
            sum(weight) OVER (PARTITION BY own, late, until, day) AS whole
        FROM rated
    )
SELECT
    toDecimal128(amount, 9) AS BilledCost,
    toDecimal128(amount, 9) AS EffectiveCost,
    ifNull(list_cost, toDecimal128(amount, 15)) AS ListCost,
    toDecimal128(amount, 9) AS ContractedCost,
    if(late, NULL, list_price) AS ListUnitPrice,
    if(late, NULL, charged_price) AS ContractedUnitPrice,
    'USD' AS BillingCurrency,
    'credits' AS PricingCurrency,
    toDecimal128(divideDecimal(toDecimal256(amount, 9), toDecimal256({usd_per_credit:Decimal(38, 9)}, 9), 12), 12) AS PricingCurrencyEffectiveCost,
    if(late, NULL, toDecimal128(divideDecimal(toDecimal256(list_price, 15), toDecimal256({usd_per_credit:Decimal(38, 9)}, 9), 12), 12)) AS PricingCurrencyListUnitPrice,
    if(late, NULL, toDecimal128(divideDecimal(toDecimal256(charged_price, 15), toDecimal256({usd_per_credit:Decimal(38, 9)}, 9), 12), 12)) AS PricingCurrencyContractedUnitPrice,
    {organisation:String} AS BillingAccountId,
    {organisation:String} AS BillingAccountName,
    'Organisation' AS BillingAccountType,
    toDateTime(asked, 'UTC') AS BillingPeriodStart,
    toDateTime(addMonths(asked, 1), 'UTC') AS BillingPeriodEnd,
    toDateTime(day, 'UTC') AS ChargePeriodStart,
    toDateTime(until, 'UTC') AS ChargePeriodEnd,
    'Usage' AS ChargeCategory,
    if(late, CAST('Correction', 'Nullable(String)'), NULL) AS ChargeClass,
    concat(
        model, ', ', lower(if(in_tokens, meter_name, 'Requests')),
        transform(toString(kind), ['', 'inference', 'grading', 'summary', 'failed_attempt'], ['', ', answers', ', gradings', ', summaries', ', failed attempts'], concat(', ', kind)),
        if(tier = '', '', concat(', ', tier, ' tier')),
        if(late, concat(', came after ', formatDateTime(day, '%Y-%m'), ' was closed'), '')
    ) AS ChargeDescription,
    'Usage-Based' AS ChargeFrequency,
    toDecimal128(consumed, 3) AS ConsumedQuantity,
    if(in_tokens, 'Tokens', 'Requests') AS ConsumedUnit,
    priced_quantity AS PricingQuantity,
    if(in_tokens, '1000000 Tokens', 'Requests') AS PricingUnit,
    'Standard' AS PricingCategory,
    CAST(NULL, 'Nullable(String)') AS InvoiceId,
    provider_name AS InvoiceIssuerName,
    provider_name AS ProviderName,
    publisher AS PublisherName,
    provider_name AS ServiceProviderName,
    provider_name AS HostProviderName,
    'AI and Machine Learning' AS ServiceCategory,
    if(own, concat(provider_name, ' sovereign tier'), concat(provider_name, ' API')) AS ServiceName,
    'Generative AI' AS ServiceSubcategory,
    sku AS SkuId,
    if(in_tokens, meter_name, 'Requests') AS SkuMeter,
    replaceAll(toJSONString(mapFilter(
        (k, v) -> v != '',
        map('x_Model', toString(model), 'x_Tier', toString(tier), 'x_PriceVersion', toString(price_version))
    )), '\\/', '/') AS SkuPriceDetails,
    concat(sku, '@', if(price_version = '', 'as-charged', price_version)) AS SkuPriceId,
    nullIf(toString(department), '') AS SubAccountId,
    nullIf(toString(department), '') AS SubAccountName,
    if(department = '', CAST(NULL, 'Nullable(String)'), 'Department') AS SubAccountType,
    replaceAll(toJSONString(mapFilter(
        (k, v) -> v != '',
        map(
            'cost_centre', toString(cost_centre),
            'user', toString(user),
            'agent', toString(agent),
            'farthing/tier', toString(tier),
            'farthing/grade', toString(grade),
            'farthing/charge_kind', toString(kind),
            'farthing/stand_in', if(stand_in, 'true', '')
        )
    )), '\\/', '/') AS Tags,
    if(own, CAST(pool, 'Nullable(String)'), NULL) AS ResourceId,
    if(own, CAST('Sovereign tier', 'Nullable(String)'), NULL) AS ResourceName,
    if(own, CAST('Shared inference hardware', 'Nullable(String)'), NULL) AS ResourceType,
    CAST(NULL, 'Nullable(String)') AS AvailabilityZone,
    CAST(NULL, 'Nullable(String)') AS CapacityReservationId,
    CAST(NULL, 'Nullable(String)') AS CapacityReservationStatus,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountCategory,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountId,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountName,
    CAST(NULL, 'Nullable(Decimal(38, 9))') AS CommitmentDiscountQuantity,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountStatus,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountType,
    CAST(NULL, 'Nullable(String)') AS CommitmentDiscountUnit,
    CAST(NULL, 'Nullable(String)') AS RegionId,
    CAST(NULL, 'Nullable(String)') AS RegionName,
    CAST(NULL, 'Nullable(String)') AS ContractApplied,
    if(own, CAST('farthing-sovereign-tier-by-charge', 'Nullable(String)'), NULL) AS AllocatedMethodId,
    if(
        own,
        CAST(concat(
            '{"Elements":[{"AllocatedRatio":',
            toString(toDecimal128(divideDecimal(upto, whole, 12) - divideDecimal(upto - weight, whole, 12), 12)),
            ',"UsageUnit":"', if(in_tokens, 'Tokens', 'Requests'), '","UsageQuantity":', toString(consumed), '}]}'
        ), 'Nullable(String)'),
        NULL
    ) AS AllocatedMethodDetails,
    if(own, CAST(if(department = '', 'unallocated', toString(department)), 'Nullable(String)'), NULL) AS AllocatedResourceId,
    if(own, CAST(if(department = '', 'unallocated', toString(department)), 'Nullable(String)'), NULL) AS AllocatedResourceName,
    CAST(NULL, 'Nullable(String)') AS AllocatedTags,
    if(listed, 'price book', 'as charged') AS x_ListPriceSource,
    nullIf(unsplit, 0) AS x_UnsplitCost,
    if(has(closed, asked), CAST(formatDateTime(asked, '%Y-%m'), 'Nullable(String)'), NULL) AS x_StatementMonth
FROM shared
ORDER BY late, day, until, department, cost_centre, user, agent, model, provider, kind, grade, tier, price_version, stand_in, nth, late
