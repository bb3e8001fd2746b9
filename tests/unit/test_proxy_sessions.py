"""A session is the account's own: named by its client, else by how the conversation began."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.proxy.sessions import SessionBook, session_of
from farthing.telemetry import Account
from tests.unit.conversations import SURFACES, call, request, says, user

ADA = Account("aa" * 32, "ada", "research", "CC-1")
OTHERS = [Account("bb" * 32, "ada", "research", "CC-1"), Account("aa" * 32, "grace", "platform", "")]
ASK = user("Which of our suppliers  sent an invoice in March?")
TURNS = [
    says("Two of them."),
    user("Which?"),
    call("search", result="A, B"),
    says("A and B."),
    user("Thanks."),
]


def of(payload, headers=None, account=ADA):
    return session_of(account, payload, headers or {})


def named(**fields):
    return of({"messages": [{"role": "user", "content": "x"}], **fields})[0]


# Without a name


def test_all_turns_of_a_conversation_share_a_session_on_every_surface():
    first = of(request("chat", ASK))
    assert first[1] == 1
    for surface in SURFACES:
        for length, step in [(0, 1), (2, 2), (3, 3), (5, 4)]:
            assert of(request(surface, ASK, *TURNS[:length])) == (first[0], step)


def test_text_parts_and_white_space_make_no_other_session():
    text = of({"messages": [{"role": "user", "content": "Which  of\nthem?"}]})
    parts = [{"type": "text", "text": "Which of them? ", "cache_control": {"type": "ephemeral"}}]
    assert of({"messages": [{"role": "user", "content": parts}]}) == text
    assert of({"input": "Which of them?"}) == text
    assert of({"input": [{"type": "input_text", "text": "Which of them?"}]}) == text
    assert of({"prompt": "Which of them?"}) == text


def test_a_long_beginning_may_be_laid_out_anew():
    words = [f"word{i}" for i in range(20_000)]
    assert of({"input": " ".join(words)}) == of({"input": "\n  ".join(words)})
    assert of({"input": " ".join(words)}) != of({"input": " ".join([*words, "more"])})


@pytest.mark.parametrize("surface", SURFACES)
def test_the_time_and_what_was_found_in_the_instructions_do_not_count(surface):
    rules = "You are a careful clerk. It is 2026-11-24 10:11:12. " + "Be brief. " * 60
    now = of(request(surface, ASK, system=rules + "Found: the March list."))
    assert of(request(surface, ASK, system=rules.replace("10:11:12", "10:14:59") + "Found: nothing.")) == now
    assert of(request(surface, ASK, system="You are a poet.")) != now


@pytest.mark.parametrize("surface", SURFACES)
def test_other_first_words_begin_another_session(surface):
    assert of(request(surface, ASK)) != of(request(surface, user("Which of our clients owe us money?")))
    ids = [f"Look up 6f1c7a52-94d0-4d2c-8a58-0d9b7c3e000{i}" for i in range(2)]
    assert of(request(surface, user(ids[0]))) != of(request(surface, user(ids[1])))


def test_words_that_come_in_several_turns_before_the_first_answer_all_count():
    context = user("Working directory: /srv/books")
    assert of(request("chat", context, user("Sum the column."))) != of(
        request("chat", context, user("Sort."))
    )


def test_other_pictures_begin_another_session():
    def picture(data):
        part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        return of({"messages": [{"role": "user", "content": [part]}]})

    body = "iVBORw0KGgo" + "A" * 30_000
    assert picture(body) == picture(body)
    assert picture(body) != picture(body[:15_000] + "B" * 15_000 + body[30_000:])


def test_a_picture_is_the_same_on_chat_and_messages():
    data = "iVBORw0KGgo" + "A" * 2_000
    chat = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}", "detail": "low"}}
    messages = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    found = {of({"messages": [{"role": "user", "content": [part]}]}) for part in (chat, messages)}
    assert len(found) == 1


def test_people_whom_an_application_speaks_for_have_sessions_of_their_own():
    hi = {"messages": [{"role": "user", "content": "Hi"}]}
    assert of(hi | {"user": "u-1"}) != of(hi | {"user": "u-2"})
    assert of(hi | {"user": "u-1"}) == of(hi | {"metadata": {"user_id": "u-1"}})


# With a name


def test_a_name_counts_wherever_it_stands():
    by_header = {of({"input": "x"}, {name: "s-1"})[0] for name in ("x-litellm-session-id", "x-session-id")}
    by_body = {
        named(litellm_session_id="s-1"),
        named(metadata={"session_id": "s-1"}),
        named(litellm_metadata={"session_id": "s-1"}),
        named(conversation="s-1"),
        named(conversation={"id": "s-1"}),
    }
    assert by_header == by_body
    assert named(metadata={"session_id": " s-1 "}) in by_body
    assert named(metadata={"session_id": 7}) == named(metadata={"session_id": "7"})


def test_what_many_conversations_share_is_no_name():
    assert named(prompt_cache_key="clerks-v2") == named()
    assert named(metadata={"session_id": "  "}) == named()


def test_an_id_that_litellm_made_up_for_one_call_is_no_name():
    made_up = {"session_id": "6f1c", "litellm_session_id_generated": True}
    assert named(litellm_session_id="6f1c", metadata=made_up) == named()


def test_long_names_differ_by_their_ends_too():
    base = "s" * 5_000
    assert len({named(litellm_session_id=name) for name in (base, base + "s", base + "t", "t" + base)}) == 4


@pytest.mark.parametrize("other", OTHERS, ids=["key", "user"])
@pytest.mark.parametrize("payload", [{"litellm_session_id": "s-1"}, {"input": "Hi"}, {}], ids=str)
def test_keys_and_users_share_no_session(other, payload):
    assert of(payload)[0] != of(payload, account=other)[0]


def test_no_name_can_be_written_to_look_like_anothers():
    forged = Account("aa", "ada 3 ada", "", "")
    assert of({"litellm_session_id": "x"}, account=Account("aa", "ada", "", "")) != of(
        {"litellm_session_id": "3 ada id:x"}, account=forged
    )
    ours = of({"input": "Hi"})[0]
    assert named(litellm_session_id=ours) != ours
    assert named(litellm_session_id="begun:x") != named(conversation="id:x")


# Stored responses


def test_a_call_that_continues_a_response_belongs_to_its_session():
    book = SessionBook()
    session, _ = book.session_of(ADA, request("responses", ASK), {})
    for response in ("resp_1", "resp_2", "resp_3"):
        book.remember(ADA, response, session)
        follow_up = {"input": "And then?", "previous_response_id": response}
        assert book.session_of(ADA, follow_up, {})[0] == session
    for other in OTHERS:
        assert book.session_of(other, follow_up, {})[0] != session


def test_a_name_goes_before_a_stored_response():
    book = SessionBook()
    book.remember(ADA, "resp_1", "ab" * 16)
    follow_up = {"input": "x", "previous_response_id": "resp_1", "litellm_session_id": "s-1"}
    assert book.session_of(ADA, follow_up, {})[0] == of({"litellm_session_id": "s-1"})[0]


def test_unknown_responses_begin_sessions_of_their_own():
    book = SessionBook()
    found = [
        book.session_of(ADA, {"input": "Go on", "previous_response_id": previous}, {})[0]
        for previous in ("resp_1", "resp_2", "resp_1")
    ]
    assert found[0] == found[2] != found[1]


def test_a_book_forgets_what_it_was_told_first():
    book = SessionBook(limit=2)
    for number in range(3):
        book.remember(ADA, f"resp_{number}", f"{number:032}")
    sessions = [
        book.session_of(ADA, {"previous_response_id": f"resp_{number}"}, {})[0] for number in range(3)
    ]
    assert sessions[0] != "0" * 32
    assert sessions[1:] == [f"{1:032}", f"{2:032}"]


@pytest.mark.parametrize("response_id", [None, "", 7, ["x"], {"id": "x"}, "\ud800", "x" * 10**6], ids=type)
def test_any_response_id_may_be_told_to_a_book(response_id):
    book = SessionBook()
    book.remember(ADA, response_id, "ab" * 16)
    session, _ = book.session_of(ADA, {"previous_response_id": response_id}, {})
    assert (session == "ab" * 16) == (isinstance(response_id, str) and bool(response_id))


# Anything may come


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "messages", "input", "prompt", "system", "instructions", "user", "metadata", "litellm_metadata",
    "conversation", "previous_response_id", "litellm_session_id",
)  # fmt: skip


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)), st.dictionaries(st.text(), JSON))
def test_any_payload_has_a_session(payload, headers):
    session, step = SessionBook().session_of(ADA, payload, headers)
    assert len(session) == 32
    int(session, 16)
    assert step >= 1
    assert SessionBook().session_of(ADA, payload, headers) == (session, step)


@pytest.mark.parametrize(
    "name", ["\ud800", "\0", "s" * 10**7, 10**5_000, -1, True, [["s"]], {"a": 1}], ids=type
)
def test_forged_names_are_bounded(name):
    began = time.process_time()
    assert len(named(litellm_session_id=name, conversation=name, metadata={"session_id": name})) == 32
    assert time.process_time() - began < 0.1


def nested(depth):
    value = "end"
    for _ in range(depth):
        value = [{"type": "text", "content": value}]
    return value


@pytest.mark.parametrize(
    "content",
    ["word " * 2_000_000, nested(20_000), [{"type": "text", "text": "x"}] * 500_000, [None] * 10**6],
    ids=["text", "nested", "parts", "nothing"],
)
def test_giant_beginnings_are_bounded(content):
    payload = {"system": content, "messages": [{"role": "user", "content": content}] * 50}
    began = time.process_time()
    assert len(of(payload)[0]) == 32
    assert time.process_time() - began < 0.25
