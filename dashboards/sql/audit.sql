-- Each answered call of a time, the newest first, with the grade it was given: what `farthing audit` reads.
--
-- Parameters: {since:DateTime64(3, 'UTC')}, calls begun from then on;
--             {last:UInt64}, only the newest so many of them.
--
-- Charges hold no prompts: `intent` is a digest, shared by calls that ask the same.
-- cost_usd is NULL if the call has no price. Beside each row, the same on every one, of all charges of that time:
--   other_usd                      what gradings, summaries and failed attempts cost
--   local_answered, fast_answered  calls that the tier answered at the first go
--   local_climbed, fast_climbed    calls that the tier failed and another answered
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
