"""What is captured of requests and answers, where that is asked for: of every shape, and bounded."""

import json

from farthing.proxy.content import input_messages, output_messages


def said(payload):
    return [(message["role"], *message["parts"]) for message in json.loads(input_messages(payload))]


def text(content):
    return {"type": "text", "content": content}


def test_every_surface_and_shape_is_read():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert said({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, image]}]}) == [
        ("user", text("Hi"), {"type": "image_url"})
    ]
    assert said({"instructions": "Be brief.", "input": "Hi"}) == [
        ("system", text("Be brief.")),
        ("user", text("Hi")),
    ]
    call = {"type": "function_call", "arguments": '{"a": 1}'}
    assert said({"system": [{"type": "text", "text": "S"}], "input": [call]}) == [
        ("system", text("S")),
        ("function_call", text('{"a": 1}')),
    ]
    assert said({"prompt": ["one", [1, 2]]}) == [("user", text("one")), ("user", text("1"), text("2"))]
    for odd in ({}, {"messages": None}, {"messages": "x"}, {"messages": [None, 7, {}]}):
        json.loads(input_messages(odd))


def test_long_texts_and_histories_are_cut_and_half_characters_replaced():
    ((_, part),) = said({"prompt": "x" * 10**6})
    assert len(part["content"]) < 10_000
    assert "992000 characters more" in part["content"]
    assert len(said({"messages": [{"role": "user", "content": "m"}] * 5000})) <= 201
    long = {"messages": [{"role": "user", "content": [{"type": "text", "text": "m" * 7000}] * 300}] * 50}
    assert len(input_messages(long)) < 1_000_000
    newest = [{"role": "user", "content": str(number) + "m" * 7000} for number in range(100)]
    cut = said({"messages": newest})
    assert [cut[0][1]["content"][0], cut[-1][1]["content"][:2]] == ["0", "99"]
    assert len(input_messages({"messages": newest})) < 250_000
    assert len(input_messages({"input": [7] * 10**6})) < 50_000
    output_messages("half \ud83d").encode()
