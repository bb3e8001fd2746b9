"""What can go wrong with a simulation, and where it goes."""

DATABASE = "farthing_simulated"
"""Where simulated months go if no other database is named: never among real charges."""


class SimulationError(Exception):
    """It cannot be made as asked; the text says why and what to do. Nothing real was touched."""
