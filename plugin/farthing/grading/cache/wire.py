"""Entries as they travel through Redis. What comes back is checked: whoever reaches Redis may write there.

An entry holds digests, the grade and its reason; a stream record may add the ask's vector, in float16.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from farthing.grading.cache.near import unit
from farthing.grading.cache.values import Remembered, Vector
from farthing.grading.grade import GRADES

DIMS = 4096
"""No embedding has more dimensions than this."""
_VERSION = 1
_MAX_BYTES = 2_048
_DIGEST = re.compile(r"[0-9a-f]{32}")
_FACTS = re.compile(r"[ -~]{0,200}")
_SOURCE = re.compile(r"[a-z_:.-]{1,40}")
_MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class Record:
    """One event of the stream: an entry put, or (``remembered`` None) one forgotten."""

    key: str
    room: str = ""
    facts: str = ""
    vector: Vector | None = None
    remembered: Remembered | None = None
    origin: str = ""
    """The process that wrote it."""


def encoded(room: str, remembered: Remembered) -> bytes:
    """Return the value kept in Redis under an intent's key."""
    return json.dumps(
        {
            "v": _VERSION,
            "room": room,
            "score": remembered.score,
            "grade": remembered.grade,
            "source": remembered.source,
            "reason": remembered.reason[:_MAX_REASON],
        },
        separators=(",", ":"),
    ).encode()


def decoded(value: object) -> tuple[str, Remembered] | None:
    """Return the room and the grade in ``value``; None unless every part of it is valid."""
    if not isinstance(value, bytes) or len(value) > _MAX_BYTES:
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("v") != _VERSION:
        return None
    room, score, grade = found.get("room"), found.get("score"), found.get("grade")
    source, reason = found.get("source"), found.get("reason")
    if not (isinstance(room, str) and _DIGEST.fullmatch(room) and grade in GRADES):
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        return None
    if not (isinstance(source, str) and _SOURCE.fullmatch(source)):
        return None
    if not isinstance(reason, str) or len(reason) > _MAX_REASON or not reason.isprintable():
        return None
    return room, Remembered(float(score), grade, source, reason)


def fields_of(record: Record) -> dict[Any, Any]:
    """Return ``record`` as the fields of a stream entry."""
    fields: dict[Any, Any] = {b"key": record.key.encode(), b"origin": record.origin.encode()}
    if record.remembered is not None:
        fields[b"entry"] = encoded(record.room, record.remembered)
        fields[b"facts"] = record.facts.encode()
    if record.vector is not None:
        fields[b"vector"] = record.vector.astype("<f2").tobytes()
    return fields


def record_of(fields: Mapping[bytes, bytes]) -> Record | None:
    """Return the record in a stream entry's ``fields``; None unless every part of it is valid."""
    try:
        key, origin = fields[b"key"].decode("ascii"), fields[b"origin"].decode("ascii")
        facts = fields.get(b"facts", b"").decode("ascii")
    except (KeyError, UnicodeDecodeError):
        return None
    if not _DIGEST.fullmatch(key) or not _DIGEST.fullmatch(origin) or not _FACTS.fullmatch(facts):
        return None
    if b"entry" not in fields:
        return Record(key, origin=origin)
    entry = decoded(fields[b"entry"])
    if entry is None:
        return None
    raw = fields.get(b"vector")
    vector = None if raw is None else _vector(raw)
    if raw is not None and vector is None:
        return None
    return Record(key, entry[0], facts, vector, entry[1], origin)


def _vector(raw: bytes) -> Vector | None:
    if len(raw) % 2 or not 0 < len(raw) <= 2 * DIMS:
        return None
    vector = np.frombuffer(raw, dtype="<f2").astype(np.float32)
    length = float(np.linalg.norm(vector))
    return unit(vector) if math.isfinite(length) and 0.98 < length < 1.02 else None
