"""Attribute names, the charge, its span, and the durable outbox."""

from farthing.telemetry.charge import GATEWAY, Account, Charge, Cost, Usage

__all__ = ["GATEWAY", "Account", "Charge", "Cost", "Usage"]
