"""Attribute names, the charge, its span, and the durable outbox."""

from farthing.telemetry.charge import Account, Charge, Cost, Usage

__all__ = ["Account", "Charge", "Cost", "Usage"]
