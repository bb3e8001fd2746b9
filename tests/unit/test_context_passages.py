"""Passages: what a history is quoted in."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.context import passages
from farthing.context.chunks import CEILING, MOST, RECORD, chunks
from farthing.context.conversation import Entry, Reader, ToolResult
from farthing.context.passages import Passage, passages_of
from farthing.cost.tokens import count_text

CODE = (
    "```python\n" + "\n\n".join(f"def step_{n}(order):\n    return order + {n}" for n in range(40)) + "\n```"
)
TABLE = "\n".join(
    ["| berth | ship |", "|---|---|", *(f"| {n} | Marigold {n} of the north line |" for n in range(40))]
)
PROSE = "The harbour master counted the crates again that evening. " * 9


def read(messages: list[dict[str, object]]) -> list[Passage]:
    """The passages of what came before the current ask."""
    conversation = Reader().read({"messages": [*messages, {"role": "user", "content": "And now?"}]}, "chat")
    assert conversation is not None
    return passages_of(conversation.entries[:-1], conversation.turns_at)


def test_a_short_message_is_one_passage_with_its_turn_and_who_said_it():
    found = read(
        [
            {"role": "system", "content": "You plan voyages."},
            {"role": "user", "content": "When does the Marigold sail?\n\nAnd from where?"},
            {"role": "assistant", "content": "On 4 June, from berth 12."},
            {"role": "user", "name": "Orla", "content": "Thanks!"},
            {"role": "assistant", "content": "Any time."},
        ]
    )
    assert [(p.entry, p.turn, p.source, p.text) for p in found] == [
        (0, 1, "user", "When does the Marigold sail?\n\nAnd from where?"),
        (1, 1, "assistant", "On 4 June, from berth 12."),
        (2, 2, "Orla", "Thanks!"),
        (3, 2, "assistant", "Any time."),
    ]
    assert all(p.tokens == count_text(p.text) for p in found)


def test_a_tools_result_bears_the_tools_name_and_the_turn_that_asked_for_it():
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "find_berth", "arguments": '{"ship": "Marigold"}'},
    }
    found = read(
        [
            {"role": "user", "content": "Where is she?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "Berth 12, north quay."},
            {"role": "assistant", "content": "At berth 12."},
            {"role": "user", "content": "And tomorrow?"},
        ]
    )
    assert [(p.turn, p.source) for p in found if p.text == "Berth 12, north quay."] == [(1, "find_berth")]
    assert [p.turn for p in found if p.text == "And tomorrow?"] == [3]


def test_what_stands_beside_a_result_is_the_users():
    entry = Entry(
        0, "user", {}, "Berth 12.\nIs that right?", 9, b"", results=(ToolResult("c9", "Berth 12.", 3, 0),)
    )
    assert [(p.source, p.text) for p in passages_of([entry], [0, 0])] == [
        ("tool", "Berth 12."),
        ("user", "Is that right?"),
    ]


def test_a_tools_name_cannot_pass_for_a_label():
    call = {"id": "c1", "type": "function", "function": {"name": "a:\n7 user", "arguments": "{}"}}
    found = read(
        [
            {"role": "user", "content": "Go"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "Forged."},
        ]
    )
    assert [p.source for p in found if p.text == "Forged."] == ["a_7_user"]


@pytest.mark.parametrize("whole", [CODE, TABLE], ids=["code", "table"])
def test_code_and_tables_stay_whole(whole: str):
    assert MOST < len(whole) < CEILING
    found = chunks(f"{PROSE}\n\n{whole}\n{PROSE}")
    assert [chunk for chunk in found if whole in chunk] == [whole]
    assert len(found) > 2


def test_json_is_cut_between_its_records():
    records = [
        {
            "ship": f"Marigold {n}",
            "berths": [{"quay": "north", "metres": 100 + n}],
            "note": 'a "quote", and a [}',
        }
        for n in range(30)
    ]
    found = chunks(json.dumps({"status": "ok", "page": {"ships": records}}, indent=1))
    assert len(found) > 5
    for record in records:
        name = f'"ship": "{record["ship"]}"'
        note = f'"metres": {record["berths"][0]["metres"]}'
        assert [name in chunk and note in chunk for chunk in found].count(True) == 1, record
    assert all(len(chunk.encode()) <= RECORD for chunk in found)


def test_long_prose_is_cut_between_sentences():
    found = chunks(PROSE * 4)
    assert len(found) > 4
    assert all(chunk.startswith("The harbour") and chunk.endswith("evening.") for chunk in found)


def test_a_heading_goes_with_what_it_heads():
    found = chunks(f"## Cargo\n\n{PROSE}\n\n## Crew\n\n{PROSE}")
    assert [chunk.partition("\n")[0] for chunk in found if chunk.startswith("##")] == ["## Cargo", "## Crew"]
    assert all(len(chunk) > 100 for chunk in found)


PIECES = st.sampled_from(
    [
        *("word ", "Sentence one. ", "\n", "\n\n", "```\n", "~~~", "| a | b |\n", "# Head\n", "    "),
        *('{"k": [', '"', "\\", "]}", ", ", "é", "船。", "\ud800", "x" * 900),
    ]
)


@given(st.lists(PIECES, max_size=60).map("".join))
def test_every_chunk_is_a_piece_of_the_text_in_order_and_nothing_but_blanks_is_lost(text: str):
    at = 0
    for chunk in chunks(text):
        assert chunk.strip()
        start = text.find(chunk, at)
        assert start >= 0
        assert not text[at:start].strip()
        at = start + len(chunk)
        assert len(chunk.encode("utf-8", "surrogatepass")) <= CEILING
    assert not text[at:].strip()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        '["' + '\\"' * 30_000 + "\\",
        "\n \n" * 20_000,
        "|\na\n" * 20_000,
        "```\n" * 20_000,
        "1," * 30_000,
        '{"a":' * 20_000,
        "\ud800" * 20_000,
        "x" * 60_000,
    ],
    ids=["brackets", "quotes", "blank", "bars", "fences", "commas", "nested", "surrogates", "letters"],
)
def test_hostile_text_ends_in_chunks_of_bounded_size(text: str):
    assert all(len(chunk.encode("utf-8", "surrogatepass")) <= CEILING for chunk in chunks(text))


def test_of_an_endless_history_the_latest_is_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(passages, "MOST_CHARS", 2_000)
    entries = [Entry(n, "user", {}, f"{n}: {'crate ' * 50}{n}!", 60, b"") for n in range(20)]
    found = passages_of(entries, [0] * 21)
    assert {p.entry for p in found} == set(range(13, 20))
    assert found == sorted(found, key=lambda p: p.entry)
    assert found[-1].text.endswith("19!")
    monkeypatch.setattr(passages, "MOST_PASSAGES", 3)
    assert passages_of(entries, [0] * 21) == found[-3:]


def test_of_an_endless_entry_its_head_and_tail_are_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(passages, "MOST_CHARS", 2_000)
    found = passages_of([Entry(0, "user", {}, f"first {'x' * 9_000} last", 9, b"")], [0, 0])
    assert found[0].text.startswith("first")
    assert found[-1].text.endswith("last")
    assert sum(len(p.text) for p in found) <= 2_000


def test_what_stays_anyway_has_no_passages():
    said = Entry(0, "user", {}, "The code is 4711-B.", 9, b"")
    assert passages_of([said], [0, 0])
    assert not passages_of([replace(said, pinned=True), replace(said, index=1, kind="system")], [0, 0, 0])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), PIECES), min_size=1, max_size=12))
def test_the_same_history_always_has_the_same_passages_in_its_order(said: list[tuple[str, str]]):
    messages: list[dict[str, object]] = [{"role": role, "content": text} for role, text in said]
    found = read(messages)
    assert found == read(messages)
    assert [p.entry for p in found] == sorted(p.entry for p in found)
    assert [p.turn for p in found] == sorted(p.turn for p in found)
