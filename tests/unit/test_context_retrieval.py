"""Retrieval: the snippets that a turn gets of what is no longer sent."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.context.dates import Date, dates
from farthing.context.passages import Passage
from farthing.context.retrieval import Index, render
from farthing.context.terms import ids, pieces, words
from farthing.cost.tokens import count_text
from farthing.embedding import Embedder

CODE = "```python\ndef tide(hour):\n    return 3.2 * hour  # metres\n```"
SAID = [
    ("user", "I want to move the ferry office to another quay. Where do we stand?"),
    ("assistant", "The lease of the present office ends in autumn; three quays have rooms to let."),
    ("user", "Which of them is the cheapest?"),
    ("assistant", "Coal Quay, at 940 a month. Lantern Quay asks 1,310 and has heating."),
    ("user", "My sister Petra is afraid of dogs, so no guard dogs please."),
    ("assistant", "Noted: none of the three has any."),
    ("find_permits", '{"permit": "HQ-20731-B", "quay": "Lantern Quay", "expires": "2031-05-09"}'),
    ("assistant", "The permit for Lantern Quay is on file."),
    ("user", "And who repairs the crane there?"),
    ("assistant", "That is done by Osterman & Daughters, every second Tuesday."),
    ("user", "Could you write down how the tide is computed?"),
    ("assistant", f"Like this:\n{CODE}"),
    ("user", "Let us talk about the menu of the canteen."),
    ("assistant", "Soup on Mondays, pancakes on Fridays, and a vegetarian dish every day."),
    ("user", "The cook would rather have a bigger oven."),
    ("assistant", "An oven of that size needs a three-phase outlet in the kitchen."),
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.load()


@pytest.fixture(scope="module")
def index(embedder: Embedder) -> Index:
    return Index(passages(SAID), embedder)


def passages(said: list[tuple[str, str]]) -> list[Passage]:
    return [Passage(n, n // 2 + 1, source, text, count_text(text)) for n, (source, text) in enumerate(said)]


def texts(found: list[Passage]) -> str:
    return "\n".join(passage.text for passage in found)


@pytest.mark.parametrize(
    ("ask", "needed"),
    [
        ("Which quay was the cheapest?", "Coal Quay, at 940"),
        ("What does HQ-20731-B stand for?", "HQ-20731-B"),
        ("What was the rent of 1310 for?", "asks 1,310"),
        ("Who maintains the crane?", "Osterman"),
        ("Show me the code for the tide again", CODE),
        ("What animals is Petra scared of?", "afraid of dogs"),
        ("Is there a vegetarain dish on the menue?", "pancakes"),
        ("What did find_permits return?", "HQ-20731-B"),
    ],
    ids=["words", "id", "number", "reply", "code", "meaning", "misspelt", "tool"],
)
def test_what_an_ask_needs_is_found(index: Index, ask: str, needed: str):
    found = index.search(ask, 120)
    assert needed in texts(found)
    assert len(found) < len(SAID) / 2


@pytest.mark.parametrize("ask", ["", "Thanks, go on!", "Hello", "ok, great", "?!", "\ud800", "   "])
def test_small_talk_gets_nothing(index: Index, ask: str):
    assert index.search(ask, 500) == []


@pytest.mark.parametrize(
    "ask",
    ["Fix the NullPointerException in OrderService", "Prove that eigenvalues of symmetric matrices are real"],
)
def test_an_ask_about_something_else_gets_nothing(index: Index, ask: str):
    assert index.search(ask, 500) == []


def test_the_reply_is_found_by_the_words_of_its_question(embedder: Embedder):
    said = [(source, text) for source, text in SAID if "oven" not in text]
    said.insert(4, ("user", "What is the caretaker's phone extension?"))
    said.insert(5, ("assistant", "Sixty-two."))
    assert "Sixty-two." in texts(
        Index(passages(said), embedder).search("the caretaker's phone extension", 60)
    )


def test_a_named_speaker_weighs_more_than_another_who_says_the_same(embedder: Embedder):
    said = [("Ines", "I paint boats in winter."), ("Tomas", "I paint boats in winter, too.")]
    filler = [(("Ines", "Tomas")[n % 2], text) for n, (_, text) in enumerate(SAID)]
    made = Index(passages([*filler, *said, *filler[::-1]]), embedder)
    for name in ("Ines", "Tomas"):
        found = made.search(f"What does {name} paint?", 30)
        assert [p.source for p in found if "paint" in p.text] == [name]


def among(embedder: Embedder, *texts_said: str) -> Index:
    """An index of texts with other talk around each of them."""
    said: list[tuple[str, str]] = []
    for text in texts_said:
        said += [*SAID[12:], ("user", text), *SAID[:2]]
    return Index(passages(said), embedder)


def test_a_date_is_found_by_the_line_that_heads_its_day(embedder: Embedder):
    colours = ["red", "blue", "green", "white", "black", "grey"]
    said: list[tuple[str, str]] = []
    for day, colour in enumerate(colours, 2):
        said.append(("user", f"[2031-03-{day:02} 09:15]\nGood morning."))
        said.append(("assistant", f"The {colour} barge came in."))
    found = Index(passages(said), embedder).search("Which barge came in on March 5th, 2031?", 50)
    assert "white" in texts(found)
    assert len([colour for colour in colours if colour in texts(found)]) < 3


def test_an_id_is_found_as_a_whole(embedder: Embedder):
    made = among(embedder, "Valve B9-A7 is shut.", "Valve A7-B9 is shut.", "Valve B9 is A7's.")
    for valve in ("A7-B9", "B9-A7"):
        found = texts(made.search(f"And valve {valve}?", 32))
        assert [one for one in ("A7-B9", "B9-A7") if one in found] == [valve]


def test_a_misspelt_word_is_found(embedder: Embedder):
    made = among(embedder, "The permit of the slaughterhouse.", "The permit of the lighthouse.")
    assert "slaughterhouse" in texts(made.search("the permit of the slaugterhuose", 24))
    assert "lighthouse" in texts(made.search("the permit of the lihgthouse", 24))


def test_a_word_of_like_meaning_is_found(embedder: Embedder):
    made = among(embedder, "The permit of the doctor.", "The permit of the baker.")
    assert "doctor" in texts(made.search("the permit of the physician", 24))
    assert "baker" in texts(made.search("the permit of the pastry shop", 24))


def test_a_large_budget_is_not_filled_with_what_does_not_fit(index: Index):
    found = index.search("Who repairs the crane?", 100_000)
    assert "Osterman" in texts(found)
    assert not any("pancakes" in p.text or "sister" in p.text for p in found)


def test_what_is_sent_anyway_is_not_repeated(index: Index):
    ask = "Which quay was the cheapest?"
    sent = SAID[3][1]
    assert sent in texts(index.search(ask, 200))
    assert sent not in texts(index.search(ask, 200, absent_from=f"Before.\n{sent}\nAfter."))


def test_what_was_said_twice_is_quoted_once(embedder: Embedder):
    made = Index(passages(SAID + SAID), embedder)
    found = [p.text for p in made.search("Which quay was the cheapest?", 600)]
    assert SAID[3][1] in found
    assert len(found) == len(set(found))


def test_snippets_say_the_turn_and_the_source_once():
    made = passages(SAID[:4])
    twice = Passage(3, 2, "assistant", "Second part.", 3)
    assert render([made[0], made[2], made[3], twice]) == (
        "<earlier_turns>\n"
        f"1 user:\n{SAID[0][1]}\n"
        f"2 user:\n{SAID[2][1]}\n"
        f"assistant:\n{SAID[3][1]}\nSecond part.\n"
        "</earlier_turns>"
    )
    assert render([]) == ""


def test_no_passages_no_snippets(embedder: Embedder):
    assert Index([], embedder).search("Which quay?", 500) == []
    assert Index(passages([("user", "?!"), ("assistant", "...")]), embedder).search("Which quay?", 500) == []


WORDS = [
    "quay",
    "crane",
    "permit",
    "HQ-20731-B",
    "the",
    "oven",
    "1,310",
    "/usr/bin",
    "船",
    "é",
    "\n",
    "?",
    "  x",
    "```",
]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
SOURCES = st.sampled_from(["user", "assistant", "find_permits", "Ines"])


@st.composite
def histories(draw: st.DrawFn) -> list[Passage]:
    found = []
    entry = turn = 1
    for source, text, step in draw(st.lists(st.tuples(SOURCES, TEXTS, st.integers(0, 2)), max_size=20)):
        entry += step > 0
        turn += step > 1
        found.append(Passage(entry, turn, source, text, count_text(text)))
    return found


@settings(max_examples=60, deadline=None)
@given(histories(), TEXTS, st.integers(-5, 300), st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_snippets_keep_to_the_budget_and_the_order_and_are_the_same_again(
    embedder: Embedder, said: list[Passage], ask: str, most: int, sent: str
):
    found = Index(said, embedder).search(ask, most, absent_from=sent)
    assert count_text(render(found)) <= max(0, most)
    places = [next(n for n, p in enumerate(said) if p is one) for one in found]
    assert all(a < b for a, b in pairwise(places))
    assert not any(p.text in sent for p in found)
    assert found == Index(said, embedder).search(ask, most, absent_from=sent)


@pytest.mark.parametrize(
    "ask",
    [
        "quay " * 500_000,
        "x" * 2_000_000,
        "in May 2031 " * 50_000,
        "-_./:@" * 100_000,
        " ".join(map(str, range(90_000))),
    ],
    ids=["words", "letters", "dates", "signs", "numbers"],
)
def test_of_an_endless_ask_only_the_ends_are_read(index: Index, ask: str, monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []

    def counting(text: str) -> list[str]:
        read.append(len(text))
        return words(text)

    monkeypatch.setattr("farthing.context.retrieval.words", counting)
    assert count_text(render(index.search(ask, 200))) <= 200
    assert max(read) <= 2_001


def test_the_question_at_the_end_of_a_long_ask_counts(index: Index):
    pasted = "Lorem ipsum dolor sit amet. " * 5_000
    assert "Osterman" in texts(index.search(f"{pasted}\nWho repairs the crane?", 120))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("on 8 May, 2023", [Date(2023, 5, 8)]),
        ("May 8th 2023", [Date(2023, 5, 8)]),
        ("2023-05-08T10:00", [Date(2023, 5, 8)]),
        ("in November 2022", [Date(2022, 11, None)]),
        ("in sept. then", [Date(None, 9, None)]),
        ("since 2019", [Date(2019, None, None)]),
        ("you may go in", []),
        ("room 2019", []),
    ],
)
def test_dates_are_read_however_they_are_written(text: str, found: list[Date]):
    assert dates(text) == found


def test_a_day_lies_within_its_month_and_its_year_only():
    day = Date(2023, 5, 8)
    assert day.within(Date(2023, 5, None))
    assert day.within(Date(2023, None, None))
    assert day.within(Date(None, 5, 8))
    assert not day.within(Date(2022, 5, 8))
    assert not Date(2023, 5, None).within(day)


def test_words_are_looked_up_without_case_stops_and_joins():
    assert words("The getUserName of user_name, 1,310!") == ["get", "user", "name", "user", "name", "1310"]
    assert words("北埠頭は") == ["北埠", "埠頭", "頭は"]
    assert ids("Permit HQ-20731-B for 1,310 in 2031, not a-b or 12") == ["#hq-20731-b"]
    assert list(pieces(["quays", "a"])) == ["<qua", "quay", "uays", "ays>", "<a>"]
    assert not re.search(r"[A-Z]", " ".join(words("COAL Quay")))
