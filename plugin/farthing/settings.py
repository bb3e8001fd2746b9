"""One pydantic model of farthing.yaml. Every field says what it means, its unit and its default.

A bad file is refused with the field, the value and a fix (`SettingsError`). Secrets may be written
as ``os.environ/NAME``, LiteLLM's own convention.
"""

import os
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from farthing.context.sealing import check_key
from farthing.credits.calendar import Calendar
from farthing.credits.store import MARKS
from farthing.grading.grade import GRADES, GradeName
from farthing.money import nano_from_usd
from farthing.telemetry import GATEWAY

DEFAULT_NEAR = 0.85
DEFAULT_MIN_PROBABILITY = 0.4


class SettingsError(Exception):
    """farthing.yaml is missing or wrong; the text names the file, field, value and fix."""


def _secret(value: object) -> object:
    if isinstance(value, str) and value.startswith("os.environ/"):
        name = value.removeprefix("os.environ/")
        if name not in os.environ:
            raise ValueError(f"the environment variable {name} is not set; export it or write the value here")
        return os.environ[name]
    return value


def _exact(value: object) -> object:
    # A YAML float such as 0.1 becomes the decimal a reader sees, not its binary neighbour.
    return repr(value) if isinstance(value, float) else value


Secret = Annotated[str, BeforeValidator(_secret)]
Amount = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=10**12)]
RollOver = Annotated[Amount | Literal["all"], Field(union_mode="left_to_right")]


def _no_port(url: str) -> bool:
    try:
        return urlsplit(url).port == 0
    except ValueError:
        return True


def _url(value: object) -> object:
    if (
        not isinstance(value, str)
        or not re.match(r"https?://[^/\s:]+(:\d{1,5})?(/|$)", value)
        or _no_port(value)
    ):
        raise ValueError("must be a URL such as http://127.0.0.1:8123")
    return value


def _store(value: object) -> object:
    value = _secret(value)
    if not isinstance(value, str) or not re.match(
        r"(sqlite:///.|rediss?(\+cluster)?://[^/\s]|unix://.)", value
    ):
        raise ValueError("must be sqlite:///path/to/credits.db or redis://host:port/db")
    return value


def _zone(value: str) -> str:
    Calendar(value)
    return value


def _redis(value: str) -> str:
    if value and not re.match(r"(rediss?://[^/\s]|unix://.)", value):
        raise ValueError("must be a URL such as redis://127.0.0.1:6379/0, or empty")
    return value


Url = Annotated[str, BeforeValidator(_url)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Key(_Section):
    """One key of the key ring: who holds it, who pays, and what it may call."""

    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the key in lower-case hex; `farthing key` makes a key and prints this",
    )
    user: Name = Field(description="the user who holds the key; keys may share a user and its balance")
    department: Name = Field(description="the department the user's spending is charged to")
    cost_centre: str = Field("", description="the finance code of the department")
    credits: Amount = Field(Decimal(0), description="credits granted once to the user through this key")
    credits_until: date | None = Field(
        None, description="last day (YYYY-MM-DD) on which `credits` can be spent; default: they do not expire"
    )
    monthly: Amount | None = Field(
        None, description="credits the user gets each month through this key; default: none"
    )
    roll_over: RollOver = Field(
        Decimal(0), description="the most of `monthly` that outlasts its month, in credits, or `all`"
    )
    cap: Amount | None = Field(
        None, description="credits that may be spent through this key in a month; default: no cap of its own"
    )
    models: list[str] = Field(
        default_factory=lambda: ["auto"],
        min_length=1,
        description="LiteLLM model groups the key may call; `*` for all",
    )
    agent: str = Field(
        "",
        max_length=128,
        description="the agent that calls with this key, as reports name it; default: what the client says "
        "(metadata.farthing_agent or the header x-farthing-agent)",
    )
    floor: GradeName = Field("LOW", description="lowest grade given to this key's tasks")
    ceiling: GradeName = Field(
        "HIGH", description="highest grade given to this key's tasks; neither climb nor fallback passes it"
    )
    check_streams: bool = Field(
        True, description="hold back and check the beginning of this key's streams; false: stream through"
    )
    stream_receipt: bool = Field(
        False,
        description="settled figures in a field `farthing` of a stream's last event, which strict clients "
        "may not take",
    )
    admin: bool = Field(
        False, description="may see all departments on the balance page, grant credits, cap and stop sessions"
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Key":
        if GRADES.index(self.floor) > GRADES.index(self.ceiling):
            raise ValueError(f"floor {self.floor} is above ceiling {self.ceiling}")
        return self


class Tiers(_Section):
    """The LiteLLM model group that serves each tier."""

    local: Name = Field("local", description="model group of the sovereign tier")
    fast: Name = Field("fast", description="model group of the fast cloud tier")
    strong: Name = Field("strong", description="model group of the strong cloud tier")

    def of_group(self, group: str) -> str:
        """Return the tier that a model group serves, or ``other``."""
        return {self.local: "local", self.fast: "fast", self.strong: "strong"}.get(group, "other")


Quality = Annotated[float, Field(ge=0.5, le=1)]


class DepartmentGrading(_Section):
    """What differs for one department."""

    quality: Quality = Field(
        description="share of the strong tier's quality to aim at for its tasks, 0.5 to 1"
    )


class JudgeSettings(_Section):
    """A small model that grades where the learned score is unsure. Its cost is a charge, kind `grading`."""

    when: Literal["never", "unsure", "always"] = Field(
        "unsure", description="which tasks are judged; `always` is for comparison: every task waits for it"
    )
    model: Name = Field("local", description="model group that judges: a tier's, or any other of LiteLLM's")
    timeout_ms: int = Field(
        300, gt=0, le=2500, description="milliseconds a task waits for its judge, then the score stands"
    )
    at_once: int = Field(4, gt=0, description="judgements under way at a time; beyond them the score stands")


class IntentCacheSettings(_Section):
    """Remembers the grades of repeated intents."""

    size: int = Field(20_000, ge=0, description="intents kept in memory; 0: no cache")
    ttl_s: float = Field(86_400, gt=0, description="seconds an intent is remembered")
    near: float = Field(
        DEFAULT_NEAR,
        ge=0,
        le=1,
        description="cosine similarity from which a judged ask stands for another; 0: equal intents only",
    )
    redis: Annotated[Secret, AfterValidator(_redis)] = Field(
        "", description="redis://host:port/db shared by gateways; empty: this process alone"
    )


class CheckSettings(_Section):
    """Checks a cheap answer before it goes out, and climbs to the next tier when it is not good enough."""

    climb: bool = Field(True, description="re-ask the next tier when an answer fails its check")
    stream_prefix_chars: int = Field(
        400, ge=0, description="characters of a stream held back and checked; 0: streams are not checked"
    )
    stream_prefix_s: float = Field(
        3.0, gt=0, description="most seconds the beginning of a stream is held back for its check"
    )
    min_token_probability: float = Field(
        DEFAULT_MIN_PROBABILITY,
        ge=0,
        le=1,
        description="geometric mean of token probabilities, where reported, below which an answer fails",
    )


class OutcomeSettings(_Section):
    """Learns from the gateway's own outcomes: climbs, retries and sampled comparisons shift a grade."""

    learn: bool = Field(True, description="let outcomes shift grades, by one tier at most")
    path: Path = Field(Path(".farthing/outcomes.db"), description="file that keeps outcomes")
    half_life_days: float = Field(7, gt=0, description="days after which an outcome counts half")
    retry_within_s: float = Field(
        180, ge=0, description="seconds in which the same ask again, in one session, is a retry; 0: never"
    )
    compare_share: float = Field(
        0,
        ge=0,
        le=1,
        description="share of cheap answers also asked of the strong tier, afterwards, at the account's cost",
    )


class Grading(_Section):
    """How tasks are graded, and what a grade does."""

    mode: Literal["route", "shadow"] = Field(
        "route", description="shadow: grade and record, but send every `auto` call to `shadow_tier`"
    )
    shadow_tier: Literal["local", "fast", "strong"] = Field(
        "strong", description="the tier that serves `auto` in shadow mode: what you use today"
    )
    quality: Quality = Field(
        0.99, description="the dial: share of the strong tier's quality to aim at, 0.5 to 1"
    )
    departments: dict[str, DepartmentGrading] = Field(
        default_factory=dict, description="overrides by department"
    )
    scope: Literal["user", "department"] = Field(
        "user", description="who shares remembered intents and outcomes: a user's keys, or a department's"
    )
    judge: JudgeSettings = Field(default_factory=JudgeSettings)
    cache: IntentCacheSettings = Field(default_factory=IntentCacheSettings)
    check: CheckSettings = Field(default_factory=CheckSettings)
    outcomes: OutcomeSettings = Field(default_factory=OutcomeSettings)

    def quality_of(self, department: str) -> float:
        """Return the dial of a department."""
        override = self.departments.get(department)
        return override.quality if override else self.quality


class SummarySettings(_Section):
    """Compressed Context blocks written by a model, in the background."""

    model: Name | None = Field(
        "local",
        description="model group that writes summaries: a tier's, or any other; null: Farthing's own alone",
    )
    timeout_s: float = Field(60, gt=0, description="seconds a summary may take; nobody waits for it")
    max_tokens: int = Field(500, ge=50, description="longest summary of one stretch of turns, tokens")
    at_once: int = Field(2, gt=0, description="summaries under way at a time; beyond them none is asked for")
    advance: Amount = Field(
        Decimal(0),
        description="credits that a session's summaries may cost before shortening has saved as much; 0: a "
        "session never ends dearer for its summaries",
    )
    stand_in: bool = Field(
        True,
        description="where no model's summary can be had, or it fails its check, Farthing's own digest "
        "stands in; false: the full history goes out",
    )


class ContextSettings(_Section):
    """Shorter histories, where that pays."""

    mode: Literal["act", "observe", "off"] = Field(
        "act",
        description="act: send the shorter history where it pays; observe: send all, and record what would "
        "have been saved; off",
    )
    every_turns: int = Field(10, ge=2, description="model turns after which the history is summarised anew")
    keep_turns: int = Field(3, ge=1, description="latest model turns that are always sent word for word")
    mask_over_tokens: int = Field(
        200, ge=20, description="older tool results longer than this are replaced by a digest and a reference"
    )
    block_max_tokens: int = Field(
        1500, ge=200, description="longest Compressed Context block; beyond it, its oldest parts are thinned"
    )
    snippets_tokens: int = Field(
        1000, ge=0, description="most tokens of snippets put back for a turn, where they pay; 0: none"
    )
    margin: float = Field(
        0.02, ge=0, le=1, description="least saving, as a share of the cost, for which anything is changed"
    )
    recall_tool: bool = Field(
        False, description="offer models the tool farthing_recall, which fetches what was left out"
    )
    summary: SummarySettings = Field(default_factory=SummarySettings)
    path: Path = Field(
        Path(".farthing/context.db"), description="file that keeps folds and what was left out of histories"
    )
    key: Annotated[Secret, AfterValidator(check_key)] = Field(
        "", description="key that the file's texts are encrypted with (farthing context key makes one)"
    )
    retention_days: float = Field(30, gt=0, description="days after its last use that a session is kept")

    @model_validator(mode="after")
    def _room_for_a_summary(self) -> "ContextSettings":
        if self.summary.max_tokens > self.block_max_tokens - 100:
            raise ValueError(
                f"block_max_tokens ({self.block_max_tokens}) must hold a summary of summary.max_tokens "
                f"({self.summary.max_tokens}) and 100 tokens more; raise the one or lower the other"
            )
        return self


class Budget(_Section):
    """What a department, or the organisation, may spend each month beside what its users have."""

    monthly: Amount | None = Field(None, description="credits a month; default: no budget of its own")
    roll_over: RollOver = Field(
        Decimal(0), description="the most of `monthly` that outlasts its month, in credits, or `all`"
    )


WhenShort = Literal["climb_down", "deny"]


class DepartmentCredits(Budget):
    """A department's budget, and what differs for it."""

    when_short: WhenShort | None = Field(None, description="default: that of `credits`")
    key_cap: Amount | None = Field(
        None, description="credits a month for each of its keys that sets no `cap`; default: none"
    )


class Credits(_Section):
    """Balances."""

    store: Annotated[str, BeforeValidator(_store)] = Field(
        "sqlite:///.farthing/credits.db",
        description="where balances live: sqlite:///path (one machine), or redis://host:port/db (several; "
        "prepare it once with `farthing credits init`)",
    )
    usd_per_credit: Annotated[Decimal, BeforeValidator(_exact), Field(gt=0)] = Field(
        Decimal("0.001"), description="what one credit is worth, USD"
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="IANA time zone in which months begin"
    )
    organisation: Budget = Field(default_factory=Budget)
    departments: dict[str, DepartmentCredits] = Field(
        default_factory=dict, description="budgets by department"
    )
    when_short: WhenShort = Field(
        "climb_down",
        description="what happens to an `auto` call that the balance cannot pay for: a cheaper tier that "
        "fits, within the key's floor, or 402",
    )
    thresholds: list[Annotated[int, Field(gt=0, le=100)]] = Field(
        [50, 80, 95],
        description="per cent of what an account may spend at which it is warned of, once a period",
    )
    webhook: Annotated[Secret, AfterValidator(lambda value: value and _url(value))] = Field(
        "", description="URL that thresholds and overdrafts are posted to as JSON; empty: none"
    )
    local_share_at_zero: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of the local tier's time for all users together whose balance is empty",
    )
    on_store_failure: Literal["deny", "allow"] = Field(
        "deny",
        description="what happens to a paid call when the store cannot answer; `allow` settles it later",
    )
    gateway: Amount = Field(
        Decimal(0),
        description="credits of the user `gateway`, who pays for calls without a key: health checks",
    )
    hold_ttl_s: float = Field(
        300,
        ge=10,
        le=86_400,
        description="seconds after which the holds of a process that died expire; those of a living one are "
        "renewed",
    )
    keep_days: float = Field(
        40,
        ge=2,
        le=36_500,
        description="days an ended hold and a quiet session are kept; totals stay for ever",
    )
    max_output_tokens: int = Field(
        4096, gt=0, description="output cap (tokens) put on a paid call whose client set none"
    )

    @property
    def nano_per_credit(self) -> int:
        """The value of one credit in nano-dollars."""
        return nano_from_usd(self.usd_per_credit)

    def nano(self, credits: Decimal) -> int:
        """Return an amount of credits in nano-dollars."""
        return nano_from_usd(credits * self.usd_per_credit)

    def when_short_of(self, department: str) -> WhenShort:
        """Return what happens to a department's calls that the balance cannot pay for."""
        own = self.departments.get(department)
        return (own and own.when_short) or self.when_short

    @model_validator(mode="after")
    def _whole_nano(self) -> "Credits":
        if self.nano_per_credit < 1 or nano_from_usd(self.usd_per_credit) != self.usd_per_credit * 10**9:
            raise ValueError("usd_per_credit must be a whole number of nano-dollars (0.000000001 USD)")
        if self.thresholds != sorted(set(self.thresholds)):
            raise ValueError("thresholds must rise, as in [50, 80, 95]")
        return self


def _often(value: int) -> int:
    if value < 0 or value == 1:
        raise ValueError("must be 0 (off), or 2 or more: once is no repetition")
    return value


Often = Annotated[int, AfterValidator(_often)]


class LoopCaps(_Section):
    """How far one session may go before it is stopped with 429."""

    steps: int | None = Field(None, ge=1, le=10**9, description="calls of a session")
    credits: Amount | None = Field(None, description="credits a session may spend")
    wall_s: float | None = Field(None, gt=0, description="seconds from a session's first call to its last")


class Loops(LoopCaps):
    """Caps on agent loops, per session. A quiet session begins anew."""

    steps: int | None = Field(500, ge=1, le=10**9, description="calls of a session; null: no cap")
    idle_s: float = Field(
        1800,
        gt=0,
        le=86_400,
        description="seconds without a call after which a session's next one begins anew",
    )
    repeats: Often = Field(
        5, description="the same tool call with the same result in a row that stops a session; 0: off"
    )
    polls: Often = Field(
        40, description="the same tool call in a row, whatever its results, that stops it; 0: off"
    )
    cycles: Often = Field(4, description="rounds of the same tool calls (A-B-A-B) that stop it; 0: off")
    stalls: Annotated[Often, Field(le=MARKS)] = Field(
        10, description="calls that bring nothing new in a row that stop it; 0: off"
    )
    tell_agent: bool = Field(
        True, description="add a sentence to the last call allowed: answer now, the budget is nearly spent"
    )
    departments: dict[str, LoopCaps] = Field(
        default_factory=dict, description="caps by department; what is not set there is as above"
    )

    def of(self, department: str) -> LoopCaps:
        """Return the caps of a department's sessions."""
        own = self.departments.get(department) or LoopCaps()
        return LoopCaps(
            steps=own.steps if own.steps is not None else self.steps,
            credits=own.credits if own.credits is not None else self.credits,
            wall_s=own.wall_s if own.wall_s is not None else self.wall_s,
        )


class Price(_Section):
    """A model's price where LiteLLM's map has none, or a negotiated one. USD per million tokens."""

    input: Amount = Field(description="uncached input, USD per million tokens")
    output: Amount = Field(description="output, USD per million tokens")
    cache_read: Amount | None = Field(None, description="cached input; default: the input price")
    cache_write: Amount | None = Field(None, description="input written to the cache; default: input")
    source: Literal["provider", "local"] = Field(
        "provider", description="who is paid: a provider, or own hardware"
    )


class CostSettings(_Section):
    """Prices."""

    baseline_model: Name = Field("gpt-5", description="model that savings are measured against")
    prices: dict[str, Price] = Field(
        default_factory=dict, description="prices by model name; they win over LiteLLM's map"
    )
    on_unpriced: Literal["deny", "allow"] = Field(
        "deny",
        description="a call whose cost cannot be known: refused, or let pass (fees beside tokens uncharged)",
    )


def _fsync(value: object) -> object:
    # YAML reads a bare `off` as false; true and false were this setting's values once.
    return {True: "always", False: "off"}.get(value, value) if isinstance(value, bool) else value


class Telemetry(_Section):
    """Where spans go and what they may hold."""

    otlp_endpoint: Url = Field(
        "http://127.0.0.1:8123", description="OTLP/HTTP base URL of the collector or the embedded ledger"
    )
    otlp_user: str = Field("", description="basic-auth user of the OTLP endpoint; empty: none")
    otlp_password: Secret = Field("", description="basic-auth password of the OTLP endpoint")
    metrics_endpoint: Annotated[str, BeforeValidator(lambda value: value and _url(value))] = Field(
        "",
        description="OTLP/HTTP base URL for metrics (a collector or the embedded ledger); empty: none sent",
    )
    outbox: Path = Field(Path(".farthing/outbox.db"), description="file that keeps charges until delivered")
    outbox_fsync: Annotated[Literal["always", "interval", "off"], BeforeValidator(_fsync)] = Field(
        "always",
        description="when a charge is synced to disk. always: before its call is answered, a power cut takes "
        "none; interval: within outbox_fsync_ms, a power cut takes what is younger; off: when the system "
        "likes, a power cut takes seconds to minutes. A crash of the process takes none in any case",
    )
    outbox_fsync_ms: float = Field(
        100, ge=1, le=60_000, description="milliseconds between syncs, where outbox_fsync is interval"
    )
    outbox_max_bytes: int = Field(
        1 << 30,
        ge=0,
        description="bytes that outbox may take; an alarm is logged at 80 %, after delivered charges were "
        "dropped early; 0: no bound",
    )
    on_outbox_full: Literal["deny", "allow"] = Field(
        "deny",
        description="at outbox_max_bytes. deny: calls that cost money get a 503, and a quarter above it free "
        "ones too; allow: calls go on, and the file grows. Charges are written in any case",
    )
    outbox_keep_s: float = Field(7 * 86400, ge=0, description="seconds a delivered charge is kept on disk")
    linger_s: float = Field(
        1.0, ge=0, le=60, description="seconds that a charge may wait for company before it is sent"
    )
    service_name: Name = Field("farthing", description="OTel service.name of the gateway")
    mirror_gen_ai_cost: bool = Field(
        False, description="also write gen_ai.usage.cost*, which some trace viewers read"
    )
    prometheus_port: int = Field(
        0,
        ge=0,
        le=65_535,
        description="port at which Prometheus scrapes metrics (needs farthing[prometheus]); 0: none. Each "
        "further worker takes the next free one",
    )
    prometheus_host: str = Field(
        "127.0.0.1", description="address of that port; it asks for no password, so mind who can reach it"
    )
    capture_content: bool = Field(
        False,
        description="true: prompts and answers are written into spans, for everybody who reads traces; never "
        "into charges",
    )


class Reader(_Section):
    """Who may read the embedded ledger, and change nothing."""

    user: Name = Field(description="user name (HTTP Basic)")
    password: Secret = Field(min_length=8, description="password, of 8 characters or more")
    department: Name | None = Field(
        None,
        description="sees the rows of this department alone, where a table has departments; default: all",
    )


class Retention(_Section):
    """How long the ledger keeps rows. Statements, rolls and closed months stay for ever."""

    traces_days: int | None = Field(
        90,
        ge=1,
        le=10_000,
        description="days after which spans and metrics expire, by their own time; `rebuild` reaches no "
        "further back. null: never",
    )
    charges_months: int | None = Field(
        None,
        ge=2,
        description="whole months that single charges are kept; what is older is dropped by `farthing ledger "
        "retain`, once its month is closed; default: for ever",
    )


class Hardware(_Section):
    """What a node of own hardware costs, used or idle."""

    node: Name = Field(description="the node's name")
    tier: Name = Field("local", description="the tier that it serves")
    valid_from: date = Field(description="first day, YYYY-MM-DD (UTC)")
    valid_to: date | None = Field(None, description="the day after the last; default: still")
    usd_per_hour: Amount = Field(description="USD per hour, power and depreciation included")
    method: Literal["rent", "owned"] = Field("owned", description="rent or owned")
    note: str = Field("", description="what the figure is made of")


class Ledger(_Section):
    """The ClickHouse (or embedded) ledger."""

    url: Url = Field("http://127.0.0.1:8123", description="ClickHouse HTTP URL, http(s)://host:port")
    database: str = Field("farthing", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="database name")
    user: str = Field("farthing", description="ClickHouse user")
    password: Secret = Field("", description="ClickHouse password")
    path: Path = Field(Path(".farthing/ledger"), description="folder of the embedded ledger's data")
    readers: list[Reader] = Field(
        default_factory=list, description="who else may read the embedded ledger, and only read"
    )
    roll_every_s: float = Field(
        60,
        ge=0,
        description="seconds between the embedded ledger's rolls, which make statements fast; 0: none. A "
        "ClickHouse server is rolled by `farthing ledger roll --every S`",
    )
    retention: Retention = Field(default_factory=Retention, description="how long rows are kept")
    hardware: list[Hardware] = Field(
        default_factory=list, description="what own hardware costs, for `farthing ledger sync`"
    )
    cluster: str = Field(
        "",
        pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$",
        description="ClickHouse cluster that holds the ledger, with replicas; empty: one server",
    )
    sharded: bool = Field(
        False,
        description="true: charges are spread over the cluster's shards; each keeps its own in the database "
        "named as ledger.database with _shard behind it",
    )

    @model_validator(mode="after")
    def _check_readers(self) -> "Ledger":
        names = [self.user, *(reader.user for reader in self.readers)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"readers: {', '.join(twice)} is named twice (ledger.user counts)")
        if self.sharded and not self.cluster:
            raise ValueError("sharded needs a cluster")
        return self


class Settings(_Section):
    """farthing.yaml."""

    organisation: Name = Field("organisation", description="name at the head of statements")
    keys: list[Key] = Field(default_factory=list, description="the key ring")
    tiers: Tiers = Field(default_factory=Tiers)
    grading: Grading = Field(default_factory=Grading)
    context: ContextSettings = Field(default_factory=ContextSettings)
    credits: Credits = Field(default_factory=Credits)
    loops: Loops = Field(default_factory=Loops)
    cost: CostSettings = Field(default_factory=CostSettings)
    telemetry: Telemetry = Field(default_factory=Telemetry)
    ledger: Ledger = Field(default_factory=Ledger)

    @model_validator(mode="after")
    def _consistent_keys(self) -> "Settings":
        seen: set[str] = set()
        homes: dict[str, tuple[str, str]] = {}
        for key in self.keys:
            if key.sha256 in seen:
                raise ValueError(f"keys: the key of user {key.user!r} appears twice; remove one")
            seen.add(key.sha256)
            home = homes.setdefault(key.user, (key.department, key.cost_centre))
            if key.user == GATEWAY.user:
                raise ValueError(f"keys: the user {key.user!r} is Farthing's own; choose another name")
            if home != (key.department, key.cost_centre):
                raise ValueError(
                    f"keys: user {key.user!r} is in {home[0]!r} and {key.department!r}; "
                    "a user's balance belongs to one department and cost centre"
                )
        return self

    def at(self, folder: Path) -> "Settings":
        """Return these settings with relative paths resolved against ``folder``."""
        store = self.credits.store
        if store.startswith("sqlite:///"):
            store = f"sqlite:///{folder / store.removeprefix('sqlite:///')}"
        return self.model_copy(
            update={
                "credits": self.credits.model_copy(update={"store": store}),
                "context": self.context.model_copy(update={"path": folder / self.context.path}),
                "telemetry": self.telemetry.model_copy(update={"outbox": folder / self.telemetry.outbox}),
                "ledger": self.ledger.model_copy(update={"path": folder / self.ledger.path}),
                "grading": self.grading.model_copy(
                    update={
                        "outcomes": self.grading.outcomes.model_copy(
                            update={"path": folder / self.grading.outcomes.path}
                        )
                    }
                ),
            }
        )


def load(path: Path | str | None = None) -> Settings:
    """Read farthing.yaml: ``path``, else $FARTHING_CONFIG, else ./farthing.yaml.

    Relative paths inside it are relative to the file's folder. Raises SettingsError.
    """
    file = Path(path or os.environ.get("FARTHING_CONFIG") or "farthing.yaml")
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{file}: no such file; `farthing init` writes one") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{file}: cannot be read as YAML: {error}") from None
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise SettingsError(f"{file}: the top level must be a mapping of settings, not {type(raw).__name__}")
    try:
        return Settings.model_validate(raw).at(file.resolve().parent)
    except ValidationError as error:
        raise SettingsError(_explain(file, error)) from None


_SECRET_FIELDS = {"key", "otlp_password", "password", "redis", "store", "webhook"}


def _explain(file: Path, error: ValidationError) -> str:
    lines = [f"{file}: {error.error_count()} setting(s) are wrong"]
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"]) or "(top level)"
        fix = {"extra_forbidden": "unknown setting: check its spelling or remove it"}.get(
            item["type"], item["msg"].removeprefix("Value error, ")
        )
        shown = item["input"]
        if isinstance(shown, dict | list) or (item["loc"] and item["loc"][-1] in _SECRET_FIELDS):
            value = ""
        else:
            value = f" = {shown!r}"
        lines.append(f"  {where}{value}: {fix}")
    return "\n".join(lines)
