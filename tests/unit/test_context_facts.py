"""What counts as a fact of a text, and when another text holds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.context.facts import facts_of, invented, missing, untold


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("we met Ada Byron in Turin", ("Ada Byron", "Turin")),
        ("Write to ada.b+x@mail.example.com.", ("ada.b+x@mail.example.com",)),
        ("see https://example.com/a?b=1, then", ("https://example.com/a?b=1",)),
        ("it paid $1,234.50 for 50 kg (33 %)", ("$1,234.50", "50 kg", "33 %")),
        ("on may 16 at 4:00 PM and 2024-05-01T09:08:54Z", ("may 16", "4:00 PM", "2024-05-01T09:08:54Z")),
        ("the 16th of May 2024, or 5/16/2024", ("16th of May 2024", "5/16/2024")),
        ("booking QX7RTM on flight ZZ136, ref ab-12-9f", ("QX7RTM", "ZZ136", "ab-12-9f")),
        ("call load_rows() in app/rows.py with userId", ("load_rows()", "app/rows.py", "userId")),
        ('she said "the blue one" twice', ("the blue one",)),
        ("from JFK via 10.0.0.1 as v1.2.3", ("JFK", "10.0.0.1", "v1.2.3")),
        ("It was quiet. Nothing came of it", ()),
        ("1. first\n2. second", ()),
    ],
)
def test_facts_are_the_figures_names_and_ids_of_a_text(text, facts):
    assert facts_of(text) == facts


def test_a_fact_is_told_once_and_in_order():
    assert facts_of("pay 12 to QX7RTM, then 12 to AB3CDE") == ("12", "QX7RTM", "AB3CDE")


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        ("1,200", "1200"),
        ("12.50", "12.5 in all"),
        ("$50", "50 USD"),
        ("50 dollars", "$50"),
        ("50", "costs $50"),
        ("$1.2 million", "$1,200,000"),
        ("50 kg", "50kg"),
        ("5 days", "1 to 5 day"),
        ("33 %", "33 percent"),
        ("2024-05-16", "on May 16, 2024"),
        ("May 16, 2024", "2024-05-16T10:00:00"),
        ("16 May", "2024-05-16"),
        ("5/16/2024", "2024-05-16"),
        ("16:00:00", "at 4 PM"),
        ("2", "two bags"),
        ("Ada Byron", "ADA\n  BYRON"),
        ("#12345", "order 12345"),
        ("1,200,300", "[1, 200, 300]"),
    ],
)
def test_a_fact_is_held_however_it_is_written(fact, text):
    assert missing([fact], text) == ()


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        ("QX7RTM", "qx7rtm"),
        ("$50", "50 EUR"),
        ("$50", "50 apples"),
        ("12", "2012, 112 and A12"),
        ("50", "50.5"),
        ("-50", "50"),
        ("2024-05-16", "May 16"),
        ("May 16, 2024", "May 16, 2023"),
        ("16:00", "4 AM"),
        ("50 kg", "50 km"),
        ("Ada", "Adam"),
        ("$1.2 million", "$1.2 billion"),
    ],
)
def test_another_fact_is_not_taken_for_it(fact, text):
    assert missing([fact], text) == (fact,)


def test_what_a_summary_made_up_is_found():
    sources = ["Two bags for Ada at 50 USD", "booked QX7RTM for May 16, 2024"]
    assert invented("Ada pays $50 for 2 bags on 2024-05-16 (QX7RTM)", sources) == ()
    assert invented("Ada pays $60 for 3 bags on 2024-05-17 (QX7RTN)", sources) == (
        "$60",
        "3",
        "2024-05-17",
        "QX7RTN",
    )


def test_names_and_phrases_are_not_called_made_up():
    assert invented("the buyer is Grace Hopper", ["the buyer is she"]) == ()


def test_figures_not_told_are_listed_by_source_the_newest_surely():
    sources = [("bookings", "QX7RTM 152, AB3CDE 260"), ("user", "take QX7RTM on 2024-05-16")]
    assert untold(sources, "May 16, 2024: 152", 100) == "bookings: AB3CDE 260\nuser: QX7RTM"
    assert untold(sources, "May 16, 2024: 152", 8) == "user: QX7RTM"
    assert untold(sources, "", 0) == ""


_WRITTEN = st.lists(
    st.sampled_from(
        [
            "May",
            "16",
            "2024",
            "1,200",
            "QX7RTM",
            "4:00",
            "PM",
            "Ada_b",
            *"$é½漢",
            *".,/'-:()[{#@",
            '"',
            "\\",
            "\n",
        ]
    )
    | st.text(max_size=5),
    max_size=40,
).map(" ".join) | st.text(max_size=60)


@given(_WRITTEN)
def test_a_text_holds_all_its_own_facts(text):
    assert missing(facts_of(text), text) == ()
    assert invented(text, [text]) == ()


@given(_WRITTEN)
def test_facts_stand_in_the_text_and_are_the_same_each_time(text):
    facts = facts_of(text)
    assert facts == facts_of(text)
    assert len(set(facts)) == len(facts)
    assert all(fact in text for fact in facts)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "1",
        "-",
        "1,",
        "a.",
        "a@",
        '"a',
        "Aa ",
        "may ",
        "f(",
        "_",
        "1:",
        "http://",
        "9" * 5000 + " ",
        "\ud800",
    ],
)
def test_hostile_repetition_is_read_in_linear_time(piece):
    # a quadratic reader would need minutes
    text = piece * (60_000 // len(piece))
    assert missing(facts_of(text), text) == ()
