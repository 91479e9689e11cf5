"""The contract of decision engines: embedded or remote, ours or a plugin's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from companyos.errors import ConfigError, UnverifiableError
from companyos.ports import AccessRequest, Opinion

if TYPE_CHECKING:
    from pathlib import Path

    from companyos.ports import DecisionEngine

__all__ = ("EngineContract",)

_USER = {"id": "u-1", "type": "user"}
_READ = AccessRequest(_USER, "read", {"id": "plain", "type": "document"})
_SECRET = AccessRequest(_USER, "read", {"id": "secret", "type": "document"})
_TRAP = AccessRequest(_USER, "read", {"id": "trap", "type": "document"})
_WRITE = AccessRequest(_USER, "write", {"id": "plain", "type": "document"})
_LAUNCH = AccessRequest(_USER, "launch", {"id": "plain", "type": "document"})


class EngineContract(ABC):
    """What every decision engine must do; subclass it with an engine and two requests.

    An engine that decides by policies which can be exchanged defines `make_engine_with` as well; the tests of policies
    are skipped, with the reason, for one that has none.
    """

    allowed: ClassVar[AccessRequest]
    """A request that the engine allows."""
    denied: ClassVar[AccessRequest]
    """A request that it denies."""

    @abstractmethod
    def make_engine(self) -> DecisionEngine:
        """A new engine."""

    def make_engine_with(self, case: str, folder: Path) -> DecisionEngine:
        """A new engine that decides by policies of its own kind, which `folder` may hold.

        - `allow`: the policy `contract.allow` allows the action `read`
        - `deny`: the same, and `contract.deny` denies it on the resource with the id `secret`
        - `oblige`: as `allow`, and with it comes the obligation `contract_log` of the type `notification` with the
          properties `to`, which is `contract`, and `body`, which is the action: `read`
        - `write`: as `allow`, for the action `write` instead
        - `malformed`: what cannot be read as policies
        - `failing`: as `allow`, and a policy that denies, and that cannot be evaluated for the resource `trap`
        """
        pytest.skip(f"no policies to exchange, so nothing to try {case} with in {folder.name}")

    def test_has_a_name_and_a_version(self) -> None:
        """The engine says by which name it is chosen, and by what it decides."""
        engine = self.make_engine()
        assert all(str(said) == said != "" for said in (engine.name, engine.version))  # noqa: S101 - a test

    def test_allows_and_denies(self) -> None:
        """The engine tells an allowed request from a denied one, with a reason for each."""
        engine = self.make_engine()
        opinions = engine.decide(self.allowed), engine.decide(self.denied)
        assert [opinion.allow for opinion in opinions] == [True, False]  # noqa: S101 - a test
        assert [type(opinion) for opinion in opinions] == [Opinion, Opinion]  # noqa: S101 - a test
        assert all(opinion.reason for opinion in opinions)  # noqa: S101 - a test

    def test_is_deterministic(self) -> None:
        """The same request gives the same opinion every time, from any engine of the same version."""
        engines = self.make_engine(), self.make_engine()
        assert engines[0].version == engines[1].version  # noqa: S101 - a test
        for request in (self.allowed, self.denied):
            opinions = [engine.decide(request) for engine in engines for _ in range(5)]
            assert all(opinion == opinions[0] for opinion in opinions)  # noqa: S101 - a test

    def test_serves_threads(self) -> None:
        """One engine serves many threads at once, each with the opinion that one thread alone gets."""
        engine = self.make_engine()
        expected = [engine.decide(self.denied), engine.decide(self.allowed)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda n: engine.decide(self.allowed if n % 2 else self.denied), range(80)))
        assert found == [expected[n % 2] for n in range(80)]  # noqa: S101 - a test

    def test_does_not_change_the_request(self) -> None:
        """The engine leaves the request as it was."""
        engine = self.make_engine()
        for request in (self.allowed, self.denied):
            before: dict[str, Any] = request.to_dict()
            engine.decide(request)
            assert request.to_dict() == before  # noqa: S101 - a test

    @pytest.mark.parametrize("value", [None, 1.5, 2**70, {"__entity": {"type": "Role", "id": "admin"}}, "\u202e", [[]]])
    def test_odd_values_are_judged_or_refused(self, value: Any) -> None:
        """What an engine has no value for gives an opinion or an `UnverifiableError`, and nothing else."""
        engine = self.make_engine()
        request = AccessRequest(
            {**self.denied.subject, "odd": value},
            self.denied.action,
            {**self.denied.resource, "odd": value},
            {**self.denied.environment, "odd": value},
        )
        try:
            opinion = engine.decide(request)
        except UnverifiableError:
            return
        assert (opinion.allow, bool(opinion.reason)) == (False, True)  # noqa: S101 - a test

    def test_reasons_are_the_ids_of_policies(self, tmp_path: Path) -> None:
        """An opinion gives the stable id of the policy that decided, and what no policy allows is denied."""
        engine = self.make_engine_with("allow", tmp_path)
        opinion = engine.decide(_READ)
        assert (opinion.allow, opinion.reason, opinion.obligations) == (True, "contract.allow", ())  # noqa: S101 - a test
        unknown = engine.decide(_LAUNCH)
        assert (unknown.allow, unknown.reason not in {"", "contract.allow"}) == (False, True)  # noqa: S101 - a test

    def test_deny_wins(self, tmp_path: Path) -> None:
        """What one policy allows and another denies is denied, by the id of the one that denies."""
        engine = self.make_engine_with("deny", tmp_path)
        opinions = engine.decide(_READ), engine.decide(_SECRET)
        found = [(opinion.allow, opinion.reason) for opinion in opinions]
        assert found == [(True, "contract.allow"), (False, "contract.deny")]  # noqa: S101 - a test

    def test_obligations(self, tmp_path: Path) -> None:
        """Obligations come with id, type and properties."""
        opinion = self.make_engine_with("oblige", tmp_path).decide(_READ)
        expected = {"id": "contract_log", "type": "notification", "properties": {"to": "contract", "body": "read"}}
        assert [item.to_dict() for item in opinion.obligations] == [expected]  # noqa: S101 - a test
        assert (opinion.allow, opinion.reason) == (True, "contract.allow")  # noqa: S101 - a test

    def test_the_version_changes_with_the_policies(self, tmp_path: Path) -> None:
        """The same policies have the same version wherever they lie; others decide otherwise and have another."""
        cases = ("allow", "allow", "write")
        folders = [tmp_path / str(place) for place in range(len(cases))]
        for folder in folders:
            folder.mkdir()
        engines = [self.make_engine_with(*pair) for pair in zip(cases, folders, strict=True)]
        decided = [(engine.decide(_READ).allow, engine.decide(_WRITE).allow) for engine in engines]
        assert decided == [(True, False), (True, False), (False, True)]  # noqa: S101 - a test
        first, again, other = [engine.version for engine in engines]
        assert (first == again, first == other) == (True, False)  # noqa: S101 - a test

    def test_malformed_policies_are_refused(self, tmp_path: Path) -> None:
        """What cannot be read as policies is an error by name, before anything is decided by it."""
        with pytest.raises((ConfigError, UnverifiableError)):
            self.make_engine_with("malformed", tmp_path).decide(_READ)

    def test_a_failing_policy_allows_nothing(self, tmp_path: Path) -> None:
        """A policy that cannot be evaluated makes the request undecided, and no other one."""
        engine = self.make_engine_with("failing", tmp_path)
        for _ in range(2):
            with pytest.raises(UnverifiableError):
                engine.decide(_TRAP)
            assert engine.decide(_READ).allow  # noqa: S101 - a test
