"""Errors of the SLO kits, and the problems that they gather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.errors import ConfigError, UnverifiableError, UserError, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("KitError", "Problem", "PrometheusError", "QueryError", "SloError")

SHOWN = 50
"""How many problems one message spells out; the rest is counted."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, or worth knowing, at one place of one file."""

    file: str
    """As it was named on the command line; `-` for standard input."""
    line: int
    """Counted from 1; 0 where the whole file is meant."""
    field: str
    """Path of the field, such as `spec.objectives[0].target`."""
    what: str
    """What is wrong, got and expected, in one sentence."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return printable(f"{where}: {self.field}: {self.what}" if self.field else f"{where}: {self.what}")

    def to_dict(self) -> dict[str, str | int]:
        """The problem as a JSON object."""
        return {"file": self.file, "line": self.line, "field": self.field, "what": self.what}


class SloError(ConfigError):
    """SLO files cannot be compiled; `problems` holds everything that was found, in the order of the files."""

    code = "slo.invalid"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        count = len(self.problems)
        super().__init__(
            f"{count} problem{'' if count == 1 else 's'} in SLO files",
            hint="mend the places named above; docs/slo.md shows whole files",
        )

    @property
    def message(self) -> str:
        """What happened, then one line a problem, then the next step."""
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"... and {len(self.problems) - SHOWN} more")
        return "\n  ".join((self.what, *lines, f"next: {self.hint}"))


class KitError(UserError):
    """There is no such kit of objectives, or it cannot be made for that service."""

    code = "slo.kit"


class PrometheusError(UnverifiableError):
    """A Prometheus did not answer, or not with what it was asked for: nothing is known about the objectives."""

    code = "slo.prometheus"


class QueryError(PrometheusError):
    """A Prometheus refused a query: it does not parse, or it cannot be evaluated."""

    code = "slo.query"
