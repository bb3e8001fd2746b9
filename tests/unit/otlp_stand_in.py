"""A stand-in for an OTLP collector: a real HTTP server on loopback that keeps the spans it takes.

It is no collector. It answers as it is told to: with an error, a wait, a partial success, or slowly.
"""

import base64
import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.trace import SpanContext, TraceFlags


def attributes_of(span):
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def charge_id(span):
    return attributes_of(span).get("farthing.charge.id", span.name)


class Answer(Exception):
    """Raised by a rule to answer something else than "accepted"."""

    def __init__(self, status=200, body=b"", headers=None, delay_s=0.0):
        super().__init__(status)
        self.status, self.body, self.delay_s = status, body, delay_s
        self.headers = {"content-type": "application/x-protobuf", **(headers or {})}


def partial_success(rejected, message="bad span"):
    reply = ExportTraceServiceResponse()
    reply.partial_success.rejected_spans = rejected
    reply.partial_success.error_message = message
    return reply.SerializeToString()


class Collector:
    """``rule(spans)`` may raise Answer, or return the spans to keep. Requests are timed in ``posts``."""

    def __init__(self, port=0, auth=None):
        self.rule: Callable = lambda spans: spans
        self.accepted: list[str] = []
        self.spans: list = []
        self.resources: list = []
        self.batches: list[list[str]] = []
        self.posts: list[float] = []
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        expected = None if auth is None else "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    assert self.path == "/v1/traces", self.path
                    assert self.headers["content-type"] == "application/x-protobuf"
                    if expected is not None and self.headers["authorization"] != expected:
                        raise Answer(401)
                    answer = collector.take(gzip.decompress(body))
                except Answer as other:
                    answer = other
                time.sleep(answer.delay_s)
                try:
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(answer.body)))
                    self.end_headers()
                    self.wfile.write(answer.body)
                except OSError:
                    pass  # the sender has gone

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def process_request(self, request, client_address):
                collector._connections.append(request)
                super().process_request(request, client_address)

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def take(self, body):
        with self._lock:
            self.posts.append(time.monotonic())
            try:
                request = ExportTraceServiceRequest.FromString(body)
            except DecodeError:
                raise Answer(400, b"not protobuf") from None
            spans = [
                span
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]
            self.batches.append([charge_id(span) for span in spans])
            kept = self.rule(spans)
            self.spans += kept
            self.resources += [resource.resource for resource in request.resource_spans]
            self.accepted += [charge_id(span) for span in kept]
            if len(kept) < len(spans):
                return Answer(200, partial_success(len(spans) - len(kept)))
            return Answer(200)

    def stop(self):
        """Go away as a killed process does: connections that are kept alive break too."""
        self._server.shutdown()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()


def parent_context(trace_id: str, span_id: str) -> SpanContext:
    """Return the span context of a trace id (32 hex digits) and span id (16 hex digits)."""
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=sampled)
