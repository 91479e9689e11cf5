"""A remote policy decision point of any make, asked by the AuthZEN Authorization API 1.0.

Its obligations are those of the Obligations Profile (draft 1). `companyos serve --pdp` is such a decision point.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from companyos.authz.authzen import opinion_from_authzen, request_to_authzen
from companyos.authz.engines._elsewhere import RemoteEngine
from companyos.authz.interface import EngineError, RequestError
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from companyos.authz.engines._remote import RemoteSettings
    from companyos.ports import AccessRequest, Opinion

__all__ = ("AuthzenEngine",)

EVALUATION = "/access/v1/evaluation"
"""Path of the Access Evaluation API, unless the decision point's metadata names another."""
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class AuthzenEngine(RemoteEngine):
    """Decides by what an AuthZEN decision point answers; see `RemoteClient` for time limits, attempts and the breaker.

    A decision point that says by which policies it decided (`context.policy_digest`, as ours does) gives each opinion
    its version. For any other one `policy_digest` stands for its policies, and without that no answer counts.
    """

    def __init__(self, settings: RemoteSettings, *, path: str = EVALUATION, policy_digest: str | None = None) -> None:
        """Take the decision point's address; nothing is asked yet.

        Raises:
            ConfigError: the path or the digest is not one.
        """
        if not _PATH.fullmatch(path):
            raise ConfigError("the path of the decision point is not valid", got=path, expected=EVALUATION)
        super().__init__(settings, what="the AuthZEN decision point", policy_digest=policy_digest)
        self._path = path

    @property
    def name(self) -> str:
        """`authzen`."""
        return "authzen"

    def decide(self, request: AccessRequest) -> Opinion:
        """The decision point's opinion of a request.

        Raises:
            EngineUnreachableError: nobody answered, or it is left alone for a while.
            EngineTimeoutError: not in time.
            EngineError: the answer is no decision, it could not decide, or the request says something that has no
                place in AuthZEN.
        """
        try:
            body = request_to_authzen(request)
        except RequestError as error:
            raise EngineError("the request cannot be asked by AuthZEN", got=error.what, hint=error.hint) from error
        answer = self._client.post(self._path, body).value
        opinion = opinion_from_authzen(answer, policy_digest=self._policy_digest)
        if opinion.version is None:
            raise EngineError(
                "the decision point does not say by which policies it decided",
                hint="name them by authz.remote.policy_digest",
            )
        self._seen = opinion.version
        return opinion
