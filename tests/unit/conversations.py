"""The same conversation as each of the three surfaces writes it. Every rendering has new ids of calls."""

import itertools
import json

SURFACES = ("chat", "messages", "responses")

_ids = itertools.count()


def user(text):
    return ("user", text)


def says(text):
    return ("says", text)


def calls(*named, result="ok"):
    """A turn that calls tools, each a name or a pair of name and arguments, and what they bring."""
    pairs = [(call, {}) if isinstance(call, str) else call for call in named]
    results = result if isinstance(result, list) else [result] * len(pairs)
    return ("calls", list(zip(pairs, results, strict=True)))


def call(name, *, result="ok", **arguments):
    return calls((name, arguments), result=result)


def request(surface, *events, system="You are a careful clerk."):
    """Return the request body that asks for the model's next turn."""
    render = {"chat": _chat, "messages": _messages, "responses": _responses}[surface]
    items = [item for event in events for item in render(*event)]
    if surface == "chat":
        return {"messages": [{"role": "system", "content": system}, *items]}
    if surface == "messages":
        return {"system": [{"type": "text", "text": system}], "messages": _merged(items)}
    return {"instructions": system, "input": items}


def _merged(messages):
    merged = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            merged[-1]["content"] += message["content"]
        else:
            merged.append(message)
    return merged


def _named(told):
    return [(f"call_{next(_ids)}", name, arguments, result) for (name, arguments), result in told]


def _chat(kind, told):
    if kind != "calls":
        return [{"role": "user" if kind == "user" else "assistant", "content": told}]
    named = _named(told)
    functions = [
        {"id": i, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for i, name, arguments, _ in named
    ]
    return [
        {"role": "assistant", "content": None, "tool_calls": functions},
        *({"role": "tool", "tool_call_id": i, "content": result} for i, _, _, result in named),
    ]


def _messages(kind, told):
    if kind != "calls":
        role = "user" if kind == "user" else "assistant"
        return [{"role": role, "content": [{"type": "text", "text": told}]}]
    named = _named(told)
    uses = [{"type": "tool_use", "id": i, "name": name, "input": args} for i, name, args, _ in named]
    results = [
        {"type": "tool_result", "tool_use_id": i, "content": [{"type": "text", "text": result}]}
        for i, _, _, result in named
    ]
    return [{"role": "assistant", "content": uses}, {"role": "user", "content": results}]


def _responses(kind, told):
    if kind == "user":
        return [{"role": "user", "content": [{"type": "input_text", "text": told}]}]
    if kind == "says":
        part = {"type": "output_text", "text": told}
        return [{"type": "message", "role": "assistant", "content": [part]}]
    named = _named(told)
    return [
        {"type": "reasoning", "summary": [], "encrypted_content": f"{next(_ids):064}"},
        *(
            {"type": "function_call", "call_id": i, "name": name, "arguments": json.dumps(args)}
            for i, name, args, _ in named
        ),
        *({"type": "function_call_output", "call_id": i, "output": result} for i, _, _, result in named),
    ]
