"""Which columns each version of FOCUS has, in the order in which they are written."""

VERSIONS = ("1.2", "1.3")

# Alphabetical, as the specification suggests; custom columns come last.
_ALWAYS = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType",
    "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "CapacityReservationId",
    "CapacityReservationStatus", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
    "ChargePeriodEnd", "ChargePeriodStart", "CommitmentDiscountCategory", "CommitmentDiscountId",
    "CommitmentDiscountName", "CommitmentDiscountQuantity", "CommitmentDiscountStatus",
    "CommitmentDiscountType", "CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit",
    "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName",
    "ListCost", "ListUnitPrice", "PricingCategory", "PricingCurrency",
    "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName",
    "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory",
    "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName",
    "SubAccountType", "Tags",
)  # fmt: skip
_SINCE_1_3 = (
    "AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName",
    "AllocatedTags", "ContractApplied", "HostProviderName", "ServiceProviderName",
)  # fmt: skip
_OURS = ("x_ListPriceSource", "x_StatementMonth", "x_UnsplitCost")


def columns(version: str) -> tuple[str, ...]:
    """Return the columns of a version of FOCUS, ours last. Raises ValueError but for ``1.2`` and ``1.3``."""
    if version not in VERSIONS:
        raise ValueError(f"FOCUS {version} is not written here; use one of {', '.join(VERSIONS)}")
    later = _SINCE_1_3 if version == "1.3" else ()
    return (*sorted((*_ALWAYS, *later)), *_OURS)
