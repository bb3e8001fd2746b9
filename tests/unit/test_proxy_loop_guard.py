"""Who is let in, told that it is the last time, or refused with 429."""

import pytest
from opentelemetry import trace

from farthing.credits import StoreError, open_store
from farthing.credits.store import UNCAPPED
from farthing.proxy.calls import Call
from farthing.proxy.errors import RefusedCallError
from farthing.proxy.loop_guard import LoopGuard
from farthing.settings import LoopCaps, Loops, Settings
from farthing.telemetry import Account
from tests.unit.credit_backends import Clock


@pytest.fixture
async def world(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'credits.db'}", clock=Clock())
    settings = Settings(loops=Loops(steps=3, departments={"support": LoopCaps(steps=2)}))
    yield LoopGuard(settings, store), store
    await store.close()


async def ask(guard, *, named=True, step=1, surface="chat", department="research", text="Hi"):
    """Return the text that goes on to the model."""
    data = {"messages": [{"role": "user", "content": text}]}
    account = Account("k", "ada", department, "")
    call = Call(account, surface, trace.INVALID_SPAN, data, f"{department} s", step, named)
    await guard.admit(call, data)
    assert call.payload["messages"][0]["content"] == text, "what is graded is what the client sent"
    return data["messages"][0]["content"]


async def test_the_last_step_says_so_and_the_next_is_refused(world):
    guard, _ = world
    assert [await ask(guard) for _ in range(2)] == ["Hi", "Hi"]
    assert "last step allowed" in await ask(guard)
    with pytest.raises(RefusedCallError, match=r"asked for 3 calls.*loops\.steps") as refused:
        await ask(guard)
    assert refused.value.status_code == 429


async def test_a_department_has_caps_of_its_own(world):
    guard, _ = world
    assert "last step" in [await ask(guard, department="support") for _ in range(2)][1]
    with pytest.raises(RefusedCallError):
        await ask(guard, department="support")


async def test_conversations_that_name_themselves_are_stopped_by_their_depth_not_their_number(world):
    guard, _ = world
    assert {await ask(guard, named=False) for _ in range(10)} == {"Hi"}
    assert "last step" in await ask(guard, named=False, step=3)
    with pytest.raises(RefusedCallError, match="asked for 3 calls"):
        await ask(guard, named=False, step=4)


async def test_an_admin_stops_a_session_and_lets_it_go_on(world):
    guard, store = world
    await ask(guard)
    await store.stop_run("research s", actor="root")
    with pytest.raises(RefusedCallError, match="stopped by root"):
        await ask(guard)
    await store.cap_run("research s", steps=10, cost=None, actor="root")
    assert [await ask(guard) for _ in range(5)] == ["Hi"] * 5


async def test_the_old_completions_are_no_way_round(world):
    guard, _ = world
    for surface in ("completions", "chat", "completions"):
        await ask(guard, surface=surface)
    with pytest.raises(RefusedCallError):
        await ask(guard, surface="completions")


async def test_embeddings_are_no_steps(world):
    guard, store = world
    for _ in range(10):
        await ask(guard, surface="embeddings")
    assert await store.runs(since_ms=0) == []


async def test_a_cap_that_an_admin_lifted_is_not_put_back(world):
    guard, store = world
    await ask(guard)
    await store.cap_run("research s", steps=UNCAPPED, cost=None, actor="root")
    for _ in range(10):
        await ask(guard)


async def test_a_store_that_is_away_stops_nobody_at_the_door(world):
    guard, store = world

    async def away(*_):
        raise StoreError("away")

    store.enter = away
    for _ in range(10):
        await ask(guard)
