"""New repositories from the golden templates, and their later updates, over Copier and Git."""

from typing import TYPE_CHECKING

from companyos._lazy import attach

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

_HOMES = {
    "create": ("Created", "kinds", "new"),
    "errors": ("AnswersError", "DestinationError", "PinError", "ScaffoldError", "TemplateError", "UpdateRefusedError"),
    "pin": ("Pin", "find_pin", "pin_wheel"),
    "refresh": ("Updated", "update"),
    "store": ("PUBLIC_URL", "Template", "TemplateStore", "cache_directory", "carried_template"),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
