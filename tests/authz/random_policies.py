"""Strategies for policies nobody would write, and requests that meet them: guards of every form, helpers elsewhere."""

from __future__ import annotations

from hypothesis import strategies as st

from companyos.authz import build_request
from companyos.authz.policyset import PolicySet
from companyos.canonical import digest

ACTIONS = ("read", "write", "delete")
TYPES = ("file", "table")
DOMAINS = ("billing", "people")
SERVICES = ("ledger", "payroll")
DATA = {"lists": {"actions": ["read", "delete"], "types": ["file"], "domains": ["billing"], "services": ["payroll"]}}
HEAD = "package companyos.access\n\nimport rego.v1\nimport data.companyos.lib\nimport input.resource as thing\n\n"
LIBRARY = "package companyos.lib\n\nimport rego.v1\n\n"
DIMENSIONS = {
    "input.action": (ACTIONS, "actions"),
    "input.resource.type": (TYPES, "types"),
    "input.resource.domain": (DOMAINS, "domains"),
    'input["resource"].service': (SERVICES, "services"),
}
HELPERS = 6
"""How many helper rules there are; each refers to those before it only, for Rego knows no recursion."""


@st.composite
def guards(draw):
    """A literal that restricts one fact of the request."""
    place = draw(st.sampled_from(sorted(DIMENSIONS)))
    values, name = DIMENSIONS[place]
    value = draw(st.sampled_from(values))
    return draw(
        st.sampled_from(
            [
                f'{place} == "{value}"',
                f'"{value}" == {place}',
                f'{place} = "{value}"',
                f'{place} in {{"{value}", "other"}}',
                f'{place} in ["{value}", "{values[0]}"]',
                f'{place} in {{"{values[0]}", "{values[1]}"}}',
                f'{place} in {{"{values[0]}", "{values[-1]}", "{value}"}}',
                f"{place} in data.lists.{name}",
                f"{place} == `{value}`",
            ]
        )
    )


def conditions(below, opinions=()):
    """A literal that is no guard; it may refer to the helpers numbered below `below`."""
    numbers = st.integers(0, below - 1) if below else st.nothing()
    return st.one_of(
        st.sampled_from(
            [
                "input.resource.level > 1",
                'input.action != "write"',
                "not input.resource.level",
                "to_number(input.resource.level) > 2",
                "some tag in input.resource.tags\n\ttag in {1, 2}",
                "every tag in input.resource.tags { tag > 0 }",
                'thing.type == "file"',
                'lib[input.action] == "known"',
                "count(data.companyos.lib) > 1",
                "some held in lib\n\theld == input.resource.level",
                'data.companyos.lib.known["read"]',
                'lib.is_big(object.get(input.resource, "level", 0))',
                'input.action == "read" with input.action as "read"',
                "count([x | some x in input.resource.tags; x > 1]) > 0",
                "x > 0\n\tx = count(input.resource.tags)",
                *(f"count({opinion}) > 0" for opinion in opinions),
                *(f"not data.companyos.access.{opinion}" for opinion in opinions),
            ]
        ),
        numbers.map(lambda n: f"helper_{n}"),
        numbers.map(lambda n: f"not helper_{n}"),
        numbers.map(lambda n: f'helper_{n} with input.action as "delete"'),
        numbers.map(lambda n: f"not data.companyos.access.helper_{n}"),
        numbers.map(lambda n: f'not helper_{n} with input.resource as {{"type": "table", "level": 3}}'),
    )


@st.composite
def rules(draw, number):
    """One rule that decides."""
    kind, others = draw(st.sampled_from([("deny", ()), ("deny", ()), ("allow", ("deny",)), ("obligation", ("deny",))]))
    head = draw(st.lists(guards(), min_size=draw(st.sampled_from([1] * 11 + [0])), max_size=2))
    rest = draw(st.lists(conditions(HELPERS, others), max_size=2))
    body = [*head, *rest] if draw(st.integers(0, 3)) else [*rest, *head]
    entry = f'{{"id": "policy.r{number}"}}' if kind != "obligation" else f'{{"id": "o{number}", "type": "custom"}}'
    if not body:
        return f"{kind} contains {entry}\n"
    return f"{kind} contains {entry} if {{\n\t" + "\n\t".join(body) + "\n}\n"


@st.composite
def helpers(draw, number):
    """One helper: a rule with or without a default, a partial set, a chain of else."""
    name = f"helper_{number}"
    literals = draw(st.lists(st.one_of(guards(), conditions(number)), min_size=1, max_size=2))
    body = "{\n\t" + "\n\t".join(literals) + "\n}"
    return draw(
        st.sampled_from(
            [
                [f"{name} if {body}"],
                [f"default {name} := false", f"{name} if {body}"],
                [f'{name} := true if {body} else := false if {{\n\tinput.action == "write"\n}}'],
                [f"{name} contains 1 if {body}", f"{name} contains 2 if {{\n\tinput.resource.level == 2\n}}"],
            ]
        )
    )


@st.composite
def policy_sets(draw):
    """A whole set: rules and helpers dealt out over several modules, so that most of them need one another."""
    count = draw(st.integers(5, 9))
    texts = {f"m{number}.rego": HEAD for number in range(count)}
    for number in range(HELPERS):
        for rule in draw(helpers(number)):
            texts[f"m{draw(st.integers(0, count - 1))}.rego"] += rule + "\n\n"
    for number in range(count + 5):
        texts[f"m{draw(st.integers(0, count - 1))}.rego"] += draw(rules(number)) + "\n"
    texts["lib.rego"] = f'{LIBRARY}known := {{"read"}}\n\nread := "known"\n\nis_big(x) if x > 2\n'
    texts["open.rego"] = HEAD + 'allow contains {"id": "policy.open"} if {\n\tlib.known[input.action]\n}\n'
    return PolicySet(texts, DATA, ("tests",), digest(texts), extends_playbook=False)


@st.composite
def requests(draw):
    """A request that most guards have something to say about."""
    resource = {"id": "d-1", "type": draw(st.sampled_from(TYPES))}
    for name, values in (("domain", (*DOMAINS, *DOMAINS, "other")), ("service", (*SERVICES, *SERVICES, "other"))):
        if draw(st.integers(0, 7)):
            resource[name] = draw(st.sampled_from(values))
    level = draw(st.sampled_from([None, 0, 2, 3, "7", "high"]))
    if level is not None:
        resource["level"] = level
    if draw(st.booleans()):
        resource["tags"] = draw(st.lists(st.integers(0, 3), max_size=2))
    return build_request({"id": "u-1", "type": "user"}, draw(st.sampled_from((*ACTIONS, *ACTIONS, "launch"))), resource)
