"""What a receiver's answer means for the charges in the batch."""

import email.utils
import time

import httpx
import pytest

from farthing.telemetry.otlp_reply import read_reply

PROTOBUF = httpx.Headers({"Content-Type": "application/x-protobuf"})


def test_an_empty_success_is_a_receipt():
    assert read_reply(200, PROTOBUF, b"").verdict == "accepted"
    assert read_reply(200, httpx.Headers(), b"").verdict == "accepted"
    assert read_reply(200, httpx.Headers({"content-type": "application/json"}), b"{}").verdict == "accepted"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_names_its_reason_in_printable_text(status):
    reply = read_reply(status, PROTOBUF, b"bad\x1b[31m span\n" + b"x" * 5000)
    assert reply.verdict == "refused"
    assert reply.reason.isprintable()
    assert len(reply.reason) < 300


@pytest.mark.parametrize("status", [201, 204, 301, 401, 403, 404, 408, 429, 500, 502, 503, 504])
def test_any_other_failure_may_pass(status):
    assert read_reply(status, PROTOBUF, b"").verdict == "later"


@pytest.mark.parametrize("body", [b"[]", b"null", b'{"partialSuccess": 3}', b'{"partialSuccess": []}', b"{"])
def test_json_of_an_odd_shape_never_raises(body):
    reply = read_reply(200, httpx.Headers({"content-type": "application/json"}), body)
    assert reply.verdict in ("accepted", "later")


def retry_after(value, status=503):
    return read_reply(status, httpx.Headers({"Retry-After": value}), b"").retry_after_s


def test_retry_after_is_read_as_seconds_or_as_a_date():
    assert retry_after("7") == 7
    assert retry_after("7", status=429) == 7
    assert retry_after("7", status=500) is None
    assert retry_after(email.utils.formatdate(time.time() + 60, usegmt=True)) == pytest.approx(60, abs=2)
    assert retry_after(email.utils.formatdate(time.time() - 60, usegmt=True)) == 0


@pytest.mark.parametrize("value", ["", "soon", "-3", "1e9", "7 seconds"])
def test_a_retry_after_that_says_nothing_is_no_wait(value):
    assert retry_after(value) is None


def test_no_receiver_can_send_us_away_for_ever():
    assert retry_after("99999999999") == 3600
