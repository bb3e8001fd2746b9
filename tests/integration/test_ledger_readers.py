"""Readers of the embedded ledger, and what they may not do; and charges that mean harm."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
from clickhouse_connect import get_client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from farthing.ledger import connect
from farthing.ledger.closing import close_month
from farthing.ledger.rolls import roll
from farthing.ledger.statement import statement
from farthing.settings import Settings
from farthing.telemetry import Account, Charge, Cost
from farthing.telemetry.spans import ChargeSpans
from tests.ledger_stack import PROTOBUF, charge, deliver, embedded_ledger, post_spans, sql

MINE = "it's \\'x\\' \U0001f642 `d`"
OTHERS = "marketing"
READERS = [
    {"user": "finance", "password": "finance's own"},
    {"user": "mine", "password": "department's own", "department": MINE},
    {"user": "nobody", "password": "an empty one's", "department": "' OR 1 = 1 --"},
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("ledger"), readers=READERS) as running:
        made = []
        for number in range(1, 11):
            department = MINE if number <= 3 else OTHERS
            at = datetime(2026, 10, 5, tzinfo=UTC) if number % 3 == 1 else charge(number).started
            made.append(
                charge(
                    number,
                    started=at,
                    ended=at,
                    account=Account("ab" * 32, f"u{number}", department, "CC"),
                    cost=Cost(number * 10**9, 0, 0, 0),
                )
            )
        deliver(running, made)
        client = connect(running.ledger)
        roll(client, [date(2026, 10, 5)])
        close_month(client, "2026-10")
        for scope, name in (
            ("organisation", ""),
            ("department", MINE),
            ("department", OTHERS),
            ("user", "u9"),
        ):
            client.insert(
                "budgets",
                [(date(2026, 11, 1), scope, name, Decimal(7))],
                ["month", "scope", "name", "amount_usd"],
            )
        client.insert(
            "hardware_costs",
            [("n", "local", datetime(2026, 1, 1), Decimal(1))],
            ["node", "tier", "valid_from", "usd_per_hour"],
        )
        yield running


def ask(settings: Settings, user: str, query: str, **params: str) -> httpx.Response:
    password = next(one["password"] for one in READERS if one["user"] == user)
    return httpx.post(settings.ledger.url, params=params, content=query, auth=(user, password), timeout=60)


def seen(settings: Settings, user: str, query: str, **params: str) -> str:
    response = ask(settings, user, query, **params)
    assert response.status_code == 200, response.text
    return response.text


EVERYWHERE = (
    "charges",
    "charges_final",
    "charges_daily",
    "charges_hourly",
    "charges_daily_live",
    "charges_hourly_live",
    "statement_lines",
    "closed_lines",
    "daily_rolls",
    "hourly_rolls",
    "closing_lines",
    "farthing.charges",
    "`farthing`.`charges_daily`",
)


@pytest.mark.parametrize("table", EVERYWHERE)
def test_a_departments_reader_sees_its_own_rows_in_every_table(settings: Settings, table: str) -> None:
    names = seen(settings, "mine", f"SELECT DISTINCT department FROM {table} FORMAT JSONCompactEachRow")
    assert json.loads(names) == [MINE]
    assert seen(settings, "nobody", f"SELECT count() FROM {table}") == "0\n"
    everybody = int(sql(settings, f"SELECT count() FROM {table}"))
    assert int(seen(settings, "finance", f"SELECT count() FROM {table}")) == everybody
    assert 0 < int(seen(settings, "mine", f"SELECT count() FROM {table}")) < everybody


def test_sums_counts_and_extremes_are_of_the_own_rows(settings: Settings) -> None:
    for query, mine in (
        ("SELECT count(), sum(cost_total), max(cost_total) FROM charges", "3\t6\t3\n"),
        ("SELECT sum(calls), sum(cost_usd) FROM charges_daily", "3\t6\n"),
        ("SELECT sum(cost_usd) FROM statement_lines", "6\n"),
        ("SELECT uniqExact(department), any(user) LIKE 'u%' FROM charges_final", "1\t1\n"),
        ("SELECT count() FROM (SELECT * FROM charges UNION ALL SELECT * FROM charges_final)", "6\n"),
        ("SELECT count() FROM charges AS a JOIN charges_final AS b USING (id)", "3\n"),
        ("SELECT count() FROM charges AS a FULL JOIN (SELECT * FROM charges) AS b ON a.id = b.id", "3\n"),
        ("WITH x AS (SELECT * FROM farthing.charges) SELECT count() FROM x", "3\n"),
        ("SELECT (SELECT count() FROM charges)", "3\n"),
        ("SELECT 'marketing' IN (SELECT department FROM charges)", "0\n"),
        ("SELECT count() FROM view(SELECT * FROM charges)", "3\n"),
        ("SELECT count() FROM charges WHERE department = 'marketing' OR 1", "3\n"),
        ("SELECT scope, amount_usd FROM budgets", "department\t7\n"),
        ("SELECT count() FROM hardware_costs", "0\n"),
        ("SELECT count() FROM otel_traces", "0\n"),
        ("SELECT count() FROM otel_traces_trace_id_ts", "0\n"),
        ("SELECT count() FROM schema_migrations", "0\n"),
        ("SELECT count() FROM system.tables", "0\n"),
        ("SELECT count() FROM system.parts", "0\n"),
        ("SELECT count() FROM system.processes", "0\n"),
        ("SELECT count() FROM information_schema.tables", "0\n"),
        ("SELECT sum(calls) FROM closed_lines", "1\n"),
    ):
        assert seen(settings, "mine", query) == mine, query
    assert seen(settings, "mine", "SELECT count() FROM processes", database="system") == "0\n"


ATTACKS = [
    "INSERT INTO charges (id) VALUES ('x')",
    "INSERT INTO charges (id) FORMAT CSV\nx",
    "INSERT INTO FUNCTION null('a Int8') VALUES (1)",
    "ALTER TABLE charges DELETE WHERE 1",
    "DROP TABLE charges",
    "DELETE FROM charges WHERE 1",
    "TRUNCATE TABLE charges",
    "RENAME TABLE charges TO c",
    "OPTIMIZE TABLE charges",
    "CREATE TABLE t (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE t (a Int8)",
    "CREATE VIEW v AS SELECT 1",
    "CREATE FUNCTION f AS x -> x",
    "ATTACH TABLE charges",
    "DETACH TABLE charges",
    "SET readonly = 0",
    "SET additional_table_filters = {}",
    "SYSTEM FLUSH LOGS",
    "SYSTEM STOP MERGES",
    "KILL QUERY WHERE 1",
    "SELECT 1 SETTINGS readonly = 0",
    "BACKUP TABLE charges TO Disk('a', 'b')",
    "EXECUTE AS default SELECT 1",
    "SELECT * FROM charges INTO OUTFILE '/tmp/x'",
    "SELECT * FROM file('/etc/passwd')",
    "GRANT ALL ON *.* TO mine",
    "SELECT 1; DROP TABLE charges",
    "USE system",
    "UNDROP TABLE charges",
    "EXCHANGE TABLES charges AND budgets",
]
DEPARTMENT_ATTACKS = [
    "SELECT count() FROM charges SETTINGS additional_table_filters = {}",
    "SELECT count() FROM (SELECT * FROM charges SETTINGS additional_table_filters = {})",
    "SELECT count() FROM charges SETTINGS max_threads = 1",
    "SELECT count() FROM charges PREWHERE throwIf(department = 'marketing') = 0",
    "SELECT count() FROM merge('farthing', '^charges$')",
    "SELECT count() FROM merge('charges')",
    "SELECT count() FROM remote('127.0.0.1', 'farthing', 'charges')",
    "SELECT count() FROM cluster('default', farthing.charges)",
    "SELECT * FROM loop(charges) LIMIT 1",
    "SELECT * FROM mergeTreeIndex('farthing', 'charges')",
    "SELECT * FROM mergeTreeProjection('farthing', 'charges', 'p')",
    "SELECT * FROM `mergeTreeIndex`('farthing', 'charges')",
    "SELECT * FROM url('http://127.0.0.1/', 'CSV', 'a String')",
    "SELECT * FROM clusterAllReplicas('default', system.one)",
    "SELECT dictGet('d', 'a', 1)",
    "SELECT joinGet('t', 'a', 1)",
    "EXPLAIN SELECT * FROM charges",
    "EXPLAIN ESTIMATE SELECT * FROM charges",
    "SHOW PROCESSLIST",
    "SELECT sum(arrivals) FROM charge_arrivals",
    "SELECT * FROM farthing.`charge_arrivals`",
    'SELECT * FROM "charge\\x5farrivals"',
    "SELECT * FROM `charge\\_arrivals`",
    "SELECT * FROM charge_rolls",
    "SELECT * FROM arrivals_by_slot",
    "SELECT * FROM closings",
    "SELECT * FROM CLOSINGS_IN_FORCE",
    "SELECT * FROM {t:Identifier}",
    "SELECT 1 IN charge_arrivals",
    "SHOW CREATE TABLE charges",
    "CHECK TABLE charges",
    "DESCRIBE TABLE merge('farthing', 'charges')",
]


@pytest.mark.parametrize("user", ["finance", "mine"])
def test_no_reader_changes_anything(settings: Settings, user: str) -> None:
    for attack in ATTACKS:
        response = ask(settings, user, attack, readonly="0")
        assert response.status_code >= 400, (attack, response.text)
        assert response.headers["X-ClickHouse-Exception-Code"]
    assert sql(settings, "SELECT count() FROM charges") == "10\n"


@pytest.mark.parametrize("attack", DEPARTMENT_ATTACKS)
def test_a_departments_reader_finds_no_way_round(settings: Settings, attack: str) -> None:
    response = ask(settings, "mine", attack, param_t="charge_arrivals")
    assert response.status_code >= 400, response.text
    assert OTHERS not in response.text.replace(attack, "").replace(f"'{OTHERS}'", "")


@pytest.mark.parametrize(
    "condition",
    [
        "throwIf(department = 'marketing') = 0",
        "throwIf(cost_total > 5) = 0",
        "intDiv(1, toInt64(cost_total) - 7) > -9",
        "toUInt8(if(user = 'u8', 'q', '1')) = 1",
        "CAST(if(id = 'charge-9', 'z', '1') AS UInt8) = 1",
        "throwIf(id > 'charge-5' AND day > '2000-01-01') = 0",
        "arrayElement([1], toInt64(cost_total)) >= 0",
    ],
)
@pytest.mark.parametrize("table", ["charges", "charges FINAL", "charges_final"])
def test_no_error_tells_of_the_rows_of_others(settings: Settings, table: str, condition: str) -> None:
    assert seen(settings, "mine", f"SELECT count() FROM {table} WHERE {condition}") == "3\n"


def test_settings_in_the_url_open_nothing(settings: Settings) -> None:
    query = "SELECT count() FROM charges"
    for name, value in (
        ("additional_table_filters", "{}"), ("additional_result_filter", "1"), ("allow_ddl", "1"),
        ("optimize_move_to_prewhere", "1"), ("enable_analyzer", "0"), ("profile", "default"), ("limit", "5"),
        ("log_queries", "0"), ("param_x", "1"), ("role", "x"), ("max_threads", "1"), ("readonly", "0"),
        ("database", "default"), ("session_id", "x"),
    ):  # fmt: skip
        response = ask(settings, "mine", query, **{name: value})
        if response.status_code == 200:
            assert response.text == "3\n", name
        else:
            assert response.headers["X-ClickHouse-Exception-Code"] in ("497", "164", "115"), response.text
    hidden = ask(settings, "mine", query).headers["X-ClickHouse-Summary"]
    assert '"read_rows": "0"' in hidden, "how many rows were read tells of those of others"


def test_no_reader_sends_spans(settings: Settings) -> None:
    payload = ChargeSpans("farthing", "gw").finish(charge(99)).payload
    for one in READERS:
        for path in ("v1/traces", "v1/metrics"):
            response = httpx.post(
                f"{settings.ledger.url}/{path}",
                content=payload,
                headers=PROTOBUF,
                auth=(one["user"], one["password"]),
            )
            assert response.status_code == 401


def test_an_unmodified_client_reads_the_own_rows(settings: Settings) -> None:
    port = int(settings.ledger.url.rpartition(":")[2])
    client = get_client(
        host="127.0.0.1", port=port, username="mine", password="department's own", database="farthing"
    )
    lines = statement(client, "2026-11")
    assert {line.department for line in lines} == {MINE}
    assert sum(line.calls for line in lines) == 2


def altered(one: Charge, **values: str) -> bytes:
    """Return a charge's span with attributes replaced, as only a broken or hostile sender would write it."""
    request = ExportTraceServiceRequest.FromString(ChargeSpans("farthing", "gw").finish(one).payload)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    for attribute in span.attributes:
        if attribute.key in values:
            attribute.value.string_value = values.pop(attribute.key)
    assert not values
    return request.SerializeToString()


BAD_AMOUNTS = (
    "NaN",
    "-1",
    "-0.000000001",
    "1e400",
    "1e-400",
    "",
    "inf",
    "-inf",
    "99999999999999999999",
    "9999999999",
    "1.5.5",
    "0x10",
    "1,5",
    " 1",
    "0.0000000001",
    "1e5",
    "１",
)


def test_amounts_that_cannot_be_are_unpriced_counted_and_in_no_sum(settings: Settings) -> None:
    started = datetime(2026, 8, 1, tzinfo=UTC)
    account = Account("cd" * 32, "eve", "hostile", "CC")
    payload = b""
    for number, amount in enumerate(BAD_AMOUNTS):
        one = charge(number, id=f"bad-{number}", started=started, ended=started, account=account)
        payload += altered(one, **{"farthing.cost.total": amount, "farthing.credits.settled": amount})
    good = charge(1, id="good", started=started, ended=started, account=account)
    euro = charge(2, id="euro", started=started, ended=started, account=account)
    tokens = charge(3, id="tokens", started=started, ended=started, account=account)
    payload += altered(good) + altered(euro, **{"farthing.cost.currency": "EUR"})
    payload += altered(tokens, **{"gen_ai.usage.input_tokens": "18446744073709551615"})
    assert post_spans(settings, payload).status_code == 200
    for _ in range(2):
        (line,) = [
            line for line in statement(connect(settings.ledger), "2026-08") if line.department == "hostile"
        ]
        assert (line.calls, line.unpriced) == (len(BAD_AMOUNTS) + 3, len(BAD_AMOUNTS) + 1)
        assert line.cost_nano == 2 * 3_350_001
        assert line.input_tokens == (len(BAD_AMOUNTS) + 2) * 1000
        roll(connect(settings.ledger), [started.date()])
    shown = sql(settings, "SELECT id, refused FROM charges_final WHERE notEmpty(refused) AND id LIKE 'bad-%'")
    assert shown.count("'farthing.cost.total','farthing.credits.settled'") == len(BAD_AMOUNTS) - 1, (
        "empty is not given"
    )
    assert (
        sql(settings, "SELECT refused FROM charges_final WHERE id = 'tokens'")
        == "['gen_ai.usage.input_tokens']\n"
    )
    assert "farthing.cost.total" in sql(settings, "SELECT refused FROM charges_final WHERE id = 'euro'")


def test_hostile_and_enormous_names_are_kept_as_they_are(settings: Settings) -> None:
    started = datetime(2026, 7, 1, tzinfo=UTC)
    names = [
        "'; DROP TABLE charges; --",
        '"',
        "\\",
        "\\'",
        "a\nb\tc",
        "\U0001f3f4\u200d\u2620\ufe0f",
        "{d:String}",
        "%s %(x)s",
        "\x00\x01",
        " ",
        "D" * 1_048_576,
    ]
    made = [
        charge(n, id=f"name-{n}", started=started, ended=started, account=Account("ef" * 32, "u", name, "CC"))
        for n, name in enumerate(names)
    ]
    deliver(settings, made)
    for _ in range(2):
        lines = statement(connect(settings.ledger), "2026-07")
        assert sorted(line.department for line in lines) == sorted(names)
        assert {line.cost_nano for line in lines} == {3_350_001}
        roll(connect(settings.ledger), [started.date()])


def test_ten_thousand_departments_add_up(settings: Settings) -> None:
    started = datetime(2026, 6, 1, tzinfo=UTC)
    made = [
        charge(
            n,
            id=f"many-{n}",
            started=started + timedelta(seconds=n),
            ended=started + timedelta(seconds=n + 1),
            account=Account(f"{n:064x}", f"u{n}", f"department {n}", ""),
            cost=Cost(n, 0, 0, 0),
        )
        for n in range(10_000)
    ]
    deliver(settings, made, batch=2500)
    client = connect(settings.ledger)
    for _ in range(2):
        lines = statement(client, "2026-06")
        assert len(lines) == 10_000
        assert {line.department: line.cost_nano for line in lines} == {
            f"department {n}": n for n in range(10_000)
        }
        roll(client, [started.date()])
