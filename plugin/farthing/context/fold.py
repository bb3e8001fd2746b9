"""What is remembered of a session: how much of its history is folded, and into what."""

from dataclasses import dataclass
from hashlib import sha256

OWN = "farthing"
"""The writer of a segment that no model wrote."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose memory it is.

    ``session_id`` is the account's own (see proxy/sessions.py), so that no two accounts share one; ``user``
    is what an erasure goes by.
    """

    user: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a Compressed Context block that stands for some turns. Once used it is never rewritten.

    ``first_turn`` and ``last_turn`` (counted from 1, inclusive) are the model's turns it stands for;
    ``writer`` is the model that wrote it, or `OWN`.
    """

    first_turn: int
    last_turn: int
    text: str
    tokens: int
    writer: str


@dataclass(frozen=True, slots=True)
class Fold:
    """A way, prepared beforehand, to send a history shorter.

    It fits a history whose ``entries[:reach]`` end in ``prefix`` (hex). Of them ``entries[:entries]`` go out
    as the Compressed Context block that ``segments`` make (0: none do); the others,
    ``entries[entries:reach]``, go out with their bulky tool results masked. ``turns`` are the model's turns
    in ``entries[:entries]``.
    """

    prefix: str
    reach: int
    entries: int = 0
    turns: int = 0
    segments: tuple[Segment, ...] = ()

    @property
    def key(self) -> str:
        """What tells this fold from all others of its session."""
        parts = (self.prefix, str(self.reach), str(self.entries), *(part.text for part in self.segments))
        text = "\n".join(parts)
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @property
    def masks_only(self) -> bool:
        """True if all entries stay and bulky tool results are masked."""
        return not self.entries


def reference_of(owner: Owner, text: str) -> str:
    """Return the name under which a text of a session can be asked for again, such as ``ref-3f9a0c51d2``."""
    name = f"{len(owner.session_id)} {owner.session_id} {text}"
    return f"ref-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"
