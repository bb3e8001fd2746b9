"""The words of an ask that carry its demand, in their order, as a digest.

Cosine alone cannot tell "list the files" from "do not list the files", nor two questions set in one
template. So two asks are near only if they agree in every word but those that ask politely, point at
something or join: negations, quantities, verbs, names and formulas all count. See docs/intent-cache.md.
"""

import hashlib
import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PASSED_OVER = _words(
    """the this that these those it its of in on at by with and to as for is are was were be been being am do
    does did have has had please kindly can could would will shall you your me my we us our what which there
    here following below above attached just also so any about give tell show
    der die das den dem des ein eine einen einem einer bitte und ist sind le la les un une des du de et est
    el los las una por favor es"""
)
_SAME = dict.fromkeys(_words("one two three four five six seven eight nine ten eleven twelve"), "0") | {
    "into": "to",
    "kids": "children",
}
_WORD = re.compile(r"<[^<>]{1,40}>|[^\W_]+|[=+*/^\\<>|&%√∑∫≤≥]")
_CONTRACTED = re.compile(r"['’](?:s|ll|re|ve|d|m)\b")
_ARTICLE = re.compile(r"\ban? (?=[^\W_]{2}|[0Q<])(?!(?:to|and|or|is|are|in|on|at|by|as)\b)")
"""An article, not the name A: "move a box", but "from A to B"."""
_ENDINGS = ("ing", "ed", "es", "s", "e")
_SHORTEST_STEM = 4


def words_digest(masked: str) -> str:
    """Return the digest, 16 hexadecimal digits, of the words that count in a masked ask."""
    text = _ARTICLE.sub("", _CONTRACTED.sub("", masked.replace("e-mail", "email")))
    words = [_SAME.get(word, word) for word in _WORD.findall(text)]
    counted = " ".join([_stem(word) for word in words if word not in _PASSED_OVER])
    return hashlib.blake2b(counted.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if len(word) - len(ending) >= _SHORTEST_STEM and word.endswith(ending):
            return word[: -len(ending)]
    return word
