"""Histories of the three surfaces as turns: what belongs together, where to cut, how they are known again."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from farthing.context import counting
from farthing.context.conversation import Conversation, Reader
from farthing.cost import count_text, input_estimate
from tests.unit.context_samples import HISTORY, SURFACES, any_payload, check_valid, payloads

reader = Reader()


def read(payload: dict[str, Any], surface: str = "chat") -> Conversation:
    conversation = Reader().read(payload, surface)
    assert conversation is not None
    return conversation


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages), **more}


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def calls(*ids: str, **more: Any) -> dict[str, Any]:
    made = [
        {"id": id_, "type": "function", "function": {"name": "look", "arguments": '{"q": 1}'}} for id_ in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": made, **more}


def result(call_id: str, text: Any = "found") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def uses(*ids: str, thinks: bool = False) -> dict[str, Any]:
    blocks = [{"type": "tool_use", "id": id_, "name": "look", "input": {"q": 1}} for id_ in ids]
    thought = [{"type": "thinking", "thinking": "hm", "signature": "s"}] if thinks else []
    return {"role": "assistant", "content": [*thought, *blocks]}


def answers(*ids: str, words: str = "") -> dict[str, Any]:
    results = [{"type": "tool_result", "tool_use_id": id_, "content": "found"} for id_ in ids]
    return {"role": "user", "content": [*results, *([{"type": "text", "text": words}] if words else [])]}


class TestTurns:
    def test_a_chat_is_cut_behind_each_answer_and_never_between_ask_and_answer(self):
        c = read(chat(user("a"), said("b"), user("c"), said("d"), user("e")))
        assert (c.turns, c.cuts, c.turns_at) == (2, (2, 4), (0, 0, 1, 1, 2, 2))

    def test_leading_instructions_are_no_entries_and_later_ones_are(self):
        c = read(
            chat(
                {"role": "system", "content": "s"},
                {"role": "developer", "content": "d"},
                user("a"),
                said("b"),
                {"role": "system", "content": "now in French"},
                user("c"),
            )
        )
        assert [entry.kind for entry in c.entries] == ["user", "assistant", "system", "user"]
        assert c.cuts == (2, 3)
        assert c.entries[0].index == 0

    def test_each_step_of_an_agent_is_a_turn(self):
        c = read(chat(user("a"), calls("1"), result("1"), calls("2"), result("2"), said("b"), user("c")))
        assert (c.turns, c.cuts) == (3, (3, 5, 6))

    def test_parallel_calls_and_their_results_are_one_turn_in_any_order(self):
        c = read(chat(user("a"), calls("1", "2"), result("2"), result("1"), said("b"), user("c")))
        assert c.cuts == (4, 5)

    def test_a_late_result_holds_together_what_lies_between(self):
        c = read(
            chat(user("a"), calls("1", "2"), result("1"), user("wait"), said("yes"), result("2"), user("c"))
        )
        assert c.cuts == (6,)

    def test_behind_a_call_without_result_nothing_is_cut(self):
        c = read(chat(user("a"), said("b"), user("c"), calls("1"), user("d"), said("e"), user("f")))
        assert c.cuts == (2,)

    def test_ids_that_a_model_uses_again_mean_the_latest_call(self):
        c = read(chat(user("a"), calls("x"), result("x"), calls("x"), result("x"), user("b")))
        assert c.cuts == (3, 5)

    def test_consecutive_asks_are_not_torn(self):
        assert read(chat(user("a"), said("b"), user("c"), user("d"), said("e"), user("f"))).cuts == (2, 5)

    def test_legacy_functions_are_paired_by_name(self):
        call = {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}}
        c = read(
            chat(user("a"), call, {"role": "function", "name": "look", "content": "1"}, said("b"), user("c"))
        )
        assert c.cuts == (3, 4)
        assert c.entries[1].calls[0].name == "look"

    def test_tools_that_claude_ran_itself_need_no_message_that_answers_them(self):
        assert read(chat(user("a"), calls("srvtoolu_1"), user("b"), said("c"), user("d"))).cuts == (2, 4)


class TestThinking:
    def test_a_loop_that_goes_on_is_not_cut_behind_a_thought(self):
        messages = [user("a"), said("b"), user("c"), uses("1"), answers("1")]
        messages += [uses("2", thinks=True), answers("2"), uses("3"), answers("3")]
        assert read({"messages": messages}, "messages").cuts == (2, 5)

    def test_a_loop_that_is_over_may_be(self):
        messages = [
            user("a"),
            uses("1", thinks=True),
            answers("1"),
            said("b"),
            user("c"),
            said("d"),
            user("e"),
        ]
        assert read({"messages": messages}, "messages").cuts == (3, 4, 6)

    def test_on_the_chat_surface_it_is_the_same(self):
        thinks = {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}
        loop = [user("a"), said("b"), user("c"), calls("1", **thinks), result("1"), calls("2"), result("2")]
        assert read(chat(*loop)).cuts == (2,)
        assert read(chat(*loop, said("d"), user("e"))).cuts == (2, 5, 7, 8)

    def test_reasoning_items_stay_with_what_they_led_to(self):
        def call(id_: str) -> list[dict[str, Any]]:
            return [
                {"type": "function_call", "call_id": id_, "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": id_, "output": "found"},
            ]

        reasoning = {"type": "reasoning", "id": "r", "summary": []}
        items = [user("a"), reasoning, *call("1"), reasoning, *call("2"), *call("3"), said("b"), user("c")]
        # Not before the third call, nor before the answer: they may come of the reasoning before the second.
        assert read({"input": items}, "responses").cuts == (4, 10)

    def test_what_was_thought_is_not_told(self):
        secret = {"type": "thinking", "thinking": "they must not know", "signature": "s"}
        message = {"role": "assistant", "content": [secret, {"type": "text", "text": "hello"}]}
        assert read({"messages": [user("a"), message, user("b")]}, "messages").entries[1].text == "hello"


class TestEntries:
    def test_a_chat_entry_says_its_text_calls_and_results(self):
        c = read(
            chat(
                user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), calls("1"), result("1")
            )
        )
        assert [entry.text for entry in c.entries] == ["a\nb", 'look {"q": 1}', "found"]
        assert c.entries[1].calls[0].id == c.entries[2].results[0].call_id == "1"
        assert c.entries[2].results[0].block == -1
        assert c.entries[2].results[0].tokens == count_text("found")

    def test_anthropic_results_are_known_by_their_block(self):
        c = read({"messages": [user("a"), uses("1", "2"), answers("2", "1", words="go on")]}, "messages")
        last = c.entries[2]
        assert [(r.call_id, r.block) for r in last.results] == [("2", 0), ("1", 1)]
        assert (last.kind, last.text) == ("user", "found\nfound\ngo on")
        assert read({"messages": [user("a"), uses("1"), answers("1")]}, "messages").entries[2].kind == "tool"

    def test_documents_given_as_text_are_read_and_scans_are_not(self):
        source = {"type": "text", "media_type": "text/plain", "data": "Clause 7: net 30 days."}
        scan = {"type": "document", "source": {"type": "base64", "data": "JVBER" * 50}}
        c = read({"messages": [user([{"type": "document", "source": source}, scan])]}, "messages")
        assert c.entries[0].text == "Clause 7: net 30 days."

    def test_a_client_librarys_objects_are_read_like_plain_ones(self):
        class Function(BaseModel):
            name: str
            arguments: str

        class Call(BaseModel):
            id: str
            type: str
            function: Function

        class Message(BaseModel):
            role: str
            content: str | None
            tool_calls: list[Call]

        call = Call(id="1", type="function", function=Function(name="look", arguments='{"q": 1}'))
        objects = chat(user("a"), Message(role="assistant", content=None, tool_calls=[call]), result("1"))
        nested = chat(user("a"), {"role": "assistant", "tool_calls": [call]}, result("1"))
        for payload in (objects, nested):
            c = read(payload)
            assert c.entries[1].calls == read(chat(user("a"), calls("1"), result("1"))).entries[1].calls
            assert c.entries[1].item is payload["messages"][1]


class TestPins:
    def test_a_pin_on_one_half_of_a_pair_keeps_the_other(self):
        pinned = {**result("2"), "farthing_pin": True}
        c = read(
            chat(user("a"), calls("1", "2"), result("1"), pinned, said("b"), user("c"), said("d"), user("e"))
        )
        assert [entry.index for entry in c.entries if entry.pinned] == [1, 2, 3, 7]

    def test_a_content_part_may_carry_it(self):
        part = {"type": "text", "text": "never forget", "farthing_pin": True}
        assert read(chat(user([part]), said("b"), user("c"))).entries[0].pinned

    def test_only_true_is_a_pin(self):
        assert not read(chat({**user("a"), "farthing_pin": "false"}, said("b"), user("c"))).entries[0].pinned

    def test_the_ask_that_is_worked_on_stays_however_long_the_loop(self):
        steps = [item for n in range(9) for item in (calls(str(n)), result(str(n)))]
        c = read(chat(user("old"), said("b"), user("do it"), *steps))
        assert [entry.index for entry in c.entries if entry.pinned] == [2]
        assert c.cuts[-1] > 2


class TestKnownAgain:
    @settings(deadline=None, max_examples=60)
    @given(any_payload(), st.data())
    def test_one_changed_item_changes_every_prefix_from_there_on_and_none_before(self, drawn, data):
        surface, payload = drawn
        history = HISTORY[surface]
        before = [entry.prefix for entry in read(payload, surface).entries]
        lead = len(payload[history]) - len(before)
        at = data.draw(st.integers(0, len(before) - 1))
        changed = copy.deepcopy(payload)
        how = data.draw(st.sampled_from(["change", "drop", "insert"]))
        if how == "drop":
            del changed[history][lead + at]
        elif how == "insert":
            changed[history].insert(lead + at, user("something else"))
        else:
            item = changed[history][lead + at]
            name = next(
                name
                for name in ("output", "content", "arguments", "encrypted_content")
                if item.get(name) or name == "content"
            )
            item[name] = "something else" if isinstance(item.get(name), str) else user("x")["content"]
        after = Reader().read(changed, surface)
        if after is None:  # what is left is no conversation, such as a result without its call
            return
        shared = [one == other for one, other in zip(before, (e.prefix for e in after.entries), strict=False)]
        if how == "drop" and at == len(before) - 1:
            assert all(shared)
        else:
            assert shared == [True] * at + [False] * (len(shared) - at)

    def test_what_clients_move_about_changes_nothing(self):
        plain = chat(user("a"), said("b"), user("c"))
        marked = chat(
            {
                "content": [{"cache_control": {"type": "ephemeral"}, "text": "a", "type": "text"}],
                "role": "user",
            },
            {**said("b"), "farthing_pin": True},
            user([{"type": "text", "text": "c"}]),
        )
        assert [e.prefix for e in read(plain).entries] == [e.prefix for e in read(marked).entries]

    def test_surfaces_do_not_share_prefixes(self):
        messages = [user("a"), said("b"), user("c")]
        assert read(chat(*messages)).entries[1].prefix != read(chat(*messages), "messages").entries[1].prefix

    def test_the_system_prompt_is_not_in_the_prefix(self):
        tail = [user("a"), said("b")]
        one = read(chat({"role": "system", "content": "It is 10:01."}, *tail, user("c")))
        other = read(chat({"role": "system", "content": "It is 10:02."}, *tail, user("c")))
        assert one.entries[-1].prefix == other.entries[-1].prefix

    @settings(deadline=None, max_examples=60)
    @given(any_payload())
    def test_a_reader_with_a_long_memory_reads_as_one_without(self, drawn):
        surface, payload = drawn
        check_valid(surface, payload)
        assert reader.read(payload, surface) == Reader(0).read(payload, surface)

    def test_what_was_seen_is_not_counted_again(self, monkeypatch):
        counted: list[str] = []
        monkeypatch.setattr(counting, "count_text", lambda text: counted.append(text) or len(text))
        known = Reader()
        history = [message for n in range(50) for message in (user(f"ask {n}"), said(f"answer {n}"))]
        known.read(chat(*history, user("more")), "chat")
        counted.clear()
        moved = [*copy.deepcopy(history), {**user("more"), "farthing_pin": True}, said("new"), user("newer")]
        known.read(chat(*moved), "chat")
        assert counted == ["new", "newer"]


class TestTokens:
    @pytest.mark.parametrize("surface", SURFACES)
    @settings(deadline=None, max_examples=40)
    @given(data=st.data())
    def test_they_are_near_what_a_call_without_usage_is_charged(self, surface, data):
        payload = data.draw(payloads(surface))
        estimate = input_estimate(
            json.loads(json.dumps(payload).replace('"farthing_pin": true', '"type_": ""'))
        )
        assert read(payload, surface).tokens == pytest.approx(estimate, rel=0.03, abs=20)

    def test_an_image_is_a_figure_and_not_its_base64(self):
        def tokens(size: int) -> int:
            image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "x9Kq" * size}}
            return read(chat(user([image, {"type": "text", "text": "what?"}]))).tokens

        assert tokens(10) == tokens(10_000)

    def test_tools_and_instructions_are_the_leads(self):
        tools = [{"type": "function", "function": {"name": "look", "description": "word " * 500}}]
        system = {"role": "system", "content": "word " * 300}
        c = read(chat(system, user("a"), tools=tools))
        assert c.lead_tokens > 800
        assert c.tokens - c.lead_tokens == c.entries[0].tokens < 30

    def test_on_the_way_of_a_request_long_new_texts_are_estimated_and_later_counted(self):
        long = "the quick brown fox " * 5_000
        payload = chat(user(long), said("short"), user("b"))
        known = Reader()
        quick = known.read(payload, "chat", count_all=False)
        assert quick is not None
        assert not quick.exact
        exact = known.read(payload, "chat")
        assert exact is not None
        assert exact.exact
        assert quick.tokens == pytest.approx(exact.tokens, rel=0.5)
        again = known.read(payload, "chat", count_all=False)
        assert again == exact


class TestLeftAlone:
    @pytest.mark.parametrize(
        ("surface", "payload"),
        [
            ("responses", {"input": "just a text"}),
            ("responses", {"input": [user("a")], "previous_response_id": "resp_1"}),
            ("responses", {"input": [user("a")], "conversation": {"id": "conv_1"}}),
            ("responses", {"input": [user("a"), {"type": "item_reference", "id": "msg_1"}, user("b")]}),
            (
                "responses",
                {"input": [user("a"), {"type": "compaction", "encrypted_content": "x"}, user("b")]},
            ),
            ("responses", {"input": [user("a"), {"type": "tomorrows_item"}, user("b")]}),
            ("chat", {"messages": []}),
            ("chat", {"messages": None}),
            ("chat", {}),
            ("chat", chat({"role": "system", "content": "only instructions"})),
            ("chat", chat(user("a"), result("nobody called"), user("b"))),
            ("chat", chat(user("a"), {"role": "tool", "content": "of no call"}, user("b"))),
            ("chat", chat(user("a"), {"role": "narrator", "content": "b"})),
            ("chat", chat(user("a"), "b")),
            ("chat", chat(user("a"), {"role": "assistant", "content": 7})),
            ("chat", chat(user("a"), {"role": ["user"], "content": "b"})),
            ("chat", chat(user("a"), {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]})),
            ("messages", {"messages": [user([{"type": "tomorrows_block"}])]}),
            (
                "messages",
                {"messages": [user("a"), said([{"type": "compaction", "content": "x"}]), user("b")]},
            ),
            ("completions", {"prompt": "a"}),
        ],
    )
    def test_what_is_not_understood_is_no_conversation(self, surface, payload):
        assert Reader().read(payload, surface) is None

    def test_hostile_shapes_raise_nothing(self):
        deep: Any = "x"
        for _ in range(100_000):
            deep = [deep]
        ring: dict[str, Any] = user("a")
        ring["content"] = [ring]
        try:
            for item in (
                user(deep),
                ring,
                user("\ud800 lone"),
                {**user("a"), "n": float("nan"), "i": 10**5000},
            ):
                for surface in SURFACES:
                    Reader().read({"messages": [item], "input": [item], "tools": [item]}, surface)
        finally:
            while isinstance(deep, list):  # taken apart by hand: the interpreter would do so recursively
                deep = deep.pop() if deep else ""

    def test_a_flood_of_parts_is_not_looked_at_while_a_request_waits(self, monkeypatch):
        flood = user([{"type": "text", "text": ""}] * 60_000)
        assert Reader().read(chat(flood), "chat", count_all=False) is None
        monkeypatch.setattr("farthing.context.conversation.MOST_BYTES", 1000)
        assert Reader().read(chat(user("x" * 1001)), "chat") is None
        assert Reader().read(chat(user("x" * 100)), "chat") is not None

    def test_what_is_forgotten_is_read_again(self):
        small = Reader(1_200)
        for n in range(10):
            payload = chat(user(f"{n} " * 200), said("b"), user("c"))
            assert small.read(payload, "chat") == Reader().read(payload, "chat")
        assert small._seen._weight <= 1_200
