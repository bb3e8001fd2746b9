-- What grade did each answered call of a time get, and which model answered it?
--
-- The newest first: what `farthing audit` reads. Charges hold no prompts.
--
-- Parameters:
--   {since:DateTime64(3, 'UTC')}  calls begun from then on
--   {last:UInt64}                 only the newest so many of them
--
-- Columns:
--   kind                inference: others are counted in other_usd
--   id                  the charge's id
--   started             when the call began, in UTC
--   intent              a digest of the ask, shared by calls that ask the same
--   grade               LOW, MEDIUM or HIGH
--   grade_score         how hard the task is, 0 to 1
--   grade_source        cache, learned, judge or rule
--   tier                local, fast or strong
--   model               the model that answered
--   provider            who is paid for it
--   stand_in            true if a small local model answered under the model's name
--   climbed_from        the tier whose answer was not good enough
--   input_tokens        tokens sent to the model
--   output_tokens       tokens it wrote
--   cache_read_tokens   of the input: read from a cache
--   cache_write_tokens  of the input: written to a cache
--   cache_write_1h_tokens  of those: to a cache of one hour
--   reasoning_tokens    of the output: not shown
--   usage_estimated     true if the tokens were counted here, not by the provider
--   cost_usd            what it cost; NULL: it has no price
--   other_usd           what gradings, summaries and failed attempts of that time cost: the same on every row,
--                       as are the next four
--   local_answered      calls that the local tier answered at the first go
--   local_climbed       calls that it failed and another tier answered
--   fast_answered       calls that the fast tier answered at the first go
--   fast_climbed        calls that it failed and another tier answered
SELECT *
FROM
(
    SELECT
        kind,
        id,
        started,
        intent,
        grade,
        grade_score,
        grade_source,
        tier,
        model,
        provider,
        stand_in,
        climbed_from,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        cache_write_1h_tokens,
        reasoning_tokens,
        usage_estimated,
        cost_total AS cost_usd,
        sumIf(cost_total, kind != 'inference') OVER () AS other_usd,
        countIf(kind = 'inference' AND tier = 'local' AND climbed_from = '') OVER () AS local_answered,
        countIf(kind = 'inference' AND climbed_from = 'local') OVER () AS local_climbed,
        countIf(kind = 'inference' AND tier = 'fast' AND climbed_from = '') OVER () AS fast_answered,
        countIf(kind = 'inference' AND climbed_from = 'fast') OVER () AS fast_climbed
    FROM charges_final
    WHERE day >= toDate({since:DateTime64(3, 'UTC')})
        AND started >= {since:DateTime64(3, 'UTC')}
        AND started >=
        (
            SELECT min(started)
            FROM
            (
                SELECT started
                FROM charges_final
                WHERE kind = 'inference'
                    AND day >= toDate({since:DateTime64(3, 'UTC')})
                    AND started >= {since:DateTime64(3, 'UTC')}
                ORDER BY started DESC
                LIMIT {last:UInt64}
            )
        )
)
WHERE kind = 'inference'
ORDER BY started DESC, id
LIMIT {last:UInt64}
