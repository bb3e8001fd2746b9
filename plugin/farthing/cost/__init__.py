"""What calls cost: versioned prices, exact arithmetic, and token counts to hold money by."""

from farthing.cost.price import UNLIMITED, ModelPrice, Rates, affordable_output, cost, worst_case
from farthing.cost.price_book import PriceBook
from farthing.cost.request_text import has_hidden_input
from farthing.cost.tokens import (
    count_text,
    encoding,
    input_estimate,
    input_upper_bound,
    input_upper_bound_async,
    quick_upper_bound,
    text_upper_bound,
)

__all__ = [
    "UNLIMITED",
    "ModelPrice",
    "PriceBook",
    "Rates",
    "affordable_output",
    "cost",
    "count_text",
    "encoding",
    "has_hidden_input",
    "input_estimate",
    "input_upper_bound",
    "input_upper_bound_async",
    "quick_upper_bound",
    "text_upper_bound",
    "worst_case",
]
