"""Farthing's own summary of some turns: what it keeps, what it leaves out, and that it makes nothing up."""

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.context.conversation import Entry, ToolCall, ToolResult
from farthing.context.dense import arguments_of, excerpt, parts_of, pieces_of
from farthing.context.digest import digest
from farthing.context.telling import HEADS
from farthing.cost import count_text


def user(text, **more):
    return entry("user", text, **more)


def says(text, **more):
    return entry("assistant", text, **more)


def calls(name, arguments, call_id="c1", text=""):
    call = ToolCall(call_id, name, json.dumps(arguments, ensure_ascii=False))
    return entry("assistant", f"{text}\n{name}\n{call.arguments}".strip(), calls=(call,))


def returns(value, call_id="c1"):
    text = value if isinstance(value, str) else json.dumps(value)
    return entry("tool", text, results=(ToolResult(call_id, text, count_text(text)),))


def entry(kind, text, **more):
    return Entry(0, kind, {}, text, count_text(text) + 4, b"", **more)


def uncounted(kind, text, **more):
    return Entry(0, kind, {}, text, 9, b"", **more)


PARCEL = [
    user("Hi there! My parcel NL-4471-XK hasn't arrived, could you please find out where it is?"),
    says("I'm sorry to hear that! Could you tell me the postcode?"),
    user("2611 AB, thanks!"),
    calls("track_parcel", {"code": "NL-4471-XK", "postcode": "2611 AB"}),
    returns({"code": "NL-4471-XK", "status": "held at customs", "duty": {"amount": 18.4, "currency": "EUR"}}),
    says("It is held at customs: €18.40 of duty is due before 3 June. Shall I pay it from your balance?"),
    user("Yes, but only if the fee stays below €2."),
    says("You're welcome! Have a great day!"),
]


def test_a_conversation_can_be_gone_on_with():
    text = digest(PARCEL, 400)
    lines = text.splitlines()
    assert [head for head in HEADS if head in lines] == [head for head in lines if head in HEADS]
    assert "- user: My parcel NL-4471-XK hasn't arrived, find out where it is?" in lines
    assert "- asked “tell me postcode?” user: 2611 AB, thanks!" in lines
    assert "track_parcel(code=NL-4471-XK, postcode=2611 AB)" in text
    assert "duty: amount 18.4, currency EUR" in text
    assert "€18.40 of duty is due before 3 June" in text
    assert "Shall I pay it from your balance?” user: Yes, but only if fee stays below €2." in text
    assert "great day" not in text
    assert "sorry" not in text


def test_with_little_room_the_latest_wish_and_the_ids_stay():
    text = digest(PARCEL, 60)
    assert count_text(text) <= 60
    assert "only if fee stays below €2" in text
    assert "NL-4471-XK" in text


def test_what_is_not_worth_it_is_an_empty_digest():
    assert digest([], 100) == ""
    assert digest([user("Hello!"), says("Hi! How can I help you today?"), user("Thanks, bye!")], 100) == ""
    assert digest(PARCEL, 0) == ""


def test_what_goes_on_being_sent_is_left_out():
    pinned = user("The budget code is BX-7781.", pinned=True)
    system = entry("system", "Never mention rebate 5512.")
    text = digest([pinned, system, user("Order 30 crates of lamp oil from the Delft depot.")], 200)
    assert "30 crates" in text
    assert "7781" not in text
    assert "5512" not in text


def test_what_is_said_twice_is_told_once():
    said = "The pump in hall 7 runs at 1450 rpm."
    text = digest(
        [user(said), says(f"Noted. {said}"), user("What is the flow at valve K-12?"), says(said)], 300
    )
    assert text.count("1450") == 1


def test_a_question_nobody_answered_stays_open():
    text = digest(
        [user("Book hall 7 for 12 May."), says("Hall 7 is free. Do you need the projector too?")], 200
    )
    assert text.endswith("Open questions\n- assistant: Do you need projector too?")


def test_a_call_without_a_result_stays_open():
    text = digest([user("Restart node db-14."), calls("restart", {"node": "db-14"})], 200)
    assert "Open questions\n- restart(node=db-14)" in text


def test_calls_and_results_belong_together_though_ids_are_used_again():
    told = [
        calls("price", {"item": "lamp-9"}, "same"),
        returns("48.50 EUR", "same"),
        calls("price", {"item": "stove-2"}, "same"),
        returns("310.00 EUR", "same"),
    ]
    lines = digest(told, 200).splitlines()
    assert "- price(item=lamp-9) → 48.50 EUR" in lines
    assert "- price(item=stove-2) → 310.00 EUR" in lines


def test_arguments_are_not_repeated_from_call_to_call():
    told = []
    for seat in ("14C", "22F"):
        told += [calls("reserve", {"train": "IC-2087", "day": "2031-05-04", "seat": seat})]
        told += [returns(f"Error: seat {seat} is taken")]
    lines = digest(told, 300).splitlines()
    assert "- reserve(train=IC-2087, day=2031-05-04, seat=14C) → Error: seat 14C is taken" in lines
    assert "- reserve(…, seat=22F) → Error: seat 22F is taken" in lines


def test_of_a_big_result_that_is_kept_which_is_talked_about():
    rooms = [{"room": f"R-{n}", "beds": n % 4, "price": 80 + n, "view": "yard"} for n in range(100, 160)]
    told = [
        user("Which rooms are there in June?"),
        calls("rooms", {"month": "June"}),
        returns(rooms),
        says("There are many, such as R-137 for 217."),
        user("R-137 it is, then."),
    ]
    text = digest(told, 150)
    assert "R-137, 1, 217, yard" in text
    assert count_text(text) <= 150


def test_records_alike_name_their_keys_once():
    told = [
        calls("trains", {}),
        returns([{"train": "IC-2087", "at": "09:14"}, {"train": "IC-2091", "at": "09:44"}]),
    ]
    assert "→ train IC-2087, at 09:14; IC-2091, 09:44" in digest(told, 200)


def test_results_within_a_users_message_and_the_words_beside_them():
    result = ToolResult("c1", "balance 771.20 EUR", 9, 0)
    both = user("balance 771.20 EUR\nNow move 50 EUR to savings.", results=(result,))
    text = digest([calls("balance", {"account": "A-5"}), both], 200)
    assert "balance(account=A-5) → balance 771.20 EUR" in text
    assert "- user: Now move 50 EUR to savings." in text


def test_of_code_its_declarations_are_told():
    code = "Here it is:\n```python\ndef settle_charge(hold_id):\n    x = 1\n    return x\n```\n"
    text = digest([user("Write the function that settles a hold."), says(code)], 200)
    assert "Files and code\n- assistant: def settle_charge(hold_id):" in text
    assert "return x" not in text


def test_numbers_are_never_cut():
    number = "8" * 50
    assert list(pieces_of(f"one two {number} three", 20)) == ["one two", "three"]
    assert excerpt("111 222 333 444 555 666", 15).split() == ["111", "…", "666"]
    long = user("Total " + " ".join(f"{n}.25" for n in range(10_000, 60_000)))
    assert set(re.findall(r"\d+\.\d+|\d+", digest([long], 300))) <= {f"{n}.25" for n in range(10_000, 60_000)}


def test_json_is_told_as_it_is_written():
    assert [part.text for part in parts_of('{"a": 1.50, "b": [1e3, NaN], "c": null, "d": {"e": true}}')] == [
        "a: 1.50",
        "b: 1e3 | NaN",
        "d: e true",
    ]
    assert arguments_of('{"paths": ["a.py", "b.py"], "dry": false}') == ["paths=a.py | b.py", "dry=false"]
    assert parts_of("[" * 100_000) == []
    assert [part.text for part in parts_of('{"a": {"b": ')] == ['{"a": {"b":']


def test_hostile_texts_are_digested_too():
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    blank = " " * 2_000_000
    for text in (
        deep,
        blank,
        "a" * 5_000_000,
        "x? " * 500_000,
        "\ud800 5 \x00",
        "**" * 300_000,
        "- " * 300_000,
    ):
        call, result = ToolCall("c1", text, text), ToolResult("c1", text, 9)
        told = [uncounted("user", text), uncounted("assistant", text, calls=(call,))]
        told.append(uncounted("tool", text, results=(result,)))
        assert count_text(digest(told, 100)) <= 100
    many = [uncounted("user", f"Order {n} of lamp-{n}.") for n in range(20_000)]
    assert "19999" in digest(many, 100)


VOCABULARY = """please
the order ships on 2031-05-04 for €1,204.50 to Ines Okafor at src/app/main.py . ! ? ,
no yes I want not 17 lamp-9 (see `run_all()`) **bold** - 3. error 2**8 https://shop.test/a?b I'd
like to"""
WORDS = st.sampled_from([*VOCABULARY.split(), "\n", "\n- ", "\n2. ", "\n```\n"])
TEXT = st.lists(WORDS, max_size=60).map(" ".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4),
    max_leaves=20,
).map(lambda value: json.dumps(value, ensure_ascii=False))
ENTRIES = st.lists(
    st.one_of(
        TEXT.map(user),
        TEXT.map(says),
        st.builds(lambda value, text: calls("find_it", {"q": value}, text=text), TEXT, TEXT),
        st.one_of(TEXT, JSON).map(returns),
    ),
    max_size=12,
)
OURS = {word for head in HEADS for word in head.split()} | {"asked", "user", "assistant", "result"}


def words(text):
    return set(re.findall(r"\w+", text))


@settings(max_examples=60, deadline=None)
@given(ENTRIES, st.integers(0, 400))
def test_the_budget_holds_and_every_word_comes_from_the_source(entries, max_tokens):
    text = digest(entries, max_tokens)
    assert count_text(text) <= max_tokens
    source = "\n".join(entry.text + "\n" + entry.text.replace("\\n", "\n") for entry in entries)
    assert words(text) - OURS <= words(source)
    assert digest(entries, max_tokens) == text
