"""The control `AUTHZ-OBLIGATIONS`: what is planted is caught, by the rule that it breaks."""

from __future__ import annotations

from collections import Counter

import pytest

from companyos.authz import obligations_control
from companyos.authz.duty import Duty
from companyos.authz.specimens import obligations
from companyos.authz.specimens._trial import Wiring
from companyos.authz.uses import Uses
from companyos.controls import prove


def test_it_proves_itself():
    """Everything planted is caught by its rule, in five shapes or more, and nothing clean is."""
    proof = prove(obligations_control())
    shapes = Counter(result.violates for result in proof.results if result.violates)

    assert proof.to_dict()["failures"] == []
    assert (proof.holds, proof.clean) == (True, 6)
    assert {rule for rule, count in shapes.items() if count < 5} == set()


@pytest.mark.parametrize("probe", obligations._PROBES, ids=lambda probe: probe.__name__)
def test_a_lost_probe_is_noticed(monkeypatch, probe):
    """Without any one of its probes the proof fails."""
    monkeypatch.setattr(obligations, "_PROBES", tuple(one for one in obligations._PROBES if one is not probe))

    assert not prove(obligations_control()).holds


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (Uses, "_check_unused", lambda *_: None),
        (Uses, "_check_age", lambda *_: None),
        (Uses, "claim", lambda *_: None),
        (Duty, "fail", lambda *_: iter(())),
        (Duty, "_note", lambda *_: iter(())),
        (Duty, "finish", lambda _, result: (yield from ()) or result),
        (Duty, "begin", lambda _: iter(())),
    ],
)
def test_a_hole_in_the_enforcement_is_noticed(monkeypatch, owner, name, broken):
    """The enforcement itself, weakened, does not pass for a clean one."""
    monkeypatch.setattr(owner, name, broken)

    assert not prove(obligations_control()).holds


def test_handlers_of_ones_own(handlers):
    """A company puts its own handlers on trial by the same check."""
    own = (*(handler for handler in handlers if handler.obligation != "require_mfa"),)

    assert obligations.check(Wiring(tuple(handlers))).allow
    assert "obligation.missing" in {finding.rule for finding in obligations.check(Wiring(own)).findings}
