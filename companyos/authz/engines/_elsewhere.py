"""What engines that ask a server share: where it is, and by which policies it last said that it decided."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from companyos.authz.engines._remote import RemoteClient, RemoteSettings
from companyos.authz.interface import EngineError
from companyos.errors import ConfigError
from companyos.ports import AccessRequest

if TYPE_CHECKING:
    from companyos.ports import Opinion

__all__ = ("UNKNOWN", "RemoteEngine")

UNKNOWN = "unknown"
"""The version before the server has said by which policies it decides."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NOBODY = AccessRequest({"id": "?", "type": "?"}, "?", {"id": "?", "type": "?"})


class RemoteEngine(ABC):
    """A decision engine elsewhere; a class below asks it, and notes in `_seen` the version that an answer carried."""

    def __init__(self, settings: RemoteSettings, *, what: str, policy_digest: str | None) -> None:
        if policy_digest is not None and not _DIGEST.fullmatch(policy_digest):
            raise ConfigError("the digest of the policies is not valid", got=policy_digest, expected="sha256:<64 hex>")
        self._client = RemoteClient(settings, what=what)
        self._policy_digest = policy_digest
        self._seen: str | None = None

    @property
    def version(self) -> str:
        """The version that the last answer carried; asks the server if there was none yet.

        A server that does not answer is no error here: then it is the configured digest, or `unknown`.
        """
        if self._seen is None:
            try:
                self.decide(_NOBODY)
            except EngineError:
                return self._policy_digest or UNKNOWN
        return self._seen or UNKNOWN

    @abstractmethod
    def decide(self, request: AccessRequest) -> Opinion:
        """The server's opinion of a request."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
