"""What can be wrong with an evidence pack, each kind by its own name."""

from __future__ import annotations

from companyos.errors import IntegrityError, UserError

__all__ = ("MemberInvalidError", "PackAlteredError", "PackInvalidError")


class PackInvalidError(IntegrityError):
    """The file is not a pack, or not in the one form that a pack has."""

    code = "evidence.pack_invalid"


class PackAlteredError(IntegrityError):
    """The pack's content is not what was signed and logged."""

    code = "evidence.pack_altered"


class MemberInvalidError(UserError, ValueError):
    """A piece of evidence is not in the format that it claims, or may not have its name."""

    code = "evidence.member_invalid"
