-- The statement of one month, as finance reads it.
--
-- Parameter: {month:String}, the UTC month as YYYY-MM, for example 2026-11.
--
-- One line for each department, cost centre, user, tier and model:
--   calls          model calls, of every kind: answers, gradings, summaries and failed attempts
--   input_tokens   tokens sent to the model; cached_tokens are the part of them read from a cache
--   output_tokens  tokens the model wrote
--   cost_usd       what the calls cost. NULL: none of them has a price
--   baseline_usd   what the answers would have cost at the baseline model
--   savings_usd    baseline less everything spent, gradings and failed attempts included.
--                  NULL: not known, because prices are missing
--   unpriced       calls without a price: in no amount of this line, so an amount beside them is too low
--   without_baseline  calls with a price but no baseline: in cost_usd, not in baseline_usd or savings_usd
--   stand_in       true if a small local model answered under the model's name (a demo without keys)
--
-- Not in here: the fixed cost of own hardware. The local tier's calls carry only their price per token.
SELECT
    department,
    cost_centre,
    user,
    tier,
    model,
    calls,
    input_tokens,
    output_tokens,
    cached_tokens,
    cost_usd,
    baseline_usd,
    savings_usd,
    unpriced,
    without_baseline,
    stand_in
FROM statement_lines
WHERE month = toDate(concat({month:String}, '-01'))
ORDER BY department, cost_centre, user, tier, model
