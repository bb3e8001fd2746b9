"""Which call a hook belongs to: found by a token no client can choose, kept while it is under way."""

from farthing.proxy.calls import Call, Calls
from farthing.telemetry import Account


def test_a_flood_of_calls_makes_no_call_under_way_forgotten():
    calls, data = Calls(), {}
    first = Call(Account("k", "ada", "research", ""), "chat", None, {})
    calls.add(first, data)
    for _ in range(100):  # at the head of the table, and never closed
        calls.add(Call(Account("k", "ada", "research", ""), "chat", None, {}), {})
    for _ in range(20_000):
        other = Call(Account("k", "eve", "x", ""), "chat", None, {}, closed=True)
        calls.add(other, {"metadata": {}})
    assert calls.of(data) is first
    assert len(calls._calls) < 5_000, "calls that have ended are forgotten"


def test_a_token_a_client_sends_is_replaced():
    calls = Calls()
    victim = Call(Account("k", "ada", "research", ""), "chat", None, {})
    calls.add(victim, {})
    data = {"metadata": {"farthing_call": victim.token}, "litellm_metadata": {"farthing_call": victim.token}}
    mine = Call(Account("k2", "eve", "x", ""), "chat", None, {})
    calls.add(mine, data)
    assert calls.of(data) is mine
