"""The stores answer alike: the same random steps, on SQLite and on a real Redis, with a clock that jumps."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing.credits.calendar import Calendar
from farthing.credits.redis import RedisCreditStore, initialise
from farthing.credits.sqlite import SQLiteCreditStore
from farthing.credits.store import (
    CallNote,
    CreditStore,
    InsufficientCreditsError,
    Payer,
    RunCaps,
)
from farthing.telemetry import Account
from tests.integration.test_credits_redis import NOTHING_KEPT, Server

USERS, DEPARTMENTS, KEYS, SESSIONS = (
    ("ada", "bob", "zoë"),
    ("research", "sales"),
    ("k1", "k2", ""),
    ("", "s1", "s2"),
)
ACCOUNTS = (
    "organisation:",
    *(f"department:{name}" for name in DEPARTMENTS),
    *(f"user:{name}" for name in USERS),
    "key:k1",
    "key:k2",
)
JUMPS_S = (0.001, 1, 30, 3_000, 86_400, 9 * 86_400, 35 * 86_400, 100 * 86_400, -5, -40 * 86_400)
HOLDS = [f"h{number}" for number in range(14)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("redis"), *NOTHING_KEPT)
    found.start()
    yield found
    found.kill()
    found.client.close()


class Pair:
    """Both stores; what one answers, a value or an error, the other must answer too."""

    def __init__(self, stores: tuple[CreditStore, CreditStore]) -> None:
        self.stores = stores

    async def do(self, step: Callable[[CreditStore], Any]) -> None:
        first, second = [await self._answer(step, store) for store in self.stores]
        assert first == second

    async def _answer(self, step: Callable[[CreditStore], Any], store: CreditStore) -> Any:
        try:
            return await step(store)
        except InsufficientCreditsError as error:
            return "short", error.standing
        except ValueError:
            return "ValueError"


async def pruned(store: CreditStore, before_ms: int) -> None:
    # How many that were is theirs: SQLite remembers sessions that held but never began.
    await store.prune(before_ms)


def random_step(rng: random.Random, now_s: float) -> Callable[[CreditStore], Any]:
    most = rng.choice((100, 10**6, 10**15, 10**17))
    amount, less = rng.choice((0, 1, most, rng.randrange(most))), rng.randrange(most // 7)
    account, user, department = rng.choice(ACCOUNTS), rng.choice(USERS), rng.choice(DEPARTMENTS)
    payer = Payer(Account(rng.choice(KEYS), user, department, ""), rng.choice(SESSIONS))
    hold, grant, session = rng.choice(HOLDS), f"g{rng.randrange(6)}", rng.choice(("s1", "s2", "s3"))
    cap, now_ms, some = rng.choice((None, amount)), int(now_s * 1000), rng.sample(HOLDS, 4)
    ends = rng.choice((None, None, now_ms + rng.randrange(-(10**8), 3 * 10**9)))
    kept, ttl_s, limit = (
        rng.choice((None, 0, less)),
        rng.choice((0.5, 10, 3_600, 20 * 86_400)),
        rng.choice((2, 5)),
    )
    named = {"department": rng.choice(("", department)), "actor": "root"}
    steps: list[tuple[int, Callable[[CreditStore], Any]]] = [
        (8, lambda s: s.grant(grant, account, amount, expires_ms=ends, reason="why", **named)),
        (4, lambda s: s.plan(account, cap, kept, **named)),
        (1, lambda s: s.unlimit(account)),
        (1, lambda s: s.revoke_grants(rng.choice(("g", "g1", "")), {grant})),
        (20, lambda s: s.hold(hold, payer, amount, ttl_s)),
        (20, lambda s: s.hold(hold, payer, less, ttl_s)),
        (8, lambda s: s.renew(some, ttl_s)),
        (
            20,
            lambda s: s.settle(hold, payer, amount, CallNote(rng.choice(("", "fast", "own hardware")), "m")),
        ),
        (8, lambda s: s.release(hold)),
        (6, lambda s: s.enter(payer, RunCaps(steps=limit, cost=cap), "mark")),
        (1, lambda s: s.cap_run(session, steps=limit, cost=cap, actor="root", reason="why")),
        (1, lambda s: s.stop_run(session, actor="root")),
        (2, lambda s: s.draw("local", less % 5_000, share=0.37, burst_ms=3_000)),
        (2, lambda s: pruned(s, now_ms - rng.choice((0, 10**8)))),
        (4, lambda s: s.standing(payer)),
        (2, lambda s: s.balances()),
        (2, lambda s: s.calls(user)),
        (2, lambda s: s.spending(account, "2000-01-01", "2100-01-01")),
        (2, lambda s: s.runs(since_ms=0)),
        (2, lambda s: s.unsettled(HOLDS)),
        (1, lambda s: s.journal(account)),
        (1, lambda s: s.verify()),
    ]
    chosen = rng.choices([step for _, step in steps], [weight for weight, _ in steps])[0]
    # Both stores must be asked the same: what is random inside a step begins with the same seed.
    seed = rng.random()

    def step(store: CreditStore) -> Any:
        rng.seed(seed)
        return chosen(store)

    return step


@pytest.mark.parametrize("seed", range(40))
async def test_both_stores_answer_alike(server: Server, tmp_path: Path, seed: int) -> None:
    server.client.flushall()
    await initialise(server.url)
    rng, calendar, now = random.Random(seed), Calendar("Europe/Berlin"), [1_800_000_000.0]
    pair = Pair(
        (
            SQLiteCreditStore(tmp_path / "credits.db", calendar=calendar, clock=lambda: now[0]),
            RedisCreditStore(server.url, calendar=calendar, clock=lambda: now[0]),
        )
    )
    for _ in range(rng.randrange(40, 160)):
        if rng.random() < 0.12:
            now[0] += rng.choice(JUMPS_S)
            await pair.do(lambda store: store.balances())  # what is overdue ends now, in both
        await pair.do(random_step(rng, now[0]))
    for account in ACCOUNTS:
        await pair.do(lambda store, account=account: store.journal(account))
    await pair.do(lambda store: store.balances())
    assert [await store.verify() for store in pair.stores] == [[], []]
    for store in pair.stores:
        await store.close()
