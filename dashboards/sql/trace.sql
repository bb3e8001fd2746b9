-- What happened in one trace, span by span?
--
-- In the order they began, each once even if it was delivered twice.
--
-- Parameters:
--   {trace_id:String}  32 hex digits
--
-- Columns:
--   offset_ns         when it began, in nanoseconds since the trace's first span
--   duration_ns       how long it took, in nanoseconds
--   span_id           16 hex digits
--   parent_span_id    the span it is part of; empty for the root
--   service           the process that made it
--   name              what was done
--   kind              Internal, Server, Client, Producer or Consumer
--   status            Unset, Ok or Error
--   status_message    what went wrong
--   attributes        the span's attributes
--   events            the names of its events
--   event_offsets     when each was, in nanoseconds since the trace's first span
--   event_attributes  the attributes of each
--   links             spans it has to do with: the id of each, and what it is to this one (farthing.link)
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
    Events.Name AS events,
    arrayMap(
        at -> toUnixTimestamp64Nano(at) - min(toUnixTimestamp64Nano(Timestamp)) OVER (), Events.Timestamp
    ) AS event_offsets,
    Events.Attributes AS event_attributes,
    arrayMap((span, facts) -> (span, facts['farthing.link']), Links.SpanId, Links.Attributes) AS links
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
