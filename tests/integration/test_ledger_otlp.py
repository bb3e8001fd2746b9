"""Spans on their way in: real OTLP exporters, broken requests, crashes, and the rows that are left."""

import contextlib
import gzip
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanKind, StatusCode

from farthing.ledger import connect
from farthing.ledger.statement import reconcile, statement
from farthing.ledger.trace import render, trace
from farthing.settings import Settings
from farthing.telemetry import Cost
from farthing.telemetry.charge import ContextUse
from farthing.telemetry.otlp_reply import read_reply
from farthing.telemetry.spans import ChargeSpans
from tests.ledger_stack import (
    AUTH,
    PROTOBUF,
    charge,
    deliver,
    embedded_ledger,
    ledger_settings,
    post_spans,
    sql,
    start_ledger,
    stop_ledger,
    wait_ready,
)
from tests.unit.otlp_stand_in import parent_context


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("ledger")) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(settings: Settings) -> None:
    for table in ("otel_traces", "otel_traces_trace_id_ts", "charges", "charge_arrivals", "charge_rolls"):
        sql(settings, f"TRUNCATE TABLE {table}")


class Watched(SpanExporter):
    """Passes spans on and keeps the verdicts."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self.exporter, self.results = exporter, []

    def export(self, spans):
        self.results.append(self.exporter.export(spans))
        return self.results[-1]


def exporter(settings: Settings, **options) -> OTLPSpanExporter:
    credentials = httpx.BasicAuth(*AUTH)._auth_header
    return OTLPSpanExporter(
        f"{settings.ledger.url}/v1/traces", headers={"Authorization": credentials}, **options
    )


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_the_sdks_exporter_fills_every_column(settings: Settings, compression: Compression) -> None:
    watched = Watched(exporter(settings, compression=compression))
    provider = TracerProvider(resource=Resource({"service.name": "gateway", "n": 1}))
    provider.add_span_processor(SimpleSpanProcessor(watched))
    tracer = provider.get_tracer("farthing.test", "1.2")
    with tracer.start_as_current_span("request", kind=SpanKind.SERVER) as outer:
        link = Link(outer.get_span_context(), {"why": "retry"})
        with tracer.start_as_current_span("chat gpt-5", kind=SpanKind.CLIENT, links=[link]) as span:
            span.set_attributes({
                "text": "é'\n\\", "int": -7, "yes": True, "half": 0.5, "one": 1.0, "small": 1.5e-7,
                "large": 1e21, "list": ["b", "<a>"], "numbers": [1.0, 2.5], "empty": "",
            })  # fmt: skip
            span.add_event("graded", {"grade": "HIGH"})
            span.set_status(StatusCode.ERROR, "went wrong")
    assert watched.results == [SpanExportResult.SUCCESS] * 2

    rows = sql(settings, "SELECT * FROM otel_traces ORDER BY Timestamp FORMAT JSONEachRow")
    server, client = (json.loads(row) for row in rows.splitlines())
    context = span.get_span_context()
    assert client["TraceId"] == f"{context.trace_id:032x}" == server["TraceId"]
    assert client["SpanId"] == f"{context.span_id:016x}"
    assert client["ParentSpanId"] == server["SpanId"]
    assert server["ParentSpanId"] == ""
    assert (server["SpanKind"], client["SpanKind"]) == ("Server", "Client")
    assert (server["StatusCode"], client["StatusCode"]) == ("Unset", "Error")
    assert client["StatusMessage"] == "went wrong"
    assert (client["ServiceName"], client["ScopeName"], client["ScopeVersion"]) == (
        "gateway",
        "farthing.test",
        "1.2",
    )
    assert client["ResourceAttributes"] == {"service.name": "gateway", "n": "1"}
    assert client["SpanAttributes"] == {
        "text": "é'\n\\", "int": "-7", "yes": "true", "half": "0.5", "one": "1", "small": "1.5e-7",
        "large": "1e+21", "list": '["b","\\u003ca\\u003e"]', "numbers": "[1,2.5]", "empty": "",
    }  # fmt: skip
    assert client["Events.Name"] == ["graded"]
    assert client["Events.Attributes"] == [{"grade": "HIGH"}]
    assert client["Links.TraceId"] == [client["TraceId"]]
    assert client["Links.Attributes"] == [{"why": "retry"}]
    exact = "SELECT toUnixTimestamp64Nano(Timestamp), Duration FROM otel_traces WHERE SpanName != 'request'"
    assert sql(settings, exact) == f"{span.start_time}\t{span.end_time - span.start_time}\n"
    times = "SELECT Start <= End, TraceId = '{}' FROM otel_traces_trace_id_ts LIMIT 1".format(
        client["TraceId"]
    )
    assert sql(settings, times) == "1\t1\n"


def test_json_is_stored_as_protobuf_is(settings: Settings) -> None:
    document = {
        "resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "js"}}]},
            "scopeSpans": [{"scope": {"name": "s"}, "spans": [{
                "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174",
                "parentSpanId": "eee19b7ec3c1b173", "name": "I'm JSON", "kind": 2, "futureField": {"x": 1},
                "startTimeUnixNano": "1544712660000000001", "endTimeUnixNano": "1544712661000000002",
                "attributes": [
                    {"key": "int", "value": {"intValue": "9007199254740993"}},
                    {"key": "map", "value": {"kvlistValue": {"values": [
                        {"key": "b", "value": {"boolValue": False}}, {"key": "a", "value": {}}]}}},
                    {"key": "bytes", "value": {"bytesValue": "AQID"}},
                ],
                "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b175"}],
            }]}],
        }]
    }  # fmt: skip
    url = f"{settings.ledger.url}/v1/traces"
    for headers, body in (
        ({"Content-Type": "application/json"}, json.dumps(document).encode()),
        (
            {"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "gzip"},
            gzip.compress(json.dumps(document).encode()),
        ),
    ):
        response = httpx.post(url, content=body, headers=headers, auth=AUTH)
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"] == "application/json"
        assert response.json() == {}
    row = sql(
        settings,
        "SELECT DISTINCT TraceId, SpanId, ParentSpanId, SpanName, SpanKind, ServiceName, SpanAttributes, "
        "toUnixTimestamp64Nano(Timestamp) AS Start, Duration, Links.SpanId "
        "FROM otel_traces FORMAT JSONCompactEachRow",
    )
    assert json.loads(row) == [
        "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173", "I'm JSON", "Server",
        "js",         {"int": "9007199254740993", "map": '{"a":null,"b":false}', "bytes": "AQID"},
        1544712660000000001, 1000000001, ["eee19b7ec3c1b175"],
    ]  # fmt: skip


def test_a_malformed_request_is_refused_whole(settings: Settings) -> None:
    good = ChargeSpans("farthing", "x").finish(charge()).payload
    bad_id = ExportTraceServiceRequest.FromString(good)
    bad_id.resource_spans[0].scope_spans[0].spans[0].trace_id = b"short"
    late = ExportTraceServiceRequest.FromString(good)
    late.resource_spans[0].scope_spans[0].spans[0].end_time_unix_nano = 2**64 - 1
    json_type = {"Content-Type": "application/json"}
    url = f"{settings.ledger.url}/v1/traces"
    cases: list[tuple[bytes, dict[str, str], int]] = [
        (good[:-3], PROTOBUF, 400),
        (b"nonsense", PROTOBUF, 400),
        (bad_id.SerializeToString(), PROTOBUF, 400),
        (late.SerializeToString(), PROTOBUF, 400),
        (good, PROTOBUF | {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(good)[:-9], PROTOBUF | {"Content-Encoding": "gzip"}, 400),
        (b"{", json_type, 400),
        (b'{"resourceSpans": 1}', json_type, 400),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', json_type, 400),
        (b"[" * 100_000, json_type, 400),
        (good, {"Content-Type": "text/plain"}, 415),
        (bytes(65 * 1024 * 1024), PROTOBUF, 413),
        (gzip.compress(bytes(300 * 1024 * 1024), 1), PROTOBUF | {"Content-Encoding": "gzip"}, 413),
    ]
    for body, headers, status in cases:
        response = httpx.post(url, content=body, headers=headers, auth=AUTH, timeout=60)
        assert response.status_code == status, (headers, body[:60])
        if headers is json_type:
            assert response.json()["message"]
        else:
            assert Status.FromString(response.content).message
    assert httpx.get(url, auth=AUTH).status_code == 405
    assert sql(settings, "SELECT count() FROM otel_traces") == "0\n"
    empty = post_spans(settings, b"")
    assert empty.status_code == 200
    assert empty.headers["Content-Type"] == "application/x-protobuf"
    assert ExportTraceServiceResponse.FromString(empty.content) == ExportTraceServiceResponse()


def test_a_span_that_cannot_be_stored_does_not_cost_its_neighbours_theirs(settings: Settings) -> None:
    spans = ChargeSpans("farthing", "x")
    request = ExportTraceServiceRequest.FromString(
        b"".join(spans.finish(charge(number)).payload for number in range(1, 6))
    )
    second, fourth = (request.resource_spans[n].scope_spans[0].spans[0] for n in (1, 3))
    second.parent_span_id = b"short"
    fourth.links.add(trace_id=b"short")
    payload = request.SerializeToString().replace(b"charge-5", b"charge-\xff")
    response = post_spans(settings, payload)
    assert response.status_code == 200, response.text
    told = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert told.rejected_spans == 3
    assert told.error_message == "a parent span id has 5 bytes instead of 8"
    assert sql(settings, "SELECT id FROM charges_final ORDER BY id") == "charge-1\ncharge-3\n"
    reply = read_reply(response.status_code, response.headers, response.content)
    assert reply.verdict == "rejected", "the sender then finds out which, one by one"


def test_an_attribute_of_a_megabyte_is_kept_whole(settings: Settings) -> None:
    long = "é" * 500_000
    request = ExportTraceServiceRequest.FromString(ChargeSpans("farthing", "x").finish(charge()).payload)
    request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="note").value.string_value = long
    for _ in range(2):
        assert post_spans(settings, request.SerializeToString()).status_code == 200
    asked = (
        "SELECT DISTINCT lengthUTF8(SpanAttributes['note']), SpanAttributes['note'] = repeat('é', 500000) "
    )
    assert sql(settings, asked + "FROM otel_traces") == "500000\t1\n"
    assert sql(settings, "SELECT count() FROM charges_final") == "1\n"


def test_a_charge_keeps_every_field(settings: Settings) -> None:
    one = charge(context=ContextUse("block", 9_000, 3_000, -2_500_000))
    finished = ChargeSpans("farthing", "gw").finish(one)
    assert post_spans(settings, finished.payload).status_code == 200
    row = json.loads(
        sql(settings, "SELECT * FROM charges_final FORMAT JSONEachRow", output_format_json_quote_decimals="1")
    )
    assert row == {
        "day": "2026-11-24", "id": "charge-1", "kind": "inference", "outcome": "ok",
        "started": "2026-11-24 10:00:01.123456000", "ended": "2026-11-24 10:00:02.357456000",
        "key_hash": "ab" * 32, "user": "ada", "department": "engineering", "cost_centre": "CC-100",
        "session_id": "s-1", "session_step": 3, "surface": "chat", "streamed": True, "grade": "HIGH",
        "grade_score": 0.875, "grade_source": "rule", "intent": "c0ffee00",
        "agent": "", "task": "", "tier": "strong",
        "model": "gpt-5", "provider": "openai", "stand_in": False,
        "input_tokens": 1000, "output_tokens": 200, "cache_read_tokens": 300,
        "cache_write_tokens": 50, "reasoning_tokens": 20, "usage_estimated": False,
        "cache_write_1h_tokens": 0,
        "cost_total": "0.003350001", "cost_input": "0.001250001", "cost_output": "0.002",
        "cost_cache_read": "0.0000375", "cost_cache_write": "0.0000625", "currency": "USD",
        "price_version": "map-1", "cost_source": "provider", "baseline_model": "gpt-5",
        "baseline_cost": "0.004000003", "held": "0.009", "settled": "0.003350001", "balance": "0.996649999",
        "climbed_from": "fast", "context_decision": "block", "context_tokens_before": 9000,
        "context_tokens_after": 3000, "context_saved": "-0.0025", "refused": [],
        "gateway_instance": "gw-1", "sequence": 1,
        "trace_id": finished.trace_id, "span_id": finished.span_id,
    }  # fmt: skip


def test_an_unpriced_call_is_null_and_never_zero(settings: Settings) -> None:
    free = charge(1, cost=Cost(0, 0, 0, 0), baseline_cost=0)
    deliver(settings, [free, charge(2, cost=None, baseline_cost=None)])
    found = "SELECT id, cost_total, cost_input, baseline_cost FROM charges_final ORDER BY id"
    assert sql(settings, found) == "charge-1\t0\t0\t0\ncharge-2\t\\N\t\\N\t\\N\n"


def test_a_batch_delivered_twice_counts_once(settings: Settings) -> None:
    spans = ChargeSpans("farthing", "gw")
    payload = b"".join(spans.finish(charge(number)).payload for number in range(1, 51))
    for _ in range(2):
        assert post_spans(settings, payload).status_code == 200
    # Delivered a third time by a sender that made the span anew, in another batch.
    deliver(settings, [charge(7)], spans)

    assert sql(settings, "SELECT count() FROM otel_traces") == "101\n"
    assert sql(settings, "SELECT count(), sum(cost_total) FROM charges_final") == "50\t0.16750005\n"
    client = connect(settings.ledger)
    (line,) = statement(client, "2026-11")
    assert (line.calls, line.cost_nano) == (50, 50 * 3_350_001)
    whole = reconcile(client)
    assert (whole.rows, whole.deliveries, whole.duplicates) == (50, 101, 51)
    assert (whole.conflicts, whole.missing, whole.gaps) == (0, 0, 0)
    assert whole.cost_nano == whole.settled_nano == 50 * 3_350_001


def test_reconciliation_sees_gaps_conflicts_and_missing_charges(settings: Settings) -> None:
    deliver(settings, [charge(number) for number in (2, 3, 6)])
    deliver(settings, [charge(3, settled=1)])
    sql(settings, "DELETE FROM charges WHERE id = 'charge-2'")
    found = reconcile(connect(settings.ledger))
    assert (found.rows, found.conflicts, found.missing) == (2, 1, 1)
    assert found.gaps == 4, "of the numbers 1 to 6, only 3 and 6 are charges"
    sql(settings, "TRUNCATE TABLE otel_traces")
    sql(settings, "TRUNCATE TABLE charges")
    nothing = reconcile(connect(settings.ledger))
    assert (nothing.rows, nothing.cost_nano, nothing.gaps, nothing.duplicates) == (0, 0, 0, 0)


def test_many_senders_at_once_lose_nothing_and_share_inserts(settings: Settings) -> None:
    spans = ChargeSpans("farthing", "gw")
    payloads = [spans.finish(charge(number)).payload for number in range(1, 321)]
    failures: list[str] = []

    def send(mine: list[bytes]) -> None:
        with httpx.Client(auth=AUTH, headers=PROTOBUF, timeout=60) as client:
            for payload in mine:
                response = client.post(f"{settings.ledger.url}/v1/traces", content=payload)
                if response.status_code != 200:
                    failures.append(response.text)

    threads = [threading.Thread(target=send, args=(payloads[start::16],)) for start in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sql(settings, "SELECT count() FROM charges_final") == "320\n"
    assert sql(settings, "SELECT count() FROM otel_traces") == "320\n"


def test_a_ledger_that_cannot_store_says_so_and_takes_it_later(settings: Settings) -> None:
    payload = ChargeSpans("farthing", "gw").finish(charge(1)).payload
    sql(settings, "RENAME TABLE charges TO charges_away")
    try:
        refused = post_spans(settings, payload)
        assert refused.status_code == 503, "a charge that is not stored must be sent again"
        assert "not stored" in Status.FromString(refused.content).message
    finally:
        sql(settings, "RENAME TABLE charges_away TO charges")
    assert post_spans(settings, payload).status_code == 200
    assert sql(settings, "SELECT count() FROM charges_final") == "1\n"


def test_a_trace_reads_in_order_and_each_span_once(settings: Settings) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    spans = ChargeSpans("farthing", "gw")
    parent = parent_context(trace_id, "b7ad6b7169203331")
    failed = charge(
        1, kind="failed_attempt", outcome="failed", tier="local", model="smollm2", baseline_cost=None
    )
    first, second = spans.finish(failed, parent), spans.finish(charge(2), parent)
    for payload in (second.payload, first.payload, second.payload):
        assert post_spans(settings, payload).status_code == 200
    client = connect(settings.ledger)
    found = trace(client, trace_id)
    assert [span.span_id for span in found] == [first.span_id, second.span_id]
    assert [span.offset_ns for span in found] == [0, 10**9]
    assert found[0].parent_span_id == "b7ad6b7169203331"
    assert found[1].attributes["farthing.cost.total"] == "0.003350001"
    text = render(found)
    assert text.index("chat smollm2") < text.index("chat gpt-5")
    assert "farthing.cost.total=0.003350001" in text
    assert trace(client, "00" * 16) == []
    assert "no span" in render([])


def test_acknowledged_charges_survive_a_kill_at_any_moment(tmp_path: Path) -> None:
    settings = ledger_settings(tmp_path)
    acknowledged: list[str] = []
    spans = ChargeSpans("farthing", "gw")

    def send() -> None:
        with httpx.Client(auth=AUTH, headers=PROTOBUF, timeout=10) as client:
            for number in range(len(acknowledged) + 1, 100_000):
                payload = spans.finish(charge(number)).payload
                try:
                    response = client.post(f"{settings.ledger.url}/v1/traces", content=payload)
                except httpx.TransportError:
                    return
                if response.status_code == 200:
                    acknowledged.append(f"charge-{number}")

    for _ in range(3):
        process = start_ledger(settings)
        wait_ready(settings, process)
        sender = threading.Thread(target=send)
        sender.start()
        sender.join(1.2)
        assert stop_ledger(process, signal.SIGKILL) == -signal.SIGKILL
        sender.join()

    process = start_ledger(settings)
    try:
        assert wait_ready(settings, process) < 15
        stored = set(sql(settings, "SELECT id FROM charges_final").split())
        assert len(acknowledged) > 5, "too little was sent for the test to mean anything"
        assert set(acknowledged) <= stored
        for table in ("charges", "otel_traces"):
            assert sql(settings, f"CHECK TABLE {table}", check_query_single_value_result="1") == "1\n"
    finally:
        assert stop_ledger(process) == 0


def run_to_the_end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


def test_a_second_server_and_a_taken_port_are_refused_with_the_fix(tmp_path: Path) -> None:
    with embedded_ledger(tmp_path) as settings:
        same_path = ledger_settings(tmp_path)
        status, errors = run_to_the_end(start_ledger(same_path))
        assert status == 2
        assert str(settings.ledger.path) in errors
        assert "already open in another process" in errors
        assert "set ledger.path to another folder" in errors
        assert "Traceback" not in errors
        port = int(settings.ledger.url.rpartition(":")[2])
        status, errors = run_to_the_end(start_ledger(ledger_settings(tmp_path / "other", port)))
        assert status == 2
        assert settings.ledger.url in errors
        assert "Traceback" not in errors
        assert sql(settings, "SELECT 1") == "1\n", "the first server must not notice"


def test_it_will_not_listen_to_the_network_without_a_password(tmp_path: Path) -> None:
    settings = ledger_settings(tmp_path)
    open_to_all = settings.ledger.model_copy(update={"url": "http://0.0.0.0:18999", "password": ""})
    status, errors = run_to_the_end(start_ledger(settings.model_copy(update={"ledger": open_to_all})))
    assert status == 2
    assert "ledger.password is empty" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_gracefully_and_opens_again(tmp_path: Path, number: int) -> None:
    settings = ledger_settings(tmp_path)
    process = start_ledger(settings)
    wait_ready(settings, process)
    deliver(settings, [charge(1)])
    assert stop_ledger(process, number) == 0
    with embedded_ledger(tmp_path) as again:
        assert sql(again, "SELECT count() FROM charges_final") == "1\n"


def test_an_endless_query_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    settings = ledger_settings(tmp_path)
    process = start_ledger(settings)
    wait_ready(settings, process)
    deliver(settings, [charge(1)])
    endless = "SELECT count() FROM numbers(100000000000000) WHERE cityHash64(number) = 7"

    def ask() -> None:
        with contextlib.suppress(httpx.TransportError):
            httpx.post(settings.ledger.url, content=endless, auth=AUTH, timeout=60)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    assert stop_ledger(process, signal.SIGTERM) == 0
    asking.join()
    with embedded_ledger(tmp_path) as again:
        assert sql(again, "SELECT count() FROM charges_final") == "1\n"
