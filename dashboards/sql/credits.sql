-- How did each account's credits come from the month's opening balance to its closing balance?
--
-- opening + granted + adjusted - settled - expired = closing, for every account.
--
-- Parameters:
--   {month:String}       the month as YYYY-MM, as credits.time_zone has it
--   {department:String}  accounts of this department alone; empty: all
--
-- Columns:
--   account          the account's id
--   kind             organisation, department, user or key
--   department       whose it is
--   opening_usd      what was there when the month began
--   granted_usd      what was given during the month
--   adjusted_usd     what was corrected by hand
--   settled_usd      what calls cost, as it was taken from the balance
--   expired_usd      what lapsed because nobody spent it in time
--   closing_usd      what is left at the end
--   overdraft_usd    of what was settled: beyond the balance
--   unexplained_usd  what the line does not explain: should be 0
--   carried_usd      opening less the month before's closing: should be 0; NULL if that is not known
--
-- Left out: accounts without a limit, which have no balance; what came into the credit store after the last
-- `farthing ledger sync`.
SELECT
    r.account AS account,
    r.kind AS kind,
    r.department AS department,
    r.opening AS opening_usd,
    r.granted AS granted_usd,
    r.adjusted AS adjusted_usd,
    r.settled AS settled_usd,
    r.expired AS expired_usd,
    r.closing AS closing_usd,
    r.overdraft AS overdraft_usd,
    r.opening + r.granted + r.adjusted - r.settled - r.expired - r.closing AS unexplained_usd,
    if(p.known, r.opening - p.closing, NULL) AS carried_usd
FROM
(
    SELECT *
    FROM credit_roll_forward FINAL
    WHERE month = toDate(concat({month:String}, '-01'))
        AND ({department:String} = '' OR department = {department:String})
) AS r
LEFT JOIN
(
    SELECT
        account,
        closing,
        true AS known
    FROM credit_roll_forward FINAL
    WHERE month = addMonths(toDate(concat({month:String}, '-01')), -1)
) AS p ON p.account = r.account
ORDER BY indexOf(['organisation', 'department', 'user', 'key'], kind), department, account
