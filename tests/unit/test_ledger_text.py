"""Reading SQL and bodies: the places where rows or statements could get lost without a word."""

import gzip
import re
import zlib
from pathlib import Path

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.ledger import sqlfiles, sqltext
from farthing.ledger.auth import Credentials, Gate, Guest, basic, clickhouse
from farthing.ledger.encoding import EncodingError, choose, pack, unpack, unpack_blocks
from farthing.ledger.errors import EngineError, TooLargeError
from farthing.ledger.schema import migrations
from farthing.settings import Reader
from farthing.telemetry import attributes


def test_a_script_is_split_at_its_semicolons_alone() -> None:
    script = """
        -- a comment; with a semicolon
        CREATE TABLE a (x String DEFAULT ';') /* ; */ ENGINE = Memory;
        ;
        INSERT INTO a VALUES ('it''s; \\'quoted\\' ;'), ("b;" , `c;`) # last; one
        ;
        SELECT $tag$ ; $tag$, 'é;'
        -- the end;
    """
    first, second, third = sqltext.split(script)
    assert first.endswith("ENGINE = Memory")
    assert second.startswith("INSERT INTO a VALUES ('it''s; \\'quoted\\' ;'), (\"b;\" , `c;`)")
    assert third.startswith("SELECT $tag$ ; $tag$, 'é;'")
    assert sqltext.split(" ; -- nothing\n;") == []


@given(
    st.lists(st.sampled_from(["SELECT 1", "SELECT ';'", "SELECT `;`", "/* ; */ SELECT 2", "SELECT 'a\\';b'"]))
)
def test_splitting_undoes_joining(statements: list[str]) -> None:
    assert sqltext.split(";\n".join(statements)) == statements


def test_every_migration_is_numbered_in_turn_and_holds_statements() -> None:
    found = migrations()
    assert [migration.version for migration in found] == list(range(1, len(found) + 1))
    for migration in found:
        assert re.fullmatch(r"\d{4}_[a-z_]+", migration.name)
        assert sqltext.split(migration.text)
        # One that failed half-way is run again whole: each of its statements may be repeated.
        for statement in sqltext.split(migration.text):
            assert re.search(r"IF NOT EXISTS|OR REPLACE|MODIFY QUERY", statement), statement


def test_the_charges_view_reads_only_names_that_spans_carry() -> None:
    text = [migration.text for migration in migrations() if "charges_mv" in migration.text][-1]
    read = set(re.findall(r"SpanAttributes\['([^']+)'\]", text))
    written = {value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)}
    assert read <= written
    # What a span says under farthing.*, the ledger keeps; these say the same elsewhere or are not a charge's.
    elsewhere = {
        attributes.GRADE_REASON,
        attributes.CREDITS_ACCOUNT,
        attributes.CREDITS_THRESHOLD,
        attributes.CREDITS_OVERDRAFT,
        attributes.CONTEXT_REASON,
        attributes.CONTEXT_TURNS,
        attributes.CONTEXT_WRITER,
    }
    ours = {name for name in written if name.startswith("farthing.")}
    assert {name for name in ours & _charge_names() if name not in elsewhere} <= read


def _charge_names() -> set[str]:
    prefixes = (
        "farthing.charge.",
        "farthing.account.",
        "farthing.cost.",
        "farthing.credits.",
        "farthing.baseline.",
        "farthing.context.",
    )
    labels = (attributes.TIER, attributes.GRADE, attributes.INTENT, attributes.TASK)
    return {
        value
        for value in vars(attributes).values()
        if isinstance(value, str) and (value.startswith(prefixes) or value in labels)
    }


@pytest.mark.parametrize(
    ("text", "statement", "fmt", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x01\x02\n", "INSERT INTO t", "Native", b"\x01\x02\n"),
        (b"insert into t (a, `format`) format CSV \t\r\n1,2", "insert into t (a, `format`)", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT RowBinary\n\nx", "INSERT INTO t", "RowBinary", b"\nx"),
        (b"INSERT INTO t FORMAT CSV   1,2", "INSERT INTO t", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV\n   1", "INSERT INTO t", "CSV", b"   1"),
        (
            b"-- why\nINSERT /* FORMAT X */ INTO t FORMAT TSV\n'",
            "-- why\nINSERT /* FORMAT X */ INTO t",
            "TSV",
            b"'",
        ),
        (b"INSERT INTO format FORMAT CSV\n1", "INSERT INTO format", "CSV", b"1"),
        (
            b"INSERT INTO t SETTINGS a = 'FORMAT' FORMAT CSV\n1",
            "INSERT INTO t SETTINGS a = 'FORMAT'",
            "CSV",
            b"1",
        ),
        (b"INSERT INTO t FORMAT CSV", "INSERT INTO t", "CSV", b""),
    ],
)
def test_the_data_behind_an_insert_is_found(text: bytes, statement: str, fmt: str, data: bytes) -> None:
    found = sqltext.find_insert(text)
    assert found is not None
    assert (found.statement, found.input_format, text[found.data_start :]) == (statement, fmt, data)


@given(st.binary(max_size=300))
def test_no_byte_of_binary_data_is_lost(data: bytes) -> None:
    text = b"INSERT INTO t (a) FORMAT RowBinary\n" + data
    found = sqltext.find_insert(text)
    assert found is not None
    assert text[found.data_start :] == data


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO t VALUES (1) -- FORMAT CSV", b"INSERT INTO t SELECT 1 FORMAT CSV", b"INSERT INTO t",
        b"SELECT 1 FORMAT CSV", b"INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x", b"",
        b"INSERT INTO t FORMAT '",
    ],
)  # fmt: skip
def test_other_statements_have_no_data_behind_them(text: bytes) -> None:
    assert sqltext.find_insert(text) is None


def test_the_output_format_is_the_outermost_one() -> None:
    assert sqltext.output_format(b"SELECT 1 FORMAT JSON") == "JSON"
    assert sqltext.output_format(b"SELECT 1 format Native SETTINGS max_threads = 1;") == "Native"
    assert sqltext.output_format(b"SELECT 'FORMAT x', (SELECT 1 AS format) -- FORMAT y") is None
    assert sqltext.answers_rows(b"/* x */ (SELECT 1)")
    assert not sqltext.answers_rows(b"CREATE TABLE t AS SELECT 1")
    assert sqltext.is_multiple(b"SELECT 1; -- a\n SELECT 2")
    assert not sqltext.is_multiple(b"SELECT ';' ; ; -- the end")


ENCODERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
}


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=4), st.sampled_from(sorted(ENCODERS)))
def test_concatenated_frames_are_read_to_the_last(blocks: list[bytes], name: str) -> None:
    packed = b"".join(ENCODERS[name](block) for block in blocks)
    assert unpack(packed, name) == b"".join(blocks)


@given(st.binary(max_size=5000), st.sampled_from(["lz4", "zstd", "gzip", "deflate", ""]))
def test_an_encoded_answer_reads_back(body: bytes, name: str) -> None:
    assert unpack(b"".join(pack(body, name)), name) == body


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_a_body_that_unpacks_too_far_or_ends_too_early_is_refused(name: str) -> None:
    packed = ENCODERS[name](bytes(100_000))
    assert unpack(packed, name, 100_000) == bytes(100_000)
    with pytest.raises(TooLargeError):
        unpack(packed, name, 99_999)
    for cut in (1, len(packed) // 2, len(packed) - 1):
        with pytest.raises(EncodingError):
            unpack(packed[:cut], name)
    with pytest.raises(EncodingError):
        unpack(packed + b"rubbish", name)
    with pytest.raises(EncodingError, match="not supported"):
        unpack(b"", "snappy")
    for broken in (b"x", bytes(25), bytes(16) + b"\x82\xff\xff\x00\x00\x05\x00\x00\x00abc"):
        with pytest.raises(EncodingError):
            unpack_blocks(broken)


def test_the_answers_encoding_is_one_the_client_reads() -> None:
    assert choose("gzip, lz4;q=0.5") == "lz4"
    assert choose("gzip;q=0, deflate") == "deflate"
    assert choose("br, zstd") == "zstd"
    assert choose("br") == choose("") == ""


def test_only_the_right_user_and_password_pass() -> None:
    gate = Gate("ada", "sécret:with:colons")
    assert gate.admits(Credentials("ada", "sécret:with:colons"))
    for user, password in (
        ("ada", ""),
        ("", ""),
        ("ada", "sécret"),
        ("Ada", "sécret:with:colons"),
        ("ada", "\udcff"),
    ):
        assert not gate.admits(Credentials(user, password))
    assert not gate.admits(None)
    assert not Gate("ada", "").admits(None), "no credentials are not an empty password"
    readers = [
        Reader(user="eve", password="long enough", department="x"),
        Reader(user="bob", password="as long as"),
    ]
    shared = Gate("ada", "owner's", readers)
    assert shared.admits(Credentials("ada", "owner's")) == Guest(owner=True)
    assert shared.admits(Credentials("eve", "long enough")) == Guest(False, "x")
    assert shared.admits(Credentials("bob", "as long as")) == Guest(False, None)
    assert shared.admits(Credentials("eve", "as long as")) is None
    assert basic({"authorization": "Basic YTpiOmM="}) == Credentials("a", "b:c")
    for wrong in ("", "Basic", "Basic YQ==", "Basic \xff", "Basic ////", "Bearer YTpi"):
        assert basic({"authorization": wrong}) is None
    assert clickhouse({}, {}) is None
    assert clickhouse({}, {"user": "u"}) == Credentials("u", "")
    assert clickhouse({"x-clickhouse-key": "k"}, {"user": "u"}) == Credentials("default", "k")


def test_an_engines_error_keeps_its_code() -> None:
    error = EngineError.from_engine(RuntimeError("finish failed: Code: 27. DB::Exception: no. (X)"))
    assert (error.code, str(error)) == (27, "Code: 27. DB::Exception: no. (X)")
    assert EngineError.from_engine(RuntimeError("?")).code == 1002


def test_the_sql_is_found_in_a_checkout_and_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("statement", "reconcile", "trace", "audit")
    checkout = {name: sqlfiles.load(name) for name in names}
    assert all(text.startswith("--") for text in checkout.values())
    # In a wheel the files stand in the package itself, and there is no dashboards folder beside it.
    package = tmp_path / "site-packages" / "farthing" / "ledger"
    (package / "sql").mkdir(parents=True)
    for name, text in checkout.items():
        (package / "sql" / f"{name}.sql").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sqlfiles, "_HERE", package)
    sqlfiles.load.cache_clear()
    try:
        assert {name: sqlfiles.load(name) for name in names} == checkout
        with pytest.raises(FileNotFoundError, match=r"nothing\.sql is in none of: .*farthing/ledger/sql"):
            sqlfiles.load("nothing")
    finally:
        sqlfiles.load.cache_clear()
