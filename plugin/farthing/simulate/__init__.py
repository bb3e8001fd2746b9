"""Months that never happened: charges of a declared mix, for boards, benchmarks and what-ifs."""

from farthing.simulate.errors import SimulationError
from farthing.simulate.mix import Mix, default_text, load

__all__ = ["Mix", "SimulationError", "default_text", "load"]
