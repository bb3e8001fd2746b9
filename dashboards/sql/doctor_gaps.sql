-- Which charges did a gateway number that never arrived? One row for each run of missing numbers, newest first.
--
-- Each gateway process numbers its charges 1, 2, 3 … under an instance name of its own, so a hole in the
-- numbers is a charge that was made and is not here (yet: the newest may still be under way). A charge missing
-- behind the last number that arrived shows no hole; `farthing doctor` finds those in the outbox.
--
-- Parameters: {since:Date}, the first UTC day looked at; {most:UInt32}, rows at most.
--
--   gateway_instance  the gateway process
--   first, last       the missing numbers, both included
--   missing           how many they are
--   before, after     when the calls on either side of the hole ended (before: NULL at the very beginning)
--   holes, in_all     holes and missing charges altogether, also of the rows left out
SELECT
    gateway_instance,
    toUInt64(previous + 1) AS first,
    toUInt64(sequence - 1) AS last,
    toUInt64(sequence - previous - 1) AS missing,
    if(previous = 0, NULL, ended_before) AS before,
    ended AS after,
    count() OVER () AS holes,
    sum(missing) OVER () AS in_all
FROM
(
    SELECT
        gateway_instance,
        sequence,
        ended,
        lagInFrame(sequence, 1, 0) OVER numbered AS previous,
        lagInFrame(ended, 1) OVER numbered AS ended_before
    FROM
    (
        SELECT
            gateway_instance,
            sequence,
            max(ended) AS ended
        FROM charges
        WHERE day >= {since:Date} AND gateway_instance != '' AND sequence > 0
        GROUP BY gateway_instance, sequence
    )
    WINDOW numbered AS (PARTITION BY gateway_instance ORDER BY sequence ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
WHERE sequence > previous + 1
    AND NOT (previous = 0 AND gateway_instance IN (SELECT gateway_instance FROM charges WHERE day < {since:Date}))
ORDER BY after DESC, gateway_instance, first
LIMIT {most:UInt32}
