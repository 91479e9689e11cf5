"""Language models behind one router: budget, failover and residency before a byte leaves."""

__all__ = ()
