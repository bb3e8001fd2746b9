"""Labels that a client makes up: kept, and bounded."""

from farthing.proxy import labels


def named(agents, agent, key_hash="a"):
    return agents.of(None, key_hash, {}, {"x-farthing-agent": agent})


def test_a_client_that_names_a_new_agent_for_each_call_ends_at_one_name(monkeypatch):
    monkeypatch.setattr(labels, "MOST_AGENTS", 3)
    agents = labels.Agents()
    said = [named(agents, f"agent {number}") for number in range(5)]
    assert said == ["agent 0", "agent 1", "agent 2", labels.OTHERS, labels.OTHERS]
    assert named(agents, "agent 1") == "agent 1", "a known one keeps its name"
    assert named(agents, "agent 4", key_hash="b") == "agent 4", "another key has names of its own"
    assert named(agents, "") == ""
