"""Loop caps: agents that go round in circles, and sessions that go too far."""

from farthing.credits.loops.caps import Stop, explain, last_step_note, verdict
from farthing.credits.loops.detect import Loop, LoopLimits, find_loop, mark_of
from farthing.credits.loops.note import with_note

__all__ = [
    "Loop",
    "LoopLimits",
    "Stop",
    "explain",
    "find_loop",
    "last_step_note",
    "mark_of",
    "verdict",
    "with_note",
]
