"""New repositories from the golden templates, and their later updates, over Copier and Git."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from companyos.scaffold.create import Created, kinds, new
    from companyos.scaffold.errors import (
        AnswersError,
        DestinationError,
        PinError,
        ScaffoldError,
        TemplateError,
        UpdateRefusedError,
    )
    from companyos.scaffold.pin import Pin, find_pin, pin_wheel
    from companyos.scaffold.refresh import Updated, update
    from companyos.scaffold.store import PUBLIC_URL, Template, TemplateStore, cache_directory, carried_template

__all__ = (
    "PUBLIC_URL",
    "AnswersError",
    "Created",
    "DestinationError",
    "Pin",
    "PinError",
    "ScaffoldError",
    "Template",
    "TemplateError",
    "TemplateStore",
    "UpdateRefusedError",
    "Updated",
    "cache_directory",
    "carried_template",
    "find_pin",
    "kinds",
    "new",
    "pin_wheel",
    "update",
)

_HOME = {
    "PUBLIC_URL": "store",
    "AnswersError": "errors",
    "Created": "create",
    "DestinationError": "errors",
    "Pin": "pin",
    "PinError": "errors",
    "ScaffoldError": "errors",
    "Template": "store",
    "TemplateError": "errors",
    "TemplateStore": "store",
    "UpdateRefusedError": "errors",
    "Updated": "refresh",
    "cache_directory": "store",
    "carried_template": "store",
    "find_pin": "pin",
    "kinds": "create",
    "new": "create",
    "pin_wheel": "pin",
    "update": "refresh",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module that owns it, on first use (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'companyos.scaffold' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"companyos.scaffold.{home}"), name)
    globals()[name] = value
    return value
