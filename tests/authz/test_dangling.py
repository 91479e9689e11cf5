"""References that lead nowhere: what would make a rule silently dead is refused when policies are loaded."""

from __future__ import annotations

import pytest

from companyos.authz import PolicyError, RegoEngine
from tests.authz.requests import READ
from tests.authz.test_rego import ALLOW, PACKAGE

DATA = '{"limits": {"rows": 3, "names": ["a"]}}'
HELPERS = 'package companyos.helpers\n\nimport rego.v1\n\nlarge(n) if n > data.limits.rows\n\ntable := {"a": 1}\n'


def _deny(literal, imports=""):
    head = ALLOW.replace("import rego.v1", f"import rego.v1{imports}")
    return f'{head}deny contains {{"id": "x"}} if {{\n\t{literal}\n}}\n'


def _load(policies, literal, imports=""):
    helpers = HELPERS + "used if data.companyos.access.keep\n"
    text = _deny(literal, imports) + "keep if data.companyos.helpers.large(1)\n"
    engine = RegoEngine([policies(mine__rego=text, helpers__rego=helpers, data__json=DATA)])
    return engine.decide(READ)


@pytest.mark.parametrize(
    ("literal", "path", "near"),
    [
        ("data.nothing.here", "data.nothing", None),
        ("data.limits.row > 3", "data.limits.row", "data.limits.rows"),
        ('data["limit"].rows > 3', "data.limit", "data.limits"),
        ("data.limits.rows.max > 3", "data.limits.rows.max", None),
        ("data.limits.names.a", "data.limits.names.a", None),
        ("not data.limits.row", "data.limits.row", "data.limits.rows"),
        ("count([x | x := data.limits.nams[_]]) > 0", "data.limits.nams", "data.limits.names"),
        ("data.companyos.helper.table.a", "data.companyos.helper", "data.companyos.helpers"),
        ("data.companyos.helpers.tabel.a", "data.companyos.helpers.tabel", "data.companyos.helpers.table"),
        ("data.companyos.access.denny", "data.companyos.access.denny", "data.companyos.access.deny"),
        ("input.resourcee.x", "input.resourcee", "input.resource"),
        ('input["subjct"].id == "u"', "input.subjct", "input.subject"),
        ("some part in input.enviroment", "input.enviroment", "input.environment"),
        ('input.action.name == "read"', "input.action.name", None),
        ("input.context.ip", "input.context", None),
        ("input.derived.resource.persnal", "input.derived.resource.persnal", "input.derived.resource.personal"),
        ("input.derived.multi_factor.x", "input.derived.multi_factor.x", None),
    ],
)
def test_what_is_never_there(policies, literal, path, near):
    """A path that neither data nor rules nor a request hold is refused by file and line, with the nearest name."""
    with pytest.raises(PolicyError) as caught:
        _load(policies, literal)

    assert caught.value.what == f"0/mine.rego:7 reads {path}, which is never there"
    assert caught.value.hint == (None if near is None else f"did you mean {near}?")


@pytest.mark.parametrize(
    ("imports", "literal"),
    [("\nimport data.limit", "limit.rows > 3"), ("\nimport input.subjet as who", 'who.id == "u"')],
)
def test_by_an_import(policies, imports, literal):
    """What an import leads to is looked at where it is used."""
    with pytest.raises(PolicyError, match=r"^0/mine\.rego:8 reads "):
        _load(policies, literal, imports)


@pytest.mark.parametrize(
    "literal",
    [
        "input.resource.anything.at.all",
        "input.subject.attributes.whatever",
        "input.environment[input.action]",
        "some part; input[part].id == 3",
        "some key; data.limits[key] == 9",
        "data.limits.names[0] == 9",
        "data.companyos.helpers.table.b == 1",
        "count(data.companyos.helpers) == 77",
        "data.companyos.helpers.large(3); false",
        "input.derived.destination.jurisdiction == 9",
        'limits := {"rows": 1}; limits.columns == 3',
        "some input_like in [{}]; input_like.anything",
    ],
)
def test_what_may_be_there(policies, literal):
    """Attributes are open, what is worked out at run time is anything, and local names are nobody's business."""
    assert _load(policies, literal).allow


def test_the_data_of_what_is_extended(policies):
    """The playbook's own data counts, also where a directory extends it."""
    text = _deny('"nobody" in data.playbook.open_actions')
    metadata = "owner: team\nversion: 1.0.0\nextends: playbook\n"

    assert RegoEngine([policies(mine__rego=text, metadata__yaml=metadata)]).decide(READ).allow
    with pytest.raises(PolicyError, match=r"data\.playbook, which is never there"):
        RegoEngine([policies("alone", mine__rego=text)]).decide(READ)


def test_a_name_of_the_own_package(policies):
    """A rule of the own package that is not there was always refused; it still is, by regorus."""
    with pytest.raises(PolicyError):
        RegoEngine([policies(mine__rego=PACKAGE + 'deny contains {"id": "x"} if { no_such_rule }\n')]).decide(READ)
