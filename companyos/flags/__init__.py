"""Feature flags through OpenFeature, each with an owner and a date after which it is refused.

Reading and checking need nothing beyond the base install; evaluation (`client`, `FileProvider`) needs the extra
`[flags]`.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.flags.checks import check
    from companyos.flags.definition import KINDS, RULES, Flag
    from companyos.flags.errors import FlagFileError
    from companyos.flags.provider import FileProvider, client
    from companyos.flags.reading import DEFAULT_PATH, FlagFile, load

__all__ = (
    "DEFAULT_PATH",
    "KINDS",
    "RULES",
    "FileProvider",
    "Flag",
    "FlagFile",
    "FlagFileError",
    "check",
    "client",
    "load",
)

_HOMES = {
    "checks": ("check",),
    "definition": ("KINDS", "RULES", "Flag"),
    "errors": ("FlagFileError",),
    "provider": ("FileProvider", "client"),
    "reading": ("DEFAULT_PATH", "FlagFile", "load"),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
