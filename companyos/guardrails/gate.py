"""A gate: the controls that must have looked at a tree, and have found nothing, before it may go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.decision import Decision, combine
from companyos.errors import ConfigError
from companyos.guardrails.runner import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from companyos.controls import Control

__all__ = ("Gate",)


@dataclass(frozen=True, slots=True)
class Gate:
    """A named list of required controls; more may run, none of these may be missing."""

    name: str
    """Its name, for example `G2` or `release`."""
    requires: tuple[str, ...]
    """Ids of the controls that it needs."""

    def __post_init__(self) -> None:
        if not self.requires:
            raise ConfigError(f"gate {self.name} requires no control", expected="at least one control id")

    def evaluate(self, tree: Path | str, controls: Mapping[str, Control], *, exclude: Iterable[str] = ()) -> Decision:
        """Run the required controls over `tree`; one that is missing makes the gate undetermined.

        Raises:
            TreeError: `tree` is not a directory that can be read.
        """
        present = {name: controls[name] for name in self.requires if name in controls}
        decisions = [result.decision for result in run(tree, present, exclude=exclude).results]
        judged = {name for name, control in present.items() if control.subject == "tree"}
        absent = [self._missing(name) for name in self.requires if name not in judged]
        return combine((*decisions, *absent), reason=f"gate.{self.name}")

    def _missing(self, control: str) -> Decision:
        return Decision.undetermined(
            f"gate.{self.name}.missing", f"gate {self.name} requires {control}, which is not supplied"
        )
