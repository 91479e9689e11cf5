"""The columns of FOCUS Cost and Usage, by version: which exist, which are mandatory, what type they have.

Source: FinOps Open Cost and Usage Specification 1.0 to 1.4. Versions 1.0 to 1.2 make the same 21 columns mandatory;
1.3 adds ServiceProviderName and HostProviderName, and 1.4 drops ProviderName and PublisherName.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = (
    "ALLOWED_VALUES",
    "KNOWN",
    "LOAD_BEARING",
    "NOT_NULL",
    "NUMBERS",
    "TIMES",
    "VERSIONS",
    "detect_version",
    "mandatory",
    "stray",
)

VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4")
"""The versions that are read."""

_COMMON_MANDATORY = frozenset(
    """
    BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodStart BillingPeriodEnd ChargeCategory
    ChargeClass ChargeDescription ChargePeriodStart ChargePeriodEnd ContractedCost EffectiveCost InvoiceIssuerName
    ListCost PricingQuantity PricingUnit ServiceCategory ServiceName
    """.split()  # noqa: SIM905 - a table of names reads better than a list of quoted ones
)
_REMOVED_IN_1_4 = frozenset({"ProviderName", "PublisherName"})
_ADDED_IN_1_3 = frozenset({"HostProviderName", "ServiceProviderName"})

_INTRODUCED = {
    "1.0": _COMMON_MANDATORY
    | _REMOVED_IN_1_4
    | frozenset(
        """
        AvailabilityZone ChargeFrequency CommitmentDiscountCategory CommitmentDiscountId CommitmentDiscountName
        CommitmentDiscountStatus CommitmentDiscountType ConsumedQuantity ConsumedUnit ContractedUnitPrice
        ListUnitPrice PricingCategory RegionId RegionName ResourceId ResourceName ResourceType SkuId SkuPriceId
        SubAccountId SubAccountName Tags
        """.split()  # noqa: SIM905 - a table of names reads better than a list of quoted ones
    ),
    "1.1": frozenset(
        """
        CapacityReservationId CapacityReservationStatus CommitmentDiscountQuantity CommitmentDiscountUnit
        ServiceSubcategory SkuMeter SkuPriceDetails
        """.split()  # noqa: SIM905 - a table of names reads better than a list of quoted ones
    ),
    "1.2": frozenset(
        """
        BillingAccountType InvoiceId PricingCurrency PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost
        PricingCurrencyListUnitPrice SubAccountType
        """.split()  # noqa: SIM905 - a table of names reads better than a list of quoted ones
    ),
    "1.3": frozenset(
        """
        AllocatedMethodDetails AllocatedMethodId AllocatedResourceId AllocatedResourceName AllocatedTags
        ContractApplied HostProviderName ServiceProviderName
        """.split()  # noqa: SIM905 - a table of names reads better than a list of quoted ones
    ),
    "1.4": frozenset({"CommitmentProgramEligibilityDetails", "InvoiceDetailId"}),
}

KNOWN = frozenset().union(*_INTRODUCED.values())
"""Every column that some version defines."""

NUMBERS = frozenset(
    """
    BilledCost CommitmentDiscountQuantity ConsumedQuantity ContractedCost ContractedUnitPrice EffectiveCost ListCost
    ListUnitPrice PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost PricingCurrencyListUnitPrice
    PricingQuantity
    """.split()  # noqa: SIM905 - a table of names reads better than a list of quoted ones
)
"""Columns that hold decimal numbers."""

TIMES = frozenset({"BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart"})
"""Columns that hold times."""

LOAD_BEARING = (
    "BilledCost",
    "EffectiveCost",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
)
"""Columns without which a row cannot be placed in time or added up; a row lacking one is rejected."""

NOT_NULL = frozenset(
    """
    BillingAccountId ChargeCategory ContractedCost InvoiceIssuerName ListCost ProviderName PublisherName
    ServiceCategory ServiceName ServiceProviderName
    """.split()  # noqa: SIM905 - a table of names reads better than a list of quoted ones
)
"""Further columns that must not be null; a row lacking one is kept and reported."""

ALLOWED_VALUES = {
    "ChargeCategory": ("Usage", "Purchase", "Tax", "Credit", "Adjustment"),
    "ChargeFrequency": ("One-Time", "Recurring", "Usage-Based"),
    "ChargeClass": ("Correction",),
    "PricingCategory": ("Standard", "Dynamic", "Committed", "Other"),
}
"""Columns whose values the specification lists."""


def detect_version(header: Collection[str]) -> str:
    """The lowest FOCUS version whose columns cover those of `header`.

    A file that leaves out every optional column of a later version cannot be told from an earlier one.
    """
    present = set(header)
    if "ServiceProviderName" in present and not present & _REMOVED_IN_1_4:
        return "1.4"
    for version in reversed(VERSIONS):
        if present & _INTRODUCED[version]:
            return version
    return VERSIONS[0]


def mandatory(version: str) -> frozenset[str]:
    """The columns that a file of that version must have."""
    providers = _ADDED_IN_1_3 if version in {"1.3", "1.4"} else frozenset()
    return _COMMON_MANDATORY | providers | (frozenset() if version == "1.4" else _REMOVED_IN_1_4)


def stray(header: Collection[str]) -> tuple[str, ...]:
    """Columns that no version defines and that do not carry the `x_` prefix of custom columns, in file order."""
    return tuple(name for name in header if name not in KNOWN and not name.startswith("x_"))
