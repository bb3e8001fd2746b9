"""What FOCUS 1.2 and 1.3 ask of the columns that Farthing writes, as facts of the specification.

A table of our own, beside the FinOps Foundation's validator (`make focus-validate`), which needs another
Python and does not check all of it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

Row = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Column:
    """``kind``: string, decimal, time, json; ``null``: a row may lack it; ``allowed``: its only values."""

    kind: str
    null: bool = False
    allowed: frozenset[str] = frozenset()


_CATEGORIES = frozenset({"Usage", "Purchase", "Tax", "Credit", "Adjustment"})
COLUMNS: dict[str, Column] = {
    "AvailabilityZone": Column("string", null=True),
    "BilledCost": Column("decimal"),
    "BillingAccountId": Column("string"),
    "BillingAccountName": Column("string", null=True),
    "BillingAccountType": Column("string", null=True),
    "BillingCurrency": Column("string", allowed=frozenset({"USD"})),
    "BillingPeriodEnd": Column("time"),
    "BillingPeriodStart": Column("time"),
    "CapacityReservationId": Column("string", null=True),
    "CapacityReservationStatus": Column("string", null=True, allowed=frozenset({"Used", "Unused"})),
    "ChargeCategory": Column("string", allowed=_CATEGORIES),
    "ChargeClass": Column("string", null=True, allowed=frozenset({"Correction"})),
    "ChargeDescription": Column("string", null=True),
    "ChargeFrequency": Column("string", allowed=frozenset({"One-Time", "Recurring", "Usage-Based"})),
    "ChargePeriodEnd": Column("time"),
    "ChargePeriodStart": Column("time"),
    "CommitmentDiscountCategory": Column("string", null=True, allowed=frozenset({"Spend", "Usage"})),
    "CommitmentDiscountId": Column("string", null=True),
    "CommitmentDiscountName": Column("string", null=True),
    "CommitmentDiscountQuantity": Column("decimal", null=True),
    "CommitmentDiscountStatus": Column("string", null=True, allowed=frozenset({"Used", "Unused"})),
    "CommitmentDiscountType": Column("string", null=True),
    "CommitmentDiscountUnit": Column("string", null=True),
    "ConsumedQuantity": Column("decimal", null=True),
    "ConsumedUnit": Column("string", null=True),
    "ContractedCost": Column("decimal"),
    "ContractedUnitPrice": Column("decimal", null=True),
    "EffectiveCost": Column("decimal"),
    "InvoiceId": Column("string", null=True),
    "InvoiceIssuerName": Column("string"),
    "ListCost": Column("decimal"),
    "ListUnitPrice": Column("decimal", null=True),
    "PricingCategory": Column(
        "string", null=True, allowed=frozenset({"Standard", "Dynamic", "Committed", "Other"})
    ),
    "PricingCurrency": Column("string"),
    "PricingCurrencyContractedUnitPrice": Column("decimal", null=True),
    "PricingCurrencyEffectiveCost": Column("decimal"),
    "PricingCurrencyListUnitPrice": Column("decimal", null=True),
    "PricingQuantity": Column("decimal", null=True),
    "PricingUnit": Column("string", null=True),
    "ProviderName": Column("string"),
    "PublisherName": Column("string"),
    "RegionId": Column("string", null=True),
    "RegionName": Column("string", null=True),
    "ResourceId": Column("string", null=True),
    "ResourceName": Column("string", null=True),
    "ResourceType": Column("string", null=True),
    "ServiceCategory": Column("string", allowed=frozenset({"AI and Machine Learning"})),
    "ServiceName": Column("string"),
    "ServiceSubcategory": Column("string", allowed=frozenset({"Generative AI"})),
    "SkuId": Column("string", null=True),
    "SkuMeter": Column("string", null=True),
    "SkuPriceDetails": Column("json", null=True),
    "SkuPriceId": Column("string", null=True),
    "SubAccountId": Column("string", null=True),
    "SubAccountName": Column("string", null=True),
    "SubAccountType": Column("string", null=True),
    "Tags": Column("json", null=True),
}
SINCE_1_3: dict[str, Column] = {
    "AllocatedMethodDetails": Column("json", null=True),
    "AllocatedMethodId": Column("string", null=True),
    "AllocatedResourceId": Column("string", null=True),
    "AllocatedResourceName": Column("string", null=True),
    "AllocatedTags": Column("json", null=True),
    "ContractApplied": Column("json", null=True),
    "HostProviderName": Column("string"),
    "ServiceProviderName": Column("string"),
}

# The specification's own forms: no plus sign, no thousands separator, and E notation without either.
_DECIMAL = re.compile(r"-?\d+(\.\d+)?(E-?\d+)?\Z")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z\Z")
_UNIT = re.compile(r"(\d+ )?[A-Z][A-Za-z]*\Z")


def problems(rows: Sequence[Row], version: str = "1.2") -> list[str]:
    """Return what is wrong with rows of text by column (None: null), each kind of trouble once."""
    table = COLUMNS | (SINCE_1_3 if version == "1.3" else {})
    found: dict[str, None] = {}
    for number, row in enumerate(rows):
        for text in (*_missing(row, table), *_cells(row, table), *_rules(row)):
            found.setdefault(text if number == 0 else f"row {number}: {text}" if len(found) < 20 else text)
    for parent, child in (("SkuId", "SkuPriceId"), ("ServiceCategory", "ServiceName")):
        pairs = {(row[child], row[parent]) for row in rows}
        if len({child_value for child_value, _ in pairs}) != len(pairs):
            found.setdefault(f"a {child} has two {parent}s")
    return list(found)


def _missing(row: Row, table: Mapping[str, Column]) -> list[str]:
    ours = [name for name in row if name.startswith("x_")]
    texts = [f"{name} is not there" for name in table if name not in row]
    texts += [f"{name} is no column of FOCUS" for name in row if name not in table and name not in ours]
    if list(row)[len(row) - len(ours) :] != ours:
        texts.append("custom columns stand among FOCUS's")
    return texts


def _cells(row: Row, table: Mapping[str, Column]) -> list[str]:
    texts = []
    for name, column in table.items():
        value = row.get(name)
        if value is None:
            if not column.null:
                texts.append(f"{name} is null")
        elif value.strip() == "":
            texts.append(f"{name} is an empty string")
        elif column.allowed and value not in column.allowed:
            texts.append(f"{name} is {value!r}")
        elif not _CHECKS[column.kind](value):
            texts.append(f"{name} is {value!r}, which is no {column.kind}")
    return texts


def _is_json(value: str) -> bool:
    try:
        read = json.loads(value)
    except ValueError:
        return False
    return isinstance(read, dict)


_CHECKS: dict[str, Callable[[str], object]] = {
    "string": lambda value: True,
    "decimal": _DECIMAL.match,
    "time": _TIME.match,
    "json": _is_json,
}


def _rules(row: Row) -> list[str]:
    """Return which of the rules that tie columns together a row breaks."""
    texts = []
    correction = row["ChargeClass"] == "Correction"
    if row["ChargeCategory"] == "Usage" and not correction:
        texts += [
            f"{name} is null on usage"
            for name in (
                "ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "ListUnitPrice", "PricingCategory",
                "PricingCurrencyContractedUnitPrice", "PricingCurrencyListUnitPrice", "PricingQuantity",
                "PricingUnit", "SkuId", "SkuPriceId",
            )
            if row[name] is None
        ]  # fmt: skip
        for price, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
            product = Decimal(row[price] or 0) * Decimal(row["PricingQuantity"] or 0)
            if abs(product - Decimal(row[cost] or 0)) > Decimal("1e-12"):
                texts.append(f"{price} × PricingQuantity is not {cost}")
        texts += [
            f"{name} is below 0"
            for name in ("ListUnitPrice", "ContractedUnitPrice")
            if Decimal(row[name] or 0) < 0
        ]
    for one, other in (
        ("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit"),
        ("SubAccountId", "SubAccountName"),
        ("SubAccountId", "SubAccountType"), ("RegionId", "RegionName"), ("ResourceId", "ResourceType"),
        ("CapacityReservationId", "CapacityReservationStatus"),
        ("CommitmentDiscountId", "CommitmentDiscountStatus"),
        ("SkuId", "SkuMeter"), ("SkuPriceId", "SkuPriceDetails"),
    ):  # fmt: skip
        if (row[one] is None) != (row[other] is None):
            texts.append(f"only one of {one} and {other} is null")
    if not str(row["BillingPeriodStart"]).endswith("-01T00:00:00Z"):
        texts.append("a billing period is no month")
    if str(row["ChargePeriodStart"]) >= str(row["ChargePeriodEnd"]):
        texts.append("a charge period is empty")
    texts += [
        f"{name} is no unit" for name in ("ConsumedUnit", "PricingUnit") if not _UNIT.match(row[name] or "")
    ]
    for name in ("Tags", "SkuPriceDetails"):
        values = json.loads(row[name] or "{}")
        if not isinstance(values, dict):
            continue
        if not all(isinstance(value, str | int | float | bool) or value is None for value in values.values()):
            texts.append(f"{name} holds more than plain values")
        if name == "SkuPriceDetails" and not all(key.startswith("x_") for key in values):
            texts.append("SkuPriceDetails has a key of FOCUS's")
    return texts
