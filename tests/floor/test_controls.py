"""Controls prove themselves, or do not exist."""

import dataclasses

import pytest

from companyos import Control, Decision, Finding
from companyos.controls import prove, tree_specimen, unique
from companyos.errors import ConfigError, UnverifiableError

PLANTED = tree_specimen("planted", {"a.txt": "bad"}, violates="X.bad")
CLEAN = tree_specimen("clean", {"a.txt": "good"})


def check(tree):
    if "bad" in (tree / "a.txt").read_text():
        return Decision.denied("X.bad", findings=[Finding("X.bad", "bad")])
    return Decision.allowed("X.clean")


def control(**changes):
    values = {
        "id": "X",
        "title": "t",
        "check": check,
        "rules": {"X.bad": "bad things"},
        "specimens": (PLANTED, CLEAN),
        "docs": "x.md",
    }
    return Control(**(values | changes))


def test_a_control_that_holds():
    """Everything planted is caught and the clean case passes."""
    proof = prove(control())
    assert (proof.caught, proof.planted, proof.false_alarms, proof.clean, proof.holds) == (1, 1, 0, 1, True)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"specimens": ()}, "rules without a planted violation: X.bad"),
        ({"specimens": (PLANTED,)}, "no clean specimen"),
        ({"specimens": (CLEAN,)}, "rules without a planted violation: X.bad"),
        ({"rules": {"X.bad": "b", "X.worse": "w"}}, "rules without a planted violation: X.worse"),
        ({"rules": {}, "specimens": (PLANTED, CLEAN)}, "specimens for rules it does not have: X.bad"),
        ({"docs": ""}, "no documentation page"),
    ],
)
def test_a_control_that_cannot_prove_itself_does_not_exist(changes, problem):
    """Each missing part is an error when the control is made."""
    with pytest.raises(ConfigError, match=problem):
        control(**changes)


def test_a_blind_check_is_exposed():
    """A check that lets everything through catches nothing, and the proof says so."""
    proof = prove(control(check=lambda _: Decision.allowed("X.clean")))
    assert (proof.caught, proof.holds) == (0, False)


def test_a_check_that_cries_wolf_is_exposed():
    """A check that refuses everything has a false alarm."""
    proof = prove(control(check=lambda _: Decision.denied("X.bad", findings=[Finding("X.bad", "b")])))
    assert (proof.caught, proof.false_alarms, proof.holds) == (1, 1, False)


def test_not_being_able_to_check_is_not_catching():
    """Undetermined counts neither as caught nor as let through."""

    def broken(_):
        raise UnverifiableError("no scanner")

    proof = prove(control(check=broken))
    assert (proof.caught, proof.false_alarms, proof.holds) == (0, 1, False)


@pytest.mark.parametrize("error", [ValueError("bug"), SystemExit(0)])
def test_a_check_that_breaks_has_failed_its_specimens(error):
    """Whatever a check raises, the other specimens are still met and the failure is on the score."""

    def broken(tree):
        if "bad" in (tree / "a.txt").read_text():
            raise error
        return Decision.allowed("X.clean")

    proof = prove(control(check=broken))
    assert (proof.caught, proof.planted, proof.false_alarms, proof.clean) == (0, 1, 0, 1)
    assert type(error).__name__ in proof.to_dict()["failures"][0]["got"]


def test_a_check_that_answers_something_else_has_failed_its_specimens():
    """An answer that is no decision catches nothing and clears nothing."""
    proof = prove(control(check=lambda _: None))
    assert (proof.caught, proof.false_alarms) == (0, 1)


def test_an_interrupt_stops_the_proof():
    """Whoever presses Ctrl-C is obeyed."""

    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prove(control(check=interrupted))


def test_the_right_rule_must_catch_it():
    """A violation caught by another rule shows that its own rule is dead."""
    other = control(
        rules={"X.bad": "b", "X.other": "o"},
        specimens=(PLANTED, tree_specimen("other", {"a.txt": "bad"}, violates="X.other"), CLEAN),
    )
    assert prove(other).to_dict()["failures"] == [{"specimen": "other", "violates": "X.other", "got": "deny X.bad"}]


def test_two_controls_may_not_share_an_id():
    """The same control twice is one; two different ones under one id are an error."""
    one = control()
    assert unique([one, one]) == {"X": one}
    with pytest.raises(ConfigError, match="two controls claim the id X"):
        unique([one, dataclasses.replace(one, title="another")])
