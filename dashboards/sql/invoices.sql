-- Does what the providers bill agree with what was charged, by day and model?
--
-- Models are compared by their plain names, without provider prefix and date: gpt-5-2025-08-07 is gpt-5.
--
-- Parameters:
--   {month:String}  the UTC month as YYYY-MM, for example 2026-11
--
-- Columns:
--   provider            who bills
--   day                 the day of the usage, in UTC
--   model               the plain name; empty: lines of the invoice that name no model
--   charged_calls       calls in the ledger
--   invoiced_requests   requests that the provider counts
--   charged_tokens      tokens in the ledger, in and out
--   invoiced_tokens     tokens that the provider counts
--   charged_usd         what the ledger charged for them
--   invoiced_usd        what the provider bills. NULL: its export tells no amounts
--   difference_usd      invoiced less charged; above 0: the provider bills more
--   difference_percent  as a share of what was charged, two decimals
--   verdict             agrees; tokens differ; amount differs (at equal tokens: another price);
--                       not charged (no call in the ledger); not invoiced; not imported (no invoice of this
--                       provider for the month)
--
-- Left out: own hardware, which nobody bills by token (models that only the local tier ran), and stand-ins.
-- Calls whose price is not known are in the counts and not in charged_usd.
WITH
    toDate(concat({month:String}, '-01')) AS asked,
    m -> replaceRegexpOne(replaceRegexpOne(lower(m), '^.*/', ''), '[-@](20[0-9]{2}-[0-9]{2}-[0-9]{2}|20[0-9]{6}|latest)$', '') AS plain,
    charged AS
    (
        SELECT
            true AS found,
            provider,
            day,
            plain(toString(d.model)) AS name,
            sum(d.calls) AS n,
            sum(d.input_tokens) + sum(d.output_tokens) AS tokens,
            coalesce(sum(d.cost_usd), 0) AS usd
        FROM charges_daily AS d
        WHERE day >= asked AND day < addMonths(asked, 1) AND NOT stand_in AND tier != 'local'
        GROUP BY provider, day, name
    ),
    invoiced AS
    (
        SELECT
            true AS found,
            provider,
            day,
            plain(toString(p.model)) AS name,
            sum(p.requests) AS n,
            sum(p.input_tokens) + sum(p.output_tokens) AS tokens,
            sum(p.amount_usd) AS usd
        FROM provider_invoices AS p FINAL
        WHERE day >= asked AND day < addMonths(asked, 1)
            -- A line that a later export no longer has is kept with nothing in it.
            AND (p.input_tokens + p.output_tokens + p.requests > 0 OR p.amount_usd != 0)
        GROUP BY provider, day, name
    )
SELECT
    assumeNotNull(if(coalesce(c.found, false), c.provider, i.provider)) AS provider,
    assumeNotNull(if(coalesce(c.found, false), c.day, i.day)) AS day,
    assumeNotNull(if(coalesce(c.found, false), c.name, i.name)) AS model,
    coalesce(c.n, 0) AS charged_calls,
    coalesce(i.n, 0) AS invoiced_requests,
    coalesce(c.tokens, 0) AS charged_tokens,
    coalesce(i.tokens, 0) AS invoiced_tokens,
    coalesce(c.usd, 0) AS charged_usd,
    i.usd AS invoiced_usd,
    invoiced_usd - charged_usd AS difference_usd,
    toDecimal128(difference_usd * 100 / nullIf(charged_usd, 0), 2) AS difference_percent,
    multiIf(
        provider NOT IN (SELECT provider FROM invoiced), 'not imported',
        NOT coalesce(i.found, false), 'not invoiced',
        NOT coalesce(c.found, false), 'not charged',
        charged_tokens != invoiced_tokens, 'tokens differ',
        difference_usd != 0, 'amount differs',
        'agrees'
    ) AS verdict
FROM charged AS c
FULL OUTER JOIN invoiced AS i ON c.provider = i.provider AND c.day = i.day AND c.name = i.name
ORDER BY provider, day, model
