"""The FOCUS export: a month of charges in the FinOps Open Cost and Usage Specification's columns."""

from farthing.ledger.focus.columns import VERSIONS, columns
from farthing.ledger.focus.file import Export, FocusError, export

__all__ = ["VERSIONS", "Export", "FocusError", "columns", "export"]
