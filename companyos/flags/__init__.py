"""Feature flags through OpenFeature, each with an owner and a date after which it is refused.

Reading and checking need nothing beyond the base install; evaluation (`client`, `FileProvider`) needs the extra
`[flags]`.
"""

from typing import TYPE_CHECKING

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

_HOME = {
    "checks": ("check",),
    "definition": ("KINDS", "RULES", "Flag"),
    "errors": ("FlagFileError",),
    "provider": ("FileProvider", "client"),
    "reading": ("DEFAULT_PATH", "FlagFile", "load"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name from the module that owns it, on first use (PEP 562)."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'companyos.flags' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"companyos.flags.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
