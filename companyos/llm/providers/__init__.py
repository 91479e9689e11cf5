"""The wire formats of providers, one a file."""

__all__ = ()
