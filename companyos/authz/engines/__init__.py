"""Decision engines, one a file."""

from __future__ import annotations

from companyos.authz.engines.rego import RegoEngine

__all__ = ("RegoEngine",)
