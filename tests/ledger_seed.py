"""Three months of charges that tests can recompute: the same rows every time, and every kind of trouble.

`seed(client)` puts them into a ledger and returns them as plain rows (dicts by column name, money as Decimal
USD). They hold several departments, users, agents, tiers and models; gradings, summaries, failed attempts and
climbs; cached tokens; calls without a price or a baseline; stand-ins; a price that falls; one wild day; names
with quotes, emoji, SQL, HTML and a spreadsheet formula; charges that no department stands behind. Every ninth
row is delivered twice. `late_charges()` are more of October, for what arrives after a month is closed.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

Row = dict[str, Any]

MONTHS = ("2026-09", "2026-10", "2026-11")
BASELINE = "gpt-5"
HOSTILE = "R&D \"Zürich\" O'Neil 🚀 <script>alert(1)</script>'; DROP TABLE charges; --"
FORMULA = '=HYPERLINK("http://127.0.0.1/?"&A1;"pay")'
WILD_DAY, WILD_DEPARTMENT = date(2026, 11, 17), "sales"


@dataclass(frozen=True, slots=True)
class Person:
    """Who pays, and the agent that asks on their behalf."""

    user: str
    department: str
    cost_centre: str
    agent: str

    @property
    def key_hash(self) -> str:
        """64 hex digits that are this person's alone."""
        return f"{hash_of(self.user + self.department):064x}"


def hash_of(text: str) -> int:
    """Return a number that is the same in every process, unlike ``hash``."""
    return int.from_bytes(text.encode()[:30].ljust(30, b"\0"), "big")


PEOPLE = (
    Person("ada", "engineering", "CC-100", "code-review"),
    Person("grace", "engineering", "CC-100", "test-writer"),
    Person("linus", "engineering", "CC-110", ""),
    Person("alan", "sales", "CC-200", "crm-notes"),
    Person("edsger 🧮", "sales", "CC-200", ""),
    Person("mary", "support", "CC-300", "ticket-triage"),
    Person("joan", "support", "CC-300", "ticket-triage"),
    Person("O'Neil", HOSTILE, "CC-400", 'agent "x"'),
    Person("+cmd", FORMULA, "@SUM(1)", ""),
    Person("nobody", "", "", ""),
    Person("gateway", "gateway", "", ""),
)
_WEIGHTS = (24, 16, 8, 14, 6, 12, 10, 5, 3, 1, 1)


@dataclass(frozen=True, slots=True)
class Model:
    """A model and its prices in nano-dollars per token: input, output, cache read, cache write."""

    name: str
    tier: str
    provider: str
    prices: tuple[int, int, int, int]


LOCAL = Model("qwen3-8b", "local", "vllm", (37, 111, 37, 0))
MINI = Model("gpt-5-mini", "fast", "openai", (250, 2000, 25, 0))
MINI_CHEAPER = Model("gpt-5-mini", "fast", "openai", (200, 1600, 20, 0))
STRONG = Model("gpt-5", "strong", "openai", (1250, 10_000, 125, 0))
SONNET = Model("claude-sonnet-4-5", "strong", "anthropic", (3000, 15_000, 300, 3750))
STAND_IN = Model("gpt-5-mini (stand-in)", "fast", "openai", (250, 2000, 25, 0))
UNKNOWN = Model("internal-beta", "strong", "openai", (0, 0, 0, 0))


def charges(per_day: int = 24, number: int = 1) -> list[Row]:
    """Return about ``per_day`` calls for each day of the three months (fewer at weekends), in their order."""
    rng = random.Random(number)
    made: list[Row] = []
    day = date(2026, 9, 1)
    while day <= date(2026, 11, 30):
        # Traffic grows by half over the quarter and falls to a third at weekends.
        grown = per_day * (1 + (day - date(2026, 9, 1)).days / 180)
        for _ in range(int(grown * (1 if day.weekday() < 5 else 0.34))):
            made += _call(rng, day, rng.choices(PEOPLE, _WEIGHTS)[0])
        if day == WILD_DAY:
            for _ in range(max(6, per_day // 3)):
                made += _call(rng, day, PEOPLE[3], wild=True)
        day += timedelta(days=1)
    return _numbered(made, f"seed-{number}")


def late_charges(number: int = 1) -> list[Row]:
    """Return a few more charges of October, as a gateway that was cut off would deliver them in November."""
    rng = random.Random(number + 1000)
    made: list[Row] = []
    for person in (PEOPLE[0], PEOPLE[3], PEOPLE[7], PEOPLE[8]):
        made += _call(rng, date(2026, 10, 31), person)
    made += _call(rng, date(2026, 10, 2), Person("newcomer", "engineering", "CC-100", ""))
    made.append(_row(rng, date(2026, 10, 9), PEOPLE[5], UNKNOWN, "inference") | _NO_PRICE)
    return _numbered(made, f"late-{number}")


def seed(client: Any, per_day: int = 24, number: int = 1) -> list[Row]:
    """Insert `charges` into the ledger behind a clickhouse-connect client; return them, each once."""
    rows = charges(per_day, number)
    insert(client, rows)
    insert(client, rows[::9])
    return rows


def insert(client: Any, rows: Sequence[Mapping[str, Any]], table: str = "charges") -> None:
    """Insert rows into a table, in one block."""
    if rows:
        names = list(rows[0])
        client.insert(table, [[row[name] for name in names] for row in rows], column_names=names)


def seed_books(client: Any, budget_scale: int = 1) -> dict[str, list[Row]]:
    """Insert budgets, hardware costs, the credit roll-forward and prices; return them by table."""
    books = {
        "budgets": _budgets(budget_scale),
        "hardware_costs": _hardware(),
        "credit_roll_forward": _rolls(),
        "price_book": _price_book(),
    }
    for table, rows in books.items():
        insert(client, rows, table)
    return books


def invoices(rows: Sequence[Row]) -> list[Row]:
    """Return what the providers bill in November: as charged, but for one day dearer and one call unseen."""
    sums: dict[tuple[str, date, str], Row] = {}
    for row in rows:
        if row["provider"] not in ("openai", "anthropic") or f"{row['day']:%Y-%m}" != "2026-11":
            continue
        if row["stand_in"] or row["cost_total"] is None:
            continue
        key = (row["provider"], row["day"], row["model"])
        line = sums.setdefault(
            key,
            {
                "provider": key[0], "day": key[1], "model": key[2], "line": "tokens", "project": "p-1",
                "input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0,
                "requests": 0, "amount_usd": Decimal(0), "currency": "USD", "source_file": "november.csv",
                "source_sha256": "ab" * 32, "imported_at": datetime(2026, 12, 2, tzinfo=UTC),
            },
        )  # fmt: skip
        for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"):
            line[name] += row[name]
        line["requests"] += 1
        line["amount_usd"] += row["cost_total"]
    made = list(sums.values())
    for line in made:
        if line["day"] == date(2026, 11, 10) and line["model"] == "gpt-5":
            line["amount_usd"] += Decimal("0.75")
        if line["day"] == date(2026, 11, 12) and line["model"] == "gpt-5-mini":
            line["requests"] += 1
            line["input_tokens"] += 90_000
            line["amount_usd"] += Decimal("0.018")
    return made


_NO_PRICE: Row = {
    "cost_total": None, "cost_input": None, "cost_output": None, "cost_cache_read": None,
    "cost_cache_write": None, "cost_source": "local", "baseline_cost": None, "settled": Decimal(0),
}  # fmt: skip


def _numbered(rows: list[Row], name: str) -> list[Row]:
    """Give each row its id, trace and place in the sequence of one of two gateways."""
    for at, row in enumerate(rows):
        row |= {
            "id": f"{name}-{at}", "gateway_instance": f"{name}-gw-{at % 2 + 1}", "sequence": at // 2 + 1,
            "trace_id": f"{hash_of(name) % 10**20 + at:032x}", "span_id": f"{at + 1:016x}",
        }  # fmt: skip
    return rows


def _call(rng: random.Random, day: date, person: Person, *, wild: bool = False) -> list[Row]:
    """Return the charges of one request: its answer, and what it took to get there."""
    made: list[Row] = []
    mini = MINI_CHEAPER if day >= date(2026, 11, 1) else MINI
    chance = rng.random()
    if wild:
        model = SONNET
    elif chance < 0.30:
        model = LOCAL
    elif chance < 0.66:
        model = mini
    elif chance < 0.86:
        model = STRONG
    elif chance < 0.96:
        model = SONNET
    elif chance < 0.98:
        model = STAND_IN
    else:
        model = UNKNOWN
    answer = _row(rng, day, person, model, "inference", factor=6 if wild else 1)
    if model is UNKNOWN:
        answer |= _NO_PRICE
    elif rng.random() < 0.03:
        answer |= {"baseline_cost": None}
    if rng.random() < 0.12:
        graded = _row(rng, day, person, mini, "grading", factor=0.02)
        before = {"started": answer["started"], "ended": answer["started"] + timedelta(milliseconds=210)}
        made.append(graded | before | {"session_id": answer["session_id"]})
    if rng.random() < 0.05:
        made.append(_row(rng, day, person, LOCAL, "summary", factor=0.2))
    if model is STRONG and rng.random() < 0.15:
        tried = _row(rng, day, person, mini, "failed_attempt", factor=0.4)
        made.append(tried | {"outcome": "failed", "grade": answer["grade"]})
        answer |= {"climbed_from": "fast"}
    if rng.random() < 0.02:
        answer |= {"outcome": "cancelled", "usage_estimated": True}
    return [*made, answer]


def _row(
    rng: random.Random,
    day: date,
    person: Person,
    model: Model,
    kind: str,
    factor: float = 1,
) -> Row:
    started = datetime(day.year, day.month, day.day, tzinfo=UTC)
    started += timedelta(seconds=rng.randrange(8 * 3600, 19 * 3600), microseconds=rng.randrange(10**6))
    # Heavy-tailed, as agents' contexts are.
    uncached = int(min(rng.lognormvariate(9.2, 1.1), 400_000) * factor) + 20
    cached = int(uncached * rng.choice([0, 0, 0.5, 1.5, 3])) if kind == "inference" else 0
    written = uncached // 4 if model is SONNET and cached else 0
    output = int(min(rng.lognormvariate(6.3, 0.8), 20_000) * factor) + 5
    tokens = (uncached, output, cached, written)
    parts = [Decimal(count * price).scaleb(-9) for count, price in zip(tokens, model.prices, strict=True)]
    baseline = sum(count * price for count, price in zip(tokens[:3], STRONG.prices[:3], strict=True))
    baseline += written * STRONG.prices[0]
    grade = {"local": "LOW", "fast": "MEDIUM", "strong": "HIGH"}[model.tier]
    total = sum(parts, Decimal(0))
    agent = person.agent if rng.random() < 0.8 else ""
    return {
        "day": day, "id": "", "kind": kind, "outcome": "ok", "started": started,
        "ended": started + timedelta(milliseconds=rng.randrange(300, 9000)),
        "key_hash": person.key_hash, "user": person.user, "department": person.department,
        "cost_centre": person.cost_centre, "agent": agent,
        "task": f"T-{rng.randrange(60)}" if agent and rng.random() < 0.7 else "",
        # Two people may use the same session id: it is theirs only together with their key.
        "session_id": f"s-{day:%m%d}-{rng.randrange(3)}", "session_step": rng.randrange(1, 30),
        "surface": rng.choice(["chat", "responses", "messages"]), "streamed": rng.random() < 0.6,
        "grade": grade, "grade_score": round(rng.random(), 3),
        "grade_source": rng.choice(["cache", "learned", "learned", "judge", "rule"]),
        "intent": f"{rng.randrange(40):08x}", "tier": model.tier, "model": model.name,
        "provider": model.provider, "stand_in": model is STAND_IN,
        "input_tokens": uncached + cached + written, "output_tokens": output,
        "cache_read_tokens": cached, "cache_write_tokens": written, "cache_write_1h_tokens": 0,
        "reasoning_tokens": output // 3 if model.tier == "strong" else 0, "usage_estimated": False,
        "cost_total": total, "cost_input": parts[0], "cost_output": parts[1], "cost_cache_read": parts[2],
        "cost_cache_write": parts[3], "currency": "USD",
        "price_version": "map-2" if day >= date(2026, 11, 1) else "map-1",
        "cost_source": "local" if model is LOCAL else "provider", "baseline_model": BASELINE,
        "baseline_cost": Decimal(baseline).scaleb(-9) if kind == "inference" else None,
        "held": total * 3, "settled": total, "balance": Decimal(1000) - total, "climbed_from": "",
        "context_decision": "", "context_tokens_before": None, "context_tokens_after": None,
        "context_saved": None, "gateway_instance": "", "sequence": 0, "trace_id": "", "span_id": "",
    }  # fmt: skip


def _month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")


def _budgets(scale: int) -> list[Row]:
    amounts = {
        ("organisation", ""): "18", ("department", "engineering"): "8", ("department", "sales"): "3.5",
        ("department", "support"): "4.25", ("department", HOSTILE): "0.5", ("department", "legal"): "1",
        ("user", "ada"): "3.000000001",
    }  # fmt: skip
    at = datetime(2026, 9, 1, tzinfo=UTC)
    return [
        {"month": _month(month), "scope": scope, "name": name, "amount_usd": Decimal(amount) * scale,
         "recorded_at": at}
        for month in MONTHS
        for (scope, name), amount in amounts.items()
    ]  # fmt: skip


def _hardware() -> list[Row]:
    rent = datetime(2026, 10, 1, tzinfo=UTC)
    return [
        {"node": "gpu-1", "tier": "local", "valid_from": rent, "valid_to": None,
         "usd_per_hour": Decimal("0.013333333"), "method": "rent", "note": "one rented GPU"},
        {"node": "gpu-2", "tier": "local", "valid_from": datetime(2026, 11, 16, 12, tzinfo=UTC),
         "valid_to": datetime(2026, 11, 26, 7, 30, tzinfo=UTC), "usd_per_hour": Decimal("0.007777777"),
         "method": "owned", "note": "lent for the release"},
    ]  # fmt: skip


def _rolls() -> list[Row]:
    at = datetime(2026, 12, 1, tzinfo=UTC)
    made: list[Row] = []
    for account, kind, department, granted in (
        ("department:engineering", "department", "engineering", 22),
        ("user:ada", "user", "engineering", 9),
        ("department:sales", "department", "sales", 10),
    ):
        opening = Decimal(0)
        for step, month in enumerate(MONTHS):
            settled = Decimal("1.234567891") * (step + 1)
            expired, adjusted = Decimal("0.5") * step, Decimal("-0.25") * step
            closing = opening + granted + adjusted - settled - expired
            made.append(
                {"month": _month(month), "account": account, "kind": kind, "department": department,
                 "opening": opening, "granted": Decimal(granted), "adjusted": adjusted, "settled": settled,
                 "expired": expired, "overdraft": Decimal(0), "closing": closing, "recorded_at": at}
            )  # fmt: skip
            opening = closing
    return made


def _price_book() -> list[Row]:
    def line(model: Model, version: str, begins: datetime, ends: datetime | None) -> Row:
        usd = [Decimal(price).scaleb(-9) for price in model.prices]
        return {
            "model": model.name, "price_version": version, "valid_from": begins, "valid_to": ends,
            "input_usd": usd[0], "output_usd": usd[1], "cache_read_usd": usd[2],
            "cache_write_usd": usd[3] or None, "source": "test",
        }  # fmt: skip

    begins, changed = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    return [
        *(line(model, "map-1", begins, None) for model in (LOCAL, STRONG, SONNET, STAND_IN)),
        line(MINI, "map-1", begins, changed),
        line(MINI_CHEAPER, "map-2", changed, None),
    ]
