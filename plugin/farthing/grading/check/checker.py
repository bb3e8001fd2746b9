"""The checks of an answer, in the order in which they tell most."""

import math
from collections.abc import Mapping, Sequence

from farthing.grading.check.answer import Answer, without_thinking
from farthing.grading.check.formats import contradicts
from farthing.grading.check.learned import LearnedCheck
from farthing.grading.check.loops import loops
from farthing.grading.check.refusals import begins_refusing, refuses
from farthing.grading.check.schemas import mismatch, read_json
from farthing.grading.check.scripts import wrong_script
from farthing.grading.check.tools import check_names, check_tools
from farthing.grading.check.verdict import OK, Verdict, failed
from farthing.grading.check.wanted import Wanted, wanted_from

MIN_TOKEN_PROBABILITY = 0.4
"""Default of the lowest geometric mean of an answer's token probabilities: a perplexity of 2.5. Answers
that a model is sure of lie above 0.8; free writing at temperature 1 between 0.5 and 0.8. A convention,
not fitted to data."""
_FEWEST_TOKENS = 8
_INVISIBLE = "\x00\u200b\u200c\u200d\u2060\ufeff\u00ad"
_TINY_CAP = 16
"""A cap of so few tokens is a probe of the model's health: nothing is asked of its answer."""


def check_answer(
    payload: Mapping[str, object],
    answer: Answer,
    *,
    min_token_probability: float | None = MIN_TOKEN_PROBABILITY,
    learned: LearnedCheck | None = None,
) -> Verdict:
    """Return whether ``answer`` is a usable one to the request body ``payload``. Raises nothing.

    ``payload`` is the client's own request, on any surface: its own cap of tokens explains a cut answer.
    ``min_token_probability`` is the lowest geometric mean of token probabilities (None: not looked at);
    answers without token probabilities pass. Without ``learned`` nothing is ever ``doubtful``.

    Bounded: an answer of 1 MB takes tens of milliseconds. What cannot be told within the bounds passes.
    """
    wanted = wanted_from(payload)
    text = without_thinking(answer.text)
    verdict = _form(wanted, answer, text)
    if verdict.ok and not answer.tool_calls:
        verdict = _content(wanted, answer, text)
    if verdict.ok and min_token_probability:
        verdict = _probability(answer, min_token_probability)
    if verdict.ok and learned is not None and not answer.tool_calls:
        right = learned.probability_right(wanted, answer)
        if right is not None and right < learned.threshold:
            verdict = failed("doubtful", f"the learned check gives {right:.2f} that it is right")
    return verdict


def check_prefix(payload: Mapping[str, object], text: str, tool_names: Sequence[str] = ()) -> Verdict:
    """Return whether an answer that begins with ``text`` can still be a usable one. Raises nothing.

    ``tool_names`` are the tools it has begun to call. Only what nothing after the beginning can mend is
    a failure; everything undecided is ok.
    """
    wanted = wanted_from(payload)
    verdict = check_names(wanted, tool_names)
    text = without_thinking(text)
    if not verdict.ok or tool_names or not text.strip() or _unfinished_thinking(text):
        return verdict
    if wanted.json and not _begins_json(text):
        return failed("invalid_json", "JSON was asked for, the answer begins as something else")
    if loops(text, wanted.ask, ended=False, strict=True):
        return failed("repetition", "the answer repeats itself")
    if begins_refusing(text, wanted.ask, wanted.system):
        return failed("refusal", "the answer begins as a refusal")
    wrong = "" if wanted.json else contradicts(text, wanted.ask, whole=False)
    return failed("format", wrong) if wrong else OK


def _form(wanted: Wanted, answer: Answer, text: str) -> Verdict:
    """Checks that need no reading of the text's sense."""
    cut = answer.finish == "length"
    explained = cut and _cap_explains(wanted, answer)
    if answer.refusal:
        return failed("refusal", "the model marked its answer as a refusal")
    if answer.finish == "content_filter":
        return failed("refusal", "a content filter ended the answer")
    if not answer.tool_calls and not answer.other and not text.strip().strip(_INVISIBLE).strip():
        if explained and (wanted.cap or 0) <= _TINY_CAP:
            return OK
        return failed("empty", "the answer has neither text nor a tool call")
    if cut and not explained:
        if loops(text, wanted.ask, ended=False):
            return failed("repetition", "the answer repeats itself until it is cut off")
        return failed("cut_off", "the answer is cut off, and not by the client's own limit")
    if answer.tool_calls:
        return check_tools(wanted, answer.tool_calls)
    if wanted.call_required and not answer.other and not cut:
        return failed("format", "a tool call was required, the answer has none")
    return _json(wanted, text) if wanted.json and not answer.other else OK


def _json(wanted: Wanted, text: str) -> Verdict:
    state, value = read_json(text)
    if state == "not_json":
        return failed("invalid_json", "JSON was asked for, the answer is none")
    broken = mismatch(value, wanted.schema) if state == "json" and wanted.schema is not None else ""
    return failed("schema", f"the answer breaks the asked schema ({broken})") if broken else OK


def _content(wanted: Wanted, answer: Answer, text: str) -> Verdict:
    """Checks of the text itself."""
    if loops(text, wanted.ask, ended=answer.finish != "length"):
        return failed("repetition", "the answer repeats itself")
    if wanted.json or answer.other:
        return OK
    way = refuses(text, wanted.ask, wanted.system)
    if way:
        return failed("refusal", "the answer refuses" if way == "plain" else "the answer claims it cannot")
    if answer.finish == "length":
        return OK  # what is missing may be what was asked for
    wrong = contradicts(text, wanted.ask, whole=True)
    wrong = wrong or wrong_script(text, wanted.ask, f"{wanted.past}\n{wanted.system}")
    return failed("format", wrong) if wrong else OK


def _probability(answer: Answer, least: float) -> Verdict:
    logprobs = answer.token_logprobs
    if logprobs is None or len(logprobs) < _FEWEST_TOKENS:
        return OK
    mean = math.exp(math.fsum(logprobs) / len(logprobs))
    if mean >= least:
        return OK
    return failed("low_probability", f"mean token probability {mean:.2f}, below {least:.2f}")


def _cap_explains(wanted: Wanted, answer: Answer) -> bool:
    """Was it the client's own limit that cut the answer?"""
    if wanted.cap is None:
        return wanted.capped_by_default
    # Servers count a little differently; one that stopped far below the cap stopped for another reason.
    return answer.output_tokens is None or answer.output_tokens >= 0.9 * wanted.cap


def _begins_json(text: str) -> bool:
    start = text.lstrip(" \t\r\n")
    if not start or start[0] in '{["-0123456789':
        return True
    return any(word.startswith(start[:5]) or start.startswith(word) for word in ("true", "false", "null"))


def _unfinished_thinking(text: str) -> bool:
    return "<think>".startswith(text.lstrip()[:7])
