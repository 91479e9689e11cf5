"""The test kit: fixtures, capture helpers and contract suites for whoever builds on CompanyOS.

Installed as a pytest plugin. Fixtures are prefixed `companyos_`; contract suites are classes to subclass:

    class TestMyEngine(EngineContract):
        def make_engine(self) -> DecisionEngine: return MyEngine()
        allowed = AccessRequest(...)
        denied = AccessRequest(...)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from companyos.company import Company
    from companyos.controls import Control
    from companyos.ledger import Ledger
    from companyos.ports import AccessRequest, Channel, DecisionEngine, Message

__all__ = ("ChannelContract", "EngineContract", "assert_proves", "companyos_company", "companyos_ledger")


@pytest.fixture
def companyos_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A real ledger in a directory of its own; verified from its first byte when the test is over."""
    from companyos.ledger import Ledger

    with Ledger.open(f"sqlite:///{tmp_path / 'companyos-ledger' / 'ledger.db'}") as ledger:
        yield ledger
        ledger.verify()


@pytest.fixture
def companyos_company(tmp_path: Path) -> Iterator[Company]:
    """A company with default settings in a directory of its own."""
    from companyos.company import Company

    root = tmp_path / "company"
    root.mkdir()
    (root / "companyos.yaml").write_text("company:\n  name: test\n", encoding="utf-8")
    with Company.open(root) as company:
        yield company


def assert_proves(control: Control) -> None:
    """Fail unless the control catches all that is planted and lets every clean case through."""
    from companyos.controls import prove

    proof = prove(control)
    failures = [f"{r.specimen}: wanted {r.violates or 'allow'}, got {r.got}" for r in proof.results if not r.passed]
    assert not failures, f"{control.id} does not prove itself:\n" + "\n".join(failures)  # noqa: S101 - a test helper


class EngineContract(ABC):
    """What every decision engine must do; subclass it with an engine and two requests."""

    allowed: ClassVar[AccessRequest]
    """A request that the engine allows."""
    denied: ClassVar[AccessRequest]
    """A request that it denies."""

    @abstractmethod
    def make_engine(self) -> DecisionEngine:
        """A new engine."""

    def test_allows_and_denies(self) -> None:
        """The engine tells an allowed request from a denied one, with a reason for each."""
        engine = self.make_engine()
        opinions = engine.decide(self.allowed), engine.decide(self.denied)
        assert [opinion.allow for opinion in opinions] == [True, False]  # noqa: S101 - a test
        assert all(opinion.reason for opinion in opinions)  # noqa: S101 - a test

    def test_is_deterministic(self) -> None:
        """The same request gives the same opinion every time, from any engine of the same version."""
        engines = self.make_engine(), self.make_engine()
        assert engines[0].version == engines[1].version  # noqa: S101 - a test
        opinions = [engine.decide(self.denied) for engine in engines for _ in range(5)]
        assert all(opinion == opinions[0] for opinion in opinions)  # noqa: S101 - a test

    def test_serves_threads(self) -> None:
        """One engine serves many threads at once."""
        engine = self.make_engine()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda n: engine.decide(self.allowed if n % 2 else self.denied).allow, range(40)))
        assert answers == [bool(n % 2) for n in range(40)]  # noqa: S101 - a test

    def test_does_not_change_the_request(self) -> None:
        """The engine leaves the request as it was."""
        before: dict[str, Any] = self.denied.to_dict()
        self.make_engine().decide(self.denied)
        assert self.denied.to_dict() == before  # noqa: S101 - a test


class ChannelContract(ABC):
    """What every notification channel must do; subclass it with a channel and a way to see what arrived."""

    @abstractmethod
    def make_channel(self, tmp_path: Path) -> Channel:
        """A new channel."""

    @abstractmethod
    def arrived(self, tmp_path: Path) -> list[str]:
        """The texts that arrived, in order."""

    def test_delivers_in_order(self, tmp_path: Path) -> None:
        """Every message arrives once, in order, and the channel says where it went."""
        from companyos.ports import Message

        channel = self.make_channel(tmp_path)
        messages: list[Message] = [Message("test.topic", f"text {n}", f"id-{n}") for n in range(3)]
        assert all(channel.deliver(message) for message in messages)  # noqa: S101 - a test
        assert self.arrived(tmp_path) == [message.text for message in messages]  # noqa: S101 - a test
