-- Every span of one trace, in the order they began, each once even if it was delivered twice.
--
-- Parameter: {trace_id:String}, 32 hex digits.
-- offset_ns and duration_ns are nanoseconds; offset_ns counts from the trace's first span.
SELECT
    toUnixTimestamp64Nano(Timestamp)
        - min(toUnixTimestamp64Nano(Timestamp)) OVER () AS offset_ns,
    Duration AS duration_ns,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id,
    ServiceName AS service,
    SpanName AS name,
    SpanKind AS kind,
    StatusCode AS status,
    StatusMessage AS status_message,
    SpanAttributes AS attributes,
    Events.Name AS events
FROM
(
    SELECT *
    FROM otel_traces
    WHERE TraceId = {trace_id:String}
        -- The look-up table keeps whole seconds, so the end is taken one second later.
        AND Timestamp >= (SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = {trace_id:String})
        AND Timestamp <= (SELECT max(End) + 1 FROM otel_traces_trace_id_ts WHERE TraceId = {trace_id:String})
    ORDER BY Timestamp
    LIMIT 1 BY SpanId
)
ORDER BY offset_ns, parent_span_id != '', span_id
