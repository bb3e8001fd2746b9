"""The audit: of the calls that were made, how many needed the strong model, and what would routing save?

Reads past calls (an export of LiteLLM's spend logs, requests as JSON lines, or the ledger), grades them
(`farthing.grading`), prices what a cheaper tier would have cost (`farthing.cost`) and reports. It reaches
the network for the ledger alone, and no model at all.

The room imports grading, cost, telemetry's values, the ledger's client, settings and money; nothing but
`farthing.cli` imports it.
"""

from farthing.audit.errors import AuditError
from farthing.audit.run import AuditOptions, audit

__all__ = ["AuditError", "AuditOptions", "audit"]
