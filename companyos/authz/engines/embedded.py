"""The engines that evaluate policy files themselves, by the suffix of the files, and what to make one of."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.authz.interface import PolicyError
from companyos.authz.layout import PLAYBOOK, STAGES, find_places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.authz.engines.cedar import CedarEngine
    from companyos.authz.engines.rego import RegoEngine
    from companyos.authz.policyset import PolicySet
    from companyos.config import AuthzSection

__all__ = ("SUFFIXES", "Recipe", "configured_recipe", "engine_of_policies", "recipe_for")

SUFFIXES: Mapping[str, str] = {"rego": ".rego", "cedar": ".cedar"}
"""The embedded engines by name, with the suffix of the files that they evaluate."""
_CLASSES = {"rego": "RegoEngine", "cedar": "CedarEngine"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an embedded engine is made of, such that another process can make it."""

    name: str
    """`rego` or `cedar`."""
    directories: tuple[str, ...] = ()
    """Its policy directories; none at all means the built-in playbook."""
    stage: str = STAGES[-1]
    """The stage of directories laid out by stage."""

    @property
    def factory(self) -> str:
        """The engine's class, as `package.module:name`."""
        return f"companyos.authz.engines.{self.name}:{_CLASSES[self.name]}"

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the factory, as JSON."""
        return {"directories": list(self.directories), "stage": self.stage}

    def make(self) -> RegoEngine | CedarEngine:
        """The engine, in this process."""
        engine: RegoEngine | CedarEngine = _class_of(self.name)(**self.arguments)
        return engine


def configured_recipe(section: AuthzSection, root: Path) -> Recipe | None:
    """What the engine of the section `authz` is made of; None where it is a server's, a plugin's or a bundle."""
    if section.engine not in SUFFIXES or section.bundle is not None:
        return None
    return Recipe(section.engine, tuple(str(root / path) for path in section.policies), section.stage)


def recipe_for(directories: Sequence[Path], *, stage: str = STAGES[-1], default: str = "rego") -> Recipe:
    """The engine that policy directories are for, by the files in them; `default` where they hold none.

    Raises:
        PolicyError: a directory cannot be used, or they are for more than one engine.
    """
    found = _engines(directories, stage)
    if len(found) > 1:
        raise PolicyError(
            "the directories hold policies for more than one engine",
            got=", ".join(sorted(found)),
            expected="files of one suffix: .rego or .cedar",
            hint="name the directories of each engine by themselves",
        )
    name = next(iter(found), default if default in SUFFIXES else "rego")
    return Recipe(name, tuple(str(Path(directory).absolute()) for directory in directories), stage)


def engine_of_policies(name: str, policies: PolicySet) -> RegoEngine | CedarEngine:
    """An embedded engine for policies that were read already, those of a bundle for example."""
    engine: RegoEngine | CedarEngine = _class_of(name).of(policies)
    return engine


def _class_of(name: str) -> Any:
    return getattr(import_module(f"companyos.authz.engines.{name}"), _CLASSES[name])


def _engines(directories: Sequence[Path], stage: str) -> set[str]:
    own = {Path(directory).resolve() for directory in directories}
    places = find_places(directories, stage=stage) if directories else []
    # What is extended is there for either engine.
    held = [place.directory for place in places if place.directory != PLAYBOOK or PLAYBOOK in own]
    return {name for name, suffix in SUFFIXES.items() for directory in held if any(directory.rglob(f"*{suffix}"))}
