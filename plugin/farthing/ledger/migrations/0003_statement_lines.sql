-- What a statement reads: one line for each month, department, cost centre, user, tier and model.
--
-- A charge's saving is its baseline less its cost. Failed attempts, gradings and summaries answered
-- nobody, so they have no baseline: all of their cost counts against the savings. Where a price is
-- missing the saving is not known, and the charge is left out of baseline and savings and counted in
-- `unpriced` (cost not known) or `without_baseline` (cost known, baseline not).
-- Sums of Decimal(18, 9) are Decimal(38, 9): exact.

CREATE VIEW IF NOT EXISTS statement_lines AS
SELECT
    toStartOfMonth(c.day) AS month,
    c.department AS department,
    c.cost_centre AS cost_centre,
    c.user AS user,
    c.tier AS tier,
    c.model AS model,
    count() AS calls,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cache_read_tokens) AS cached_tokens,
    sum(c.cost_total) AS cost_usd,
    sumIf(c.baseline_cost, c.kind = 'inference' AND c.cost_total IS NOT NULL) AS baseline_usd,
    sum(if(c.kind = 'inference', c.baseline_cost - c.cost_total, -c.cost_total)) AS savings_usd,
    countIf(c.cost_total IS NULL) AS unpriced,
    countIf(c.kind = 'inference' AND c.cost_total IS NOT NULL AND c.baseline_cost IS NULL) AS without_baseline,
    max(c.stand_in) AS stand_in
FROM charges_final AS c
GROUP BY month, department, cost_centre, user, tier, model;
