"""Farthing: grade, route, pay for and bill every model call that passes a LiteLLM proxy."""

__version__ = "0.1.0"
