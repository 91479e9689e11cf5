"""Rule files that are not what Prometheus loads, or not what is simulated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.errors import UserError
from companyos.observability.slo.simulate import RuleFileError, UnsupportedRuleError, read_rules

GROUP = "groups:\n- name: g\n  rules:\n  - "
WRONG = {
    "": "no list `groups`",
    "groups: 3": "no list `groups`",
    "groups: [{rules: []}]": "a group without a name",
    "groups: [{name: g, rules: []}, {name: g, rules: []}]": "the group name 'g' is repeated",
    "groups: [{name: g, rules: [], colour: red}]": "unknown field\n  got: colour",
    "groups: [{name: g}]": "no list `rules`",
    f"{GROUP}{{expr: x}}": "r.yml:4: group g: a rule with both or none",
    f"{GROUP}{{alert: A, record: b, expr: x}}": "a rule with both or none",
    f"{GROUP}{{record: 'a b', expr: x}}": "not a name",
    f"{GROUP}{{record: a, expr: x, for: 5m}}": "belong to alerts",
    f"{GROUP}{{alert: A, expr: x, for: soon}}": "`for` is not a duration",
    f"{GROUP}{{alert: A, expr: x, labels: {{a: 1}}}}": "`labels` is not a mapping to strings",
    f"{GROUP}{{alert: A, expr: x, labels: {{a-b: c}}}}": "not the name of a label",
    f"{GROUP}{{record: a}}": "group g, record a: line 1, column 1",
    f"{GROUP}&x {{record: a, expr: b}}": "anchors and aliases",
    "a: b: c": "not YAML",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_refused_at_its_place(text):
    """The error names file, line, group and rule as far as there are any."""
    with pytest.raises(RuleFileError) as caught:
        read_rules(text, name="r.yml")

    assert str(caught.value).startswith("r.yml")
    assert WRONG[text] in str(caught.value)


@pytest.mark.parametrize("extra", ["limit: 5", "labels"])
def test_what_would_change_the_outcome_is_not_ignored(extra):
    """A limit of a group and a templated label are not simulated, so the file is refused."""
    rule = "{alert: A, expr: x" + (", labels: {a: '{{ $value }}'}}" if extra == "labels" else "}")
    text = f"groups:\n- name: g\n  {extra if ':' in extra else 'interval: 1m'}\n  rules:\n  - {rule}"

    with pytest.raises(UnsupportedRuleError):
        read_rules(text, name="r.yml")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        _nested := lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["groups", "name", "rules", "record", "alert", "expr", "for", "labels", "interval"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_yaml_is_read_or_refused(value):
    """Whatever the file holds, nothing but an error for people comes out."""
    import yaml

    for document in (value, {"groups": value}, {"groups": [{"name": "g", "rules": [value]}]}):
        try:
            read_rules(yaml.safe_dump(document), name="r.yml")
        except UserError:
            continue
