"""Masks: what stands in for a bulky tool result keeps its facts, and is always much shorter."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.context.facts import facts_of, missing
from farthing.context.masking import MOST_TOKENS, mask
from farthing.cost import count_text

REFERENCE = "ref-0123456789"
ORDERS = [
    {
        "order_id": f"Q{n:03}XZ",
        "customer": {"name": f"Person{n} Byron", "city": "Turin"},
        "total": 100 + 7 * n,
        "currency": "EUR",
        "placed_at": f"2031-03-{n + 1:02}T10:20:00",
        "status": "shipped" if n % 3 else "cancelled",
        "gift": None,
    }
    for n in range(20)
]


def lines_of(text):
    told = mask(text, REFERENCE)
    assert told is not None
    return told.split("\n")


def test_like_objects_become_a_table_with_what_is_the_same_said_once():
    text = json.dumps(ORDERS)
    head, columns, first, *others = lines_of(text)
    assert head == f"[{REFERENCE}: shortened JSON of {count_text(text)} tokens]"
    assert columns == (
        "(20 rows: order_id customer(name) total placed_at status; "
        "in all customer.city=Turin currency=EUR gift=-)"
    )
    assert first == 'Q000XZ "Person0 Byron" 100 2031-03-01T10:20:00 cancelled'
    assert len(others) == 19


def test_nothing_of_ordinary_json_is_lost():
    text = json.dumps({"page": 3, "orders": ORDERS, "next": None, "more": True})
    told = mask(text, REFERENCE)
    values = [str(value) for order in ORDERS for value in order.values() if not isinstance(value, dict)]
    assert missing([value for value in values if value != "None"], told) == ()
    assert "page=3" in told
    assert "more=true" in told


def test_objects_under_their_ids_are_rows_that_name_the_id_once():
    text = json.dumps({order["order_id"]: order for order in ORDERS})
    told = mask(text, REFERENCE)
    assert told.count("Q007XZ") == 1
    assert told.count("order_id") == 1


def test_an_object_that_several_lists_hold_stands_once_and_the_lists_say_where():
    legs = [{"flight": f"ZZ{n:03}", "from": "AAA", "to": "BBB", "departs": f"0{n}:00:00"} for n in range(6)]
    routes = [[legs[0], legs[5]], [legs[1], legs[5]], [legs[2], legs[5]], [legs[3], legs[4]]]
    told = mask(json.dumps(routes), REFERENCE)
    assert told.count("ZZ005") == 1
    assert "4 lists of them: #1+#2 #3+#2 #4+#2 #5+#6" in told


def test_numbers_stay_as_they_are_written():
    rows = [{"measure": n, "value": "x"} for n in range(30)]
    text = (
        json.dumps(rows)
        .replace('"measure": 7', '"measure": 0.10000000000000000555')
        .replace('"measure": 8', f'"measure": {"9" * 60}')
    )
    told = mask(text, REFERENCE)
    assert "0.10000000000000000555" in told
    assert "9" * 60 in told


def test_a_name_given_twice_keeps_both_values():
    text = (
        "[" + ",".join(f'{{"serial": "S{n:04}", "port": {n}, "port": {n + 1000}}}' for n in range(30)) + "]"
    )
    told = mask(text, REFERENCE)
    assert "S0007 [7 1007]" in told


def test_long_prose_within_json_is_cut_but_not_its_facts():
    filler = "This sentence is only here to be long and says nothing of note at all. " * 20
    told = mask(
        json.dumps({"id": "QX7RTM", "note": f"{filler}Call Ada Byron on 2031-03-02. {filler}"}), REFERENCE
    )
    assert missing(["QX7RTM", "Ada Byron", "2031-03-02"], told) == ()
    assert count_text(told) < 100


def test_a_small_result_that_would_lose_facts_is_left_whole():
    text = json.dumps([f"{n * 7919 % 100_000:05}" for n in range(100)])
    assert mask(text, REFERENCE) is None


def test_what_is_short_is_not_masked():
    assert mask('{"ok": true}', REFERENCE) is None
    assert mask("", REFERENCE) is None
    assert mask("Thank you, all is well.", REFERENCE) is None


def test_comma_separated_values_are_a_table():
    rows = "\n".join(f"INV-{n:04},{n + 0.5},open,North-West depot of the company" for n in range(40))
    told = mask(f"invoice,amount,state,place\n{rows}", REFERENCE)
    assert told.startswith(f"[{REFERENCE}: shortened table of ")
    assert "INV-0039 39.5" in told
    assert told.count("North-West") == 1


def test_code_keeps_its_signatures():
    functions = "\n\n".join(
        f"def step_{n}(rows, limit):\n    # explains a little\n    total = sum(rows)\n    if total > limit:\n"
        "        total = limit\n    for row in rows:\n        total = total - row\n    return total"
        for n in range(12)
    )
    told = mask(f"import os\n\n{functions}\n", REFERENCE)
    assert told.startswith(f"[{REFERENCE}: shortened code of ")
    for n in range(12):
        assert f"def step_{n}(rows, limit):" in told
    assert "explains" not in told


def test_a_log_tells_what_happened_once_and_all_trouble():
    lines = [f"2031-03-02 10:{n % 60:02}:00 INFO request {n} served in {n % 7} ms" for n in range(300)]
    lines[123] = "2031-03-02 10:03:00 ERROR disk full on node-7"
    told = mask("\n".join(lines), REFERENCE)
    assert "ERROR disk full on node-7" in told
    assert "(and 298 like it)" in told
    assert "request 299 " in told
    assert count_text(told) < 150


def test_of_a_page_the_words_stay_and_the_tags_go():
    rows = "".join(f"<div class='row'><p>Order <b>QX{n}RTM</b> costs ${n}.50</p></div>" for n in range(40))
    told = mask(
        f"<html><head><style>p {{}}</style></head><body>{rows}<script>track(99123)</script></body></html>",
        REFERENCE,
    )
    assert told.startswith(f"[{REFERENCE}: shortened HTML of ")
    assert missing([f"QX{n}RTM" for n in range(40)], told) == ()
    assert "<" not in told
    assert "99123" not in told


def test_of_prose_headings_and_what_tells_something_stay():
    filler = "It is a quiet place and nothing much happens there as the days go by. "
    paid = f"{filler * 4}Ada Byron paid $1,250 on 2031-03-02. {filler * 4}"
    text = f"# Notes\n\n{filler * 8}\n\n## Money\n\n{paid}"
    told = mask(text, REFERENCE)
    assert "# Notes" in told
    assert "## Money" in told
    assert "Ada Byron paid $1,250 on 2031-03-02." in told
    assert count_text(told) < count_text(text) / 3


_LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.decimals(-1000, 1000, places=2).map(float)
    | st.sampled_from(
        ["QX7RTM", "Ada Byron", "a@b.example", "2031-03-02T10:20:00", "open", "", "-", "New York"]
    )
    | st.from_regex(r"[A-Za-z0-9_ ]{0,30}", fullmatch=True)
)
_JSON = st.recursive(
    _LEAF,
    lambda inner: (
        st.lists(inner, max_size=12)
        | st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), inner, max_size=8)
    ),
    max_leaves=80,
)


def leaves(value):
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


@settings(max_examples=150)
@given(_JSON)
def test_facts_of_json_survive_and_a_mask_is_at_most_six_tenths_as_long(value):
    text = json.dumps(value)
    told = mask(text, REFERENCE)
    assert told == mask(text, REFERENCE)
    if told is None:
        return
    assert count_text(told) <= 0.6 * count_text(text)
    if count_text(told) < 0.9 * MOST_TOKENS:
        facts = [fact for leaf in leaves(value) if isinstance(leaf, str) for fact in facts_of(leaf)]
        facts += [json.dumps(leaf) for leaf in leaves(value) if type(leaf) in (int, float)]
        assert missing(facts, told) == ()


@settings(max_examples=100)
@given(
    st.lists(
        st.text(max_size=60) | st.sampled_from(["# Head", "def f(x):", "a,b,c", "", "<p>x</p>"]), max_size=60
    )
)
def test_a_mask_of_any_text_is_at_most_six_tenths_as_long(lines):
    text = "\n".join(lines)
    told = mask(text, REFERENCE)
    assert told == mask(text, REFERENCE)
    assert told is None or count_text(told) <= 0.6 * count_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "[" * 900 + "]" * 900,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '{"a":' * 300 + "1" + "}" * 300,
        "[" + "NaN,Infinity,-Infinity," * 500 + "1]",
        '{"n": ' + "9" * 100_000 + "}",
        json.dumps([{f"k{n}": n} for n in range(3_000)]),
        json.dumps([{"k" * 10_000: "\ud800" * 2_000}]),
        json.dumps({"rows": [{"id": n, "name": f"Name {n}"} for n in range(20_000)]}),
        "word " * 500_000,
        "<" * 300_000,
        "<script" * 40_000,
        "a,b\n" * 100_000,
        '"' * 100_001 + ",\n" * 5,
        "\n" * 300_000,
        "\ud800" * 50_000,
        "x" * 10_000_000,
        "Ab1 " * 100_000,
    ],
    ids=range(18),
)
def test_hostile_texts_are_bounded(text):
    told = mask(text, REFERENCE)
    assert told is None or count_text(told) <= MOST_TOKENS
