"""The embedded ledger as ClickHouse's clients meet it: clickhouse-connect unmodified, and plain HTTP."""

import gzip
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx
import lz4.block
import lz4.frame
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from farthing.ledger import LedgerError, connect, migrate, prepare
from farthing.ledger.schema import migrations
from farthing.settings import Settings
from farthing.telemetry.spans import ChargeSpans
from tests.ledger_stack import AUTH, PASSWORD, USER, charge, embedded_ledger, post_spans, sql


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("ledger")) as running:
        sql(
            running,
            "CREATE TABLE goods (a UInt64, b String, d Nullable(Decimal(18, 9)), t DateTime64(9, 'UTC')) "
            "ENGINE = MergeTree ORDER BY a",
        )
        yield running


@pytest.fixture(autouse=True)
def empty(settings: Settings) -> None:
    sql(settings, "TRUNCATE TABLE goods")


def client_of(settings: Settings, **options: Any) -> Any:
    port = int(settings.ledger.url.rpartition(":")[2])
    chosen = {"username": USER, "password": PASSWORD, "database": "farthing", "tz_mode": "aware", **options}
    return clickhouse_connect.get_client(host="127.0.0.1", port=port, **chosen)


@pytest.mark.parametrize("compress", [True, "lz4", "zstd", "gzip", False])
def test_an_unmodified_client_inserts_and_reads_back_every_row(settings: Settings, compress: Any) -> None:
    client = client_of(settings, compress=compress)
    moment = datetime(2026, 11, 24, 1, 2, 3, 456789, tzinfo=UTC)
    rows = [(i, f"row {i} é\n\\'", Decimal(i) / 10**9 if i % 3 else None, moment) for i in range(5000)]

    written = client.insert("goods", rows, column_names=["a", "b", "d", "t"]).written_rows
    assert written == 5000
    assert client.query("SELECT * FROM goods ORDER BY a").result_rows == rows


def test_rows_behind_the_statement_in_one_body_are_all_stored(settings: Settings) -> None:
    client = client_of(settings)
    assert client.raw_insert("goods", ["a", "b"], b'1,"one"\n2,two\n', fmt="CSV").written_rows == 2
    assert client.raw_insert("goods", ["a", "b"], '{"a":3,"b":"FORMAT"}', fmt="JSONEachRow").written_rows == 1
    native = client.raw_query("SELECT toUInt64(4) AS a, 'four' AS b", fmt="Native")
    assert client.raw_insert("goods", ["a", "b"], native).written_rows == 1
    assert sql(settings, "SELECT a, b FROM goods ORDER BY a") == "1\tone\n2\ttwo\n3\tFORMAT\n4\tfour\n"


def test_parameters_are_bound_and_never_spliced(settings: Settings) -> None:
    client = client_of(settings)
    hostile = "x' OR 1=1; DROP TABLE goods -- \\ \n\té"
    query = "SELECT {text:String}, {number:UInt8} + 1, {when:DateTime64(3, 'UTC')}"
    moment = datetime(2026, 11, 24, 1, 2, 3, 456000, tzinfo=UTC)
    found = client.query(query, parameters={"text": hostile, "number": 41, "when": moment}).result_rows
    assert found == [(hostile, 42, moment)]
    # Long parameters travel as a multipart form.
    assert client.query("SELECT length({long:String})", parameters={"long": "y" * 100_000}).result_rows == [
        (100_000,)
    ]
    client.command(
        "INSERT INTO goods (a, b) VALUES ({a:UInt64}, {b:String})", parameters={"a": 7, "b": hostile}
    )
    assert client.query("SELECT b FROM goods WHERE a = 7").result_rows == [(hostile,)]


def test_commands_answer_as_the_client_expects(settings: Settings) -> None:
    client = client_of(settings)
    assert client.command("SELECT 41 + 1") == 42
    assert client.command("SELECT 1 WHERE 0") == ""
    assert client.command("EXISTS TABLE goods") == 1
    client.command("CREATE TABLE IF NOT EXISTS other (a Int8) ENGINE = MergeTree ORDER BY a")
    assert client.query("SELECT * FROM goods LIMIT 0").column_names == ("a", "b", "d", "t")
    assert client.query(
        "SELECT getSetting('max_block_size')", settings={"max_block_size": 99}
    ).result_rows == [(99,)]
    assert client.query("SELECT getSetting('max_block_size')").result_rows != [(99,)], "a setting leaked"
    frame = client.query_df("SELECT number FROM numbers(3)")
    assert list(frame["number"]) == [0, 1, 2]


def test_errors_carry_clickhouses_code_and_text(settings: Settings) -> None:
    client = client_of(settings)
    with pytest.raises(DatabaseError) as unknown_column:
        client.query("SELECT nope FROM goods")
    assert (unknown_column.value.code, unknown_column.value.name) == (47, "UNKNOWN_IDENTIFIER")
    with pytest.raises(DatabaseError) as bad_rows:
        client.raw_insert("goods", ["a"], b"1\nx\n", fmt="CSV")
    assert bad_rows.value.code in (27, 117), "cannot parse, or incorrect data"
    assert sql(settings, "SELECT count() FROM goods") == "0\n", "a broken insert stored a part"

    for query, code, status in [
        ("SELEC 1", 62, 400), ("SELECT * FROM nothing", 60, 404), ("SELECT 1; SELECT 2", 62, 400),
        ("", 62, 400), ("SELECT throwIf(1)", 395, 500),
    ]:  # fmt: skip
        response = httpx.post(settings.ledger.url, content=query, auth=AUTH)
        assert response.status_code == status, response.text
        assert response.headers["X-ClickHouse-Exception-Code"] == str(code)
        assert response.text.startswith(f"Code: {code}. DB::Exception: "), response.text


def test_curl_gets_formats_headers_and_settings(settings: Settings) -> None:
    url = settings.ledger.url
    answer = httpx.get(
        url, params={"query": "SELECT 1 AS x FORMAT JSONEachRow", "query_id": "mine"}, auth=AUTH
    )
    assert answer.text == '{"x":1}\n'
    headers = answer.headers
    assert headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert headers["X-ClickHouse-Query-Id"] == "mine"
    assert headers["X-ClickHouse-Timezone"] == "UTC"
    assert headers["X-ClickHouse-Server-Display-Name"]
    assert "read_rows" in headers["X-ClickHouse-Summary"]

    # Part in the parameter, part in the body; another default format; a bound parameter; a setting.
    params = {"query": "SELECT {n:UInt8},", "param_n": "5", "default_format": "CSV", "max_threads": "1"}
    assert httpx.post(url, params=params, content="'a,b'", auth=AUTH).text == '5,"a,b"\n'
    assert sql(settings, "SELECT currentDatabase(), timezone()") == "farthing\tUTC\n"
    assert sql(settings, "SELECT currentDatabase()", database="system") == "system\n"
    assert httpx.get(f"{url}/ping").text == "Ok.\n"
    assert httpx.get(url, auth=AUTH).text == "Ok.\n"
    unknown = httpx.post(url, params={"no_such_setting": "1"}, content="SELECT 1", auth=AUTH)
    assert unknown.headers["X-ClickHouse-Exception-Code"] == "115"


def test_inserts_with_the_statement_in_the_url(settings: Settings) -> None:
    def insert(query: str, body: bytes, headers: dict[str, str] | None = None, **params: str) -> None:
        response = httpx.post(
            settings.ledger.url, params={"query": query, **params}, content=body, headers=headers, auth=AUTH
        )
        assert response.status_code == 200, response.text

    binary = struct.pack("<Q", 1) + b"\x03one"
    insert("INSERT INTO goods (a, b) FORMAT RowBinary", binary)
    insert("INSERT INTO goods (a, b) FORMAT CSV;", gzip.compress(b"2,two\n"), {"Content-Encoding": "gzip"})
    insert(
        "INSERT INTO goods (a, b) FORMAT CSV", zlib.compress(b"3,three\n"), {"Content-Encoding": "deflate"}
    )
    insert(
        "INSERT INTO goods (a, b) FORMAT CSV", lz4.frame.compress(b"4,four\n"), {"Content-Encoding": "lz4"}
    )
    insert(
        "INSERT INTO goods (a, b) FORMAT CSV",
        _native_block(b"5,five\n") + _native_block(b"6,six\n"),
        decompress="1",
    )
    insert("INSERT INTO goods (a, b) VALUES", b"(7, 'seven'), (8, concat('ei', 'ght'))")
    insert("INSERT INTO goods (a, b) SELECT 9, 'nine'", b"")
    names = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert sql(settings, "SELECT b FROM goods ORDER BY a").split() == names


def _native_block(data: bytes) -> bytes:
    packed = lz4.block.compress(data, store_size=False)
    return bytes(16) + struct.pack("<BII", 0x82, len(packed) + 9, len(data)) + packed


def test_broken_or_huge_bodies_store_nothing(settings: Settings) -> None:
    query = {"query": "INSERT INTO goods (a, b) FORMAT CSV"}
    whole = gzip.compress(b"1,one\n" * 1000)
    cases: list[tuple[bytes, dict[str, str], dict[str, str], int]] = [
        (whole[:-20], {"Content-Encoding": "gzip"}, {}, 400),
        (b"not gzip", {"Content-Encoding": "gzip"}, {}, 400),
        (b"1,one\n", {"Content-Encoding": "br"}, {}, 400),
        (_native_block(b"1,one\n")[:-2], {}, {"decompress": "1"}, 400),
        (bytes(65 * 1024 * 1024), {}, {}, 413),
        (gzip.compress(bytes(300 * 1024 * 1024), 1), {"Content-Encoding": "gzip"}, {}, 413),
    ]
    for body, headers, params, status in cases:
        response = httpx.post(
            settings.ledger.url, params=query | params, content=body, headers=headers, auth=AUTH, timeout=60
        )
        assert response.status_code == status, response.text
        assert response.text.startswith("Code: ")
    assert sql(settings, "SELECT count() FROM goods") == "0\n"


def test_a_large_answer_arrives_whole_and_an_enormous_one_is_refused(settings: Settings) -> None:
    for encoding in ("gzip", "deflate", "identity"):
        response = httpx.post(
            settings.ledger.url,
            params={"enable_http_compression": "1"},
            headers={"Accept-Encoding": encoding},
            content="SELECT number FROM numbers(1000000)",
            auth=AUTH,
            timeout=60,
        )
        assert response.headers.get("Content-Encoding", "identity") == encoding
        assert response.text.count("\n") == 1_000_000
    assert client_of(settings).query("SELECT number FROM numbers(1000000)").row_count == 1_000_000
    refused = httpx.post(
        settings.ledger.url,
        content="SELECT repeat(toString(number), 100) FROM numbers(1000000)",
        auth=AUTH,
        timeout=60,
    )
    assert refused.status_code == 413
    assert refused.headers["X-ClickHouse-Exception-Code"] == "396"


def test_a_wrong_password_is_refused_on_both_sides(settings: Settings) -> None:
    url = settings.ledger.url
    with pytest.raises(DatabaseError) as refused:
        client_of(settings, password="wrong")
    assert refused.value.code == 516
    wrong: list[dict[str, Any]] = [
        {}, {"auth": (USER, "wrong")}, {"auth": ("other", PASSWORD)}, {"auth": (USER, "")},
        {"headers": {"X-ClickHouse-User": USER, "X-ClickHouse-Key": "wrong"}},
        {"params": {"user": USER, "password": "wrong"}}, {"headers": {"Authorization": "Basic !!!"}},
        {"headers": {"Authorization": "Bearer token"}, "params": {"user": USER, "password": PASSWORD}},
    ]  # fmt: skip
    for how in wrong:
        response = httpx.post(url, content="SELECT 1", **how)
        assert response.status_code in (401, 403), how
        assert response.headers["X-ClickHouse-Exception-Code"] == "516"
        assert "AUTHENTICATION_FAILED" in response.text
        spans = httpx.post(
            f"{url}/v1/traces", content=b"", **{"headers": {}, **how} | {"params": None},
        ) if "params" not in how else None  # fmt: skip
        assert spans is None or spans.status_code == 401, how
    for how in (
        {"auth": AUTH},
        {"headers": {"X-ClickHouse-User": USER, "X-ClickHouse-Key": PASSWORD}},
        {"params": {"user": USER, "password": PASSWORD}},
    ):
        assert httpx.post(url, content="SELECT 1", **how).text == "1\n"


def test_a_get_changes_nothing(settings: Settings) -> None:
    for query in (
        "INSERT INTO goods (a) VALUES (1)",
        "INSERT INTO goods (a) FORMAT CSV 1",
        "DROP TABLE goods",
    ):
        response = httpx.get(settings.ledger.url, params={"query": query}, auth=AUTH)
        assert response.headers["X-ClickHouse-Exception-Code"] == "164", response.text
    assert sql(settings, "SELECT count() FROM goods") == "0\n"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT * FROM \"file\"('/etc/hostname', LineAsString)",
        "SELECT file/**/('/etc/hostname')",
        "SELECT * FROM default.`/etc/hostname`",
        "SELECT * FROM {d:Identifier}.{t:Identifier}",
        "SELECT 1 INTO OUTFILE '/tmp/never-written'",
        "INSERT INTO goods (a) FROM INFILE '/etc/hostname' FORMAT CSV",
        "CREATE TABLE f (a String) ENGINE = File(CSV)",
        "SELECT * FROM executable('x', CSV, 'a String')",
        "SELECT * FROM icebergLocal('/etc')",
    ],
)
def test_a_ledger_user_does_not_reach_the_machines_files(settings: Settings, query: str) -> None:
    params = {"param_d": "default", "param_t": "/etc/hostname"}
    response = httpx.post(settings.ledger.url, params=params, content=query, auth=AUTH)
    assert response.status_code in (403, 404), response.text
    assert not Path("/tmp/never-written").exists()


def test_words_in_strings_and_columns_are_not_mistaken(settings: Settings) -> None:
    assert sql(settings, "SELECT 'file(x); SELECT 2' AS file -- ; file('y')") == "file(x); SELECT 2\n"
    sql(settings, "INSERT INTO goods (a, b) VALUES (1, 'x FORMAT CSV; file(1)')")
    assert sql(settings, "SELECT b FROM goods FORMAT CSV;") == '"x FORMAT CSV; file(1)"\n'


def test_a_slow_query_delays_neither_spans_nor_other_queries(settings: Settings) -> None:
    took: list[float] = []

    def slow() -> None:
        began = time.monotonic()
        query = "SELECT count() FROM numbers(100000000000) WHERE cityHash64(number) = 7"
        params = {"max_threads": "1", "max_execution_time": "5", "timeout_overflow_mode": "throw"}
        response = httpx.post(settings.ledger.url, params=params, content=query, auth=AUTH, timeout=60)
        assert response.headers["X-ClickHouse-Exception-Code"] == "159"
        took.append(time.monotonic() - began)

    thread = threading.Thread(target=slow)
    thread.start()
    time.sleep(0.3)
    payload = ChargeSpans("farthing", "slow").finish(charge(1, id="during-a-slow-query")).payload
    assert post_spans(settings, payload).status_code == 200
    assert sql(settings, "SELECT 1") == "1\n"
    waited = not thread.is_alive()
    thread.join()
    assert took, "the slow query did not end as it should"
    assert not waited, "ingestion waited for the slow query"


def test_connect_tells_what_is_wrong(settings: Settings) -> None:
    good = settings.ledger
    client = connect(good)
    assert client.command("SELECT 1") == 1
    client.close()
    with pytest.raises(LedgerError, match=r"refuses user 'farthing'.*ledger\.password"):
        connect(good.model_copy(update={"password": "wrong"}))
    with pytest.raises(LedgerError, match=r"http://127\.0\.0\.1:9 does not answer.*farthing ledger serve"):
        connect(good.model_copy(update={"url": "http://127.0.0.1:9"}))
    with pytest.raises(LedgerError, match="must be http"):
        connect(good.model_copy(update={"url": "127.0.0.1:8123"}))
    with pytest.raises(LedgerError, match=r"no database 'elsewhere'.*ledger migrate"):
        connect(good.model_copy(update={"database": "elsewhere"}))


def test_migrations_are_applied_once_and_repeating_them_changes_nothing(settings: Settings) -> None:
    client = connect(settings.ledger)
    schema = (
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY name"
    )
    before = client.query(schema).result_rows
    recorded = client.query("SELECT * FROM schema_migrations ORDER BY version").result_rows
    names = [migration.name for migration in migrations()]
    assert names[:2] == ["0001_otel_traces", "0002_charges"]
    assert [row[1] for row in recorded] == names
    assert migrate(client) == []
    assert client.query(schema).result_rows == before
    assert client.query("SELECT * FROM schema_migrations ORDER BY version").result_rows == recorded

    # The same files make another database, as on a ClickHouse server that has none yet.
    other = settings.ledger.model_copy(update={"database": "second"})
    assert prepare(other) == names
    assert prepare(other) == []
    client.command("ALTER TABLE second.schema_migrations UPDATE sha256 = 'edited' WHERE version = 2 "
                   "SETTINGS mutations_sync = 2")  # fmt: skip
    with pytest.raises(LedgerError, match="0002_charges was applied with another text"):
        prepare(other)
    client.command("INSERT INTO second.schema_migrations (version, name) VALUES (9999, '9999_future')")
    client.command(
        "ALTER TABLE second.schema_migrations DELETE WHERE version = 2 SETTINGS mutations_sync = 2"
    )
    with pytest.raises(LedgerError, match="newer Farthing"):
        prepare(other)
