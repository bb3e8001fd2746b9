"""Just enough reading of ClickHouse SQL: where statements end, where an INSERT's data begins.

Nothing here understands SQL. It walks over strings, quoted names, comments and brackets, so that a
semicolon or the word FORMAT inside one of them is not taken for the real thing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""
      (?P<gap>\s+|--[^\n]*|\#[\ !][^\n]*|/\*.*?\*/)
    | (?P<string>'(?:[^'\\]|\\.|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<quoted>"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>.)
    """,
    re.DOTALL | re.VERBOSE,
)

_ANSWERS = frozenset(
    b"SELECT WITH FROM SHOW DESCRIBE DESC EXISTS EXPLAIN CHECK KILL VALUES TABLE PARALLEL".split()
) | {b"("}

# Functions, engines and clauses through which the engine, which runs as this process and not behind a
# server's user_files_path, would read or write any local file, or run another program.
_LOCAL = (
    b"file|filecluster|filesystem|executable|executablepool|python|sqlite|eval|iceberglocal"
    b"|iceberglocalcluster|deltalakelocal|paimonlocal|outfile|infile"
)
_LOCAL_HINT = re.compile(rb"\b(?:" + _LOCAL + rb")\b", re.IGNORECASE)
_LOCAL_WORDS = frozenset(_LOCAL.split(b"|"))


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT whose rows follow it in a named format."""

    statement: str
    """The statement up to, and without, its FORMAT clause."""
    input_format: str
    data_start: int
    """Offset of the first byte of data in the text that was read."""


def _tokens(sql: bytes) -> Iterator[tuple[str, bytes, int]]:
    """Yield (kind, token, end offset) for everything but gaps. Kinds: string, quoted, word, sign."""
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup
        if kind is not None and kind != "gap":
            yield ("string" if kind == "tag" else kind), match.group(), match.end()


def words(sql: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (kind, token) for everything but gaps. Kinds: string, quoted (a name), word, sign."""
    for kind, token, _ in _tokens(sql):
        yield kind, token


def split(sql: str) -> list[str]:
    """Return the statements of a script, without their semicolons; comments alone are none."""
    data = sql.encode()
    statements: list[str] = []
    start, empty = 0, True
    for kind, token, end in _tokens(data):
        if kind == "sign" and token == b";":
            if not empty:
                statements.append(data[start : end - 1].decode().strip())
            start, empty = end, True
        else:
            empty = False
    if not empty:
        statements.append(data[start:].decode().strip())
    return statements


def is_multiple(sql: bytes) -> bool:
    """Return whether more than one statement is in ``sql``; a semicolon at its end is fine."""
    if b";" not in sql.rstrip().rstrip(b";"):
        return False
    ended = False
    for kind, token, _ in _tokens(sql):
        if kind == "sign" and token == b";":
            ended = True
        elif ended:
            return True
    return False


def first_word(sql: bytes) -> bytes:
    """Return the first word (or sign) of a statement in upper case; empty if there is none."""
    return next((token.upper() for _, token, _ in _tokens(sql)), b"")


def answers_rows(sql: bytes) -> bool:
    """Return whether a statement answers with rows, even with none of them."""
    return first_word(sql) in _ANSWERS


def find_insert(sql: bytes) -> Insert | None:
    """Return where the data of ``INSERT … FORMAT name`` begins, or None for any other statement.

    ``INSERT … SELECT`` and ``INSERT … VALUES`` are whole statements of their own: None. The data may
    be binary; nothing after the format's name is read as SQL. As in ClickHouse, the data begins after
    the first line feed behind the name, or, without one, after the blanks behind it.
    """
    if first_word(sql) != b"INSERT":
        return None
    depth, previous, format_at = 0, b"", -1
    for kind, token, end in _tokens(sql):
        if format_at >= 0:
            if kind != "word":
                return None
            blanks = re.compile(rb"[ \t\f]*(?:\r?\n)?").match(sql, end)
            return Insert(
                sql[:format_at].decode(errors="surrogateescape").strip(),
                token.decode(),
                blanks.end() if blanks else end,
            )
        if kind == "sign":
            depth += {b"(": 1, b")": -1}.get(token, 0)
        elif kind == "word" and depth == 0 and previous not in (b"INTO", b"TABLE", b"."):
            word = token.upper()
            if word in (b"SELECT", b"WITH", b"VALUES"):
                return None
            if word == b"FORMAT":
                format_at = end - len(token)
        previous = token.upper()
    return None


def output_format(sql: bytes) -> str | None:
    """Return the format that a statement's FORMAT clause asks for, or None."""
    if not re.search(rb"\bformat\b", sql, re.IGNORECASE):
        return None
    depth, found, awaited = 0, None, False
    for kind, token, _ in _tokens(sql):
        if kind == "sign":
            depth += {b"(": 1, b")": -1}.get(token, 0)
        if awaited and kind == "word":
            found = token.decode()
        awaited = kind == "word" and depth == 0 and token.upper() == b"FORMAT"
    return found


def local_access(sql: bytes) -> str | None:
    """Return the word by which a statement would reach the machine's files or programs, or None."""
    if not _LOCAL_HINT.search(sql):
        return None
    previous, candidate = b"", None
    for kind, token, _ in _tokens(sql):
        if candidate is not None and token == b"(":
            return candidate
        candidate = None
        if kind in ("word", "quoted"):
            word = token.strip(b'"`').lower()
            if word in _LOCAL_WORDS:
                if previous == b"=" or (word in (b"outfile", b"infile") and previous in (b"into", b"from")):
                    return word.decode()
                candidate = word.decode()
        previous = token.lower()
    return None
