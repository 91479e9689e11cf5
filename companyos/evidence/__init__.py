"""Evidence: one file that proves what was checked, verifiable offline with public keys alone."""

from __future__ import annotations

from companyos.evidence.errors import MemberInvalidError, PackAlteredError, PackInvalidError
from companyos.evidence.pack import Pack, PackReport

__all__ = ("MemberInvalidError", "Pack", "PackAlteredError", "PackInvalidError", "PackReport")
