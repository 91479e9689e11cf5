"""The controls of this room prove themselves, and lose the proof when what they control is taken away."""

from __future__ import annotations

import pytest

from companyos.controls import prove
from companyos.decision import Decision
from companyos.llm.plugin import LLM_CALL, LLM_RESIDENCY
from companyos.llm.residency import ResidencyGuard
from companyos.observability import Redactor


@pytest.mark.parametrize("control", [LLM_CALL, LLM_RESIDENCY], ids=lambda control: control.id)
def test_every_planted_violation_is_caught_and_nothing_clean_refused(control):
    """All of them, over real sockets."""
    proof = prove(control)

    assert [] == proof.to_dict()["failures"]
    assert proof.planted > 0
    assert proof.clean > 0


def test_an_audit_that_masks_nothing_is_found_out(monkeypatch):
    """With a redactor that lets everything through, the planted secrets are missed, and the proof says so."""
    monkeypatch.setattr(Redactor, "cut", lambda self, value, limit: value[:limit])

    failures = {one["violates"] for one in prove(LLM_CALL).to_dict()["failures"]}

    assert {"LLM-CALL.secret-kept"} == failures


def test_a_door_that_lets_everything_through_is_found_out(monkeypatch):
    """With a guard that allows all that it is asked, a failover leaves for an unlisted vendor, and is found out."""
    monkeypatch.setattr(ResidencyGuard, "check", lambda self, **asked: Decision.allowed("let-through"))

    failures = {one["violates"] for one in prove(LLM_CALL).to_dict()["failures"]}

    assert {"LLM-CALL.residency"} == failures
