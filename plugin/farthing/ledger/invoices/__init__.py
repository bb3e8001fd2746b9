"""Providers' usage and cost exports: read, kept in provider_invoices, and compared with the charges."""

from farthing.ledger.invoices.lines import InvoiceError, InvoiceFile, InvoiceLine
from farthing.ledger.invoices.reading import read
from farthing.ledger.invoices.store import Imported, keep
from farthing.ledger.invoices.variance import Explanation, Variance, explain, variance

__all__ = [
    "Explanation",
    "Imported",
    "InvoiceError",
    "InvoiceFile",
    "InvoiceLine",
    "Variance",
    "explain",
    "keep",
    "read",
    "variance",
]
