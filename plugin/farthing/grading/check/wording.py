"""The words by which the learned check reads a question of quantities and the working that answers it."""

import re

WORDS = re.compile(r"[^\W\d_]+")


def _words(text: str) -> list[str]:
    return text.split()


_UNITS = _words(
    """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen"""
)
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
IN_WORDS: dict[str, float] = (
    {word: float(i + 1) for i, word in enumerate(_UNITS)}
    | {word: 10.0 * (i + 2) for i, word in enumerate(_TENS)}
    | {"twice": 2.0, "double": 2.0, "triple": 3.0, "dozen": 12.0, "half": 2.0, "third": 3.0, "quarter": 4.0}
)
"""Numbers written as words."""

QUESTION = re.compile(
    r"\bhow (?:much|many|long|far|old|tall|heavy|fast|often|big|deep|high|wide|large)\b"
    r"|\bwhat (?:is|was|are|will be|were|would be|percent\w*|fraction|number|amount|total)\b"
    r"|\b(?:calculate|compute|find|determine|work out)\b"
)
NOT_A_WORD_PROBLEM = re.compile(
    r"```|\b(?:def|import|function|SELECT|class)\b[ (]|\\[a-zA-Z]{2,}|(?:^|\n)\s*\(?[A-Ea-e][.):]\s"
)
"""Code, formulas set in TeX, and questions with choices."""
CODE = re.compile(r"```|\b(?:def|import|function|SELECT|class)\b[ (]")

HOW_MANY = re.compile(r"\bhow many\b")
MEASURED = re.compile(
    r"\bhow many (?:more |total |fewer )?(?:hours|minutes|seconds|days|weeks|months|years|dollars|cents"
    r"|pounds|ounces|miles|kilomet\w+|met\w+|feet|inches|yards|gallons|lit\w+|cups|grams|kilograms|kg|tons|calories"
    r"|percent|degrees|square|cubic|acres|points)\b"
)
"""Of what may be asked by "how many", that which comes in parts."""

COMPARES = re.compile(
    r"\b(?:than|more|less|fewer|times|twice|thrice|older|younger|longer|shorter|taller|difference)\b"
)
CONDITIONS = re.compile(r"\b(?:if|except|only|remaining|left|rest|after|before|until|instead|unless|then)\b")

HEDGES = re.compile(
    r"\b(?:assum\w+|approximately|roughly|about|unclear|not (?:specified|given|stated|clear|possible|enough)"
    r"|cannot (?:be )?(?:determin|calculat)\w*|cannot have|can't have|error|mistake|it seems|however|if we"
    r"|round\w*|doesn't make sense|contradict\w*|negative|impossible)\b"
)
UNKNOWNS = re.compile(r"(?<![\w'’])[b-hj-zA-HJ-Z]\s*[=+*/]|\blet\b.{0,40}\bbe\b|\d[xyz]\b|\bequation")
DECIMALS = re.compile(r"\d\.\d{3,}")
SENTENCES = re.compile(r"(?<=[.!?])\s+")
COMMON = frozenset(
    _words(
        """how many much what if a an the of to in and is are was were for on with that this it as at by
        from or be he she they his her their there does did do will would can total have has had each all
        number than more"""
    )
)
"""Words of a question that say nothing of what is asked for."""
