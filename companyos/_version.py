"""The version, as a literal: reading installed metadata would cost more than `--version` may."""

__version__ = "0.1.0"
