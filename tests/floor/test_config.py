"""companyos.yaml."""

from decimal import Decimal

import jsonschema
import pytest

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
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, text, message):
    """Each mistake is named, with the nearest known key where one is near."""
    with pytest.raises(ConfigError, match=message):
        config.load(write(tmp_path, text), {})


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
