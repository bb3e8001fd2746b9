"""Statements and reports as pages that print: one file each, with nothing to load from elsewhere."""

from farthing.ledger.html.pages import report_page, statement_page, statement_pages

__all__ = ["report_page", "statement_page", "statement_pages"]
