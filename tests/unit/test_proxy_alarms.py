"""Thresholds and overdrafts are told of: on the span, in the log, and to a webhook that may be away."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from farthing.credits import Balance, Payer, Settlement, Standing
from farthing.credits.account import Crossing
from farthing.proxy import alarms
from farthing.proxy.alarms import Alarms
from farthing.settings import Credits, Settings
from farthing.telemetry import Account

ADA = Payer(Account("k", "ada", "research", "CC-1"), "s1")
STANDING = Standing(Balance("user:ada", "research"), 0, "user:ada")
CROSSED = Settlement(STANDING, crossed=(Crossing("department:research", 80, 80_000_000, 100_000_000),))


@pytest.fixture
def webhook():
    """A server that is told the statuses to answer with, and keeps what was posted."""
    posted, statuses = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(statuses.pop(0) if statuses else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/alarm", posted, statuses
    server.shutdown()
    server.server_close()


def span_and_events():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    span = provider.get_tracer("test").start_span("call")

    def events():
        span.end()
        return exporter.get_finished_spans()[0].events

    return span, events


async def test_a_threshold_is_an_event_and_one_post_in_credits(webhook):
    url, posted, _ = webhook
    told = Alarms(Settings(organisation="Example Ltd", credits=Credits(webhook=url)))
    span, events = span_and_events()
    told.raise_for(CROSSED, ADA, "c1", span)
    await told.close()
    (event,) = events()
    assert event.name == "farthing.credits.threshold"
    assert dict(event.attributes) == {
        "farthing.credits.account": "department:research",
        "farthing.credits.threshold": 80,
    }
    (body,) = posted
    assert body.pop("at")
    assert body == {
        "event": "farthing.credits.threshold",
        "organisation": "Example Ltd",
        "account": {"kind": "department", "name": "research"},
        "department": "research",
        "threshold": 80,
        "spent": "80.000",
        "total": "100.000",
    }


async def test_an_overdraft_is_never_silent(webhook, caplog):
    url, posted, _ = webhook
    told = Alarms(Settings(credits=Credits(webhook=url)))
    span, events = span_and_events()
    told.raise_for(Settlement(STANDING, overdraft=5_000_000), ADA, "c1", span)
    await told.close()
    assert [event.name for event in events()] == ["farthing.credits.overdraft"]
    assert "charge c1 cost 0.005000000 USD more than was held for it" in caplog.text
    assert (posted[0]["event"], posted[0]["charge"], posted[0]["credits"]) == (
        "farthing.credits.overdraft",
        "c1",
        "5.000",
    )


async def test_a_webhook_that_is_away_is_tried_again_and_one_that_refuses_is_not(
    webhook, monkeypatch, caplog
):
    monkeypatch.setattr(alarms, "_PAUSES_S", (0.01, 0.01))
    url, posted, statuses = webhook
    told = Alarms(Settings(credits=Credits(webhook=url)))
    statuses += [503, 429]
    told.raise_for(CROSSED, ADA, "c1", span_and_events()[0])
    await told.close()
    assert len(posted) == 3
    assert "could not be reached" not in caplog.text
    statuses += [400]
    told.raise_for(CROSSED, ADA, "c1", span_and_events()[0])
    await told.close()
    assert len(posted) == 4
    assert "the webhook answered 400" in caplog.text
    gone = Alarms(Settings(credits=Credits(webhook="http://127.0.0.1:9/alarm")))
    gone.raise_for(CROSSED, ADA, "c1", span_and_events()[0])
    await gone.close()
    assert "the webhook could not be reached (ConnectError)" in caplog.text


async def test_nothing_is_raised_for_an_ordinary_settlement(webhook):
    url, posted, _ = webhook
    told = Alarms(Settings(credits=Credits(webhook=url)))
    span, events = span_and_events()
    told.raise_for(Settlement(STANDING), ADA, "c1", span)
    await told.close()
    assert (list(events()), posted) == ([], [])
