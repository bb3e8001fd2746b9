-- What can finance not bill as it stands: no department, no cost centre, no price, no baseline?
--
-- A line may be here for more than one reason, and is then listed under each.
--
-- Parameters:
--   {month:String}       the UTC month as YYYY-MM, for example 2026-11
--   {department:String}  this department alone; empty: all
--
-- Columns:
--   reason       why it is here
--   what_to_do   what settles it
--   department   who is charged
--   cost_centre  the department's finance code
--   user         who asked
--   model        the model that answered
--   provider     who is paid for it
--   calls        how many calls
--   cost_usd     what the line's calls cost; for `no price` NULL: it is not known
--   first_day    the first of their days
--   last_day     the last of them
--
-- Left out: nothing; what is here is every charge of the month as it is known now.
SELECT
    problem.1 AS reason,
    transform(
        reason,
        ['no department', 'gateway', 'no cost centre', 'no price', 'no baseline', 'stand-in'],
        [
            'give the key a department in farthing.yaml, or in LiteLLM a team',
            'calls that no key asked for, such as health checks: bill them as overhead',
            'give the key a cost_centre in farthing.yaml',
            'add the model to cost.prices, so that its next calls have a price',
            'give cost.baseline_model a price, so that savings are known',
            'set the provider''s key: a small local model answers under the model''s name'
        ],
        ''
    ) AS what_to_do,
    department,
    cost_centre,
    user,
    model,
    provider,
    sum(problem.2) AS calls,
    if(reason = 'no price', NULL, coalesce(sum(d.cost_usd), 0)) AS cost_usd,
    min(day) AS first_day,
    max(day) AS last_day
FROM
(
    SELECT
        *,
        arrayJoin(arrayFilter(
            one -> one.2 > 0,
            [
                ('no department', if(department = '', calls, 0)),
                ('gateway', if(department = 'gateway', calls, 0)),
                ('no cost centre', if(cost_centre = '' AND department NOT IN ('', 'gateway'), calls, 0)),
                ('no price', unpriced),
                ('no baseline', without_baseline),
                ('stand-in', if(stand_in, calls, 0))
            ]
        )) AS problem
    FROM charges_daily
    WHERE day >= toDate(concat({month:String}, '-01'))
        AND day < addMonths(toDate(concat({month:String}, '-01')), 1)
        AND ({department:String} = '' OR department = {department:String})
) AS d
GROUP BY reason, department, cost_centre, user, model, provider
ORDER BY
    indexOf(['no department', 'gateway', 'no cost centre', 'no price', 'no baseline', 'stand-in'], reason),
    calls DESC, department, user, model, cost_centre, provider
