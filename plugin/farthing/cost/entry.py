"""An entry of a price map (LiteLLM's names, USD per token) as a ModelPrice.

The one edge where prices written as decimals or floats become exact integers.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from farthing.cost.price import RATES_PER_NANO, ModelPrice, Rates, half_even
from farthing.money import NANO_PER_USD

Entry = Mapping[str, object]

_INPUT, _OUTPUT = "input_cost_per_token", "output_cost_per_token"
_READ, _WRITE = "cache_read_input_token_cost", "cache_creation_input_token_cost"
_WRITE_1H, _REASONING = "cache_creation_input_token_cost_above_1hr", "output_cost_per_reasoning_token"
_ABOVE = re.compile(rf"^(?:{_INPUT}|{_OUTPUT}|{_READ}|{_WRITE}|{_WRITE_1H})_above_(\d+)(k?)_tokens$")
_NO_OUTPUT = {"embedding", "rerank", "moderation"}
# xAI bills the higher tier from the threshold on, others beyond it (LiteLLM's calculator does the same).
_INCLUSIVE = {"xai"}
# Fireworks bills cached input at half price where its list names no price for it (LiteLLM, likewise).
_HALF_PRICE_READS = {"fireworks_ai"}
_SERVICE_TIERS = {"fast": "priority"}
_DEAREST_PRICE = 1000  # USD per token


def rate_from_usd(usd: object, name: str) -> int:
    """Return a price in USD per token as a rate (10⁻¹⁵ nano-dollars per token).

    A float is taken as the decimal it prints as. Raises ValueError, with ``name``, if it is no price.
    """
    try:
        if isinstance(usd, bool) or not isinstance(usd, int | float | str | Decimal):
            raise InvalidOperation
        value = Decimal(repr(usd)) if isinstance(usd, float) else Decimal(usd)
        if not value.is_finite() or not 0 <= value <= _DEAREST_PRICE:
            raise InvalidOperation
    except InvalidOperation:
        raise ValueError(f"{name}: {usd!r} is not a price; write USD per token, such as 1.25e-06") from None
    numerator, denominator = value.as_integer_ratio()
    return half_even(numerator * NANO_PER_USD * RATES_PER_NANO, denominator)


def price_from_entry(
    model: str, entry: Entry, *, version: str = "", provider: str = "", service_tier: str = ""
) -> ModelPrice | None:
    """Return the price of a map entry; None if it has no price per token (which is not the same as 0).

    Understands thresholds (``…_above_200k_tokens``, any number), ``tiered_pricing`` tables, and the
    ``_flex`` / ``_priority`` … prices of a ``service_tier``, which fall back to the standard ones.
    Raises ValueError where a price is not a number.
    """
    provider = provider or str(entry.get("litellm_provider") or "")
    reader = _Reader(entry, service_tier, provider)
    tiers = reader.tiered_table() or reader.thresholds()
    if not tiers:
        return None
    return ModelPrice(
        model=model,
        tiers=tiers,
        provider=provider,
        max_input_tokens=_limit(entry, "max_input_tokens"),
        max_output_tokens=_limit(entry, "max_output_tokens"),
        version=version,
    )


def _limit(entry: Entry, name: str) -> int | None:
    value = entry.get(name)
    value = int(value) if isinstance(value, float | Decimal) and value == int(value) else value
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


class _Reader:
    def __init__(self, entry: Entry, service_tier: str, provider: str) -> None:
        self._entry = entry
        tier = _SERVICE_TIERS.get(service_tier.lower(), service_tier.lower())
        self._suffix = f"_{tier}" if tier and tier not in ("auto", "default", "standard") else ""
        self._inclusive = provider in _INCLUSIVE
        self._half_reads = provider in _HALF_PRICE_READS

    def _rate(self, name: str, entry: Entry | None = None) -> int | None:
        source = self._entry if entry is None else entry
        for key in (name + self._suffix, name) if entry is None else (name,):
            if source.get(key) is not None:
                return rate_from_usd(source[key], key)
        return None

    def _reasoning(self) -> int | None:
        # A service tier that prices its output prices its reasoning with it, unless it says otherwise.
        special = self._entry.get(_REASONING + self._suffix) is not None
        if self._suffix and not special and self._entry.get(_OUTPUT + self._suffix) is not None:
            return None
        return self._rate(_REASONING)

    def thresholds(self) -> tuple[tuple[int, Rates], ...]:
        output = self._rate(_OUTPUT)
        if output is None and self._entry.get("mode") in _NO_OUTPUT:
            output = 0
        plain, read = self._rate(_INPUT), self._rate(_READ)
        if plain is None or output is None:
            return ()
        if self._half_reads and read is None:
            read = half_even(plain, 2)
        known: dict[str, int | None] = {
            _INPUT: plain,
            _OUTPUT: output,
            _READ: read,
            _WRITE: self._rate(_WRITE),
            _WRITE_1H: self._rate(_WRITE_1H),
        }
        tiers = [(0, self._resolved(known))]
        for threshold, text in self._cuts():
            for name in known:
                beyond = self._rate(f"{name}_above_{text}_tokens")
                known[name] = known[name] if beyond is None else beyond
            tiers.append((threshold + (not self._inclusive), self._resolved(known)))
        return tuple(tiers)

    def _cuts(self) -> list[tuple[int, str]]:
        cuts = set()
        for key in self._entry:
            plain = key.removesuffix(self._suffix) if self._suffix else key
            if self._entry[key] is not None and (match := _ABOVE.match(plain)):
                number, thousand = match.groups()
                cuts.add((int(number) * (1000 if thousand else 1), number + thousand))
        return sorted(cuts)

    def _resolved(self, known: Mapping[str, int | None]) -> Rates:
        """Fill in what is not priced: cached input is ordinary input, reasoning ordinary output."""
        rate, output = known[_INPUT] or 0, known[_OUTPUT] or 0
        write = _first(known[_WRITE], rate)
        return Rates(
            input=rate,
            output=output,
            cache_read=_first(known[_READ], rate),
            cache_write=write,
            cache_write_1h=_first(known[_WRITE_1H], write),
            reasoning=_first(self._reasoning(), output),
        )

    def tiered_table(self) -> tuple[tuple[int, Rates], ...]:
        table = self._entry.get("tiered_pricing")
        if not isinstance(table, list):
            return ()
        tiers: dict[int, Rates] = {}
        for row in table:
            span = row.get("range") if isinstance(row, Mapping) else None
            if not isinstance(span, list) or len(span) != 2 or row.get(_INPUT) is None:
                continue
            output = self._rate(_OUTPUT, row)
            if output is None and (output := self._rate(_OUTPUT)) is None:
                return ()
            known = {name: self._rate(name, row) for name in (_INPUT, _READ, _WRITE, _WRITE_1H)}
            rates = self._resolved({**known, _OUTPUT: output})
            reasoning = self._rate(_REASONING, row)
            if reasoning is None and row.get(_OUTPUT) is not None:
                reasoning = output
            if reasoning is not None:
                rates = replace(rates, reasoning=reasoning)
            tiers[int(span[0]) + 1 if span[0] else 0] = rates
        if tiers and 0 not in tiers:
            tiers[0] = tiers[min(tiers)]
        return tuple(sorted(tiers.items(), key=lambda tier: tier[0]))


def _first(value: int | None, default: int) -> int:
    return default if value is None else value
