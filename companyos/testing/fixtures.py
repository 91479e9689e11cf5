"""Fixtures, and what a test of a control asserts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from companyos.company import Company
    from companyos.controls import Control
    from companyos.ledger import Ledger

__all__ = ("assert_proves", "companyos_company", "companyos_ledger")


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
