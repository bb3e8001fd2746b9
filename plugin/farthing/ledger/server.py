"""The embedded ledger's server: OTLP/HTTP in, ClickHouse's HTTP protocol out, one engine behind both."""

import asyncio
import functools
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from anyio import CapacityLimiter, to_thread
from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from farthing.ledger import auth, clickhouse_http, columns, encoding, otlp, otlp_metrics, rolls
from farthing.ledger.engine import Engine
from farthing.ledger.errors import EngineError, LedgerError, TooLargeError
from farthing.ledger.retention import expire_traces
from farthing.ledger.schema import migrate
from farthing.ledger.writer import SpanWriter
from farthing.settings import Ledger, Retention, Settings

_QUERIES_AT_ONCE = 4
_GRACE_S = 5
# google.rpc.Code, which OTLP's error bodies carry.
_INVALID, _UNAVAILABLE, _UNAUTHENTICATED, _RESOURCE = 3, 14, 16, 8


_Take = Callable[[bytes, str, str], Awaitable[Message]]
"""Stores a request's body, given with its media type and its content encoding; returns OTLP's answer."""


def create_app(engine: Engine, ledger: Ledger) -> Starlette:
    """Return the server's application over an open, migrated engine."""
    front = _Front(engine, auth.Gate(ledger.user, ledger.password, ledger.readers), ledger.database)
    return Starlette(
        routes=[
            Route("/ping", _ping, methods=["GET"]),
            Route("/replicas_status", _ping, methods=["GET"]),
            Route("/v1/traces", front.traces, methods=["POST"]),
            Route("/v1/metrics", front.metrics, methods=["POST"]),
            Route("/", front.clickhouse, methods=["GET", "POST"]),
        ]
    )


async def _ping(_: Request) -> Response:
    return PlainTextResponse("Ok.\n")


class _Front:
    def __init__(self, engine: Engine, gate: auth.Gate, database: str) -> None:
        self._engine, self._gate, self._database = engine, gate, database
        # Queries and the reading of spans have threads of their own, so that neither waits for the other.
        self._queries = CapacityLimiter(_QUERIES_AT_ONCE)
        self._readers = CapacityLimiter(1)
        self._metrics = CapacityLimiter(1)
        self._columns = columns.SpanColumns()
        self._writer = SpanWriter(self._store)

    def _store(self, data: bytes) -> None:
        self._engine.insert(
            columns.INSERT, columns.FORMAT, data, database=self._database, settings=columns.SETTINGS
        )

    async def clickhouse(self, request: Request) -> Response:
        params, version = dict(request.query_params), self._engine.version
        identifier = clickhouse_http.query_id(params)
        in_blocks = params.get("compress") == "1"
        refuse = functools.partial(
            clickhouse_http.refusal, version=version, identifier=identifier, in_blocks=in_blocks
        )
        credentials = auth.clickhouse(request.headers, params)
        guest = self._gate.admits(credentials)
        if guest is None:
            name = credentials.user if credentials else "default"
            stranger = EngineError.of(
                516,
                "AUTHENTICATION_FAILED",
                f"{name}: Authentication failed: password is incorrect, or there is no user with such name",
            )
            return refuse(stranger, status=403 if credentials else 401)
        try:
            body = await _body(request)
            if not body and not params.get("query") and request.method != "POST":
                return PlainTextResponse("Ok.\n")

            def work() -> Response:
                plain = clickhouse_http.unpack(request.headers, params, body)
                call = clickhouse_http.read(request.method, request.headers, params, plain)
                if not guest.owner:
                    call = replace(call, readonly=True, reader=True, department=guest.department)
                result = clickhouse_http.run(self._engine, call)
                packed = params.get("enable_http_compression") == "1"
                accepts = request.headers.get("accept-encoding", "") if packed else ""
                return clickhouse_http.answer(result, identifier, accepts, in_blocks=in_blocks)

            # Abandoned only when the server stops and has waited its grace out.
            return await to_thread.run_sync(work, limiter=self._queries, abandon_on_cancel=True)
        except EngineError as error:
            return refuse(error)
        except TooLargeError:
            refused = EngineError.of(
                307,
                "TOO_MANY_BYTES",
                f"the request is larger than {encoding.BODY_LIMIT >> 20} MiB, or "
                f"{encoding.UNPACKED_LIMIT >> 20} MiB unpacked; send it in parts",
            )
            return refuse(refused, status=413)
        except encoding.EncodingError as problem:
            refused = EngineError.of(271, "CANNOT_DECOMPRESS", str(problem))
            return refuse(refused, status=400)

    async def traces(self, request: Request) -> Response:
        return await self._take(request, self._take_spans)

    async def metrics(self, request: Request) -> Response:
        return await self._take(request, self._take_points)

    async def _take(
        self, request: Request, take: Callable[[bytes, str, str], Awaitable[Message]]
    ) -> Response:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        reply = otlp.JSON if media == otlp.JSON else otlp.PROTOBUF
        guest = self._gate.admits(auth.basic(request.headers))
        if guest is None or not guest.owner:
            return _otlp_error(
                401, _UNAUTHENTICATED, "wrong or missing user and password (HTTP Basic)", reply
            )
        if media not in (otlp.PROTOBUF, "application/protobuf", otlp.JSON):
            return _otlp_error(
                415, _INVALID, f"content type {media!r}: use {otlp.PROTOBUF} or {otlp.JSON}", reply
            )
        try:
            answer = await take(await _body(request), reply, request.headers.get("content-encoding", ""))
        except TooLargeError:
            return _otlp_error(413, _RESOURCE, f"larger than {encoding.BODY_LIMIT >> 20} MiB", reply)
        except (otlp.MalformedError, encoding.EncodingError) as error:
            return _otlp_error(400, _INVALID, str(error), reply)
        except EngineError as error:
            # 503 tells the sender to keep the spans and try again.
            return _otlp_error(503, _UNAVAILABLE, f"not stored: {error}", reply)
        return _otlp(200, answer, reply)

    async def _take_spans(self, body: bytes, media: str, packed: str) -> Message:
        def work() -> columns.Block:
            return self._columns.encode(otlp.read(encoding.unpack(body, packed), media))

        block = await to_thread.run_sync(work, limiter=self._readers)
        if block.rejected and not block.spans:
            raise otlp.MalformedError(block.reason)
        if block.spans:
            await self._writer.store(block.data)
        answer = ExportTraceServiceResponse()
        if block.rejected:
            answer.partial_success.rejected_spans = block.rejected
            answer.partial_success.error_message = block.reason
        return answer

    async def _take_points(self, body: bytes, media: str, packed: str) -> Message:
        def work() -> otlp_metrics.Rows:
            points = otlp_metrics.encode(otlp_metrics.read(encoding.unpack(body, packed), media))
            for kind, data in points.by_kind.items():
                self._engine.insert(
                    otlp_metrics.INSERTS[kind], otlp_metrics.FORMAT, data, database=self._database
                )
            return points

        points = await to_thread.run_sync(work, limiter=self._metrics)
        if points.rejected and not points.by_kind:
            raise otlp.MalformedError(points.reason)
        answer = ExportMetricsServiceResponse()
        if points.rejected:
            answer.partial_success.rejected_data_points = points.rejected
            answer.partial_success.error_message = points.reason
        return answer


async def _body(request: Request) -> bytes:
    """Read the body, no further than the limit. Raises TooLargeError."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > encoding.BODY_LIMIT:
        raise TooLargeError
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > encoding.BODY_LIMIT:
            raise TooLargeError
        parts.append(part)
    return b"".join(parts)


def _otlp(status: int, message: Message, media: str) -> Response:
    body = MessageToJson(message, indent=None) if media == otlp.JSON else message.SerializeToString()
    headers = {"WWW-Authenticate": 'Basic realm="farthing ledger"'} if status == 401 else None
    return Response(body, status, headers, media)


def _otlp_error(status: int, code: int, text: str, media: str) -> Response:
    return _otlp(status, Status(code=code, message=text), media)


def serve(settings: Settings) -> None:
    """Run the embedded ledger until SIGINT or SIGTERM, then store what is in hand and stop.

    It opens settings.ledger.path, brings it up to date, and only then listens at settings.ledger.url.
    If it cannot, it says why on stderr and raises SystemExit(2).
    """
    try:
        _serve(settings.ledger)
    except LedgerError as error:
        print(f"farthing ledger: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _serve(ledger: Ledger) -> None:
    host, port = _address(ledger)
    engine = Engine(ledger.path, ledger.database)
    rolling = rolls.Background(
        lambda: _own_client(engine),
        ledger.roll_every_s,
        lambda text: print(f"farthing ledger: {text}", file=sys.stderr, flush=True),
    )
    try:
        prepare(engine, ledger.retention)
        with _listen(host, port, ledger.url) as listener:
            app = create_app(engine, ledger)
            server = _Server(
                uvicorn.Config(
                    app,
                    log_level="warning",
                    access_log=False,
                    server_header=False,
                    lifespan="off",
                    timeout_graceful_shutdown=_GRACE_S,
                    timeout_keep_alive=75,
                ),
                f"farthing ledger: listening at {ledger.url}, data in {ledger.path}",
            )
            # uvicorn sends itself the signal again after it has stopped; the engine must still be closed.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: None)
            if ledger.roll_every_s:
                rolling.start()
            asyncio.run(server.serve(sockets=[listener]))
    finally:
        if not (rolling.stop(_GRACE_S) and engine.close()):
            # A statement outlived its grace. Stored rows are safe; waiting for it could take for ever.
            sys.stderr.flush()
            os._exit(0)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._greeting, flush=True)


def prepare(engine: Engine, retention: Retention | None = None) -> list[str]:
    """Bring an open engine's schema up to date; return the names of the migrations applied."""
    client = _own_client(engine)
    try:
        applied = migrate(client)
        for table in ("otel_traces", "charges", "charge_arrivals"):
            # The embedded ledger has no replica: an acknowledged row must survive a power cut on this disk.
            client.command(
                f"ALTER TABLE {table} MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1"
            )
        if retention is not None:
            expire_traces(client, retention.traces_days)
    finally:
        client.close()
    return applied


def _own_client(engine: Engine) -> Any:
    from clickhouse_connect import get_client

    return get_client(interface="chdb", path=str(engine.path), database=engine.database)


def _address(ledger: Ledger) -> tuple[str, int]:
    url = urlsplit(ledger.url)
    try:
        port = url.port or 8123
    except ValueError:
        raise LedgerError(f"ledger.url {ledger.url!r}: the port is not a number") from None
    if url.scheme != "http" or not url.hostname:
        raise LedgerError(f"ledger.url {ledger.url!r}: the embedded ledger serves http://host:port")
    if not ledger.password and not _is_loopback(url.hostname):
        raise LedgerError(
            f"ledger.url {ledger.url!r} is open to the network and ledger.password is empty; "
            "set a password, or listen on 127.0.0.1"
        )
    return url.hostname, port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int, url: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise LedgerError(
            f"ledger.url {url}: cannot listen there: {error.strerror or error}; stop what uses the port, "
            "or set ledger.url (and telemetry.otlp_endpoint) to another"
        ) from None
