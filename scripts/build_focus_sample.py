"""Write `companyos/finops/samples/focus_small.csv`: six weeks of costs in the shape of a real FOCUS 1.0 extract.

The rows are modelled on the public FOCUS 1.0 sample of the FinOps Foundation: its columns in its order, its quirks
(text NULL, times with a space and no zone, a stray `Id` column, `Usage-based` in Oracle's spelling, unit prices in
Azure's AvailabilityZone) and its services and units. Quantities are scaled up so that a week costs about USD 225, less
at weekends. Deterministic: the same file byte for byte on every run.

Usage: python scripts/build_focus_sample.py [DEST]
"""

from __future__ import annotations

import csv
import random
import sys
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

DEST = Path(__file__).parent.parent / "companyos" / "finops" / "samples" / "focus_small.csv"
FIRST_DAY = date(2024, 8, 26)
"""A Monday; the file runs for six weeks, to Sunday 2024-10-06."""
WEEKS = 6
SEED = 20240826

HEADER = [
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "Id",
    "ServiceName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
]

AWS = ("AWS", "Amazon Web Services, Inc.", "1234567890123", "SunBird", "51738928782", "Atlas Nimbus")
AZURE = (
    "Microsoft",
    "Microsoft",
    "/providers/Microsoft.Billing/billingAccounts/8611537",
    "SunBird",
    "/subscriptions/64e355d7-997c-491d-b0c1-8414dccfcf42",
    "Orion Pioneer",
)
ORACLE = ("Oracle", "Oracle", "20209880", "", "ocid6.tenancy.oc6..aaaaaaaa2fs7w19bi9iu", "crowddev")

# Party, service, category, description, unit, unit price, quantity on a workday, application, region id and name.
SERVICES = (
    (AWS, "Amazon Elastic Compute Cloud", "Compute", "$0.096 per On Demand Linux m5.large Instance Hour", "Hours",
     "0.096", 188, "orders", "eu-central-1", "EU (Frankfurt)"),
    (AWS, "Amazon Relational Database Service", "Databases", "$0.171 per db.t3.large Multi-AZ instance hour", "Hours",
     "0.171", 48, "orders", "eu-central-1", "EU (Frankfurt)"),
    (AWS, "Elastic Load Balancing", "Networking", "$0.008 per used Application load balancer capacity unit-hour",
     "LCU-Hours", "0.008", 190, "orders", "eu-central-1", "EU (Frankfurt)"),
    (AWS, "Amazon Simple Storage Service", "Storage", "$0.0245 per GB - first 50 TB / month of storage used",
     "GB-Months", "0.0245", 61, "archive", "eu-central-1", "EU (Frankfurt)"),
    (AWS, "AmazonCloudWatch", "Management and Governance", "$0.63 per GB custom log data ingested", "GB", "0.63", 3,
     "platform", "eu-central-1", "EU (Frankfurt)"),
    (AWS, "AWS Key Management Service", "Security", "$0.03 per 10,000 requests", "Requests", "0.000003", 52000,
     "platform", "eu-central-1", "EU (Frankfurt)"),
    (AZURE, "Azure Kubernetes Service", "Compute", "Standard Uptime SLA - EU West", "Hours", "0.1", 24, "search",
     "westeurope", "West Europe"),
    (AZURE, "Storage Accounts", "Storage", "Tiered Block Blob - LRS - Data Stored - EU West", "GB/Month", "0.0196", 28,
     "search", "westeurope", "West Europe"),
    (ORACLE, "COMPUTE", "Compute", "Standard - E3 - Memory", "GB Hours", "0.0015", 384, "batch", "NULL",
     "eu-frankfurt-1"),
)  # fmt: skip


def main() -> None:
    """Write the file."""
    destination = Path(sys.argv[1]) if len(sys.argv) > 1 else DEST
    chance = random.Random(SEED)  # noqa: S311 - reproducible sample data, no secret
    with destination.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(HEADER)
        number = 11472
        for day in (FIRST_DAY + timedelta(days=n) for n in range(WEEKS * 7)):
            for service in SERVICES:
                number += chance.randrange(100, 9000)
                writer.writerow(row(day, service, number, chance))


def row(day: date, service: tuple[Any, ...], number: int, chance: random.Random) -> list[str]:
    """One day of one service."""
    (provider, issuer, account, account_name, sub_id, sub_name), name, category, text, unit, price, usual, *rest = (
        service
    )
    application, region_id, region_name = rest
    load = Decimal("0.72") if day.weekday() >= 5 else Decimal(1)
    quantity = (usual * load * (1000 + chance.randrange(-90, 91)) / 1000).quantize(Decimal("0.00000000001"))
    cost = (quantity * Decimal(price)).quantize(Decimal("0.00000000001"))
    first = day.replace(day=1)
    oracle, azure = provider == "Oracle", provider == "Microsoft"
    values = dict.fromkeys(HEADER, "NULL") | {
        "AvailabilityZone": price if azure else "NULL",
        "BilledCost": f"{cost}",
        "BillingAccountId": account,
        "BillingAccountName": account_name,
        "BillingCurrency": "USD",
        "BillingPeriodStart": f"{first} 00:00:00",
        "BillingPeriodEnd": f"{(first + timedelta(days=32)).replace(day=1)} 00:00:00",
        "ChargeCategory": "Usage",
        "ChargeDescription": text,
        "ChargeFrequency": "Usage-based" if oracle else "Usage-Based",
        "ChargePeriodStart": f"{day} 00:00:00",
        "ChargePeriodEnd": f"{day + timedelta(days=1)} 00:00:00",
        "ConsumedQuantity": f"{quantity}0000",
        "ConsumedUnit": unit,
        "ContractedCost": "NULL" if oracle else f"{cost}",
        "ContractedUnitPrice": "NULL" if oracle else price,
        "EffectiveCost": f"{cost}",
        "InvoiceIssuerName": issuer,
        "ListCost": f"{cost}",
        "ListUnitPrice": price,
        "PricingCategory": "" if oracle else "Standard",
        "PricingQuantity": f"{quantity}",
        "PricingUnit": unit,
        "ProviderName": provider,
        "PublisherName": issuer,
        "RegionId": region_id,
        "RegionName": region_name,
        "ResourceId": f"{provider.lower()}:{application}:{name.lower().replace(' ', '-')}",
        "ServiceCategory": category,
        "Id": str(number),
        "ServiceName": name,
        "SkuId": f"SKU{abs(hash_of(name)) % 10**10:010}",
        "SubAccountId": sub_id,
        "SubAccountName": sub_name,
        "Tags": f'{{"application": "{application}", "environment": "prod", "CostCenter": "1234"}}',
    }
    return [values[column] for column in HEADER]


def hash_of(text: str) -> int:
    """A number for a text, the same on every run."""
    return sum(position * ord(letter) for position, letter in enumerate(text, 1)) * 7919


if __name__ == "__main__":
    main()
