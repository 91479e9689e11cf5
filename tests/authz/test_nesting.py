"""Literals in literals: regorus reads each twice, so that their depth is bounded before it reads any."""

from __future__ import annotations

import pytest

from companyos.authz import PolicyError, RegoEngine
from companyos.authz.engines._nesting import MAX_LEVELS, MAX_WORK, check_nesting
from companyos.authz.engines._regorus import prepare
from tests.authz.requests import READ
from tests.authz.test_authz_cli import run  # noqa: F401 - the fixture
from tests.authz.test_rego import ALLOW, PACKAGE

DEEP = 24
"""Levels that regorus would need an hour for."""
KINDS = {
    "arrays": "[" * DEEP + "1" + "]" * DEEP,
    "sets": "{" * DEEP + "1" + "}" * DEEP,
    "objects": '{"a": ' * DEEP + "1" + "}" * DEEP,
    "keys": "{" * DEEP + "1" + ": 1}" * DEEP,
    "mixed": "[{" * (DEEP // 2) + "1" + "}]" * (DEEP // 2),
    "in calls": "count([" * DEEP + "1" + "])" * DEEP,
    "in parentheses": "([" * DEEP + "1" + "])" * DEEP,
    "behind a string": '["]]]]", ' * DEEP + "1" + "]" * DEEP,
    "behind an escaped quotation mark": '["\\"]", ' * DEEP + "1" + "]" * DEEP,
    "behind a raw string": "[`]\\`, " * DEEP + "1" + "]" * DEEP,
    "behind a comment": "[ # ]\n" * DEEP + "1" + "]" * DEEP,
    "in a comprehension": "[x | x := " * 3 + "[" * DEEP + "1" + "]" * DEEP + "]" * 3,
    "after what closes too often": "]]]]" + "[" * DEEP + "1" + "]" * DEEP,
    "without an end": "[" * DEEP,
}


@pytest.mark.parametrize("kind", KINDS)
def test_literals_that_nest_too_deeply(kind):
    """Nested literals are refused by file and line, and never reach regorus."""
    text = f"{PACKAGE}x := {KINDS[kind]}\n"

    with pytest.raises(PolicyError, match=r"^deep\.rego:\d+ nests literals too deeply"):
        prepare({"deep.rego": text}, {})


def test_the_line_is_that_of_the_level_too_many():
    """The line named is the one on which the nesting goes too far."""
    text = PACKAGE + "x := " + "[\n" * 12 + "1" + "]" * 12

    with pytest.raises(PolicyError, match=rf"^deep\.rego:{5 + MAX_LEVELS} "):
        prepare({"deep.rego": text}, {})


def test_levels_up_to_the_limit():
    """As many levels as may be are read and evaluated; signs in texts, raw texts and comments are no levels."""
    levels = "[" * MAX_LEVELS + "1" + "]" * MAX_LEVELS
    hidden = "[" * DEEP
    text = f'{PACKAGE}x := {levels} # {hidden}\ny := ["{hidden}\\"{hidden}", `{hidden}\\`]\n'
    engine = prepare({"flat.rego": text}, {})

    assert engine.eval_query_as_json("count(data.companyos.access.y)").count('"value": 2') == 1


def test_bodies_of_rules_are_no_levels():
    """Calls, parentheses, and the bodies of rules may be as many as they like."""
    text = ALLOW + "".join(f"f{n}(x) := y if {{\n\ty := count(trim((x[0]), (x[1])))\n}}\n" for n in range(50))

    check_nesting({"many.rego": text})


def test_wide_literals():
    """Below the limit of levels a text that is wide at the bottom is refused too: each level reads it twice."""
    row = "[" * MAX_LEVELS + "1" + "]" * MAX_LEVELS
    text = PACKAGE + f"x := {row}\n" * (MAX_WORK // 100_000)

    with pytest.raises(PolicyError, match=r"^wide\.rego nests too many literals"):
        prepare({"wide.rego": text}, {})


def test_data_may_nest(policies):
    """Data is read by a parser that reads once: what is too deep for a policy has its place there."""
    directory = policies(mine__rego=ALLOW, data__json='{"deep": ' + "[" * DEEP + "1" + "]" * DEEP + "}")

    assert RegoEngine([directory]).decide(READ).allow


def test_the_command_line_refuses(run, policies):  # noqa: F811 - the fixture
    """`companyos authz test` ends at once with file and line; it used to hang."""
    directory = policies(mine__rego=ALLOW + f"x := {KINDS['arrays']}\n")
    status, _, err = run("test", str(directory))

    assert status == 2
    assert "0/mine.rego:6 nests literals too deeply" in err
