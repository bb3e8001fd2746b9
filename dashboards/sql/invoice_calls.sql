-- Which calls did the ledger charge on a day for a model of a provider?
--
-- Parameters:
--   {day:Date}         the day, in UTC
--   {model:String}     the model's plain name, as invoice_variance shows it
--   {provider:String}  who bills; empty: any
--   {limit:UInt32}     at most so many calls, the most expensive first
--
-- Columns, one line for each call:
--   id                  of the charge
--   started             when the call began
--   department          who is charged
--   user                who asked
--   kind                inference, grading, summary or failed_attempt
--   outcome             ok, cancelled or failed
--   model               as it answered
--   input_tokens        the whole input, cached tokens included
--   output_tokens       tokens the model wrote
--   cache_read_tokens   of the input: read from a cache
--   cache_write_tokens  of the input: written to one
--   cost_usd            what was charged. NULL: the call has no price
--   usage_estimated     true: Farthing counted the tokens itself
--   price_version       the prices that were used
--   trace_id            for `farthing trace`
--
-- Left out: own hardware and stand-ins, which nobody bills by token.
WITH m -> replaceRegexpOne(replaceRegexpOne(lower(m), '^.*/', ''), '[-@](20[0-9]{2}-[0-9]{2}-[0-9]{2}|20[0-9]{6}|latest)$', '') AS plain
SELECT
    id,
    started,
    department,
    user,
    kind,
    outcome,
    model,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_write_tokens,
    cost_total AS cost_usd,
    usage_estimated,
    price_version,
    trace_id
FROM charges_final
WHERE day = {day:Date}
    AND ({provider:String} = '' OR provider = {provider:String})
    AND NOT stand_in AND tier != 'local'
    AND plain(toString(model)) = {model:String}
ORDER BY cost_usd DESC NULLS FIRST, started, id
LIMIT {limit:UInt32}
