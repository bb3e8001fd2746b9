"""Edits of histories: whatever is folded, masked or put in, the result is valid and the rest is untouched."""

import copy
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.context.conversation import Conversation, Entry, Reader
from farthing.context.edit import BETWEEN, LEFT_OUT, Edit, apply, without_pins
from farthing.cost import count_text
from tests.unit.context_samples import HISTORY, SURFACES, any_payload, check_valid, payloads

reader = Reader()
BLOCK = "## Compressed Context\ngoal: refund order 4711"
SNIPPETS = "## Snippets\nturn 3: the amount was 12.50"
MASK = "[look: 1 200 tokens, ref-0123456789]"


def read(payload: dict[str, Any], surface: str) -> Conversation:
    conversation = reader.read(payload, surface)
    assert conversation is not None
    return conversation


def staying(conversation: Conversation, edit: Edit) -> list[Entry]:
    return [
        entry
        for entry in conversation.entries
        if entry.index >= edit.fold or entry.pinned or entry.kind == "system"
    ]


@st.composite
def edits(draw: st.DrawFn, conversation: Conversation) -> Edit:
    fold = draw(st.sampled_from((0, *conversation.cuts)))
    results = [(entry.index, r.block) for entry in conversation.entries for r in entry.results if r.text]
    masks: dict[int, dict[int, str]] = {}
    for index, block in draw(st.lists(st.sampled_from(results), unique=True)) if results else []:
        masks.setdefault(index, {})[block] = MASK
    places = st.lists(st.sampled_from([-1, *range(len(conversation.entries))]), unique=True, max_size=6)
    return Edit(
        fold,
        BLOCK if fold else "",
        masks,
        draw(st.sampled_from(["", SNIPPETS])),
        tuple(sorted(draw(places))),
    )


def said_in(items: list[Any]) -> str:
    found = []
    for item in items:
        for name in ("content", "output"):
            value = item.get(name)
            for part in value if isinstance(value, list) else [{"type": "text", "text": value}]:
                found.append(part.get("text") if part.get("type") != "tool_result" else said_in([part]))
    return "\n".join(text for text in found if isinstance(text, str))


def parts_of(item: dict[str, Any]) -> list[Any]:
    content = item.get("content")
    return content if isinstance(content, list) else []


def is_thought(part: dict[str, Any]) -> bool:
    return part.get("type") == "thinking"


def breakpoints_in(value: Any) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(breakpoints_in, value.values()))
    return sum(map(breakpoints_in, value)) if isinstance(value, list) else 0


class TestAnyEdit:
    @settings(deadline=None, max_examples=150)
    @given(any_payload(), st.data())
    def test_the_result_is_valid_and_what_was_not_edited_is_the_very_same(self, drawn, data):
        surface, payload = drawn
        history = HISTORY[surface]
        c = read(payload, surface)
        edit = data.draw(edits(c))
        whole = copy.deepcopy(payload)

        out = apply(payload, c, edit)

        assert payload == whole, "the client's own body is never touched"
        check_valid(surface, out)
        assert {name: out[name] for name in out if name != history} == {
            name: payload[name] for name in payload if name != history
        }
        lead = len(payload[history]) - len(c.entries)
        assert all(
            one is other for one, other in zip(out[history][:lead], payload[history][:lead], strict=False)
        )
        assert breakpoints_in(out) <= 4
        items = {id(item) for item in out[history]}
        told = said_in(out[history])
        ask = max(entry.index for entry in c.entries if entry.kind == "user")
        stay = staying(c, edit)
        for at, entry in enumerate(stay):
            item = payload[history][lead + entry.index]
            masked = entry.index in edit.masks and not entry.pinned
            first = bool(edit.fold) and at == 0
            beside = [*stay[max(0, at - 1) : at], *stay[at + 1 : at + 2]]
            apart = surface == "messages" and any(abs(other.index - entry.index) > 1 for other in beside)
            if not (masked or first or apart or entry.index == ask or entry.index in edit.breakpoints):
                assert id(item) in items
            elif not masked:
                assert all(line in told for line in said_in([item]).split("\n"))
        # Thoughts are where and what they were, in every message that stays.
        thoughts = {id(part) for given_ in payload[history] for part in parts_of(given_) if is_thought(part)}
        for item in out[history][lead:]:
            own = [part for part in parts_of(item) if is_thought(part)]
            assert parts_of(item)[: len(own)] == own
            assert {id(part) for part in own} <= thoughts
        text = said_in(out[history][lead:])
        assert text.count(BLOCK) == bool(edit.fold)
        assert text.startswith(BLOCK) or not edit.fold
        assert text.count(SNIPPETS) == bool(edit.snippets)

    @settings(deadline=None, max_examples=80)
    @given(any_payload(), st.data())
    def test_the_tokens_of_the_result_are_those_that_were_reckoned_with(self, drawn, data):
        surface, payload = drawn
        c = read(payload, surface)
        edit = data.draw(edits(c))
        stay = [
            entry for entry in c.entries if entry.index >= edit.fold or entry.pinned or entry.kind == "system"
        ]
        expected = c.lead_tokens + sum(entry.tokens for entry in stay)
        changed = 0
        for text in (edit.block, edit.snippets):
            expected += count_text(text)
            changed += bool(text)
        for entry in stay:
            for r in () if entry.pinned else entry.results:
                if r.block in edit.masks.get(entry.index, {}):
                    expected += count_text(MASK) - r.tokens
                    changed += 1
        changed += len(edit.breakpoints) + sum(one.index + 1 < other.index for one, other in pairwise(stay))
        after = read(apply(payload, c, edit), surface)
        assert abs(after.tokens - expected) <= 30 * changed

    @settings(deadline=None, max_examples=50)
    @given(any_payload())
    def test_an_edit_of_nothing_is_the_same_history(self, drawn):
        surface, payload = drawn
        out = apply(payload, read(payload, surface), Edit())
        assert all(
            one is other for one, other in zip(out[HISTORY[surface]], payload[HISTORY[surface]], strict=True)
        )

    @pytest.mark.parametrize("surface", SURFACES)
    @settings(deadline=None, max_examples=30)
    @given(data=st.data())
    def test_a_folded_history_can_be_folded_and_read_again(self, surface, data):
        payload = data.draw(payloads(surface))
        c = read(payload, surface)
        for cut in c.cuts:
            again = apply(payload, c, Edit(cut, BLOCK))
            for further in read(again, surface).cuts:
                check_valid(surface, apply(again, read(again, surface), Edit(further, BLOCK)))


def user(text: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


def said(text: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def edited(surface: str, edit: Edit, *items: dict[str, Any], **more: Any) -> list[Any]:
    payload = {HISTORY[surface]: list(items), **more}
    return apply(payload, read(payload, surface), edit)[HISTORY[surface]]


TALK = (user("a"), said("b"), user("c"), said("d"), user("e"))


class TestFold:
    def test_the_block_stands_before_the_next_asks_own_words(self):
        assert edited("chat", Edit(2, "BLOCK"), *TALK) == [user(f"BLOCK{BETWEEN}c"), said("d"), user("e")]

    def test_in_a_list_of_parts_it_is_a_part(self):
        items = (user("a"), said("b"), user([{"type": "input_text", "text": "c"}]))
        block, own = edited("responses", Edit(2, "BLOCK"), *items)[0]["content"]
        assert block == {"type": "input_text", "text": f"BLOCK{BETWEEN}"}
        assert own is items[2]["content"][0]

    def test_before_an_assistants_step_it_is_a_message_of_its_own(self):
        def step(n: str) -> list[dict[str, Any]]:
            use = {"type": "tool_use", "id": n, "name": "look", "input": {}}
            answer = {"type": "tool_result", "tool_use_id": n, "content": "found"}
            return [said([use]), user([answer])]

        items = [
            user("a"),
            said("b"),
            *TALK[2:4],
            user("do it"),
            *step("1"),
            *step("2"),
            said("done"),
            user("ok"),
        ]
        out = edited("messages", Edit(7, "BLOCK"), *items)
        assert out[0] == user("BLOCK")
        assert out[1:] == items[7:]

    def test_pinned_pairs_and_later_instructions_stay_behind_the_block_in_order(self):
        call = said(None, tool_calls=[{"id": "1", "function": {"name": "look", "arguments": "{}"}}])
        found = {"role": "tool", "tool_call_id": "1", "content": "found", "farthing_pin": True}
        system = {"role": "system", "content": "now in French"}
        items = [user("a"), call, found, said("b"), system, user("c"), said("d"), user("e")]
        out = edited("chat", Edit(7, "BLOCK"), *items)
        assert out[0] == user("BLOCK")
        assert [items.index(item) for item in out[1:]] == [1, 2, 4, 7]
        assert all(any(item is given_ for given_ in items) for item in out[1:])

    def test_the_ask_of_a_running_loop_stays_word_for_word(self):
        steps = [
            item
            for n in "123"
            for item in (
                said(None, tool_calls=[{"id": n, "function": {"name": "look", "arguments": "{}"}}]),
                {"role": "tool", "tool_call_id": n, "content": "found"},
            )
        ]
        out = edited("chat", Edit(7, "BLOCK"), user("a"), said("b"), user("do it"), *steps)
        assert out == [user(f"BLOCK{BETWEEN}do it"), *steps[4:]]

    def test_answers_that_were_apart_do_not_come_to_stand_side_by_side(self):
        for surface in ("chat", "messages"):
            items = [
                user("a"),
                said("keep", farthing_pin=True),
                user("b"),
                said("too", farthing_pin=True),
                user("c"),
            ]
            out = edited(surface, Edit(4, "BLOCK"), *items)
            assert [item["content"] for item in out] == ["BLOCK", "keep", LEFT_OUT, "too", "c"]

    def test_anthropic_gets_one_user_message_where_two_come_to_stand_side_by_side(self):
        items = [user("a", farthing_pin=True), said("b"), user("c"), said("d"), user("e")]
        out = edited("messages", Edit(4, "BLOCK"), *items)
        assert len(out) == 1
        assert [part["text"] for part in out[0]["content"]] == [f"BLOCK{BETWEEN}a", "e"]

    @pytest.mark.parametrize("edit", [Edit(1, "BLOCK"), Edit(3, "BLOCK"), Edit(5, "BLOCK"), Edit(2, " ")])
    def test_a_fold_that_does_not_fit_is_refused(self, edit):
        with pytest.raises(ValueError, match="a fold needs"):
            edited("chat", edit, *TALK)


class TestMasks:
    USE = said([{"type": "tool_use", "id": "1", "name": "look", "input": {}}])

    def test_a_mask_changes_a_results_text_and_nothing_beside_it(self):
        image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
        block = {
            "type": "tool_result",
            "tool_use_id": "1",
            "is_error": True,
            "content": [{"type": "text", "text": "long"}, image, {"type": "text", "text": "longer"}],
        }
        words = {"type": "text", "text": "go on"}
        out = edited(
            "messages", Edit(masks={2: {0: MASK}}), user("a"), self.USE, user([block, words]), user("b")
        )
        assert out[2]["content"][0] == {**block, "content": [{"type": "text", "text": MASK}, image]}
        assert out[2]["content"][1] is words

    def test_a_breakpoint_within_a_result_stays(self):
        parts = [
            {"type": "text", "text": "long"},
            {"type": "text", "text": "r", "cache_control": {"type": "ephemeral"}},
        ]
        block = {"type": "tool_result", "tool_use_id": "1", "content": parts}
        out = edited("messages", Edit(masks={2: {0: MASK}}), user("a"), self.USE, user([block]))
        assert out[2]["content"][0]["content"] == [{**parts[1], "text": MASK}]

    def test_outputs_of_the_responses_api(self):
        call = {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"}
        output = {"type": "function_call_output", "call_id": "1", "output": "long", "status": "completed"}
        out = edited("responses", Edit(masks={2: {-1: MASK}}), user("a"), call, output)
        assert out[2] == {**output, "output": MASK}

    def test_what_is_pinned_is_not_masked_and_what_is_no_result_cannot_be(self):
        block = {"type": "tool_result", "tool_use_id": "1", "content": "long"}
        pinned = user([block], farthing_pin=True)
        assert edited("messages", Edit(masks={2: {0: MASK}}), user("a"), self.USE, pinned)[2] is pinned
        with pytest.raises(ValueError, match="no tool result"):
            edited("messages", Edit(masks={2: {1: MASK}}), user("a"), self.USE, user([block]))
        with pytest.raises(ValueError, match="no tool result"):
            edited("chat", Edit(masks={1: {-1: MASK}}), *TALK)


class TestSnippets:
    def test_they_stand_before_the_ask_and_behind_the_block(self):
        assert edited("chat", Edit(snippets="SNIPPETS"), *TALK)[-1] == user(f"SNIPPETS{BETWEEN}e")
        out = edited("chat", Edit(4, "BLOCK", snippets="SNIPPETS"), *TALK)
        assert out == [user(f"BLOCK{BETWEEN}SNIPPETS{BETWEEN}e")]

    def test_tool_results_stay_first(self):
        use = said([{"type": "tool_use", "id": "1", "name": "look", "input": {}}])
        result = {"type": "tool_result", "tool_use_id": "1", "content": "found"}
        words = {"type": "text", "text": "stop, do this"}
        out = edited("messages", Edit(snippets="SNIPPETS"), user("a"), use, user([result, words]))
        assert out[2]["content"] == [result, {"type": "text", "text": f"SNIPPETS{BETWEEN}"}, words]

    def test_they_go_to_the_ask_and_not_to_the_results_after_it(self):
        use = said([{"type": "tool_use", "id": "1", "name": "look", "input": {}}])
        result = user([{"type": "tool_result", "tool_use_id": "1", "content": "found"}])
        out = edited("messages", Edit(snippets="SNIPPETS"), user("a"), use, result)
        assert out[0] == user(f"SNIPPETS{BETWEEN}a")
        assert out[2] is result


class TestBreakpoints:
    CACHE = {"type": "ephemeral"}  # noqa: RUF012

    def test_behind_the_block_and_behind_an_entry(self):
        out = edited("messages", Edit(2, "BLOCK", breakpoints=(-1, 3)), *TALK)
        block, own = out[0]["content"]
        assert block == {"type": "text", "text": f"BLOCK{BETWEEN}", "cache_control": self.CACHE}
        assert own == {"type": "text", "text": "c"}
        assert out[1]["content"] == [{"type": "text", "text": "d", "cache_control": self.CACHE}]
        assert out[2] is TALK[4]

    def test_never_on_a_thought_or_an_empty_text(self):
        thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
        use = {"type": "tool_use", "id": "1", "name": "look", "input": {}}
        result = user([{"type": "tool_result", "tool_use_id": "1", "content": "found"}])
        only_thought, nothing = said([thought]), user([{"type": "text", "text": " "}])
        out = edited(
            "messages",
            Edit(breakpoints=(1, 2, 3, 4)),
            user("a"),
            only_thought,
            nothing,
            said([thought, use]),
            result,
        )
        assert out[1] is only_thought
        assert out[2] is nothing
        assert out[3]["content"] == [thought, {**use, "cache_control": self.CACHE}]
        assert out[4]["content"] == [{**result["content"][0], "cache_control": self.CACHE}]

    def test_at_most_the_last_four(self):
        out = edited("chat", Edit(breakpoints=(0, 1, 2, 3, 4)), *TALK)
        assert [breakpoints_in(item) for item in out] == [0, 1, 1, 1, 1]

    @pytest.mark.parametrize(
        "own",
        [
            {"system": [{"type": "text", "text": "s", "cache_control": CACHE}]},
            {"tools": [{"name": "look", "input_schema": {}, "cache_control": CACHE}]},
            {"cache_control": CACHE},
            {"cache_control_injection_points": [{"location": "message", "role": "system"}]},
        ],
    )
    def test_none_where_the_client_sets_its_own(self, own):
        assert breakpoints_in(edited("messages", Edit(breakpoints=(2,)), *TALK, **own)) == 0

    def test_none_where_a_message_of_the_clients_has_one(self):
        marked = user([{"type": "text", "text": "a", "cache_control": self.CACHE}])
        assert breakpoints_in(edited("messages", Edit(breakpoints=(2,)), marked, *TALK[1:])) == 1

    def test_none_on_responses(self):
        assert edited("responses", Edit(2, "BLOCK", breakpoints=(-1, 2)), *TALK) == [
            user(f"BLOCK{BETWEEN}c"),
            *TALK[3:],
        ]


class TestWithoutPins:
    def test_marks_are_taken_off_and_the_rest_is_the_same(self):
        part = {"type": "text", "text": "b", "farthing_pin": True}
        result = {"type": "tool_result", "tool_use_id": "1", "content": [part]}
        use = {"type": "tool_use", "id": "1", "name": "pin", "input": {"farthing_pin": True}}
        payload = {
            "messages": [user("a", farthing_pin=True), said([use]), user([result, part])],
            "system": [part],
        }
        whole = copy.deepcopy(payload)
        out = without_pins(payload)
        assert payload == whole
        bare = {"type": "text", "text": "b"}
        assert out["system"] == [bare]
        assert out["messages"][0] == user("a")
        assert out["messages"][1] is payload["messages"][1]
        assert out["messages"][2] == user([{**result, "content": [bare]}, bare])

    @settings(deadline=None, max_examples=50)
    @given(any_payload())
    def test_no_mark_is_left(self, drawn):
        surface, payload = drawn
        out = without_pins(payload)
        assert '"farthing_pin"' not in str(out).replace("'", '"')
        assert without_pins(out) is out
        assert [e.prefix for e in read(dict(out), surface).entries] == [
            e.prefix for e in read(payload, surface).entries
        ]
