"""Reading PromQL: what is refused, where, and in agreement with Prometheus."""

from __future__ import annotations

from contextlib import suppress

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companyos.observability.slo.simulate.errors import RuleFileError, UnsupportedRuleError
from companyos.observability.slo.simulate.parser import parse

WRONG = {
    "sum(": "line 1, column 5",
    "1 +\n  * 2": "line 2, column 3",
    "rate(x)": "column 6: rate of a vector",
    "x[5m]": "column 1: a range vector",
    "1 > 2": "column 3: a comparison between scalars",
    "x and bool y": "column 3: bool after and",
    "x{a='\\q'}": "there is no escape",
    "x[0s]": "column 3",
    "x{a=~'('}": "does not compile",
    "x + on(a) group_left(a) y": "label 'a' both in on and in the grouping",
    "x offset": "column 9",
    "x ! y": "unexpected '!'",
}
NOT_SIMULATED = {
    "topk(3, x)": "column 1: topk(…)",
    "1 + label_replace(x, 'a', 'b', 'c', 'd')": "column 5: label_replace(…)",
    "x @ 5": "column 3: the @ modifier",
    "x offset -5m": "a negative offset",
    "{a='b'}": "a selector without the name of one metric",
    "x{a=~'(?i)b+?'} or y{a=~'\\\\pL'}": "the regular expression",
    "x atan2 y": "column 3: atan2",
    "+".join(["x"] * 5000): "more than 200 operators",
    "(" * 70 + "x" + ")" * 70: "nesting deeper than 60",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_not_promql_is_refused_at_its_place(text):
    """The error names the rule, and line and column in its expression."""
    with pytest.raises(RuleFileError) as caught:
        parse(text, place="rules.yml:7: group g, record r")

    assert str(caught.value).startswith("rules.yml:7: group g, record r: line ")
    assert WRONG[text] in str(caught.value)


@pytest.mark.parametrize("text", NOT_SIMULATED)
def test_what_is_not_simulated_is_refused_and_never_skipped(text):
    """Valid PromQL outside of the subset could not be checked, and the error says what and where."""
    with pytest.raises(UnsupportedRuleError) as caught:
        parse(text)

    assert NOT_SIMULATED[text] in str(caught.value)
    assert 3 == caught.value.exit_status


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    """Whatever the text, nothing but the errors of this room comes out."""
    with suppress(RuleFileError, UnsupportedRuleError):
        parse(text)


_PIECES = st.sampled_from(
    [
        *[
            "x",
            "y{a='b'}",
            "rate(x[5m])",
            "sum",
            "by (a)",
            "without (b)",
            "(",
            ")",
            "[5m]",
            "[1h:5m]",
            "[5m:]",
            "1",
            "2.5e3",
        ],
        *[
            "+",
            "-",
            "*",
            "/",
            "^",
            "%",
            "and",
            "or",
            "unless",
            "==",
            "> bool",
            ">",
            "on (a)",
            "ignoring (b)",
            "group_left",
        ],
        *["offset 5m", "abs(x)", "vector(1)", "scalar(x)", "avg_over_time", "Inf", "0x1f", "{a!=''}", ",", "time()"],
    ]
)


@pytest.mark.service("promtool")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.lists(_PIECES, min_size=1, max_size=7).map(" ".join), min_size=15, max_size=15))
def test_what_is_accepted_prometheus_accepts(promtool, tmp_path, texts):
    """What is read here of made-up expressions is read by Prometheus, and what is called wrong here is wrong there."""
    accepted, refused = [], []
    for text in texts:
        try:
            parse(text)
        except RuleFileError as error:
            # That a range vector is not a result of a rule Prometheus finds out only when it evaluates it.
            refused += [] if "is not a result of a rule" in str(error) else [text]
        except UnsupportedRuleError:
            pass
        else:
            accepted.append(text)

    assert not promtool.refuses(_rules(tmp_path, accepted))
    for text in refused[:3]:
        assert promtool.refuses(_rules(tmp_path, [text])), text


def _rules(directory, texts):
    rules = [{"record": f"r{number}", "expr": text} for number, text in enumerate(texts)]
    path = directory / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    return path
