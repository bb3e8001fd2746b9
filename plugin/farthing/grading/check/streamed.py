"""An answer put together from its stream, of any surface, so that its beginning can be checked, too."""

from dataclasses import dataclass, field

from farthing.grading.check.answer import Answer, answers_from
from farthing.grading.shapes import get


@dataclass(slots=True)
class _Tool:
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class StreamedAnswer:
    """Collects chat chunks, Responses events or Messages events. Of several answers it reads the first.

    Reasoning is not part of the answer; neither is what it does not know.
    """

    def __init__(self) -> None:
        self._text: list[str] = []
        self._tools: dict[object, _Tool] = {}
        self._logprobs: list[object] = []
        self._finish = ""
        self._whole: object = None
        self.chars = 0
        """Characters of text and of tool arguments so far."""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._text)

    @property
    def tool_names(self) -> list[str]:
        """The names of the tools called so far."""
        return [tool.name for tool in self._tools.values() if tool.name]

    def add(self, event: object) -> None:
        """Take the next chunk or event. Unknown ones are passed over."""
        kind = get(event, "type")
        kind = getattr(kind, "value", kind)
        if isinstance(kind, str) and kind.startswith("response."):
            self._responses(kind, event)
        elif isinstance(kind, str):
            self._messages(kind, event)
        else:
            self._chat(event)

    def answer(self) -> Answer:
        """Return the answer as far as it has come."""
        if self._whole is not None:
            whole = self._whole
        else:
            calls = [
                {"function": {"name": tool.name, "arguments": "".join(tool.arguments)}}
                for tool in self._tools.values()
            ]
            message = {"content": self.text, "tool_calls": calls}
            logprobs = {"content": self._logprobs}
            whole = {"choices": [{"message": message, "finish_reason": self._finish, "logprobs": logprobs}]}
        answers = answers_from(whole)
        return answers[0] if answers else Answer("")

    def _write(self, text: object) -> None:
        if isinstance(text, str) and text:
            self._text.append(text)
            self.chars += len(text)

    def _tool(self, key: object, name: object, arguments: object) -> None:
        tool = self._tools.setdefault(key, _Tool())
        if isinstance(name, str) and name:
            tool.name = name
        if isinstance(arguments, str) and arguments:
            tool.arguments.append(arguments)
            self.chars += len(arguments)

    def _chat(self, chunk: object) -> None:
        choices = get(chunk, "choices")
        for choice in choices if isinstance(choices, list | tuple) else ():
            if get(choice, "index") not in (0, None):
                continue
            delta = get(choice, "delta")
            self._write(get(delta, "content"))
            self._write(get(delta, "refusal"))
            self._write(get(choice, "text"))
            calls = get(delta, "tool_calls")
            for place, call in enumerate(calls if isinstance(calls, list | tuple) else ()):
                function, index = get(call, "function"), get(call, "index")
                key = place if index is None else index
                self._tool(key, get(function, "name"), get(function, "arguments"))
            tokens = get(get(choice, "logprobs"), "content")
            if isinstance(tokens, list | tuple):
                self._logprobs.extend(tokens)
            finish = get(choice, "finish_reason")
            self._finish = finish if isinstance(finish, str) else self._finish

    def _responses(self, kind: str, event: object) -> None:
        if kind == "response.output_text.delta":
            self._write(get(event, "delta"))
        elif kind == "response.output_item.added" and get(get(event, "item"), "type") == "function_call":
            self._tool(get(event, "output_index"), get(get(event, "item"), "name"), None)
        elif kind == "response.function_call_arguments.delta":
            self._tool(get(event, "output_index"), None, get(event, "delta"))
        elif kind in ("response.completed", "response.incomplete"):
            self._whole = get(event, "response")

    def _messages(self, kind: str, event: object) -> None:
        delta, block = get(event, "delta"), get(event, "content_block")
        if kind == "content_block_start" and get(block, "type") == "tool_use":
            self._tool(get(event, "index"), get(block, "name"), None)
        elif kind == "content_block_delta":
            self._write(get(delta, "text"))
            if get(delta, "partial_json") is not None:
                self._tool(get(event, "index"), None, get(delta, "partial_json"))
        elif kind == "message_delta":
            stop = get(delta, "stop_reason")
            self._finish = stop if isinstance(stop, str) else self._finish
