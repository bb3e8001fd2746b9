-- What did these charges take from the balances, as far as they are in the ledger? One row.
--
-- Parameter: {ids:Array(String)}, the ids of charges that an outbox has not marked as delivered.
--
--   charges      how many of them are here all the same: the receiver took them, and its answer was lost
--   settled_usd  what they took from the balances
SELECT
    count() AS charges,
    sum(settled) AS settled_usd
FROM charges_final
WHERE id IN {ids:Array(String)}
