"""Which proof there is of the policies in force: of those here, and of those that a remote engine decides by.

Policies here say whether they extend the playbook. Those elsewhere say nothing, so that they are put on trial: a
remote engine that catches anything by a policy of the playbook has the playbook, and must then catch everything.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from companyos.authz.interface import EngineError
from companyos.authz.request import request_from_dict
from companyos.authz.specimens._case import case
from companyos.authz.specimens.playbook import playbook_control
from companyos.errors import UnverifiableError

if TYPE_CHECKING:
    from companyos.controls import Control, Proof
    from companyos.ports import DecisionEngine

__all__ = ("PolicyUnprovenError", "control_in_force", "is_elsewhere", "require_judged")

_OF_ANYBODY = "policy.default_deny"
_OWN_TESTS = (
    "extend the playbook (`extends: playbook` in metadata.yaml; companyos bundle build for an OPA), or prove policies "
    "of your own by tests beside them: companyos authz test"
)


class PolicyUnprovenError(UnverifiableError):
    """Nothing can be said of the policies in force."""

    code = "authz.unproven"


def is_elsewhere(engine: DecisionEngine) -> bool:
    """Whether the engine does not know the policies that it decides by."""
    return not hasattr(engine, "extends_playbook")


def control_in_force(engine: DecisionEngine, asked: DecisionEngine | None = None) -> Control:
    """The playbook's control over the policies of an engine; `asked` decides by the same ones, in a process of its own.

    Raises:
        PolicyUnprovenError: they do not extend the playbook, or the engine does not decide.
    """
    if is_elsewhere(engine):
        _require_answer(engine)
    elif not getattr(engine, "extends_playbook", False):
        raise PolicyUnprovenError(
            "the policies in force have no specimens", got="they do not extend the playbook", hint=_OWN_TESTS
        )
    return playbook_control(asked or engine)


def require_judged(proof: Proof) -> None:
    """Let a proof over policies elsewhere count, whether it holds or not.

    Raises:
        PolicyUnprovenError: they are not the playbook's, or not every specimen was decided.
    """
    own = [it for it in proof.results if (it.violates or "").startswith("policy.") and it.violates != _OF_ANYBODY]
    if not any(it.passed for it in own):
        raise PolicyUnprovenError(
            "the policies of the remote engine are not the playbook's",
            got=f"none of {len(own)} planted violations was caught by a policy of the playbook",
            hint=_OWN_TESTS,
        )
    failed = [it for it in proof.results if not it.passed]
    undecided = [it for it in failed if it.got.startswith("undetermined")]
    if undecided and undecided == failed:
        raise PolicyUnprovenError(
            f"the remote engine did not decide {len(undecided)} of {len(proof.results)} specimens",
            got=f"{undecided[0].specimen}: {undecided[0].got}",
            hint="see its log, and authz.remote.timeout_seconds; then prove again",
        )


def _require_answer(engine: DecisionEngine) -> None:
    plain = case("a read", "read").build(Path())
    try:
        engine.decide(request_from_dict(plain))
    except EngineError as error:
        raise PolicyUnprovenError(
            f"the engine {engine.name} does not decide",
            got=error.what if error.got is None else f"{error.what}: {error.got}",
            hint=error.hint or "start it, or correct authz.remote in companyos.yaml; then prove again",
        ) from error
