"""What can go wrong with a file of prices."""

from __future__ import annotations

from companyos.errors import ConfigError

__all__ = ("PriceFileError",)


class PriceFileError(ConfigError):
    """A file of prices of language models does not parse or contradicts itself."""

    code = "llm.price_file"
