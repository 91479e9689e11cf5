"""An engine over a verified bundle: it decides until the bundle, its signature or its key expires, and never after."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from companyos.authz.bundles.checks import engine_of
from companyos.authz.bundles.manifest import moment_text
from companyos.authz.interface import PoliciesExpiredError

if TYPE_CHECKING:
    from companyos.authz.bundles.bundle import Bundle
    from companyos.authz.engines.cedar import CedarEngine
    from companyos.authz.engines.rego import RegoEngine
    from companyos.ports import AccessRequest, Opinion

__all__ = ("BundleEngine",)


class BundleEngine:
    """Decides by a bundle; whoever makes one has verified it, as `find_in_force` does."""

    def __init__(self, bundle: Bundle, until: datetime) -> None:
        """Take the policies of `bundle`, which count until a moment."""
        self.policies: RegoEngine | CedarEngine = engine_of(bundle)
        """What evaluates the policies, with no regard to their expiry."""
        self._until = until
        self._ends = until.timestamp()
        self._digest = bundle.digest

    @property
    def name(self) -> str:
        """`rego` or `cedar`, as the policies are."""
        return self.policies.name

    @property
    def version(self) -> str:
        """The bundle's digest, by which its promotion is found on the ledger.

        Raises:
            PolicyError: the policies cannot be used.
        """
        self.policies.version  # noqa: B018 - raises if they cannot be used
        return self._digest

    @property
    def extends_playbook(self) -> bool:
        """Whether the built-in policies are among those it decides by.

        Raises:
            PolicyError: the policies cannot be used.
        """
        return self.policies.extends_playbook

    def decide(self, request: AccessRequest) -> Opinion:
        """The policies' opinion of a request.

        Raises:
            PoliciesExpiredError: they do not count any more.
            EngineError: they could not be evaluated for this request.
        """
        if datetime.now(UTC).timestamp() >= self._ends:
            raise PoliciesExpiredError(
                "the bundle of policies has expired",
                got=f"valid until {moment_text(self._until)}",
                hint="promote a newer version, or sign it with a key that counts",
            )
        return self.policies.decide(request)
