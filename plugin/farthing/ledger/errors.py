"""What can go wrong with a ledger, in words a reader can act on."""

import re

_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")


class LedgerError(Exception):
    """The ledger cannot be opened or reached; the text says where and what to do."""


class EngineError(Exception):
    """The engine refused a statement. ``code`` is ClickHouse's error number; the text is ClickHouse's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @classmethod
    def of(cls, code: int, name: str, message: str) -> "EngineError":
        """Build an error of our own in ClickHouse's wording."""
        return cls(code, f"Code: {code}. DB::Exception: {message} ({name})")

    @classmethod
    def from_engine(cls, error: Exception) -> "EngineError":
        """Read ClickHouse's code out of what chDB raised (1002, UNKNOWN_EXCEPTION, if it has none)."""
        text = str(error)
        found = _CODE.search(text)
        if found is None:
            return cls.of(1002, "UNKNOWN_EXCEPTION", text)
        return cls(int(found[1]), text[found.start() :].strip())


class TooLargeError(Exception):
    """A request's body is larger than the ledger accepts."""
