"""The real proxy on a Redis: two of them share one balance, and an emptied Redis pays for nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing.credits import open_store
from farthing.demo.stack import StackError
from tests.e2e.conftest import Gateway
from tests.e2e.scripted_proxy import Scripted, scripted_proxy
from tests.unit.credit_backends import RedisServer, finished

STRONG = {"model": "strong", "max_tokens": 50}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    redis = RedisServer("--appendonly", "yes", "--appendfsync", "always")
    redis.start()
    yield redis
    redis.end()


def proxy_on(gateway: Gateway, folder: Path, url: str) -> Any:
    folder.mkdir()

    def settle(settings: dict[str, Any]) -> None:
        settings["telemetry"] |= {"outbox": str(folder / "outbox.db"), "otlp_endpoint": "http://127.0.0.1:9"}
        settings["credits"]["store"] = url
        settings["cost"]["prices"]["cheap"] = {"input": 0, "output": 0, "source": "local"}
        for key in settings["keys"]:
            if key["user"] == "charles":
                key["credits"] = 45

    return scripted_proxy(gateway, folder, settle)


def settled(url: str) -> tuple[int, list[Any]]:
    async def look() -> tuple[int, list[Any]]:
        store = open_store(url)
        try:
            (balance,) = await store.balances(["user:charles"])
            return balance.settled, await store.verify()
        finally:
            await store.close()

    return finished(look())


def test_a_redis_without_its_mark_starts_no_proxy_and_says_what_to_do(gateway, server, tmp_path):
    with (
        pytest.raises(StackError, match="farthing credits init"),
        proxy_on(gateway, tmp_path / "p", server.url),
    ):
        pass


def test_two_proxies_spend_one_balance_and_survive_what_becomes_of_their_redis(gateway, server, tmp_path):
    server.emptied()

    def paid(proxy: Scripted) -> int:
        return proxy.ask("charles", "chat", "Say hello.", **STRONG).status_code

    def free(proxy: Scripted) -> int:
        return proxy.ask("charles", "chat", "Say hello.", model="local").status_code

    with proxy_on(gateway, tmp_path / "one", server.url) as one:
        with proxy_on(gateway, tmp_path / "two", server.url) as two:
            assert [paid(one), paid(two)] == [200, 200]
            for surface in ("responses", "messages"):
                answer = two.ask("charles", surface, "Say hello.", stream=True)
                assert answer.status_code == 200
            assert settled(server.url) == (24_000_000, [])
            assert [paid(one), paid(two)] == [200, 402], "45 credits pay for three answers and no fourth"

        server.kill()
        assert [paid(one), free(one)] == [402, 200]
        server.start()
        assert free(one) == 200
        refused = one.ask("charles", "chat", "Say hello.", **STRONG)
        assert refused.status_code == 402
        assert "charles has 9.000 left" in refused.json()["error"]["message"], "as before the crash"
        assert settled(server.url) == (36_000_000, [])

        server.client.flushall()  # as after a fail-over to a replica that had nothing
        refused = one.ask("charles", "chat", "Say hello.", **STRONG)
        assert refused.status_code == 402
        assert "Spending cannot be recorded just now" in refused.json()["error"]["message"]
        assert free(one) == 200
        assert server.client.dbsize() == 0, "nothing was written that could be taken for a balance"
