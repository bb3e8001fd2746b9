-- What the providers say: the lines of their usage and cost exports, by day. amount_usd is NULL where an
-- export tells tokens and no money. A file imported again replaces its own lines: read with FINAL.

CREATE TABLE IF NOT EXISTS provider_invoices
(
    provider LowCardinality(String),
    day Date,
    model LowCardinality(String),
    line String,
    project String,
    input_tokens UInt64,
    output_tokens UInt64,
    cache_read_tokens UInt64,
    cache_write_tokens UInt64,
    requests UInt64,
    amount_usd Nullable(Decimal(18, 9)),
    currency LowCardinality(String),
    source_file String,
    source_sha256 String,
    imported_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(imported_at)
ORDER BY (provider, day, model, line, project);
