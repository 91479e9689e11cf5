"""companyos.yaml."""

import contextlib
from decimal import Decimal

import hypothesis
import jsonschema
import pytest
from hypothesis import strategies as st

from companyos import config
from companyos.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "companyos.yaml"
    path.write_text(text)
    return path


def test_defaults_hold_the_seeds_weekly_budget():
    """Without a file: USD 300 target, USD 500 ceiling a week over all costs."""
    (budget,) = config.load(None, {}).finops.budgets
    assert (budget.target, budget.ceiling, budget.period, budget.currency) == (
        Decimal(300),
        Decimal(500),
        "week",
        "USD",
    )


def test_file_and_environment_combine(tmp_path):
    """The environment overrides single keys of the file, read as YAML."""
    path = write(tmp_path, "company: {name: orders, region: us}\n")
    environ = {"COMPANYOS__COMPANY__REGION": "eu", "COMPANYOS__PLUGINS__ALLOW": "[a, b]", "OTHER": "x"}
    loaded = config.load(path, environ)
    assert (loaded.company.name, loaded.company.region, loaded.plugins.allow) == ("orders", "eu", ("a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ledger: {urll: x}", "did you mean 'url'"),
        ("finops: {budgets: [{name: a, target: 1, ceilin: 2}]}", "did you mean 'ceiling'"),
        ("ledgr: {}", "did you mean 'ledger'"),
        ("company: {name: 'Not A Name'}", "company.name"),
        ("finops: {budgets: [{name: a, target: -1, ceiling: 2}]}", "finops.budgets.0.target"),
        ("- a list", "not a mapping"),
        ("a: [unclosed", "not YAML"),
        ("a: !!python/object/apply:os.system [echo]", "not YAML"),
        ("company: 7", "company"),
        ("a: 1\nb: {c: 1, c: 2}", r"line 2, column 11: the key 'c' occurs a second time"),
        ("company: {name: a}\ncompany: {name: b}", "line 2, column 1: the key 'company' occurs a second time"),
        ("a: {1: x, 1.0: y}", "the key 1.0 occurs a second time"),
        ("a: {<<: {b: 1}, b: 2}", "the key 'b' occurs a second time"),
        ("a: &x [1]\nb: *x", "line 1, column 4: anchors and aliases are not read"),
        ("a: *x", "anchors and aliases are not read"),
        ("a: 1\nb: 2027-02-30", "line 2, column 4: no value of type timestamp: day is out of range"),
        ("a: " + "9" * 5000, "line 1, column 4: no value of type int"),
        ("a: !!bool perhaps", "no value of type bool"),
        ("a: !!int ''", "no value of type int"),
        ("a: " + "[" * 65 + "]" * 65, "nested more than 64 deep"),
        ("a: {[1]: 2}", "unhashable"),
        ("notify: {options: {jsonl: null}}", "notify.options.jsonl"),
        ("notify: {options: {jsonl: x}}", "notify.options.jsonl"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, text, message):
    """Each mistake is named, with the nearest known key where one is near."""
    with pytest.raises(ConfigError, match=message):
        config.load(write(tmp_path, text), {})


def test_references_are_refused_before_they_unfold(tmp_path):
    """Nine lines of merged aliases would be a thousand million pairs."""
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10))]
    with pytest.raises(ConfigError, match="line 1, column 5: anchors"):
        config.load(write(tmp_path, "\n".join(lines)), {})


def test_nesting_that_people_write_is_read():
    """The bound is far from what a policy or a pipeline needs."""
    assert config.parse_yaml("{a: " + "[" * 60 + "]" * 60 + "}", "x")["a"] is not None


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("COMPANYOS__FINOPS__BUDGETS", "[2027-02-30]", "COMPANYOS__FINOPS__BUDGETS holds YAML that is not read here"),
        ("COMPANYOS__COMPANY__REGION", "a\udc80", "COMPANYOS__COMPANY__REGION is not YAML"),
        ("COMPANYOS__\udc80", "1", "the name of an environment variable is not text"),
    ],
)
def test_bad_overrides_are_named(key, text, message):
    """A variable that cannot be read is refused like a file that cannot."""
    with pytest.raises(ConfigError, match=message):
        config.load(None, {key: text})


@hypothesis.given(st.text(alphabet="ab:-[]{}&*<!|>'\"#,?% 0123456789.\n", max_size=60))
def test_any_text_is_a_value_or_refused(text):
    """Whatever a file holds, reading it never ends in an error of another kind."""
    with contextlib.suppress(ConfigError):
        config.parse_yaml(text, "x")


def test_a_file_that_is_not_text(tmp_path):
    """Bytes that are not UTF-8 are an error, not a crash."""
    path = tmp_path / "companyos.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read"):
        config.load(path, {})


def test_an_override_cannot_reach_into_a_value(tmp_path):
    """COMPANYOS__COMPANY__NAME__X names a section that is a value."""
    with pytest.raises(ConfigError, match="reaches into a value"):
        config.load(write(tmp_path, "company: {name: a}"), {"COMPANYOS__COMPANY__NAME__X": "1"})


def test_the_nearest_file_above_is_found(tmp_path):
    """The search goes upwards, as git's does."""
    path = write(tmp_path, "")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert config.find(inner) == path


def test_the_schema_is_valid_and_describes_every_key():
    """The generated schema is JSON Schema 2020-12, and no key is without a description."""
    schema = config.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"company": {"name": "orders"}}, schema)
    undescribed = [
        f"{name}.{key}"
        for name, section in schema["$defs"].items()
        for key, field in section["properties"].items()
        if "description" not in field
    ]
    assert undescribed == []
