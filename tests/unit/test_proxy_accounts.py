"""Accounts come from the authenticated key alone, the key ring's or one of LiteLLM's virtual keys.

The virtual keys' auth objects are recorded ones: LiteLLM needs Postgres to make them.
"""

from types import SimpleNamespace

import pytest

from farthing.proxy.accounts import MARK, account_of, hash_key
from farthing.proxy.sessions import session_of
from farthing.settings import Key, Settings
from farthing.telemetry import GATEWAY, Account

KEY = Key(sha256=hash_key("sk-ada"), user="ada", department="research", cost_centre="CC-1")
SETTINGS = Settings(keys=[KEY])
ADA = Account(KEY.sha256, "ada", "research", "CC-1")


def auth(**fields):
    found = {"api_key": "88dc28d0", "user_id": None, "team_id": None, "team_alias": None, "metadata": {}}
    return SimpleNamespace(**found | {"team_metadata": None, "user_role": None} | fields)


def test_a_key_of_the_ring_is_its_entry_whatever_else_is_said():
    found = auth(api_key=KEY.sha256, metadata={MARK: KEY.sha256}, user_id="grace", team_id="x")
    assert account_of(found, SETTINGS) == ADA


def test_a_virtual_key_cannot_name_another_payer_in_its_metadata():
    forged = auth(metadata={MARK: KEY.sha256}, user_id="grace", team_id="x", token="77aa")
    assert account_of(forged, SETTINGS).user == "grace"


def test_a_mark_that_is_on_no_ring_counts_for_nothing():
    assert account_of(auth(metadata={MARK: "0" * 64}), SETTINGS) == GATEWAY


@pytest.mark.parametrize(
    ("fields", "department", "cost_centre"),
    [
        ({"team_alias": "support", "team_id": "t-1", "metadata": {"cost_centre": "CC-9"}}, "support", "CC-9"),
        ({"team_id": "t-1", "team_metadata": {"cost_centre": "CC-8"}}, "t-1", "CC-8"),
        ({}, "unassigned", ""),
    ],
    ids=["alias", "id", "none"],
)
def test_a_virtual_key_maps_user_team_and_metadata(fields, department, cost_centre):
    found = account_of(auth(user_id="grace", token="77aa", **fields), SETTINGS)
    assert found == Account("77aa", "grace", department, cost_centre)


@pytest.mark.parametrize("role", ["proxy_admin", SimpleNamespace(value="proxy_admin")], ids=["text", "enum"])
def test_the_admin_and_nobody_pay_from_the_gateways_account(role):
    assert account_of(auth(user_id="default_user_id", user_role=role), SETTINGS) == GATEWAY
    assert account_of(None, SETTINGS) == account_of(auth(), SETTINGS) == GATEWAY


def test_a_session_id_belongs_to_the_account_that_sent_it():
    other = Account("ff", "grace", "platform", "")
    payload = {"metadata": {"session_id": "s-1"}, "messages": []}
    assert session_of(ADA, payload, {}) == session_of(ADA, payload, {})
    assert session_of(ADA, payload, {})[0] != session_of(other, payload, {})[0]
    assert session_of(ADA, {}, {"x-litellm-session-id": "s-1"})[0] == session_of(ADA, payload, {})[0]


@pytest.mark.parametrize("messages", [None, "text", 7, [None, 7, {}], [{"role": "user"}], {"a": 1}], ids=str)
def test_any_history_has_a_session(messages):
    session_id, step = session_of(ADA, {"messages": messages}, {})
    assert len(session_id) == 32
    assert step == 1


def test_the_turns_of_a_conversation_are_its_steps():
    turns = [{"role": "user", "content": "a"}]
    first = session_of(ADA, {"messages": turns}, {})
    turns += [{"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert session_of(ADA, {"messages": turns}, {}) == (first[0], 2)
    assert session_of(ADA, {"input": "a"}, {}) == first
