-- Closed months. Closing a month freezes its lines; what arrives later is booked as corrections in the month
-- that is closed next, so that no statement changes once it was handed out.
--
-- A closing writes its lines under a number of its own, then one row in closings for each month that it
-- looked at, with the count of arrivals it saw there. Lines without that row are of a closing that broke off,
-- and are never read; of two closings of one month, the first counts.

CREATE TABLE IF NOT EXISTS closings
(
    booked_month Date,
    closing UInt128,
    month Date,
    arrivals UInt64,
    closed_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (booked_month, closing, month);

CREATE TABLE IF NOT EXISTS closing_lines
(
    booked_month Date,
    closing UInt128,
    month Date,
    entry LowCardinality(String),
    closed_at DateTime64(3, 'UTC'),
    department LowCardinality(String),
    cost_centre LowCardinality(String),
    user LowCardinality(String),
    tier LowCardinality(String),
    model LowCardinality(String),
    calls Int64,
    input_tokens Int64,
    output_tokens Int64,
    cached_tokens Int64,
    cost_usd Nullable(Decimal(38, 9)),
    baseline_usd Nullable(Decimal(38, 9)),
    savings_usd Nullable(Decimal(38, 9)),
    unpriced Int64,
    without_baseline Int64,
    stand_in Bool
)
ENGINE = MergeTree
ORDER BY (booked_month, closing, month, department, cost_centre, user, tier, model);

-- The months of the closings that count, and the arrivals of each seen when it was last looked at.
CREATE OR REPLACE VIEW closings_in_force AS
SELECT
    c.month AS month,
    argMax(c.arrivals, c.closing) AS arrivals,
    minIf(c.closed_at, c.booked_month = c.month) AS closed_at
FROM closings AS c
WHERE (c.booked_month, c.closing) IN
(
    SELECT
        f.booked_month,
        min(f.closing)
    FROM closings AS f
    GROUP BY f.booked_month
)
GROUP BY c.month;

CREATE OR REPLACE VIEW closed_months AS
SELECT
    month,
    closed_at
FROM closings_in_force;

-- The statement lines of closed months, for ever: `month` is whose usage it is, `booked_month` whose statement
-- shows it. entry: close, the month's own lines; correction, what a closed month got later (or lost).
CREATE OR REPLACE VIEW closed_lines AS
SELECT
    l.month AS month,
    l.booked_month AS booked_month,
    l.entry AS entry,
    l.closed_at AS closed_at,
    l.department AS department,
    l.cost_centre AS cost_centre,
    l.user AS user,
    l.tier AS tier,
    l.model AS model,
    l.calls AS calls,
    l.input_tokens AS input_tokens,
    l.output_tokens AS output_tokens,
    l.cached_tokens AS cached_tokens,
    l.cost_usd AS cost_usd,
    l.baseline_usd AS baseline_usd,
    l.savings_usd AS savings_usd,
    l.unpriced AS unpriced,
    l.without_baseline AS without_baseline,
    l.stand_in AS stand_in
FROM closing_lines AS l
WHERE (l.booked_month, l.closing) IN
(
    SELECT
        f.booked_month,
        min(f.closing)
    FROM closings AS f
    GROUP BY f.booked_month
);

-- Closed months that had arrivals since they were last looked at.
CREATE OR REPLACE VIEW months_to_correct AS
SELECT m.month AS month
FROM closings_in_force AS m
LEFT JOIN
(
    SELECT
        toStartOfMonth(a.day) AS month,
        sum(a.arrivals) AS arrivals
    FROM charge_arrivals AS a
    GROUP BY month
) AS n ON m.month = n.month
WHERE m.arrivals != n.arrivals;

-- What closed months got since they were last booked: not yet in any closed statement. Only months with
-- arrivals since then are looked at.
CREATE OR REPLACE VIEW statement_corrections AS
SELECT
    b.month AS month,
    b.department AS department,
    b.cost_centre AS cost_centre,
    b.user AS user,
    b.tier AS tier,
    b.model AS model,
    sum(b.calls) AS calls,
    sum(b.input_tokens) AS input_tokens,
    sum(b.output_tokens) AS output_tokens,
    sum(b.cached_tokens) AS cached_tokens,
    sum(b.cost_usd) AS cost_usd,
    sum(b.baseline_usd) AS baseline_usd,
    sum(b.savings_usd) AS savings_usd,
    sum(b.unpriced) AS unpriced,
    sum(b.without_baseline) AS without_baseline,
    max(b.stand_in) AS stand_in
FROM
(
    SELECT
        s.month AS month,
        s.department AS department,
        s.cost_centre AS cost_centre,
        s.user AS user,
        s.tier AS tier,
        s.model AS model,
        toInt64(s.calls) AS calls,
        toInt64(s.input_tokens) AS input_tokens,
        toInt64(s.output_tokens) AS output_tokens,
        toInt64(s.cached_tokens) AS cached_tokens,
        coalesce(s.cost_usd, 0) AS cost_usd,
        coalesce(s.baseline_usd, 0) AS baseline_usd,
        coalesce(s.savings_usd, 0) AS savings_usd,
        toInt64(s.unpriced) AS unpriced,
        toInt64(s.without_baseline) AS without_baseline,
        s.stand_in AS stand_in
    FROM statement_lines AS s
    WHERE s.month IN (SELECT month FROM months_to_correct)
    UNION ALL
    SELECT
        l.month AS month,
        l.department AS department,
        l.cost_centre AS cost_centre,
        l.user AS user,
        l.tier AS tier,
        l.model AS model,
        -l.calls AS calls,
        -l.input_tokens AS input_tokens,
        -l.output_tokens AS output_tokens,
        -l.cached_tokens AS cached_tokens,
        -coalesce(l.cost_usd, 0) AS cost_usd,
        -coalesce(l.baseline_usd, 0) AS baseline_usd,
        -coalesce(l.savings_usd, 0) AS savings_usd,
        -l.unpriced AS unpriced,
        -l.without_baseline AS without_baseline,
        l.stand_in AS stand_in
    FROM closed_lines AS l
    WHERE l.month IN (SELECT month FROM months_to_correct)
) AS b
GROUP BY month, department, cost_centre, user, tier, model
HAVING calls != 0 OR input_tokens != 0 OR output_tokens != 0 OR cached_tokens != 0 OR cost_usd != 0
    OR baseline_usd != 0 OR savings_usd != 0 OR unpriced != 0 OR without_baseline != 0;
