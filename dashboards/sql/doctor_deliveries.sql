-- Did every charge arrive, as one and the same? One row over the charge spans received.
--
-- Parameters: {since:Date}, the first UTC day looked at; {most:UInt32}, ids named at most.
--
--   deliveries    charge spans received, repeats included
--   charges       different charges among them
--   conflicts     charges that came with different amounts: the ledger keeps one of them, and cannot know which
--   doubled       charges that came with different start days: each day counts the charge, so it is billed twice
--   missing       charges received that are not in the table of charges
--   conflict_ids, doubled_ids, missing_ids  some of each, by name
SELECT
    sum(times) AS deliveries,
    count() AS charges,
    countIf(amounts > 1) AS conflicts,
    countIf(days > 1) AS doubled,
    countIf(absent) AS missing,
    arraySlice(arraySort(groupArrayIf(id, amounts > 1)), 1, {most:UInt32}) AS conflict_ids,
    arraySlice(arraySort(groupArrayIf(id, days > 1)), 1, {most:UInt32}) AS doubled_ids,
    arraySlice(arraySort(groupArrayIf(id, absent)), 1, {most:UInt32}) AS missing_ids
FROM
(
    SELECT
        SpanAttributes['farthing.charge.id'] AS id,
        count() AS times,
        uniqExact(toDate(Timestamp, 'UTC')) AS days,
        uniqExact(SpanAttributes['farthing.cost.total'], SpanAttributes['farthing.credits.settled']) AS amounts,
        id NOT IN (SELECT c.id FROM charges AS c WHERE c.day >= {since:Date}) AS absent
    FROM otel_traces
    WHERE Timestamp >= toDateTime64({since:Date}, 9, 'UTC') AND id != ''
    GROUP BY id
)
