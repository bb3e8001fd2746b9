"""Each way an answer can fail, beside the answer that only looks like it, on all three surfaces."""

import json

import pytest

from farthing.grading.check import Answer, ToolCall, answers_from, check_answer, check_prefix

Payload = dict[str, object]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}


class Chat:
    """Chat completions."""

    @staticmethod
    def ask(
        text: str, system: str = "", schema: object = None, tools: bool = False, choice: str = ""
    ) -> Payload:
        payload: Payload = {"messages": [{"role": "user", "content": text}]}
        if system:
            payload["messages"] = [{"role": "system", "content": system}, *payload["messages"]]
        if schema is not None:
            payload["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": schema},
            }
        if tools:
            payload["tools"] = [{"type": "function", "function": {"name": "forecast", "parameters": SCHEMA}}]
        if choice:
            payload["tool_choice"] = {"type": "function", "function": {"name": choice}}
        return payload

    @staticmethod
    def say(text: str, calls: tuple[tuple[str, str], ...] = (), cut: bool = False) -> object:
        finish = "length" if cut else "tool_calls" if calls else "stop"
        made = [{"type": "function", "function": {"name": name, "arguments": args}} for name, args in calls]
        return {"choices": [{"message": {"content": text, "tool_calls": made}, "finish_reason": finish}]}

    cap = "max_tokens"


class Responses:
    """The Responses API."""

    @staticmethod
    def ask(
        text: str, system: str = "", schema: object = None, tools: bool = False, choice: str = ""
    ) -> Payload:
        payload: Payload = {"input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}]}
        if system:
            payload["instructions"] = system
        if schema is not None:
            payload["text"] = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
        if tools:
            payload["tools"] = [{"type": "function", "name": "forecast", "parameters": SCHEMA}]
        if choice:
            payload["tool_choice"] = {"type": "function", "name": choice}
        return payload

    @staticmethod
    def say(text: str, calls: tuple[tuple[str, str], ...] = (), cut: bool = False) -> object:
        output: list[object] = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
        output += [{"type": "function_call", "name": name, "arguments": args} for name, args in calls]
        if cut:
            return {
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "output": output,
            }
        return {"status": "completed", "output": output}

    cap = "max_output_tokens"


class Messages:
    """Anthropic messages."""

    @staticmethod
    def ask(
        text: str, system: str = "", schema: object = None, tools: bool = False, choice: str = ""
    ) -> Payload:
        payload: Payload = {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
        if system:
            payload["system"] = [{"type": "text", "text": system}]
        if schema is not None:
            payload["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        if tools:
            payload["tools"] = [{"name": "forecast", "input_schema": SCHEMA}]
        if choice:
            payload["tool_choice"] = {"type": "tool", "name": choice}
        return payload

    @staticmethod
    def say(text: str, calls: tuple[tuple[str, str], ...] = (), cut: bool = False) -> object:
        def value(text: str) -> object:
            try:
                return json.loads(text)
            except ValueError:
                return text

        content: list[object] = [{"type": "text", "text": text}] if text else []
        content += [{"type": "tool_use", "name": name, "input": value(args)} for name, args in calls]
        stop = "max_tokens" if cut else "tool_use" if calls else "end_turn"
        return {"type": "message", "content": content, "stop_reason": stop}

    cap = "max_tokens"


@pytest.fixture(params=[Chat, Responses, Messages], ids=["chat", "responses", "messages"])
def surface(request: pytest.FixtureRequest) -> type:
    return request.param


def failure(payload: Payload, response: object) -> str:
    (answer,) = answers_from(response)
    verdict = check_answer(payload, answer)
    assert verdict.ok == (not verdict.failure) == (not verdict.reason)
    names = [call.name for call in answer.tool_calls]
    if verdict.ok:  # what a beginning fails, the whole must fail
        for end in range(0, len(answer.text) + 1, max(1, len(answer.text) // 40)):
            assert check_prefix(payload, answer.text[:end]).ok
        assert check_prefix(payload, answer.text, names).ok
    return verdict.failure


def test_empty(surface: type) -> None:
    assert failure(surface.ask("Name a colour."), surface.say(" \n\u200b\x00")) == "empty"
    assert failure(surface.ask("Name a colour."), surface.say("Red")) == ""
    assert (
        failure(surface.ask("Weather?", tools=True), surface.say("", (("forecast", '{"city": "Oslo"}'),)))
        == ""
    )


REFUSALS = [
    ("Write a limerick about tea.", "I'm sorry, but I can't help with that."),
    ("Write a limerick about tea.", "I cannot assist with this request."),
    (
        "Write a limerick about tea.",
        "**I'm sorry, I can’t assist with that request.** Please try something else.",
    ),
    ("What is the weather in Lima?", "I'm sorry, but I don't have access to real-time information."),
    ("Draw a cat.", "As an AI language model, I am unable to draw pictures."),
    ("Rechne 3 mal 4 aus.", "Es tut mir leid, aber ich kann diese Anfrage nicht beantworten."),
    ("Écris un poème.", "Désolé, je ne peux pas vous aider avec cela."),
    ("Escribe un poema.", "Lo siento, pero no puedo ayudarte con eso."),
    ("Scrivi una poesia.", "Mi dispiace, ma non posso aiutarti con questo."),
    ("Escreva um poema.", "Desculpe, não posso ajudar com isso."),
    ("Напиши стих.", "Извините, я не могу помочь с этим."),
    ("写一首诗。", "抱歉,我无法提供帮助。"),
    ("写一首诗。", "很抱歉\uff0c我无法满足您的请求\uff01"),
    ("写一首诗。", "对不起\uff0c我暂时没有权限。"),
    ("詩を書いてください。", "申し訳ありませんが、そのリクエストにはお答えできません。"),
    ("시를 써 줘.", "죄송합니다. 그 요청을 도와드릴 수 없습니다."),
]
NO_REFUSALS = [
    (
        "How do I fix a flat tyre?",
        "Take the wheel off first. If you cannot loosen the nuts, use a longer lever.",
    ),
    (
        "Tell me how you feel today, in a diary entry.",
        "I can't help feeling that autumn came early this year.",
    ),
    ("Praise the book.", "I cannot recommend it highly enough."),
    (
        "Translate into French: I'm sorry, I can't help with that.",
        "Désolé, je ne peux pas vous aider avec cela.",
    ),
    ("Write a polite refusal for a speaking invitation.", "I'm sorry, but I can't do that."),
    ("Can you see pictures?", "I'm sorry, but I can't see pictures."),
    ("What's the news?", "I don't have access to live news, but here is how to find it: open a news site."),
    ("Why does the door not open?", "Sorry to hear that. The latch is most likely stuck."),
    ("Was kann ich heute kochen?", "Leider ist nicht viel da, aber eine Suppe geht immer."),
]


@pytest.mark.parametrize(("ask", "text"), REFUSALS)
def test_refusal(surface: type, ask: str, text: str) -> None:
    assert failure(surface.ask(ask), surface.say(text)) == "refusal"


@pytest.mark.parametrize(("ask", "text"), NO_REFUSALS)
def test_what_only_sounds_like_a_refusal(surface: type, ask: str, text: str) -> None:
    assert failure(surface.ask(ask), surface.say(text)) == ""


def test_a_refusal_by_the_systems_own_rule_is_what_was_asked_for(surface: type) -> None:
    rule = "You are the bot of a tea shop. Decline anything off-topic."
    assert (
        failure(surface.ask("Write some SQL.", rule), surface.say("I'm sorry, I can't help with that.")) == ""
    )


def test_a_long_answer_that_starts_by_naming_a_limit_is_no_refusal(surface: type) -> None:
    text = "I'm sorry, but I can't open the file itself. " + "The usual cause is a missing header row. " * 3
    text += " ".join(
        f"Step {i}: look at column {i} and compare it with the list of names." for i in range(12)
    )
    assert failure(surface.ask("Why does the import of my file go wrong?"), surface.say(text)) == ""


def test_cut_off(surface: type) -> None:
    ask = surface.ask("Explain tides.")
    assert failure(ask, surface.say("Tides are caused by", cut=True)) == "cut_off"
    assert failure(ask, surface.say("Tides are caused by the moon.")) == ""
    assert failure(ask | {surface.cap: 5}, surface.say("Tides are caused by", cut=True)) == ""


def test_a_cut_far_below_the_clients_own_cap_is_not_explained_by_it(surface: type) -> None:
    ask = surface.ask("Explain tides.") | {surface.cap: 1000}
    cut = {"choices": [{"message": {"content": "Tides are"}, "finish_reason": "length"}]}
    assert failure(ask, cut | {"usage": {"completion_tokens": 120}}) == "cut_off"
    assert failure(ask, cut | {"usage": {"completion_tokens": 1000}}) == ""


def test_text_completions_are_capped_unless_told_otherwise() -> None:
    cut = {"choices": [{"text": "there was a", "finish_reason": "length"}]}
    assert failure({"prompt": "Once upon a time"}, cut) == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"city": "Oslo", "days": 2}', ""),
        (' \n{"city": "Oslo"}\n', ""),
        ('{"city": "Oslo", "days": 0}', "schema"),
        ('{"days": 2}', "schema"),
        ('{"city": "Oslo", "wind": 2}', "schema"),
        ('{"city": "Oslo"', "invalid_json"),
        ('```json\n{"city": "Oslo"}\n```', "invalid_json"),
        ('{"city": NaN}', "invalid_json"),
        ("Here you are: Oslo", "invalid_json"),
    ],
)
def test_json_and_schema(surface: type, text: str, found: str) -> None:
    assert failure(surface.ask("Where to?", schema=SCHEMA), surface.say(text)) == found


def test_json_cut_by_the_clients_own_cap_is_still_not_json(surface: type) -> None:
    ask = surface.ask("Where to?", schema=SCHEMA) | {surface.cap: 5}
    assert failure(ask, surface.say('{"city": "Os', cut=True)) == "invalid_json"


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (("forecast", '{"city": "Oslo", "days": 3}'), ""),
        (("forecast", '{"city": "Oslo", "days": null}'), ""),
        (("forecasts", '{"city": "Oslo"}'), "unknown_tool"),
        (("forecast", '{"days": 3}'), "tool_arguments"),
        (("forecast", '{"city": "Oslo", "days": "three"}'), "tool_arguments"),
        (("forecast", '{"city": "Oslo'), "tool_arguments"),
        (("forecast", '["Oslo"]'), "tool_arguments"),
    ],
)
def test_tool_calls(surface: type, call: tuple[str, str], found: str) -> None:
    assert failure(surface.ask("Weather in Oslo?", tools=True), surface.say("", (call,))) == found


def test_a_tool_call_that_was_required(surface: type) -> None:
    ask = surface.ask("Weather in Oslo?", tools=True, choice="forecast")
    assert failure(ask, surface.say("It is sunny.")) == "format"
    assert failure(ask, surface.say("", (("forecast", '{"city": "Oslo"}'),))) == ""
    assert failure(ask | {"tool_choice": "required"}, surface.say("It is sunny.")) == "format"
    assert failure(ask | {"tool_choice": "auto"}, surface.say("It is sunny.")) == ""


def test_tools_that_the_server_expands_have_names_of_their_own() -> None:
    ask = Responses.ask("Weather?", tools=True)
    ask["tools"] = [
        *ask["tools"],
        {"type": "mcp", "server_label": "maps", "server_url": "https://maps.example"},
    ]
    assert failure(ask, Responses.say("", (("route", "{}"),))) == ""
    assert failure(ask, Responses.say("", (("forecast", "{}"),))) == "tool_arguments"


FORMATS = [
    ("Namaste, aap kaise hain aur aaj mausam kaisa hai?", "नमस्ते, मैं ठीक हूँ और आज मौसम बहुत अच्छा है।" * 2, ""),
    ("How many legs has a spider? Answer with only a number.", "8", ""),
    (
        "How many legs has a spider? Answer with only a number.",
        "Spiders are arachnids and so they have 8.",
        "",
    ),
    (
        "How many legs has a spider? Answer with only a number.",
        "Spiders, like all other arachnids known to science, have eight legs.",
        "format",
    ),
    ("What colour is the sky? Answer in one word.", "Blue.", ""),
    ("What colour is the sky? Answer in one word.", "The sky looks blue by day.", "format"),
    ("Is a whale a fish? Answer yes or no.", "No, it is a mammal.", ""),
    ("Is a whale a fish? Answer yes or no.", "A whale belongs to the mammals.", "format"),
    ("Pick.\nA) tea\nB) coffee\nAnswer with only the letter.", "B", ""),
    ("Pick.\nA) tea\nB) coffee\nAnswer with only the letter.", "coffee", "format"),
    ("Describe rain in 20 words.", "Rain " + "falls softly on the roof " * 4, ""),
    ("Describe rain in 20 words.", " ".join(f"drop{i}" for i in range(200)), "format"),
    ("Describe rain in at least 200 words.", "It is wet.", "format"),
    ("Describe rain in one sentence.", "Rain is water that falls from clouds.", ""),
    (
        "Describe rain in one sentence.",
        "Rain falls. Clouds carry water. Rivers fill again. Fields turn green. Birds drink there.",
        "format",
    ),
    ("List the reasons in 3 bullet points.", "- cold\n- wet\n- dark", ""),
    (
        "List the reasons in 3 bullet points.",
        "\n".join(f"- reason {chr(97 + i)}" for i in range(12)),
        "format",
    ),
    ("Name two rivers. Respond in JSON.", 'Sure:\n```json\n{"rivers": ["Rhine", "Po"]}\n```', ""),
    ("Name two rivers. Respond in JSON.", "The Rhine and the Po.", "format"),
    ("Give the command in a code block.", "```\nls -l\n```", ""),
    ("Give the command in a code block.", "ls -l", "format"),
    (
        "Answer in Japanese: where does the river that passes through Lyon rise?",
        "スイスのローヌ氷河に源を発します。" * 3,
        "",
    ),
    (
        "Answer in Japanese: where does the river that passes through Lyon rise?",
        "It rises at the Rhone glacier in the Swiss canton of Valais.",
        "format",
    ),
    (
        "Where does the river that passes through Lyon rise?",
        "它发源于瑞士瓦莱州的罗讷冰川，流经日内瓦湖，最后在法国南部注入地中海，全长超过八百公里，是重要的河流。",
        "format",
    ),
    (
        "What is the Chinese poem about the moon by Li Bai?",
        "床前明月光，疑是地上霜。举头望明月，低头思故乡。" * 3,
        "",
    ),
    ("If it is raining answer in one word, otherwise explain.", "It is dry outside and warm as well.", ""),
    (
        "Write a function that returns only a number.",
        "def f():\n    return 4  # as was asked for above, a number",
        "",
    ),
]


@pytest.mark.parametrize(("ask", "text", "found"), FORMATS)
def test_formats_asked_for_in_words(surface: type, ask: str, text: str, found: str) -> None:
    assert failure(surface.ask(ask), surface.say(text)) == found


LOOP = "The river is long. "


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It rises in the hills. " + LOOP * 60, "repetition"),
        ("Parts:\n" + "- a screw of the same size as before\n" * 40, "repetition"),
        (LOOP * 3 + "It ends in the sea.", ""),
        ("| a | b |\n|---|---|\n" + "".join(f"| {i} | {i * i} |\n" for i in range(60)), ""),
        ("Section\n" + "-" * 900 + "\nend", ""),
        (" ".join(f"Stop number {i} is {name}." for i, name in enumerate(["Ulm", "Linz", "Wien"] * 30)), ""),
    ],
    ids=["sentence", "line", "thrice", "table", "rule", "list"],
)
def test_repetition(surface: type, text: str, found: str) -> None:
    assert failure(surface.ask("Tell me about it."), surface.say(text)) == found


def test_repetition_that_was_asked_for(surface: type) -> None:
    assert (
        failure(surface.ask("Repeat this sentence 60 times: The river is long."), surface.say(LOOP * 60))
        == ""
    )


def test_a_loop_that_the_limit_ends_is_called_a_loop(surface: type) -> None:
    assert failure(surface.ask("Tell me about it."), surface.say(LOOP * 40, cut=True)) == "repetition"


def test_low_probability_counts_only_where_it_is_reported() -> None:
    ask = Chat.ask("Name a colour.")
    unsure = Answer("Mauve, or perhaps taupe, or ecru", (), "stop", token_logprobs=(-1.5,) * 12)
    assert check_answer(ask, unsure).failure == "low_probability"
    assert check_answer(ask, unsure, min_token_probability=0.1).ok
    assert check_answer(ask, unsure, min_token_probability=None).ok
    assert check_answer(ask, Answer("Red", (), "stop", token_logprobs=(-0.1,) * 12)).ok
    assert check_answer(ask, Answer("Red", (), "stop")).ok


def test_a_reason_never_quotes_prompt_or_answer() -> None:
    secret = "zebrafinch"
    payload = Chat.ask(f"Say {secret}.", schema={"type": "object", "required": [secret]})
    for text in (f"{secret}", f'{{"x": "{secret}"}}'):
        verdict = check_answer(payload, Answer(text, (), "stop"))
        assert not verdict.ok
        assert secret not in verdict.reason
    call = Answer("", (ToolCall(secret, "{}"),), "tool_calls")
    verdict = check_answer(Chat.ask("x", tools=True), call)
    assert verdict.failure == "unknown_tool"
    assert secret not in verdict.reason
