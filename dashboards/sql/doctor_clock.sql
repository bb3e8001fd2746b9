-- Whose clock is wrong? One row for each gateway process whose times cannot be true.
--
-- Parameters: {since:Date}, the first UTC day looked at; {tolerance_s:Float64}, seconds of difference that are
-- no matter.
--
--   gateway_instance  the gateway process
--   charges           its charges
--   ahead             those that started later than it is now, by the ledger's clock
--   ahead_s           by how many seconds, at most
--   backwards         those that ended before they started, or at the same moment
--   stepped_back_s    by how many seconds, at most, a charge ended before one with a smaller number
SELECT
    gateway_instance,
    count() AS charges,
    countIf(early_s > {tolerance_s:Float64}) AS ahead,
    max(early_s) AS ahead_s,
    countIf(ended <= started) AS backwards,
    max(back_s) AS stepped_back_s
FROM
(
    SELECT
        gateway_instance,
        started,
        ended,
        dateDiff('millisecond', now64(3), started) / 1000 AS early_s,
        dateDiff(
            'millisecond',
            ended,
            max(ended) OVER (PARTITION BY gateway_instance ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        ) / 1000 AS back_s
    FROM charges_final
    WHERE day >= {since:Date}
)
GROUP BY gateway_instance
HAVING ahead > 0 OR backwards > 0 OR stepped_back_s > {tolerance_s:Float64}
ORDER BY ahead DESC, backwards DESC, gateway_instance
