"""Numbers and arithmetic statements in a text, and whether the statements are true.

A statement is two expressions around an equals sign, such as ``3 boxes * $2.50 = $7.50``; the words
between the figures are passed over. Nothing is ever evaluated as code.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_CHARS = 20_000
"""Characters of a text that are read."""
MAX_STATEMENTS = 200
MAX_TERMS = 40
"""Tokens of one side of a statement."""
_RELATIVE = 0.006
"""Rounding that is let pass, as a share of the result, where the result is written with decimals."""

NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+")
_ANNOTATED = re.compile(r"<<([^<>]{0,200})>>")
_FRACTION = re.compile(r"\\d?frac\{([^{}]{1,40})\}\{([^{}]{1,40})\}")
_TIMES = re.compile(r"(?<=[\d)%])\s*(?:\\\*|×|\\times|\\cdot|·|⋅|∗|[xX](?=\s*[\d($]))\s*")
_DIVIDED = re.compile(r"÷|\\div\b")
_TEX = re.compile(r"\\(?:text|mathrm|mathbf|boxed)\b|\\[()\[\],;!]|\\\$|[$€£{}*_`]{2,}")
_PER_UNIT = re.compile(r"/\s*[^\W\d]+")
_OF = re.compile(r"(?<=[\d%)])\s+of\s+(?:the\s+)?(?=[\d($])")
_TOKEN = re.compile(
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<unknown>(?:[a-zA-Z](?![a-zA-Z])|\^|\())?"
    r"|(?P<letter>(?<![^\W\d])[b-zB-Z](?![\w’']))|(?P<scale>\b(?:dozens?|hundreds?|thousands?|millions?|half|cents?)\b)"
    r"|(?P<hyphen>(?<=\w)[-–](?=[^\W\d])|(?<=[^\W\d])[-–](?=\w))"
    r"|(?P<op>[-+*/()%−–])|(?P<equals>=|≈)|(?P<stop>[.;:\n!?,]+)|(?P<word>[^\W\d]+)"
)
_ORDER = {"+": 1, "-": 1, "*": 2, "/": 2}
_Token = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """One arithmetic statement: what its left side comes to, and what its right side says."""

    left: float
    right: float
    operands: tuple[float, ...]
    """The numbers of the left side."""
    true: bool


def numbers(text: str) -> list[float]:
    """Return the numbers written in figures in ``text``, in order."""
    return [_value(match) for match in NUMBER.findall(text[:MAX_CHARS])]


def statements(text: str) -> list[Statement]:
    """Return the arithmetic statements of ``text`` that can be read, in order of appearance.

    At most MAX_STATEMENTS, from the first MAX_CHARS characters.
    """
    return list(_statements(text[:MAX_CHARS]))[:MAX_STATEMENTS]


def _statements(text: str) -> Iterator[Statement]:
    for part in (" ; ".join(_ANNOTATED.findall(text)), _ANNOTATED.sub("", text)):
        tokens = _tokens(part)
        signs = [i for i, (kind, _) in enumerate(tokens) if kind == "equals"][: 2 * MAX_STATEMENTS]
        for at in signs:
            left, right = _left(tokens, at), _right(tokens, at)
            if left and right and any(kind == "op" and text in _ORDER for kind, text in left):
                statement = _compare(left, right)
                if statement is not None and not statement.true and left[0][1] == "-":
                    statement = _compare(left[1:], right)  # a dash before the sum, not a sign
                if statement is not None:
                    yield statement


def _tokens(text: str) -> list[_Token]:
    text = _FRACTION.sub(r"(\1/\2)", text)
    text = _TEX.sub(" ", text)
    text = _TIMES.sub(" * ", text)
    text = _DIVIDED.sub("/", text)
    text = _PER_UNIT.sub(" ", text.replace("$", "").replace("€", "").replace("£", ""))
    text = _OF.sub(" * ", text)
    tokens: list[_Token] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if match["number"] is not None:
            tokens.append(("unknown", "") if match["unknown"] else ("number", match["number"]))
        elif kind in ("letter", "scale"):
            tokens.append(("unknown", ""))
        elif kind == "hyphen":
            tokens.append(("word", ""))
        elif kind == "op":
            tokens.append(("op", match["op"].replace("−", "-").replace("–", "-")))
        else:
            tokens.append((kind, ""))
    return tokens


def _left(tokens: Sequence[_Token], at: int) -> list[_Token]:
    """Collect the expression that ends at an equals sign, going backwards."""
    found: list[_Token] = []
    needs_operator, depth, words = False, 0, 0
    for kind, text in reversed(tokens[max(0, at - MAX_TERMS) : at]):
        if kind in ("equals", "stop", "unknown"):
            break
        if kind == "word":
            words += 1
            if words > 4:
                break
            continue
        if kind == "number" or text == ")":
            if needs_operator:
                break
            needs_operator = kind == "number"
            depth += text == ")"
        elif text == "(":
            if depth == 0:
                break
            depth -= 1
            needs_operator = True
        elif text != "%":
            needs_operator = False
        words = 0
        found.append((kind, text))
    found.reverse()
    while found and found[0][1] in ("*", "/", "+", "%"):
        found.pop(0)
    return found


def _right(tokens: Sequence[_Token], at: int) -> list[_Token]:
    """Collect the expression that begins after an equals sign."""
    found: list[_Token] = []
    had_number = False
    depth = 0
    for kind, text in tokens[at + 1 : at + 1 + MAX_TERMS]:
        if kind in ("equals", "stop", "unknown"):
            if kind == "unknown":
                return []
            break
        if kind == "word":
            if not found:
                return []
            continue
        if kind == "number":
            if had_number:
                break
            had_number = True
        elif text == "(":
            if had_number:
                break
            depth += 1
        elif text == ")":
            if depth == 0:
                break
            depth -= 1
        elif text != "%":
            had_number = False
        found.append((kind, text))
    while found and found[-1][1] in ("*", "/", "+", "-", "("):
        found.pop()
    return found


def _compare(left: list[_Token], right: list[_Token]) -> Statement | None:
    a, b = _evaluate(left), _evaluate(right)
    if a is None or b is None:
        return None
    operands = tuple(_value(text) for kind, text in left if kind == "number")
    last = next((text for kind, text in reversed(right) if kind == "number"), "")
    decimals = len(last.partition(".")[2])
    slack = 0.51 * 10**-decimals if decimals or not float(a).is_integer() else 1e-9
    if decimals:
        slack = max(slack, _RELATIVE * abs(b))
    true = abs(a - b) <= slack + 1e-9 * abs(b)
    # "10% of 50 = 5" and "50 * 10 / 100": a share may be written as its figure.
    if not true and any(text == "%" for _, text in (*left, *right)):
        true = abs(a - b / 100) <= slack or abs(a / 100 - b) <= slack or abs(a * 100 - b) <= slack
    # "12 + 6 = 18 / 3 = 6": a running sum, written as people do.
    first = next((_value(text) for kind, text in right if kind == "number"), b)
    return Statement(a, b, operands, true or abs(a - first) <= slack)


def _evaluate(tokens: Sequence[_Token]) -> float | None:
    """Evaluate by precedence (Dijkstra's shunting yard); None if the tokens are no expression."""
    values: list[float] = []
    ops: list[str] = []
    expect_value = True
    try:
        for kind, text in tokens:
            if kind == "number":
                if not expect_value:
                    return None
                values.append(_value(text))
                expect_value = False
            elif text == "(":
                if not expect_value:
                    return None
                ops.append("(")
            elif text == ")":
                while ops[-1] != "(":
                    _apply(values, ops)
                ops.pop()
                expect_value = False
            elif text == "%":
                values[-1] /= 100
            elif expect_value:
                if text != "-":
                    return None
                values.append(0.0)  # a sign: 0 - value
                ops.append("-")
            else:
                while ops and ops[-1] != "(" and _ORDER[ops[-1]] >= _ORDER[text]:
                    _apply(values, ops)
                ops.append(text)
                expect_value = True
        while ops:
            _apply(values, ops)
    except (IndexError, KeyError, ZeroDivisionError, OverflowError):
        return None
    return values[0] if len(values) == 1 and math.isfinite(values[0]) else None


def _apply(values: list[float], ops: list[str]) -> None:
    op, b, a = ops.pop(), values.pop(), values.pop()
    values.append(a + b if op == "+" else a - b if op == "-" else a * b if op == "*" else a / b)


def _value(text: str) -> float:
    return float(text.replace(",", "")) if len(text) < 40 else 0.0
