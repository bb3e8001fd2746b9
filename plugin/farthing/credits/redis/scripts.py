"""The Lua scripts: one file for each operation in ``lua/``, after what they share."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

# Without this line Redis would run a script that it must not let write (out of memory, disk full, a demoted
# master) up to its first write that it refuses. With it, such a script is refused before it begins.
_SHEBANG = "#!lua\n"
_SHARED = ("money", "account", "fields", "records", "store", "reply", "commit", "begin")


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the SHA-1 (hex) by which Redis knows it."""

    text: str
    digest: str


@cache
def script(name: str) -> Script:
    """Return the script of an operation, such as ``hold``."""
    text = _SHEBANG + "\n".join(source(part) for part in (*_SHARED, name))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def source(name: str) -> str:
    """Return one file of ``lua/``."""
    return (files(__package__) / "lua" / f"{name}.lua").read_text("utf-8")
