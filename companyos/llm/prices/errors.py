"""What can go wrong with prices."""

from __future__ import annotations

from companyos.errors import ConfigError
from companyos.llm.errors import UnknownModelError

__all__ = ("PriceFileError", "StalePriceError")


class PriceFileError(ConfigError):
    """A file of prices of language models does not parse or contradicts itself."""

    code = "llm.price_file"


class StalePriceError(UnknownModelError):
    """The price of a model was read too long ago to be believed, so what a call would cost cannot be judged."""

    code = "llm.stale_price"
