"""Every hook of CompanyOS.

Three kinds, told apart by name:

- *collect* (plural nouns): return a list of registrations. Collected once, validated, duplicates refused.
- *notify* (`companyos_on_...`): told afterwards, with copies. A listener that fails is logged and counted, and
  disturbs nobody.
- *veto* (`companyos_validate_...`): asked before something is final. Return None to let it pass or a sentence to
  refuse it; nothing can be altered, and one refusal is enough. An error in a validator is a refusal.

There are no wrapping hooks: a plugin can neither drop, change nor forge what passes. Callers pass every argument by
keyword, so that an implementation may take only those it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from companyos.controls import Control
    from companyos.decision import Decision
    from companyos.ports import (
        AccessRequest,
        Channel,
        Command,
        DecisionEngine,
        Entry,
        ObligationHandler,
        ProviderKind,
    )

__all__ = ("PROJECT", "hookimpl", "hookspec")

PROJECT = "companyos"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def companyos_engines(settings: Mapping[str, Any]) -> Sequence[DecisionEngine]:  # type: ignore[empty-body]
    """Decision engines that `authz.engine` can choose by name (collect).

    `settings` is the `authz` section of the configuration.
    """


@hookspec
def companyos_obligation_handlers() -> Sequence[ObligationHandler]:  # type: ignore[empty-body]
    """Handlers for obligations (collect)."""


@hookspec
def companyos_controls() -> Sequence[Control]:  # type: ignore[empty-body]
    """Controls, each with its specimens (collect)."""


@hookspec
def companyos_channels(settings: Mapping[str, Any]) -> Sequence[Channel]:  # type: ignore[empty-body]
    """Ways to reach people, for `notify.channels` to choose by name (collect).

    `settings` is the `notify` section of the configuration.
    """


@hookspec
def companyos_llm_providers() -> Sequence[ProviderKind]:  # type: ignore[empty-body]
    """Wire formats of language models, for `kind` in the routing file to choose by name (collect)."""


@hookspec
def companyos_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Commands for the command line (collect)."""


@hookspec
def companyos_projections() -> Sequence[type]:  # type: ignore[empty-body]
    """Projections of the ledger, as classes: subclasses of `companyos.ledger.Projection` (collect)."""


@hookspec
def companyos_on_entry(entry: Entry) -> None:
    """An entry is durable in the ledger (notify)."""


@hookspec
def companyos_on_decision(request: AccessRequest, decision: Decision) -> None:
    """An authorization is final and recorded (notify)."""


@hookspec
def companyos_validate_entry(type: str, data: Mapping[str, Any]) -> str | None:  # noqa: A002 - CloudEvents name
    """May this entry be appended? Return a sentence to refuse it (veto)."""


@hookspec
def companyos_validate_decision(request: AccessRequest, opinion_reason: str) -> str | None:
    """May this request be allowed, after the engine would allow it? Return a sentence to refuse it (veto)."""
