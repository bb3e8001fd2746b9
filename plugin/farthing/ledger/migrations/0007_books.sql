-- What finance sets beside the charges: prices, hardware, budgets, and the credit accounts' months.
-- `farthing ledger sync` fills them; a row written again replaces the former one, so read them with FINAL.

-- What a token costs, in USD, from valid_from until valid_to (NULL: still). NULL prices are not known.
CREATE TABLE IF NOT EXISTS price_book
(
    model String,
    price_version LowCardinality(String),
    valid_from DateTime('UTC'),
    valid_to Nullable(DateTime('UTC')),
    input_usd Nullable(Decimal(38, 15)),
    output_usd Nullable(Decimal(38, 15)),
    cache_read_usd Nullable(Decimal(38, 15)),
    cache_write_usd Nullable(Decimal(38, 15)),
    source LowCardinality(String),
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (model, valid_from);

-- What a node of the sovereign tier costs in each hour, used or idle. method: rent or owned.
CREATE TABLE IF NOT EXISTS hardware_costs
(
    node String,
    tier LowCardinality(String),
    valid_from DateTime('UTC'),
    valid_to Nullable(DateTime('UTC')),
    usd_per_hour Decimal(18, 9),
    method LowCardinality(String),
    note String,
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (node, valid_from);

-- scope: organisation, department or user; name is empty for the organisation.
CREATE TABLE IF NOT EXISTS budgets
(
    month Date,
    scope LowCardinality(String),
    name String,
    amount_usd Decimal(18, 9),
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (month, scope, name);

-- How each limited account's month came to its closing balance, in USD:
-- opening + granted + adjusted - settled - expired = closing, as the credit store counts.
CREATE TABLE IF NOT EXISTS credit_roll_forward
(
    month Date,
    account String,
    kind LowCardinality(String),
    department String,
    opening Decimal(18, 9),
    granted Decimal(18, 9),
    adjusted Decimal(18, 9),
    settled Decimal(18, 9),
    expired Decimal(18, 9),
    overdraft Decimal(18, 9),
    closing Decimal(18, 9),
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (month, account);
