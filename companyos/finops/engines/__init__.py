"""Cost stores, one file each."""

from companyos.finops.engines.sqlite import SqliteCostStore

__all__ = ("SqliteCostStore",)
