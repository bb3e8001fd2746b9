"""`farthing demo`: the whole stack on this machine, scripted traffic, and what finance then reads."""

from farthing.demo.run import run

__all__ = ["run"]
