"""Long conversations through the real proxy: what the model is sent, what it costs, what nobody else sees."""

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from farthing.context.fold import OWN, Fold, Owner
from farthing.context.memory_file import FileMemory
from farthing.demo.stack import Part, free_port
from farthing.ledger import connect
from farthing.ledger.trace import TraceSpan, trace
from farthing.proxy.accounts import hash_key
from farthing.proxy.sessions import session_of
from farthing.telemetry import Account
from tests.e2e.conftest import Gateway, second_proxy
from tests.e2e.scripted_proxy import PATHS, Scripted
from tests.stack import ROOT

HEAD = "Compressed Context"
NAMES = ["Iris Vale", "Tom Reed", "Ana Costa", "Jo Lind", "Max Fry"]
SYSTEM = "You are the purchasing desk of a small company. Answer in one sentence."
WORD_FOR_WORD = 3
HTTP = httpx.Client()
"""One for all: a client's TLS set-up takes longer than most of these requests."""


def ask_of(turn: int) -> str:
    """One order, with facts of its own."""
    return (
        f"Next please book order PO-{1000 + turn} for {NAMES[turn % 5]}: {turn}2.50 EUR, to be delivered on "
        f"2026-{1 + turn % 12:02d}-{10 + turn % 18}. As always the goods come to the back door, somebody has "
        "to sign for them, and whoever signs should look at the boxes first, since the last ones were wet. "
        "If the price differs from the offer we had, do not book it but tell me, and we shall see what can "
        f"be done. The storekeeper knows about this one and keeps place {turn} free for it until then."
    )


@dataclass
class Talk:
    """A client that sends its whole history with every turn, as clients do."""

    proxy: Scripted
    user: str
    memory: FileMemory
    surface: str
    stream: bool = False
    model: str = "local"
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    history: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> Owner:
        account = Account(hash_key(self.proxy.gateway.secret(self.user)), self.user, "", "")
        return Owner(self.user, session_of(account, {}, {"x-litellm-session-id": self.name})[0])

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "stream": self.stream, **self.more}
        if self.surface == "responses":
            return body | {"instructions": SYSTEM, "input": self.history}
        if self.surface == "messages":
            return body | {"system": SYSTEM, "messages": self.history, "max_tokens": 100}
        return body | {"messages": [{"role": "system", "content": SYSTEM}, *self.history]}

    def send(self) -> httpx.Response:
        headers = {
            "authorization": f"Bearer {self.proxy.gateway.secret(self.user)}",
            "x-litellm-session-id": self.name,
        }
        url = f"{self.proxy.url}{PATHS[self.surface]}"
        return HTTP.post(url, json=self.body(), headers=headers, timeout=60)

    def turn(self, text: str) -> dict[str, Any]:
        """Say something and take the answer into the history; return what the model was sent."""
        clear(self.proxy)
        self.history.append({"role": "user", "content": text})
        response = self.send()
        assert response.status_code == 200, response.text
        self.history.append({"role": "assistant", "content": "It is booked."})
        return sent(self.proxy)[0]

    def talk(self, first: int, last: int) -> dict[str, Any]:
        """Have the turns of some orders; return what the model was sent for the last."""
        for turn in range(first, last):
            self.turn(ask_of(turn))
            if turn % 10 == 0:
                self.folded(turn - WORD_FOR_WORD)
        return self.turn(ask_of(last))

    def folds(self) -> list[Fold]:
        return [fold for fold in self.memory.session(self.owner).folds if not fold.masks_only]

    def folded(self, turns: int, within_s: float = 30) -> Fold:
        """Return the fold of the first ``turns`` turns, once it is there."""
        return until(lambda: next((fold for fold in self.folds() if fold.turns == turns), None), within_s)

    def charges(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        sql = "SELECT * FROM charges_final WHERE session_id = {id:String} ORDER BY started"
        session_id = self.owner.session_id

        def found() -> list[dict[str, Any]] | None:
            rows = self.proxy.gateway.rows(sql, id=session_id)
            return rows if enough(rows) else None

        return until(found, 30)


def until(found: Callable[[], Any], within_s: float) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return value


def models_url(proxy: Scripted) -> str:
    return (proxy.folder / "models.url").read_text()


def clear(proxy: Scripted) -> None:
    HTTP.delete(f"{models_url(proxy)}/seen")


def sent(proxy: Scripted, model: str = "") -> list[dict[str, Any]]:
    """What models were sent: all but the writer, or the one that is named."""
    found = HTTP.get(f"{models_url(proxy)}/seen").json()
    return [body for body in found if (body["model"] == model if model else body["model"] != "writer")]


def behave(proxy: Scripted, summary: str) -> None:
    HTTP.post(f"{models_url(proxy)}/behave", json={"summary": summary})


def items(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The history of a body, without its instructions."""
    found = body.get("messages") or body["input"]
    return [item for item in found if item.get("role") not in ("system", "developer")]


def words(item: dict[str, Any]) -> str:
    content = item.get("content") or ""
    return content if isinstance(content, str) else "\n".join(str(part.get("text", part)) for part in content)


def text_of(body: dict[str, Any]) -> str:
    return "\n".join(map(words, items(body)))


@pytest.fixture(scope="module")
def make_proxy(
    gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Scripted]]:
    """Starts a proxy in front of the fakes; with ``folder``, once more on the files of an earlier one."""
    parts: list[Part] = []

    def make(scripted: Scripted | None = None, **context: Any) -> Scripted:
        folder = scripted.folder if scripted else tmp_path_factory.mktemp("context")
        if scripted:
            url = models_url(scripted)
        else:
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
            endpoint = Part(
                "context models",
                [sys.executable, "-m", "tests.e2e.context_models", str(port)],
                f"{url}/ready",
                folder / "models.log",
                os.environ | {"PYTHONPATH": path},
            )
            endpoint.start()
            parts.append(endpoint)
            endpoint.wait_ready()
            (folder / "models.url").write_text(url)

        def models(config: dict[str, Any]) -> None:
            def group(name: str, model: str, base: str) -> dict[str, Any]:
                parameters = {"model": model, "api_base": base, "api_key": "none"}
                info = {"base_model": model.partition("/")[2]}
                return {"model_name": name, "litellm_params": parameters, "model_info": info}

            groups = [
                group("local", "openai/cheap", f"{url}/v1"),
                group("fast", "openai/middling", f"{url}/v1"),
                group("strong", "anthropic/claude-scripted", url),
                group("writer", "openai/writer", f"{url}/v1"),
            ]
            names = {entry["model_name"] for entry in groups}
            rest = [model for model in config["model_list"] if model["model_name"] not in names]
            config["model_list"] = [*groups, *rest]

        def settle(settings: dict[str, Any]) -> None:
            settings["context"] = {
                "path": str(folder / "context.db"),
                **context,
                "summary": {"model": "writer", **context.get("summary", {})},
            }
            prices = {"cheap": 1, "middling": 10, "claude-scripted": 10, "writer": 0}
            settings["cost"] = {
                "baseline_model": "middling",
                "prices": {name: {"input": price, "output": price} for name, price in prices.items()},
            }

        part, proxy_url = second_proxy(gateway, folder, models, settle)
        parts.append(part)
        part.wait_ready()
        return Scripted(gateway, proxy_url, folder, part)

    yield make
    for part in reversed(parts):
        part.stop()


@pytest.fixture(scope="module")
def proxy(make_proxy: Callable[..., Scripted]) -> Scripted:
    return make_proxy()


@pytest.fixture(scope="module")
def memory(proxy: Scripted) -> Iterator[FileMemory]:
    memory = FileMemory(proxy.folder / "context.db", retention_s=86_400)
    yield memory
    memory.close()


@pytest.fixture(autouse=True)
def good_writer(proxy: Scripted) -> None:
    behave(proxy, "good")


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
everywhere = pytest.mark.parametrize("surface", ["chat", "responses", "messages"])


def assert_linked(gateway: Gateway, summary: dict[str, Any], served: dict[str, Any]) -> None:
    """A summary points to the request that it was written for, and one sent with it points to the summary."""
    client = connect(gateway.stack.settings.ledger)

    def spans_of(row: dict[str, Any], name: str) -> dict[str, TraceSpan]:
        def found() -> dict[str, TraceSpan] | None:
            by_name = {span.name: span for span in trace(client, row["trace_id"])}
            return by_name if name in by_name else None

        return until(found, 30)

    spans = spans_of(summary, "farthing summary")
    written, root = spans["farthing summary"], spans["farthing chat"]
    (charged,) = [s for s in spans.values() if s.attributes.get("farthing.charge.id") == summary["id"]]
    assert charged.links == written.links == ((root.span_id, "serves"),)
    assert (charged.parent_span_id, written.parent_span_id) == (written.span_id, root.span_id)
    assert spans_of(served, "farthing context")["farthing context"].links == ((written.span_id, "summary"),)


@both
@everywhere
def test_the_block_goes_out_from_turn_11_and_grows_at_21_and_31(proxy, memory, surface, stream):
    talk = Talk(proxy, "ada", memory, surface, stream)
    tenth = talk.talk(1, 10)
    assert HEAD not in text_of(tenth)
    assert text_of(tenth).count("Next please book") == 10
    assert talk.folded(7).segments[-1].writer == "writer"
    eleventh = talk.talk(11, 11)
    first = words(items(eleventh)[0])
    assert first.startswith(f"[{HEAD}") or HEAD in first[:80]
    assert "PO-1001" in first
    assert "12.50 EUR" in first
    # The last turns stand word for word, the instructions untouched.
    assert [turn for turn in range(5, 12) if ask_of(turn) in text_of(eleventh)] == [8, 9, 10, 11]
    assert SYSTEM in str(eleventh)
    twenty_first = talk.talk(12, 21)
    block, later = first.partition("\n\n---")[0], words(items(twenty_first)[0])
    assert later.startswith(block), "a block is extended, not rewritten"
    assert "PO-1017" in later
    thirty_first = talk.talk(22, 31)
    assert words(items(thirty_first)[0]).startswith(later.partition("\n\n---")[0])
    rows = talk.charges(lambda rows: len(rows) >= 34)
    summaries = [row for row in rows if row["kind"] == "summary"]
    assert [row["user"] for row in summaries] == ["ada"] * 3
    (at_11,) = [row for row in rows if row["session_step"] == 11 and row["kind"] == "inference"]
    assert at_11["context_decision"] == "block"
    assert at_11["context_tokens_after"] < at_11["context_tokens_before"]
    assert at_11["context_saved"] > 0
    if surface == "chat" and not stream:
        (at_15,) = [row for row in rows if row["session_step"] == 15 and row["kind"] == "inference"]
        assert_linked(proxy.gateway, summaries[0], at_15)


@everywhere
def test_an_edited_or_forked_history_goes_out_whole_and_the_old_one_is_still_known(proxy, memory, surface):
    talk = Talk(proxy, "ada", memory, surface)
    talk.talk(1, 10)
    talk.folded(7)
    whole = list(talk.history)
    assert HEAD in text_of(talk.turn(ask_of(11)))
    edited = [dict(item) for item in whole]
    edited[2]["content"] = "No, forget that order."
    talk.history = edited
    seen = talk.turn(ask_of(11))
    assert HEAD not in text_of(seen)
    assert "forget that order" in text_of(seen)
    talk.history = whole[:12]  # back to turn 6
    assert HEAD not in text_of(talk.turn("Something else: who signs?"))
    talk.history = whole
    assert HEAD in text_of(talk.turn(ask_of(11)))


def test_another_surface_or_model_gets_what_is_right_for_it(proxy, memory):
    talk = Talk(proxy, "ada", memory, "chat")
    talk.talk(1, 10)
    talk.folded(7)
    other = Talk(proxy, "ada", memory, "responses", name=talk.name, history=list(talk.history))
    assert HEAD not in text_of(other.turn(ask_of(11)))
    talk.model = "fast"
    assert HEAD in text_of(talk.turn(ask_of(11)))
    dropped = Talk(proxy, "ada", memory, "chat", name=talk.name, history=talk.history[4:])
    assert HEAD not in text_of(dropped.turn(ask_of(12)))


def test_two_accounts_with_the_same_conversation_share_nothing(proxy, memory):
    name = uuid.uuid4().hex
    ada, grace = (Talk(proxy, user, memory, "chat", name=name) for user in ("ada", "grace"))
    ada.talk(1, 10)
    ada.folded(7)
    grace.history = list(ada.history)
    assert HEAD not in text_of(grace.turn(ask_of(11)))
    assert HEAD in text_of(ada.turn(ask_of(11)))
    assert {row["user"] for row in ada.charges(lambda rows: len(rows) >= 12)} == {"ada"}


def test_after_a_restart_the_block_is_still_there_and_a_broken_file_sends_all_of_it(make_proxy):
    first = make_proxy()
    behave(first, "good")
    memory = FileMemory(first.folder / "context.db", retention_s=86_400)
    talk = Talk(first, "ada", memory, "chat")
    talk.talk(1, 10)
    talk.folded(7)
    first.part.stop()
    talk.proxy = make_proxy(first)
    assert HEAD in text_of(talk.turn(ask_of(11)))
    memory.close()
    for file in first.folder.glob("context.db*"):
        file.write_bytes(b"not a database" * 100)
    assert text_of(talk.turn(ask_of(12))).count("Next please book") == 12


def test_until_a_slow_summary_is_there_the_full_history_goes_out(proxy, memory):
    behave(proxy, "slow")
    talk = Talk(proxy, "ada", memory, "chat")
    for turn in range(1, 11):
        talk.turn(ask_of(turn))
    began = time.monotonic()
    eleventh = talk.turn(ask_of(11))
    assert time.monotonic() - began < 10, "nobody waits for a summary"
    assert HEAD not in text_of(eleventh)
    assert talk.folded(7).segments[-1].writer == "writer"
    assert HEAD in text_of(talk.turn(ask_of(12)))


@pytest.mark.parametrize("how", ["failing", "lying", "cut_off"])
def test_a_bad_summary_is_not_used_and_farthing_s_own_stands_in(proxy, memory, how):
    behave(proxy, how)
    talk = Talk(proxy, "ada", memory, "chat")
    talk.talk(1, 10)
    assert talk.folded(7).segments[-1].writer == OWN
    eleventh = text_of(talk.turn(ask_of(11)))
    assert HEAD in eleventh
    assert "PO-1001" in eleventh
    assert "PO-7" not in eleventh


@pytest.fixture(scope="module")
def strict(make_proxy: Callable[..., Scripted]) -> Scripted:
    return make_proxy(summary={"stand_in": False})


@pytest.mark.parametrize("how", ["failing", "lying", "cut_off"])
def test_where_nothing_may_stand_in_the_full_history_goes_out(strict, how):
    behave(strict, how)
    memory = FileMemory(strict.folder / "context.db", retention_s=86_400)
    talk = Talk(strict, "ada", memory, "chat")
    for turn in range(1, 11):
        talk.turn(ask_of(turn))
    kinds = ("summary", "failed_attempt")
    talk.charges(lambda rows: how == "failing" or any(row["kind"] in kinds for row in rows))
    assert text_of(talk.turn(ask_of(11))).count("Next please book") == 11
    assert not talk.folds()
    memory.close()


def look_up(turn: int) -> str:
    """A bulky tool result: a list of records."""
    note = "as agreed " * 9
    records = [
        f'{{"id": "REC-{turn}-{n}", "amount": "{turn}.{n:02d}", "status": "open", "note": "{note}"}}'
        for n in range(20)
    ]
    return "[" + ", ".join(records) + "]"


def tool_step(surface: str, turn: int) -> list[dict[str, Any]]:
    """One step of an agent: it calls a tool and gets its result."""
    arguments = f'{{"at": {turn}}}'
    if surface == "responses":
        return [
            {"type": "function_call", "call_id": f"c{turn}", "name": "look_up", "arguments": arguments},
            {"type": "function_call_output", "call_id": f"c{turn}", "output": look_up(turn)},
        ]
    if surface == "messages":
        use = {"type": "tool_use", "id": f"c{turn}", "name": "look_up", "input": {"at": turn}}
        result = {"type": "tool_result", "tool_use_id": f"c{turn}", "content": look_up(turn)}
        return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    call = {"id": f"c{turn}", "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"c{turn}", "content": look_up(turn)},
    ]


@both
@everywhere
def test_an_agent_s_bulky_results_are_masked_and_its_calls_stay_whole(proxy, memory, surface, stream):
    talk = Talk(proxy, "ada", memory, surface, stream)
    talk.history = [{"role": "user", "content": "Add up what is open."}]
    bodies = []
    for turn in range(1, 25):
        talk.history += tool_step(surface, turn)
        clear(proxy)
        response = talk.send()
        assert response.status_code == 200, response.text  # the fake refuses what is not valid
        bodies.append(str(sent(proxy)[0]))
        time.sleep(0.1)
    until(lambda: talk.memory.session(talk.owner).folds, 20)
    last = bodies[-1]
    assert any("ref-" in body for body in bodies)
    assert [f"REC-{turn}-19" in last for turn in (22, 23, 24)] == [True] * 3
    assert [look_up(turn)[:400] in last for turn in (5, 15)] == [False, False]
    assert len(last) < len(str(talk.body())) / 2


def test_a_provider_that_refuses_altered_thoughts_takes_what_it_is_sent(proxy, memory):
    """A Claude's own thinking blocks, signed, in tool loops and out of them."""
    talk = Talk(proxy, "ada", memory, "messages", model="strong")
    schema = {"type": "object", "properties": {"at": {"type": "integer"}}}
    talk.more = {"tools": [{"name": "look_up", "input_schema": schema}]}
    shorter = 0
    for turn in range(1, 16):
        talk.history.append({"role": "user", "content": ask_of(turn)})
        for _ in range(2):
            clear(proxy)
            response = talk.send()
            assert response.status_code == 200, response.text
            shorter += len(items(sent(proxy)[0])) < len(talk.history)
            answer = response.json()["content"]
            talk.history.append({"role": "assistant", "content": answer})
            if answer[-1]["type"] != "tool_use":
                break
            result = {"type": "tool_result", "tool_use_id": answer[-1]["id"], "content": look_up(turn)}
            talk.history.append({"role": "user", "content": [result]})
        time.sleep(0.15)
    assert shorter, "nothing was ever shortened: the test shows nothing"


def test_what_is_pinned_is_sent_word_for_word_and_the_mark_is_not_sent(proxy, memory):
    talk = Talk(proxy, "ada", memory, "chat")
    talk.history = [
        {"role": "user", "content": "Never book anything on a Sunday, whatever I say.", "farthing_pin": True},
        {"role": "assistant", "content": "Understood."},
    ]
    seen = talk.talk(2, 10)
    assert "farthing_pin" not in str(seen)
    talk.folded(7)
    eleventh = talk.turn(ask_of(11))
    assert HEAD in text_of(eleventh)
    assert "Never book anything on a Sunday, whatever I say." in text_of(eleventh)
    assert "farthing_pin" not in str(eleventh)


def test_observing_sends_all_of_it_and_says_what_would_have_been_saved(make_proxy):
    proxy = make_proxy(mode="observe")
    memory = FileMemory(proxy.folder / "context.db", retention_s=86_400)
    talk = Talk(proxy, "ada", memory, "chat")
    talk.talk(1, 10)
    talk.folded(7)
    assert text_of(talk.turn(ask_of(11))).count("Next please book") == 11
    rows = talk.charges(lambda rows: any(row["session_step"] == 11 for row in rows))
    (at_11,) = [row for row in rows if row["session_step"] == 11 and row["kind"] == "inference"]
    assert at_11["context_decision"] == "observe block"
    assert at_11["context_saved"] > 0
    memory.close()
