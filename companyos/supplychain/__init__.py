"""What software is made of."""

from __future__ import annotations

from companyos.supplychain.sbom import SbomError, create_sbom

__all__ = ("SbomError", "create_sbom")
