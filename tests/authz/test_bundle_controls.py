from __future__ import annotations

from collections import Counter

import pytest

from companyos.authz.bundles.interface import PROMOTION_RULES, RULES
from companyos.authz.specimens.bundles import bundle_control
from companyos.authz.specimens.promotion import promotion_control
from companyos.controls import prove

IMPORTANT = {
    "bundle.absolute",
    "bundle.algorithm",
    "bundle.data",
    "bundle.duplicate",
    "bundle.header",
    "bundle.kind",
    "bundle.link",
    "bundle.device",
    "bundle.extension",
    "bundle.file_added",
    "bundle.gzip",
    "bundle.manifest",
    "bundle.name",
    "bundle.older",
    "bundle.signature",
    "bundle.size",
    "bundle.tar",
    "bundle.token",
    "bundle.traversal",
    "promotion.author",
    "promotion.bundle",
    "promotion.order",
    "promotion.policy",
    "promotion.tests",
}


@pytest.mark.parametrize("control", [bundle_control(), promotion_control()], ids=lambda control: control.id)
def test_a_control_catches_every_planted_violation(control):
    """Everything planted is caught by its rule, and nothing clean is refused."""
    proof = prove(control)

    assert [result for result in proof.results if not result.passed] == []
    assert (proof.caught, proof.false_alarms) == (proof.planted, 0)
    assert proof.clean >= 4


def test_important_rules_are_violated_in_many_shapes():
    """What matters most is planted in five shapes or more."""
    specimens = (*bundle_control().specimens, *promotion_control().specimens)
    counted = Counter(specimen.violates for specimen in specimens)

    assert set(RULES) | set(PROMOTION_RULES) == {rule for rule in counted if rule}
    assert {rule: counted[rule] for rule in sorted(IMPORTANT) if counted[rule] < 5} == {}
