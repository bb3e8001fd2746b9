"""The two ways to spend: Farthing's store and LiteLLM's budget reservation, asked the same."""

import itertools
import os
import random
import uuid
from dataclasses import dataclass
from typing import Any, Protocol

from bench.credits.servers import account_of
from farthing.credits import InsufficientCreditsError, open_store
from farthing.credits.store import CallNote, Payer, RunCaps
from farthing.telemetry import Account

SESSIONS = 50


class System(Protocol):
    """One way to spend, open in this process. Amounts are whole units of its own."""

    async def open(self) -> None: ...

    async def hold(self) -> Any:
        """Reserve for one call of anybody, who has plenty; return what `settle` needs."""

    async def settle(self, held: Any) -> None: ...

    async def take(self, race: str, amount: int) -> bool:
        """Reserve ``amount`` for the one user of a race, who has 100; return whether it was let pass."""

    async def close(self) -> None: ...


@dataclass
class Farthing:
    """Held on organisation, department, user, key and the session's cost cap."""

    url: str
    users: int = 500

    async def open(self) -> None:
        self._store = open_store(self.url)
        self._ids = (f"{uuid.uuid4().hex}" for _ in itertools.count())
        self._payers = [
            Payer(account_of(random.randrange(self.users)), f"session-{os.getpid()}-{number}")
            for number in range(SESSIONS)
        ]
        for payer in self._payers:
            await self._store.enter(payer, RunCaps(cost=10**15), "")
        self._turn = itertools.cycle(self._payers)

    async def hold(self) -> Any:
        held = next(self._ids), next(self._turn)
        await self._store.hold(*held, 5_000_000, 300)
        return held

    async def settle(self, held: Any) -> None:
        await self._store.settle(*held, 3_000_000, CallNote("fast", "gpt-5-mini", "MEDIUM", "inference"))

    async def take(self, race: str, amount: int) -> bool:
        payer = Payer(Account("", race, "race", ""))
        await self._store.grant(f"{race}'s", f"user:{race}", 100, department="race")
        try:
            await self._store.hold(next(self._ids), payer, amount, 300)
        except InsufficientCreditsError:
            return False
        return True

    async def close(self) -> None:
        await self._store.close()


PLENTY = 1e15
"""Dollars."""
MODEL = "bench-model"
"""At a dollar per output token, so that ``max_tokens`` is the price of a call."""


@dataclass
class LiteLLM:
    """Reserved on organisation, team, user and key: ``reserve_budget_for_request``, then reconciled.

    Its counters are in memory, or in Redis with ``redis_port``. Without its database (Postgres) the proxy
    itself takes no budgets; these two functions are what it calls for each request.
    """

    redis_port: int | None = None

    async def open(self) -> None:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        import litellm
        from litellm.caching.redis_cache import RedisCache
        from litellm.proxy import proxy_server
        from litellm.proxy.spend_tracking import budget_reservation

        litellm.suppress_debug_info = True
        price = {"input_cost_per_token": 0.0, "output_cost_per_token": 1.0}
        cache = {"cache_creation_input_token_cost": 0.0, "cache_read_input_token_cost": 0.0}
        litellm.register_model({MODEL: price | cache | {"litellm_provider": "openai", "mode": "chat"}})
        self._server, self._reservation = proxy_server, budget_reservation
        self._owners: dict[str, dict[str, Any]] = {}
        organisation = {"spend": 0.0, "litellm_budget_table": {"max_budget": PLENTY}}
        await proxy_server.user_api_key_cache.async_set_cache(
            key="org_id:org:with_budget", value=organisation, ttl=86_400
        )
        if self.redis_port is not None:
            proxy_server.spend_counter_cache.redis_cache = RedisCache(host="127.0.0.1", port=self.redis_port)

    def _owner(self, name: str, budget: float) -> dict[str, Any]:
        """A user, their team and key, as the proxy has them in its cache when it reserves."""
        from litellm.proxy._types import LiteLLM_TeamTable, LiteLLM_UserTable, UserAPIKeyAuth

        if name not in self._owners:
            self._owners[name] = {
                "valid_token": UserAPIKeyAuth(
                    token=f"key-{name}", user_id=name, org_id="org", max_budget=PLENTY
                ),
                "team_object": LiteLLM_TeamTable(team_id=f"team-{name}", max_budget=PLENTY),
                "user_object": LiteLLM_UserTable(user_id=name, max_budget=budget, user_email=None),
            }
        return self._owners[name]

    async def _reserve(self, owner: str, budget: float, amount: int) -> Any:
        return await self._reservation.reserve_budget_for_request(
            request_body={
                "model": MODEL,
                "messages": [{"role": "user", "content": "Name a river."}],
                "max_tokens": amount,
            },
            route="/chat/completions",
            llm_router=None,
            prisma_client=None,
            user_api_key_cache=self._server.user_api_key_cache,
            proxy_logging_obj=self._server.proxy_logging_obj,
            apply_user_budget_to_team_keys=True,
            **self._owner(owner, budget),
        )

    async def hold(self) -> Any:
        held = await self._reserve(f"user-{random.randrange(SESSIONS)}", PLENTY, 5)
        if len(held["entries"]) != 4:
            raise RuntimeError(f"LiteLLM reserved on {held['entries']}, not on four accounts")
        return held

    async def settle(self, held: Any) -> None:
        await self._reservation.reconcile_budget_reservation(held, 3.0)

    async def estimate(self) -> None:
        """What of `hold` is counting tokens and looking up the price, which Farthing does elsewhere."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Name a river."}], "max_tokens": 5}
        counts = await self._reservation.count_request_input_tokens(
            request_body=body, route="/chat/completions", llm_router=None, raw_body=None
        )
        for price in (
            self._reservation.estimate_request_max_cost,
            self._reservation.estimate_request_input_cost,
        ):
            price(request_body=body, route="/chat/completions", llm_router=None, input_token_counts=counts)

    async def take(self, race: str, amount: int) -> bool:
        import litellm

        try:
            await self._reserve(race, 100.0, amount)
        except litellm.BudgetExceededError:
            return False
        return True

    async def close(self) -> None:
        redis_cache = self._server.spend_counter_cache.redis_cache
        if redis_cache is not None:
            await redis_cache.disconnect()
