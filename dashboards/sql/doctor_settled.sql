-- What did all charges in the ledger take from the balances? One row.
--
--   settled_usd  their sum, over all months, in USD
SELECT sum(settled_usd) AS settled_usd
FROM charges_daily
