"""What models cost: a list with a source and a date, the company's own prices before it, never zero for the unknown.

Start here: `ListedPrices.load(None).find("mistral", "mistral-small-latest")`.
"""

from companyos.llm.prices.errors import PriceFileError, StalePriceError
from companyos.llm.prices.listing import MAX_AGE_DAYS, Chained, ListedPrices
from companyos.llm.prices.price import ModelPrice, Rates
from companyos.llm.prices.table import PriceTable, shipped_table

__all__ = (
    "MAX_AGE_DAYS",
    "Chained",
    "ListedPrices",
    "ModelPrice",
    "PriceFileError",
    "PriceTable",
    "Rates",
    "StalePriceError",
    "shipped_table",
)
