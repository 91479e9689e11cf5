"""A remote OPA server, asked by its REST Data API.

The server holds `decision.rego` and the policies of the package `companyos.access`, best as a bundle with a revision.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from companyos.authz.derived import derive, facts_digest
from companyos.authz.engines._elsewhere import RemoteEngine
from companyos.authz.engines._shape import opinion
from companyos.authz.interface import EngineError
from companyos.canonical import digest
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from companyos.authz.engines._remote import RemoteSettings
    from companyos.ports import AccessRequest, Opinion

__all__ = ("OpaEngine",)

DECISION = "companyos/access/decision"
"""Path of the fixed combination below `data`."""
_QUERY = "?provenance=true&strict-builtin-errors=true"
"""Say by what was decided, and fail where a function fails: OPA would pass over the rule, be it a deny."""
_PATH = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*")


class OpaEngine(RemoteEngine):
    """Decides by what an OPA server answers; see `RemoteClient` for time limits, attempts and the circuit breaker.

    Each opinion carries the version of the policies that gave it: a digest over the revisions of the server's bundles
    and over the tables of derived facts. A server without bundles says nothing of its policies; then
    `policy_digest` stands for them, and without that no answer counts, for nobody could say later by what was decided.
    """

    def __init__(self, settings: RemoteSettings, *, decision: str = DECISION, policy_digest: str | None = None) -> None:
        """Take the server's address; nothing is asked yet."""
        if not _PATH.fullmatch(decision):
            raise ConfigError("the path of the decision is not valid", got=decision, expected="names joined by /")
        super().__init__(settings, what="the OPA server", policy_digest=policy_digest)
        self._path = f"/v1/data/{decision}{_QUERY}"
        self._where = f"data.{decision.replace('/', '.')}"

    @property
    def name(self) -> str:
        """`opa`."""
        return "opa"

    def decide(self, request: AccessRequest) -> Opinion:
        """The server's opinion of a request.

        Raises:
            EngineUnreachableError: nobody answered, or the server is left alone for a while.
            EngineTimeoutError: not in time.
            EngineError: the answer is no decision: undefined, of another shape, an error, too large.
        """
        answer = self._client.post(self._path, {"input": {**request.to_dict(), "derived": derive(request)}}).value
        if not isinstance(answer, dict):
            raise EngineError("the OPA server answered something else", got=type(answer).__name__, expected="an object")
        if "result" not in answer:
            raise EngineError(
                "the OPA server has no decision",
                got=f"{self._where} is undefined",
                hint="load decision.rego and the policies of the package companyos.access into it",
            )
        version = self._version(answer.get("provenance"))
        found = opinion(answer["result"], version=version)
        self._seen = version
        return found

    def _version(self, provenance: Any) -> str:
        revisions = _revisions(provenance)
        if revisions:
            return digest({"facts": facts_digest(), "opa": revisions})
        if self._policy_digest is None:
            raise EngineError(
                "the OPA server does not say by which policies it decided",
                hint="load them as a bundle with a revision, or name them by authz.remote.policy_digest",
            )
        return self._policy_digest


def _revisions(provenance: Any) -> dict[str, str]:
    """The revisions of all bundles; none at all if one of them has none, for then the whole has no name."""
    bundles = provenance.get("bundles") if isinstance(provenance, dict) else None
    found: dict[str, str] = {}
    for name, entry in bundles.items() if isinstance(bundles, dict) else ():
        revision = entry.get("revision") if isinstance(entry, dict) else None
        if not isinstance(revision, str) or not revision:
            return {}
        found[name] = revision
    return found
