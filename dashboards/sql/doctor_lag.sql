-- How fresh is the ledger? One row.
--
-- Parameter: {since:Date}, the first UTC day looked at.
--
--   charges   charges since then, repeats that are not merged yet included
--   newest    when the newest call ended (NULL: there is none)
--   age_s     seconds since then, by the ledger's clock
SELECT
    count() AS charges,
    if(charges = 0, NULL, max(ended)) AS newest,
    if(charges = 0, NULL, dateDiff('second', newest, now64(3))) AS age_s
FROM charges
WHERE day >= {since:Date}
