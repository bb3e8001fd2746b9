"""Silence for the HTTP libraries' own logging while Farthing sends telemetry, and only then.

They log a line per request or failed try; Farthing logs one when an endpoint goes down and one when it
is back. Other users of the same libraries keep their logs.
"""

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar

_sending: ContextVar[bool] = ContextVar("farthing_sending", default=False)


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _sending.get()


for _name in (
    "httpx",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
):
    logging.getLogger(_name).addFilter(_Quiet())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop the libraries' log records made inside the block, in this task or thread."""
    token = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(token)
