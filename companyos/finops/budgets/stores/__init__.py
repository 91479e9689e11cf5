"""The stores of budgets: `open_store(url, name)` finds the one for a URL."""

from companyos.finops.budgets.stores.opening import open_store

__all__ = ("open_store",)
