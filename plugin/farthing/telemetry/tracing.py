"""Ordinary spans (grade, hold, settle): an SDK tracer of our own that never hurts a request.

They explore, they do not bill: if the endpoint is down they are dropped. Charges are not: see outbox.
"""

import logging
import time
from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from farthing import __version__
from farthing.settings import Telemetry
from farthing.telemetry.quiet import quiet
from farthing.telemetry.resource import basic_auth, gateway_resource, traces_url

_log = logging.getLogger(__name__)

_EXPORT_TIMEOUT_S = 3.0
_REST_S = 10.0
_TRACE_CONTEXT = ("traceparent", "tracestate")
_propagator = TraceContextTextMapPropagator()


class Tracing:
    """The tracer of one gateway process. No global provider is set: the host application keeps its own.

    ``instance`` becomes ``service.instance.id``; give `Outbox.instance`.
    """

    def __init__(self, telemetry: Telemetry, *, instance: str) -> None:
        self._provider = TracerProvider(
            resource=gateway_resource(telemetry.service_name, instance), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(
            endpoint=traces_url(telemetry.otlp_endpoint),
            headers=basic_auth(telemetry.otlp_user, telemetry.otlp_password),
            timeout=_EXPORT_TIMEOUT_S,
            compression=Compression.Gzip,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _RestingExporter(exporter, telemetry.otlp_endpoint),
                max_queue_size=4096,
                schedule_delay_millis=1000,
                max_export_batch_size=512,
            )
        )
        self.tracer: Tracer = self._provider.get_tracer("farthing", __version__)

    def shutdown(self) -> None:
        """Send what is queued and stop; takes `_EXPORT_TIMEOUT_S` seconds or so if the endpoint is down."""
        self._provider.shutdown()

    def force_flush(self) -> None:
        """Send what is queued now. Blocks: not for the event loop."""
        self._provider.force_flush()


def extract(headers: Mapping[str, str]) -> Context:
    """Return the trace context a request came with: W3C traceparent and tracestate only, names in any case.

    An empty context if there is none or it is malformed. Baggage is not taken: a client writes it.
    """
    carrier = {name.lower(): value for name, value in headers.items() if name.lower() in _TRACE_CONTEXT}
    return _propagator.extract(carrier, context=Context())


class _RestingExporter(SpanExporter):
    # Drops batches for a while after a failed one, so that an endpoint that is down costs one try in ten
    # seconds, fills no queue and logs one line.

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter, self._endpoint = exporter, endpoint
        self._down = False
        self._rest_until = 0.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if time.monotonic() < self._rest_until:
            return SpanExportResult.FAILURE
        try:
            with quiet():
                result = self._exporter.export(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        self._rest_until = time.monotonic() + _REST_S if failed else 0.0
        if failed and not self._down:
            _log.warning("OTLP endpoint %s does not take spans: ordinary spans are dropped", self._endpoint)
        elif self._down and not failed:
            _log.info("OTLP endpoint %s takes spans again", self._endpoint)
        self._down = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)
