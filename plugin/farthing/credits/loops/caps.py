"""Where a run ends: its caps, and what the people and the agent are told of them."""

from dataclasses import dataclass
from typing import Literal

from farthing.credits.loops.detect import Loop
from farthing.credits.store import Run

_NEARLY = 90
"""Per cent of a cap on cost or time from which on the agent is told."""
_PAGE = "/farthing/"
_LOOP_SETTINGS = {"repeat": "repeats", "poll": "polls", "cycle": "cycles", "stall": "stalls"}

StopKind = Literal["stopped", "steps", "cost", "wall", "loop"]


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a call of a run is refused: stopped by an admin, a cap, or a loop."""

    kind: StopKind
    loop: Loop | None = None

    @property
    def setting(self) -> str:
        """The setting in farthing.yaml that allows more; empty for a run that an admin stopped."""
        if self.loop:
            return f"loops.{_LOOP_SETTINGS[self.loop.kind]}"
        return {"steps": "loops.steps", "cost": "loops.credits", "wall": "loops.wall_s"}.get(self.kind, "")


def verdict(run: Run, *, wall_s: float | None, now_ms: int, loop: Loop | None) -> Stop | None:
    """Return why the call that ``run`` was entered with is refused; None lets it pass.

    ``wall_s`` caps the seconds from the run's first call (None: no cap), ``now_ms`` is Unix milliseconds.
    The cost counts what is settled and what is held.
    """
    if run.stopped_by:
        return Stop("stopped")
    if not run.entered:
        return Stop("steps")
    if run.max_cost is not None and run.settled + run.held >= run.max_cost:
        return Stop("cost")
    if wall_s is not None and now_ms - run.started_ms > wall_s * 1000:
        return Stop("wall")
    return Stop("loop", loop) if loop else None


def explain(run: Run, stop: Stop, spent: str) -> str:
    """Return what the client is told: what happened, what it cost, how to go on.

    ``spent`` is what the run has settled, in credits as people see them.
    """
    so_far = f"It has asked for {run.steps} call{'s' * (run.steps != 1)} and spent {spent} credits."
    anew = "A session that is quiet for loops.idle_s begins anew."
    raised = f"An admin can raise its caps at {_PAGE}; for later ones, raise {stop.setting} in farthing.yaml."
    match stop.kind:
        case "stopped":
            resume = f"An admin can let it go on at {_PAGE}."
            return f"This session was stopped by {run.stopped_by}. {so_far} {resume}"
        case "steps":
            return f"This session has asked for all the calls it may have. {so_far} {raised} {anew}"
        case "cost":
            return f"This session has reached its cap on credits. {so_far} {raised} {anew}"
        case "wall":
            return (
                f"This session has run for longer than it may. {so_far} "
                f"To allow more, raise {stop.setting} in farthing.yaml. {anew}"
            )
    reason = stop.loop.reason if stop.loop else "it went round in a circle"
    return (
        f"This session was stopped as a loop: {reason}. {so_far} Something new, such as a user's next words "
        f"or another tool, lets it go on. To allow more, raise {stop.setting} in farthing.yaml."
    )


def last_step_note(run: Run, *, wall_s: float | None, now_ms: int) -> str | None:
    """Return what the agent is told on its last step, or with 90 % of its credits or time gone; else None."""
    if run.max_steps is not None and run.steps >= run.max_steps:
        reason = "this is the last step allowed; answer now with what you have."
    elif run.max_cost is not None and (run.settled + run.held) * 100 >= run.max_cost * _NEARLY:
        reason = "hardly any credits are left; finish now with what you have."
    elif wall_s is not None and (now_ms - run.started_ms) * 100 >= wall_s * 1000 * _NEARLY:
        reason = "hardly any time is left; finish now with what you have."
    else:
        return None
    return f"This session's budget is nearly spent: {reason}"
