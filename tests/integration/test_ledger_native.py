"""The embedded ledger as ClickHouse's Go client meets it: its greeting, and answers in compressed blocks."""

import struct

import httpx
import pytest

from farthing.ledger.encoding import unpack_blocks
from tests.ledger_stack import AUTH, embedded_ledger

GREETING = "SELECT displayName(), version(), revision(), timezone()"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    with embedded_ledger(tmp_path_factory.mktemp("native")) as running:
        yield running


def ask(settings, query, **params):
    params = {"default_format": "Native", "client_protocol_version": "54460", **params}
    return httpx.post(settings.ledger.url, params=params, content=query, auth=AUTH, timeout=60)


def text(body, at):
    """Read a short string: its length in one byte, and itself."""
    end = at + 1 + body[at]
    return body[at + 1 : end].decode(), end


@pytest.mark.parametrize("protocol", ["54460", "54213"])
def test_the_greeting_is_in_the_clients_own_protocol_and_names_revision_0(settings, protocol):
    body = ask(settings, GREETING, client_protocol_version=protocol).content
    header, body = body[:8], body[8:]
    assert header == struct.pack("<B?BiB", 1, False, 2, -1, 0)
    assert (body[0], body[1]) == (4, 1), "four columns, one row"
    at, found = 2, {}
    for _ in range(4):
        name, at = text(body, at)
        kind, at = text(body, at)
        if protocol == "54460":
            assert body[at] == 0, "serialised as usual"
            at += 1
        if kind == "UInt32":
            found[name], at = int.from_bytes(body[at : at + 4], "little"), at + 4
        else:
            found[name], at = text(body, at)
    assert at == len(body)
    assert found["revision()"] == 0
    assert found["timezone()"] == "UTC"
    assert (
        found["version()"] == ask(settings, "SELECT version()", default_format="TabSeparatedRaw").text.strip()
    )


def test_answers_come_in_compressed_blocks_when_asked_for(settings):
    query = "SELECT number, toString(number) AS text FROM numbers(200000)"
    plain, packed = ask(settings, query).content, ask(settings, query, compress="1").content
    assert unpack_blocks(packed) == plain
    assert len(packed) < len(plain)
    empty = ask(settings, "CREATE TABLE IF NOT EXISTS nothing (a UInt8) ENGINE = Memory", compress="1")
    assert (empty.status_code, empty.content) == (200, b"")


def test_errors_come_in_blocks_too(settings):
    answer = ask(settings, "SELECT nope", compress="1")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "47"
    assert unpack_blocks(answer.content).startswith(b"Code: 47. DB::Exception: ")
