"""A model looks up what was left out: the client sees one whole answer, and every round is on the bill."""

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx
import openai
import pytest

from farthing.context.fold import Owner, reference_of
from farthing.context.memory_file import FileMemory
from farthing.demo.stack import Part, free_port
from farthing.proxy.accounts import hash_key
from farthing.proxy.sessions import session_of
from farthing.telemetry import Account
from tests.e2e.conftest import TLS, Gateway, second_proxy
from tests.e2e.recalling_models import USAGE
from tests.e2e.scripted_proxy import PATHS, Scripted
from tests.stack import ROOT

SURFACES = ("chat", "responses", "messages", "claude")
"""``claude``: the Messages API on a model that speaks it; ``messages``: on one that does not."""
ORIGINAL = "Ticket 4711: the customer paid 1,284.50 EUR on 3 March by bank transfer."
RECALL, WEATHER = "farthing_recall", "get_weather"
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
PARIS = {"call": WEATHER, "with": {"place": "Paris"}}
TELL = {"tell": ["told"]}
TELL_ALL = {"tell": ["told", "tools", "choice", "signed"]}


BETTER = {"by": "claude-scripted"}
"""Only the fast tier's model does this."""


def recall(reference: str, **more: Any) -> dict[str, Any]:
    return {"call": RECALL, "with": {"reference": reference, **more}}


@dataclass(frozen=True)
class Seen:
    """An answer as a client's library puts it together, and all that went over the wire."""

    text: str
    calls: list[tuple[str, Any]]
    finish: str
    wire: str
    kinds: tuple[str, ...]

    @property
    def told(self) -> dict[str, Any]:
        """What a model that tells says it was told."""
        return json.loads(self.text[self.text.index("{") :])


@dataclass(frozen=True)
class Client:
    """A client in a session of its own."""

    proxy: Scripted
    user: str
    memory: FileMemory
    name: str

    @property
    def headers(self) -> dict[str, str]:
        return {"x-litellm-session-id": self.name}

    @property
    def secret(self) -> str:
        return self.proxy.gateway.secret(self.user)

    @property
    def owner(self) -> Owner:
        account = Account(hash_key(self.secret), self.user, "", "")
        return Owner(self.user, session_of(account, {}, self.headers)[0])

    def left_out(self, text: str) -> str:
        """Keep a text as Farthing does when it leaves it out; return its reference."""
        reference = reference_of(self.owner, text)
        epoch = self.memory.session(self.owner).epoch
        self.memory.keep_originals(self.owner, {reference: text}, epoch=epoch)
        return reference

    def ask(
        self, surface: str, *answers: Any, stream: bool, tools: tuple[str, ...] = (), **more: Any
    ) -> Seen:
        turn = json.dumps([answer if isinstance(answer, list) else [answer] for answer in answers])
        if tools:
            more["tools"] = [tool(surface, name) for name in tools]
        more = {"model": "fast" if surface == "claude" else "local", **more}
        ask = {"chat": self._chat, "responses": self._responses}.get(surface, self._messages)
        return ask(turn, stream, more)

    def _openai(self) -> openai.OpenAI:
        url = f"{self.proxy.url}/v1"
        client = openai.DefaultHttpxClient(verify=TLS)
        return openai.OpenAI(
            base_url=url,
            api_key=self.secret,
            max_retries=0,
            default_headers=self.headers,
            http_client=client,
        )

    def _chat(self, turn: str, stream: bool, more: dict[str, Any]) -> Seen:
        asked: Any = {"messages": [{"role": "user", "content": turn}], **more}
        wire = []
        if stream:
            with self._openai().chat.completions.stream(**asked) as events:
                for event in events:
                    wire += [event.chunk.model_dump_json(warnings=False)] if event.type == "chunk" else []
                answer: Any = events.get_final_completion()
        else:
            answer = self._openai().chat.completions.create(**asked)
            wire.append(answer.model_dump_json(warnings=False))
        choice = answer.choices[0]
        assert choice.message.role == "assistant"
        calls = [
            (call.function.name, json.loads(call.function.arguments))
            for call in choice.message.tool_calls or []
        ]
        return Seen(choice.message.content or "", calls, choice.finish_reason, "".join(wire), ())

    def _responses(self, turn: str, stream: bool, more: dict[str, Any]) -> Seen:
        asked: Any = {"input": turn, **more}
        wire = []
        if stream:
            with self._openai().responses.stream(**asked) as stream_:
                events = list(stream_)
                answer: Any = stream_.get_final_response()
            numbers = [event.sequence_number for event in events]
            first = numbers[0]  # None where LiteLLM makes the events
            assert first is None or numbers == list(range(first, first + len(numbers)))
            assert [event.type for event in events].count("response.created") == 1
            added = [event for event in events if event.type == "response.output_item.added"]
            assert [event.output_index for event in added] == list(range(len(added)))
            assert [event.item.id for event in added] == [item.id for item in answer.output]
            wire = [event.model_dump_json(warnings=False) for event in events]
        else:
            answer = self._openai().responses.create(**asked)
            wire.append(answer.model_dump_json(warnings=False))
        calls = [
            (item.name, json.loads(item.arguments)) for item in answer.output if item.type == "function_call"
        ]
        kinds = tuple(item.type for item in answer.output)
        return Seen(answer.output_text, calls, answer.status, "".join(wire), kinds)

    def _messages(self, turn: str, stream: bool, more: dict[str, Any]) -> Seen:
        client = anthropic.Anthropic(
            base_url=self.proxy.url,
            api_key=self.secret,
            max_retries=0,
            default_headers=self.headers,
            http_client=anthropic.DefaultHttpxClient(verify=TLS),
        )
        asked: Any = {"messages": [{"role": "user", "content": turn}], "max_tokens": 300, **more}
        wire = []
        if stream:
            with client.messages.stream(**asked) as events:
                wire = [event.model_dump_json(warnings=False) for event in events]
                answer = events.get_final_message()
        else:
            answer = client.messages.create(**asked)
            wire.append(answer.model_dump_json(warnings=False))
        text = "".join(block.text for block in answer.content if block.type == "text")
        calls = [(block.name, block.input) for block in answer.content if block.type == "tool_use"]
        kinds = tuple(block.type for block in answer.content)
        return Seen(text, calls, str(answer.stop_reason), "".join(wire), kinds)

    def charges(self, count: int) -> list[dict[str, Any]]:
        """Return the session's charges, once there are ``count``."""
        sql = "SELECT * FROM charges_final WHERE session_id = {id:String} ORDER BY started"
        deadline = time.monotonic() + 30
        while len(rows := self.proxy.gateway.rows(sql, id=self.owner.session_id)) < count:
            assert time.monotonic() < deadline, rows
            time.sleep(0.2)
        assert len(rows) == count
        return rows


def tool(surface: str, name: str) -> dict[str, Any]:
    told = {"name": name, "description": "Weather"}
    if surface in ("messages", "claude"):
        return told | {"input_schema": PLACE}
    told |= {"parameters": PLACE}
    return {"type": "function"} | (told if surface == "responses" else {"function": told})


@pytest.fixture(scope="module")
def proxy(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    folder, port = tmp_path_factory.mktemp("recall"), free_port()
    endpoint = Part(
        "recalling models",
        [sys.executable, "-m", "tests.e2e.recalling_models", str(port)],
        f"http://127.0.0.1:{port}/ready",
        folder / "models.log",
        os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
    )
    url = f"http://127.0.0.1:{port}"
    names = {"local": ("openai/cheap", f"{url}/v1"), "fast": ("anthropic/claude-scripted", url)}

    def models(config: dict[str, Any]) -> None:
        for model in config["model_list"]:
            if name := names.get(model["model_name"]):
                parameters = {"model": name[0], "api_base": name[1], "api_key": "none"}
                model["litellm_params"] = parameters
                model["model_info"] = {"base_model": name[0].partition("/")[2]}

    def settle(settings: dict[str, Any]) -> None:
        settings["context"] = {"recall_tool": True, "path": str(folder / "context.db")}
        # Everything ordinary is LOW, and what has failed before, too.
        settings["grading"] |= {"quality": 0.5, "outcomes": {"learn": False}}
        prices = {"cheap": {"input": 1, "output": 1}, "claude-scripted": {"input": 10, "output": 10}}
        settings["cost"] = {"baseline_model": "claude-scripted", "prices": prices}

    endpoint.start()
    part, proxy_url = second_proxy(gateway, folder, models, settle)
    try:
        endpoint.wait_ready()
        part.wait_ready()
        yield Scripted(gateway, proxy_url, folder, part)
    finally:
        part.stop()
        endpoint.stop()


@pytest.fixture(scope="module")
def memory(proxy: Scripted) -> Iterator[FileMemory]:
    """The proxy's own file, opened once more."""
    memory = FileMemory(proxy.folder / "context.db", retention_s=86_400)
    yield memory
    memory.close()


@pytest.fixture
def ada(proxy: Scripted, memory: FileMemory) -> Client:
    return Client(proxy, "ada", memory, uuid.uuid4().hex)


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
everywhere = pytest.mark.parametrize("surface", SURFACES)
each = pytest.mark.parametrize(
    ("surface", "stream"), [*zip(SURFACES, [True, False, True, False], strict=True)]
)
"""Each surface once: what differs between whole and streamed is shown by the tests of both."""
ENDS = {"chat": "stop", "responses": "completed", "messages": "end_turn", "claude": "end_turn"}
CALLS = {"chat": "tool_calls", "responses": "completed", "messages": "tool_use", "claude": "tool_use"}


@both
@everywhere
def test_what_was_left_out_comes_back_and_the_client_sees_the_answer_alone(ada, surface, stream):
    seen = ada.ask(surface, recall(ada.left_out(ORIGINAL)), TELL, stream=stream)
    assert seen.told["told"] == [ORIGINAL]
    assert (seen.finish, seen.calls) == (ENDS[surface], [])
    assert RECALL not in seen.wire
    first, second = ada.charges(2)
    for charge in (first, second):
        assert (charge["kind"], charge["outcome"], charge["user"]) == ("inference", "ok", "ada")
        assert (charge["input_tokens"], charge["output_tokens"]) == USAGE
    assert first["trace_id"] == second["trace_id"]
    assert first["baseline_cost"] is not None
    assert second["baseline_cost"] is None, "the baseline would have needed one answer"


@each
def test_a_model_may_look_up_one_thing_after_the_other(ada, surface, stream):
    first, second = ada.left_out(ORIGINAL), ada.left_out("Ticket 4712 was closed.")
    seen = ada.ask(surface, recall(first), recall(second), TELL, stream=stream)
    assert seen.told["told"] == [ORIGINAL, "Ticket 4712 was closed."]
    ada.charges(3)


@each
def test_several_things_at_once(ada, surface, stream):
    references = [ada.left_out(text) for text in (ORIGINAL, "Another text.")]
    seen = ada.ask(surface, [recall(reference) for reference in references], TELL, stream=stream)
    assert seen.told["told"] == [ORIGINAL, "Another text."]


@each
def test_the_third_time_the_model_has_to_do_without(ada, surface, stream):
    reference = ada.left_out(ORIGINAL)
    seen = ada.ask(surface, *[recall(reference)] * 3, TELL_ALL, stream=stream)
    assert seen.told["told"] == [ORIGINAL] * 3
    assert (seen.told["tools"], seen.told["choice"]) == ([RECALL], "none")
    seen = ada.ask(surface, *[recall(reference)] * 3, TELL_ALL, stream=stream, tools=(WEATHER,))
    assert (seen.told["tools"], seen.told["choice"]) == ([WEATHER], None)
    ada.charges(8)


@each
def test_a_model_that_does_not_stop_is_not_shown_looking_things_up(ada, surface, stream):
    seen = ada.ask(
        surface, [{"say": "Let me see."}, recall("ref-0000000000")], stream=stream, tools=(WEATHER,)
    )
    assert RECALL not in seen.wire
    assert (seen.finish, seen.calls) == (ENDS[surface], [])
    assert seen.text.count("Let me see.") == 4
    ada.charges(4)


@each
def test_a_reference_that_is_not_kept_is_said_to_be_so(ada, surface, stream):
    seen = ada.ask(surface, recall("ref-0123456789"), TELL, stream=stream)
    (told,) = seen.told["told"]
    assert 'Nothing is kept under "ref-0123456789"' in told


@each
def test_another_account_s_reference_or_another_session_s_is_not_given(ada, proxy, memory, surface, stream):
    grace, other = Client(proxy, "grace", memory, ada.name), Client(proxy, "ada", memory, uuid.uuid4().hex)
    for owner in (grace, other):
        seen = ada.ask(surface, recall(owner.left_out(ORIGINAL)), TELL, stream=stream)
        assert "Nothing is kept" in seen.told["told"][0]
        assert "4711" not in seen.wire


@each
def test_text_before_a_recall_is_the_beginning_of_the_answer(ada, surface, stream):
    seen = ada.ask(surface, [{"say": "I look it up."}, recall(ada.left_out(ORIGINAL))], TELL, stream=stream)
    assert seen.text.startswith("I look it up.")
    assert seen.told["told"] == [ORIGINAL]
    if surface == "chat":
        assert "I look it up.\n\n{" in seen.text


@both
@pytest.mark.parametrize("surface", ["responses", "claude"])
def test_reasoning_that_led_to_a_recall_goes_back_to_the_model_and_not_to_the_client(ada, surface, stream):
    thought = {"think": "It must be in the ticket."}
    seen = ada.ask(surface, [thought, recall(ada.left_out(ORIGINAL))], [thought, TELL_ALL], stream=stream)
    assert seen.told["told"] == [ORIGINAL]
    assert seen.told["signed"] == 1
    assert seen.kinds == (("reasoning", "message") if surface == "responses" else ("thinking", "text"))


@each
def test_a_recall_comes_before_the_client_s_own_calls(ada, surface, stream):
    """The model is told that they were not run; what it calls then is the client's."""
    first = [recall(ada.left_out(ORIGINAL)), PARIS]
    seen = ada.ask(surface, first, [TELL, PARIS], stream=stream, tools=(WEATHER,))
    looked_up, not_run = seen.told["told"]
    assert looked_up == ORIGINAL
    assert "Not run yet" in not_run
    assert seen.calls == [(WEATHER, {"place": "Paris"})]
    assert seen.finish == CALLS[surface]
    assert RECALL not in seen.wire


@each
def test_a_client_s_call_that_has_gone_out_stands(ada, surface, stream):
    first = [PARIS, recall(ada.left_out(ORIGINAL))]
    more = {"store": False} if surface == "responses" else {}
    seen = ada.ask(surface, first, PARIS, stream=stream, tools=(WEATHER,), **more)
    assert seen.calls == [(WEATHER, {"place": "Paris"})]
    assert seen.finish == CALLS[surface]
    assert RECALL not in seen.wire
    ada.charges(1 if stream else 2)


def test_where_the_provider_stores_answers_no_call_in_one_stays_unanswered(ada):
    first = [PARIS, recall(ada.left_out(ORIGINAL))]
    seen = ada.ask("responses", first, [TELL, PARIS], stream=True, tools=(WEATHER,))
    assert seen.told["told"][1] == ORIGINAL
    assert seen.calls == [(WEATHER, {"place": "Paris"})]
    ada.charges(2)


@each
def test_ordinary_calls_of_the_client_s_tools_pass(ada, surface, stream):
    seen = ada.ask(surface, [{"say": "The weather:"}, PARIS, PARIS], stream=stream, tools=(WEATHER,))
    assert seen.calls == [(WEATHER, {"place": "Paris"})] * 2
    assert (seen.text, seen.finish) == ("The weather:", CALLS[surface])
    ada.charges(1)


@everywhere
def test_the_tool_comes_last_and_not_where_the_client_decides_about_tools(ada, surface):
    seen = ada.ask(surface, TELL_ALL, stream=False, tools=(WEATHER,))
    assert seen.told["tools"] == [WEATHER, RECALL]
    none = {"type": "none"} if surface in ("messages", "claude") else "none"
    seen = ada.ask(surface, TELL_ALL, stream=False, tools=(WEATHER,), tool_choice=none)
    assert seen.told["tools"] == [WEATHER]


@both
@pytest.mark.parametrize("surface", ["chat", "responses", "messages"])
def test_what_is_checked_is_what_comes_of_the_recall(ada, surface, stream):
    """The cheap model looks something up and then says nothing; the next one goes on from what it found."""
    answers = recall(ada.left_out(ORIGINAL)), [TELL | BETTER]
    seen = ada.ask(surface, *answers, stream=stream, model="auto")
    assert seen.told["told"] == [ORIGINAL]
    facts = [(charge["kind"], charge["tier"]) for charge in ada.charges(3)]
    assert facts == [("inference", "local"), ("failed_attempt", "local"), ("inference", "fast")]


@both
@pytest.mark.parametrize("surface", ["chat", "responses", "messages"])
def test_the_model_that_a_bad_answer_climbs_to_may_look_things_up(ada, surface, stream):
    answers = [recall(ada.left_out(ORIGINAL)) | BETTER], TELL
    seen = ada.ask(surface, *answers, stream=stream, model="auto")
    assert seen.told["told"] == [ORIGINAL]
    facts = [(charge["kind"], charge["tier"]) for charge in ada.charges(3)]
    assert facts == [("failed_attempt", "local"), ("inference", "fast"), ("inference", "fast")]


def test_a_tool_of_the_client_s_with_our_name_is_the_client_s(ada):
    seen = ada.ask("chat", recall("ref-0123456789"), stream=False, tools=(RECALL,))
    assert seen.calls == [(RECALL, {"reference": "ref-0123456789"})]


@both
def test_a_long_text_comes_in_parts(ada, stream):
    text = " ".join(f"line {n}" for n in range(20_000))
    reference = ada.left_out(text)
    seen = ada.ask("chat", recall(reference), TELL, stream=stream)
    (part,) = seen.told["told"]
    shown, _, note = part.rpartition("\n")
    assert text.startswith(shown)
    assert f"{reference} has {len(text)} characters; continued at offset {len(shown)}" in note
    seen = ada.ask("chat", recall(reference, offset=len(text) - 10), TELL, stream=stream)
    assert seen.told["told"] == [text[-10:]]


@both
def test_without_the_money_to_go_on_the_client_is_told(proxy, memory, stream):
    poor = Client(proxy, "emmy", memory, uuid.uuid4().hex)
    reference = poor.left_out(" ".join(f"line {n}" for n in range(20_000)))
    with pytest.raises(openai.APIError, match="Not enough credits"):
        poor.ask("chat", recall(reference), {"say": "never"}, stream=stream, max_tokens=100)
    assert poor.charges(1)[0]["outcome"] == "ok"
    held = [balance.held for balance in proxy.balances().values()]
    assert set(held) == {0}


@everywhere
@pytest.mark.parametrize("said", ["", "I look it up."])
def test_a_client_that_hangs_up_while_something_is_looked_up_leaves_nothing_open(ada, surface, said):
    first = [*([{"say": said}] if said else []), recall(ada.left_out(ORIGINAL))]
    turn = json.dumps([first, [{"wait": 3}, TELL]])
    body = {"input": turn} if surface == "responses" else {"messages": [{"role": "user", "content": turn}]}
    body |= {"model": "fast" if surface == "claude" else "local", "stream": True, "max_tokens": 300}
    headers = {"authorization": f"Bearer {ada.secret}", **ada.headers}
    path = PATHS["messages" if surface == "claude" else surface]
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{ada.proxy.url}{path}", json=body, headers=headers, timeout=1.5)
    first, second = ada.charges(2)
    assert first["outcome"] == "ok"
    assert second["outcome"] in ("ok", "cancelled")
    assert second["cost_total"] > 0
    held = {name: balance.held for name, balance in ada.proxy.balances().items() if balance.held}
    assert not held
