"""The embedded ledger's server: OTLP/HTTP in, ClickHouse's HTTP protocol out, one engine behind both."""

import asyncio
import ipaddress
import os
import signal
import socket
import sys
from urllib.parse import urlsplit

import uvicorn
from anyio import CapacityLimiter, to_thread
from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from farthing.ledger import auth, clickhouse_http, encoding, otlp, rows
from farthing.ledger.engine import Engine
from farthing.ledger.errors import EngineError, LedgerError, TooLargeError
from farthing.ledger.schema import migrate
from farthing.ledger.writer import SpanWriter
from farthing.settings import Ledger, Settings

_QUERIES_AT_ONCE = 4
_GRACE_S = 5
# google.rpc.Code, which OTLP's error bodies carry.
_INVALID, _UNAVAILABLE, _UNAUTHENTICATED, _RESOURCE = 3, 14, 16, 8


def create_app(engine: Engine, user: str, password: str, database: str) -> Starlette:
    """Return the server's application over an open, migrated engine."""
    front = _Front(engine, auth.Gate(user, password), database)
    return Starlette(
        routes=[
            Route("/ping", _ping, methods=["GET"]),
            Route("/replicas_status", _ping, methods=["GET"]),
            Route("/v1/traces", front.traces, methods=["POST"]),
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
        self._writer = SpanWriter(self._store)

    def _store(self, data: bytes) -> None:
        self._engine.insert(rows.INSERT, "RowBinary", data, database=self._database)

    async def clickhouse(self, request: Request) -> Response:
        params, version = dict(request.query_params), self._engine.version
        identifier = clickhouse_http.query_id(params)
        credentials = auth.clickhouse(request.headers, params)
        if not self._gate.admits(credentials):
            name = credentials.user if credentials else "default"
            stranger = EngineError.of(
                516,
                "AUTHENTICATION_FAILED",
                f"{name}: Authentication failed: password is incorrect, or there is no user with such name",
            )
            return clickhouse_http.refusal(stranger, version, identifier, 403 if credentials else 401)
        try:
            body = await _body(request)
            if not body and not params.get("query") and request.method != "POST":
                return PlainTextResponse("Ok.\n")

            def work() -> Response:
                plain = clickhouse_http.unpack(request.headers, params, body)
                call = clickhouse_http.read(request.method, request.headers, params, plain)
                result = clickhouse_http.run(self._engine, call)
                packed = params.get("enable_http_compression") == "1"
                accepts = request.headers.get("accept-encoding", "") if packed else ""
                return clickhouse_http.answer(result, identifier, accepts)

            # Abandoned only when the server stops and has waited its grace out.
            return await to_thread.run_sync(work, limiter=self._queries, abandon_on_cancel=True)
        except EngineError as error:
            return clickhouse_http.refusal(error, version, identifier)
        except TooLargeError:
            refused = EngineError.of(
                307,
                "TOO_MANY_BYTES",
                f"the request is larger than {encoding.BODY_LIMIT >> 20} MiB, or "
                f"{encoding.UNPACKED_LIMIT >> 20} MiB unpacked; send it in parts",
            )
            return clickhouse_http.refusal(refused, version, identifier, 413)
        except encoding.EncodingError as problem:
            refused = EngineError.of(271, "CANNOT_DECOMPRESS", str(problem))
            return clickhouse_http.refusal(refused, version, identifier, 400)

    async def traces(self, request: Request) -> Response:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        reply = otlp.JSON if media == otlp.JSON else otlp.PROTOBUF
        if not self._gate.admits(auth.basic(request.headers)):
            return _otlp_error(
                401, _UNAUTHENTICATED, "wrong or missing user and password (HTTP Basic)", reply
            )
        if media not in (otlp.PROTOBUF, "application/protobuf", otlp.JSON):
            return _otlp_error(
                415, _INVALID, f"content type {media!r}: use {otlp.PROTOBUF} or {otlp.JSON}", reply
            )
        try:
            body = await _body(request)

            def work() -> tuple[bytes, int]:
                plain = encoding.unpack(body, request.headers.get("content-encoding", ""))
                return rows.encode(otlp.read(plain, reply))

            data, count = await to_thread.run_sync(work, limiter=self._readers)
            if count:
                await self._writer.store(data)
        except TooLargeError:
            return _otlp_error(413, _RESOURCE, f"larger than {encoding.BODY_LIMIT >> 20} MiB", reply)
        except (otlp.MalformedError, encoding.EncodingError) as error:
            return _otlp_error(400, _INVALID, str(error), reply)
        except EngineError as error:
            # 503 tells the sender to keep the spans and try again.
            return _otlp_error(503, _UNAVAILABLE, f"not stored: {error}", reply)
        return _otlp(200, ExportTraceServiceResponse(), reply)


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
    try:
        prepare(engine)
        with _listen(host, port, ledger.url) as listener:
            app = create_app(engine, ledger.user, ledger.password, ledger.database)
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
            asyncio.run(server.serve(sockets=[listener]))
    finally:
        if not engine.close():
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


def prepare(engine: Engine) -> list[str]:
    """Bring an open engine's schema up to date; return the names of the migrations applied."""
    from clickhouse_connect import get_client

    client = get_client(interface="chdb", path=str(engine.path), database=engine.database)
    try:
        applied = migrate(client)
        for table in ("otel_traces", "charges"):
            # The embedded ledger has no replica: an acknowledged row must survive a power cut on this disk.
            client.command(
                f"ALTER TABLE {table} MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1"
            )
    finally:
        client.close()
    return applied


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
