"""The catalogue: which failure patterns there are, which controls answer them, and which of these exist yet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from companyos.config import parse_yaml
from companyos.errors import ConfigError

__all__ = ("Catalogue", "CatalogueControl", "Pattern", "load_catalogue")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way in which AI-written software fails."""

    number: int
    """Its number in the canonical list, 1 to 19."""
    name: str
    """Its name."""
    controls: tuple[str, ...]
    """Ids of the controls that answer it."""
    practice: str
    """What answers it where no control has an id yet."""


@dataclass(frozen=True, slots=True)
class CatalogueControl:
    """One control as the catalogue knows it."""

    id: str
    """Its id."""
    title: str
    """What it prevents."""
    implemented: bool
    """Whether it is supplied; one that is not can never be green."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All patterns and controls."""

    patterns: tuple[Pattern, ...]
    """The failure patterns, in order."""
    controls: tuple[CatalogueControl, ...]
    """The controls, by id."""


@cache
def load_catalogue() -> Catalogue:
    """The catalogue that ships with the package.

    Raises:
        ConfigError: it is not what it should be, or a pattern names a control that it does not hold.
    """
    data = parse_yaml(files("companyos.guardrails").joinpath("catalogue.yaml").read_text(encoding="utf-8"), "catalogue")
    patterns = [
        Pattern(item["number"], item["name"], tuple(item["controls"]), item.get("practice", ""))
        for item in data["patterns"]
    ]
    controls = [CatalogueControl(item["id"], item["title"], item["implemented"]) for item in data["controls"]]
    known = {control.id for control in controls}
    unknown = sorted({name for pattern in patterns for name in pattern.controls} - known)
    if unknown:
        raise ConfigError("the catalogue names controls that it does not hold", got=", ".join(unknown))
    return Catalogue(tuple(patterns), tuple(controls))
