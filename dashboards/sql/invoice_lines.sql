-- What does a provider's invoice say of a day and model, line by line?
--
-- Parameters:
--   {day:Date}         the day, in UTC
--   {model:String}     the model's plain name, as invoice_variance shows it; empty: lines that name none
--   {provider:String}  who bills; empty: any
--
-- Columns, one line for each of the invoice's:
--   provider            who bills
--   line                what the provider calls it
--   project             the provider's project or workspace
--   input_tokens        the whole input, cached tokens included
--   output_tokens       tokens the model wrote
--   cache_read_tokens   of the input: read from a cache
--   cache_write_tokens  of the input: written to one
--   requests            requests that the provider counts
--   amount_usd          what is billed. NULL: a line of usage, which tells no money
--   source_file         the file that it was imported from
--
-- Left out: nothing.
WITH m -> replaceRegexpOne(replaceRegexpOne(lower(m), '^.*/', ''), '[-@](20[0-9]{2}-[0-9]{2}-[0-9]{2}|20[0-9]{6}|latest)$', '') AS plain
SELECT
    provider,
    line,
    project,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_write_tokens,
    requests,
    amount_usd,
    source_file
FROM provider_invoices FINAL
WHERE day = {day:Date}
    AND ({provider:String} = '' OR provider = {provider:String})
    AND plain(toString(model)) = {model:String}
    AND (input_tokens + output_tokens + requests > 0 OR amount_usd != 0)
ORDER BY provider, line, project
