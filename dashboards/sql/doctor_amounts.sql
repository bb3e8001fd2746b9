-- Are there amounts that no bill may hold? One row.
--
-- Parameter: {since:Date}, the first UTC day looked at.
--
--   refused      charges with an amount or a count that can only be wrong (NaN, below zero, too large, another
--                currency): it is in no sum, and where it is the cost, the charge counts as unpriced
--   attributes   which span attributes those are
--   uneven       charges whose cost is not the sum of its parts
--   unsettled    charges that took another amount from the balance than they cost
SELECT
    countIf(notEmpty(c.refused)) AS refused,
    arraySort(groupUniqArrayArray(c.refused)) AS attributes,
    countIf(cost_total != cost_input + cost_output + cost_cache_read + cost_cache_write) AS uneven,
    countIf(cost_total != settled) AS unsettled
FROM charges_final AS c
WHERE day >= {since:Date}
