-- Is the ledger whole, and does it count each charge once?
--
-- One row over all charges.
--
-- Columns:
--   charges       charges in the ledger, each counted once
--   cost_usd      what they cost together: must equal the sum of the settled credits, to the nano-dollar
--   settled_usd   what was taken from balances for them, as each charge says
--   baseline_usd  what the answers would have cost at the baseline model
--   savings_usd   baseline less everything spent, as in the statement
--   unpriced      charges without a price (in no sum)
--   deliveries    charge spans received: more than `charges` if some came twice, which is harmless
--   duplicates    deliveries that repeated a charge already received
--   conflicts     charge ids that came with different amounts: should be 0
--   missing       charge spans received that have no charge: should be 0
--   gaps          charges a gateway numbered that never arrived: should be 0 once outboxes are empty. Each
--                 gateway process numbers its charges from 1
SELECT
    charged.charges AS charges,
    charged.cost_usd AS cost_usd,
    charged.settled_usd AS settled_usd,
    charged.baseline_usd AS baseline_usd,
    charged.savings_usd AS savings_usd,
    charged.unpriced AS unpriced,
    delivered.deliveries AS deliveries,
    delivered.deliveries - delivered.ids AS duplicates,
    delivered.conflicts AS conflicts,
    delivered.missing AS missing,
    numbered.gaps AS gaps
FROM
(
    SELECT
        sum(d.calls) AS charges,
        sum(d.cost_usd) AS cost_usd,
        sum(d.settled_usd) AS settled_usd,
        sum(d.baseline_usd) AS baseline_usd,
        sum(d.savings_usd) AS savings_usd,
        sum(d.unpriced) AS unpriced
    FROM charges_daily AS d
) AS charged
CROSS JOIN
(
    SELECT
        sum(times) AS deliveries,
        count() AS ids,
        countIf(amounts > 1) AS conflicts,
        countIf(id NOT IN (SELECT id FROM charges)) AS missing
    FROM
    (
        SELECT
            SpanAttributes['farthing.charge.id'] AS id,
            count() AS times,
            uniqExact(
                toDate(Timestamp, 'UTC'),
                SpanAttributes['farthing.cost.total'],
                SpanAttributes['farthing.credits.settled']
            ) AS amounts
        FROM otel_traces
        WHERE id != ''
        GROUP BY id
    )
) AS delivered
CROSS JOIN
(
    SELECT sum(last - seen) AS gaps
    FROM
    (
        SELECT
            max(sequence) AS last,
            uniqExact(sequence) AS seen
        FROM charges
        WHERE gateway_instance != '' AND sequence > 0
        GROUP BY gateway_instance
    )
) AS numbered
