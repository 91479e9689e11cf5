"""The vocabulary of control."""

import itertools

import pytest

from companyos import Decision, Finding, Obligation, Severity, Verdict
from companyos.decision import combine

ALLOW = Decision.allowed("a", "fine", obligations=[Obligation("mask_fields")])
DENY = Decision.denied("d", "refused", findings=[Finding("r", "m")])
UNDETERMINED = Decision.undetermined("u", "could not check")


def test_only_an_allowing_verdict_allows():
    """Undetermined is no more allowed than denied."""
    assert [ALLOW.allow, DENY.allow, UNDETERMINED.allow] == [True, False, False]


def test_exit_statuses_tell_refused_from_not_checked():
    """A command that answers with a decision exits 0, 1 or 3."""
    assert [ALLOW.exit_status, DENY.exit_status, UNDETERMINED.exit_status] == [0, 1, 3]


def test_a_decision_has_no_truth_value():
    """`if decision:` is an error, not a forgotten obligation."""
    with pytest.raises(TypeError, match=r"decision\.allow"):
        bool(ALLOW)


@pytest.mark.parametrize("order", list(itertools.permutations([ALLOW, DENY, UNDETERMINED])))
def test_deny_wins_in_every_order(order):
    """The combination of decisions does not hang on their order."""
    combined = combine(order, reason="gate")
    assert (combined.verdict, combined.reason) == (Verdict.DENY, "d")


def test_undetermined_beats_allow():
    """One control that could not check spoils a gate."""
    combined = combine([ALLOW, UNDETERMINED, ALLOW], reason="gate")
    assert (combined.verdict, combined.reason) == (Verdict.UNDETERMINED, "u")


def test_nothing_checked_is_undetermined():
    """A gate without controls is never green."""
    assert combine([], reason="gate").verdict is Verdict.UNDETERMINED


def test_all_allowed_collects_obligations():
    """Obligations of every part survive the combination."""
    combined = combine([ALLOW, ALLOW], reason="gate")
    assert (combined.reason, len(combined.obligations)) == ("gate", 2)


def test_json_form_has_the_playbook_keys():
    """A decision leaves the process with decision, reason, obligations and audit_id."""
    value = DENY.recorded("id-1").to_dict()
    assert {"decision": "deny", "reason": "d", "audit_id": "id-1"}.items() <= value.items()
    assert value["findings"] == [{"rule": "r", "message": "m", "severity": "high"}]


def test_severities_are_ordered():
    """Thresholds can be compared."""
    assert Severity.CRITICAL > Severity.HIGH > Severity.MEDIUM > Severity.LOW > Severity.INFO
