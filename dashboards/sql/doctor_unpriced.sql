-- Which models have no price? One row for each, the most used first.
--
-- Their calls are in no amount of any statement. A price set now counts from the next call on.
--
-- Parameter: {since:Date}, the first UTC day looked at.
--
--   model          as it answered
--   provider       who sells it
--   calls          charges without a price
--   input_tokens, output_tokens  what they used
--   last           when the latest of them ended
SELECT
    model,
    any(provider) AS provider,
    count() AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    max(ended) AS last
FROM charges_final
WHERE day >= {since:Date} AND cost_total IS NULL
GROUP BY model
ORDER BY calls DESC, model
