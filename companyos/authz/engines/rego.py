"""The default engine: Rego v1 policies, evaluated in this process by regorus."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.authz.engines._loaded import load
from companyos.authz.engines._regorus import MAX_ENGINES
from companyos.authz.layout import STAGES
from companyos.authz.policyset import load_policies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.authz.engines._loaded import Loaded
    from companyos.authz.policyset import PolicySet
    from companyos.ports import AccessRequest, Opinion

__all__ = ("RegoEngine",)


class RegoEngine:
    """Decides by Rego v1 policies in the package `companyos.access`.

    A policy adds objects to `deny` and `allow` (`id`, `message`) and to `obligation` (`id`, `type`, `properties`). Its
    `input` is the request with the derived facts under `derived`. Policies are read and checked on first use; any
    thread may ask. Only the policies that can fire for a request are evaluated, as far as that can be proven from how
    their rules begin, so that the answer is always that of all of them.
    """

    def __init__(
        self,
        directories: Iterable[Path] = (),
        *,
        stage: str = STAGES[-1],
        sliced: bool = True,
        most_engines: int = MAX_ENGINES,
    ) -> None:
        """Take the policies from `directories`, in order; none at all means the built-in playbook.

        Of a directory laid out by domain, service, stage and version it takes `stage`. With `sliced=False` every
        policy is evaluated for every request. Each thread that asks keeps `most_engines` slices ready, at most.
        """
        self._directories = tuple(Path(directory) for directory in directories)
        self._stage = stage
        self._sliced = sliced
        self._most_engines = most_engines
        self._lock = threading.Lock()
        self._given: PolicySet | None = None
        self._ready: Loaded | None = None

    @classmethod
    def of(cls, policies: PolicySet, *, sliced: bool = True) -> RegoEngine:
        """An engine for policies that were read already."""
        engine = cls(sliced=sliced)
        engine._given = policies
        return engine

    @property
    def name(self) -> str:
        """`rego`."""
        return "rego"

    @property
    def version(self) -> str:
        """Digest over the policy files, the fixed combination and the tables of derived facts.

        Raises:
            PolicyError: the policies cannot be used.
        """
        return self.loaded().version

    @property
    def extends_playbook(self) -> bool:
        """Whether the built-in policies are among those it decides by, so that their specimens prove it.

        Raises:
            PolicyError: the policies cannot be used.
        """
        return self.loaded().policies.extends_playbook

    @property
    def scopes(self) -> list[str]:
        """`domain`, `service` or both: what requests must say of their resource's place.

        Raises:
            PolicyError: the policies cannot be used.
        """
        return list(self.loaded().slicing.scopes)

    def loaded(self) -> Loaded:
        """The policies as they are evaluated, read on the first call.

        Raises:
            PolicyError: the policies cannot be used.
        """
        ready = self._ready
        if ready is None:
            with self._lock:
                ready = self._ready
                if ready is None:
                    policies = self._given or load_policies(self._directories, stage=self._stage)
                    ready = self._ready = load(policies, most_engines=self._most_engines)
        return ready

    def decide(self, request: AccessRequest) -> Opinion:
        """The policies' opinion of a request.

        Raises:
            PolicyError: the policies cannot be used.
            EngineError: they could not be evaluated for this request.
        """
        return self._ask(self._ready or self.loaded(), request)

    def _ask(self, loaded: Loaded, request: AccessRequest) -> Opinion:
        return loaded.ask(request, sliced=self._sliced)
