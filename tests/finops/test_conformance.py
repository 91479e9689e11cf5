"""Checking bills against the requirements model of FOCUS 1.2."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from companyos.cli import main
from companyos.finops import CostFileError, RuleModelError
from companyos.finops.conformance import load_model, validate
from companyos.finops.conformance.model import SHIPPED

SHARED = Path(__file__).parents[3] / "shared"
MODEL = load_model()


def status(validation):
    return {result.id: result.status for result in validation.results}


@pytest.fixture
def of(focus_file):
    """The statuses of a file of the given rows."""

    def check(*rows, supports=(), lacks=(), **options):
        return status(validate(focus_file(*rows, **options), MODEL, supports=supports, lacks=lacks))

    return check


@pytest.mark.outside
def test_the_shipped_model_is_the_official_one():
    """Unpacked, it is byte for byte the published file."""
    assert (SHARED / "conformance" / "focus" / "model-1.2.json").read_bytes() == gzip.decompress(SHIPPED.read_bytes())


@pytest.mark.outside
def test_the_real_sample_breaks_what_it_is_known_to_break():
    """Text NULL, naive times and a missing account name are found; every rule has exactly one result."""
    validation = validate(SHARED / "data" / "focus" / "focus-1.0-sample.csv", MODEL)

    assert list(MODEL.rules) == [result.id for result in validation.results]
    assert (1, 1000, "1.0") == (validation.exit_code, validation.rows, validation.version)
    rows = {result.id: result.rows for result in validation.of("failed")}
    assert (1000, 1000, 7) == (
        rows["BillingPeriodStart-C-002-M"],
        rows["ChargePeriodEnd-C-002-M"],
        rows["ChargeFrequency-C-003-M"],
    )


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        ("BilledCost-C-001-M", {"BilledCost": "many"}),
        ("BilledCost-C-002-M", {"BilledCost": "+1"}),
        ("BillingPeriodStart-C-002-M", {"BillingPeriodStart": "2024-09-01 00:00:00"}),
        ("ChargeCategory-C-003-M", {"ChargeCategory": "Bonus"}),
        ("BillingCurrency-C-006-M", {"BillingCurrency": "XQZ"}),
        ("ProviderName-C-002-M", {"ProviderName": "NULL"}),
        ("ServiceName-C-005-C", {"ServiceCategory": "Storage"}),
        ("ListUnitPrice-C-008-M", {"ListUnitPrice": "-1"}),
        ("ListUnitPrice-C-010-C", {"ListUnitPrice": "2"}),
        ("Tags-C-001-M", {"Tags": '{"a": [1]}'}),
        ("Tags-C-001-M", {"Tags": "NULL"}),
    ],
)
def test_a_violation_is_found_by_its_rule(of, rule, row):
    """Each kind of check fails on what it is about, and on nothing else of a sound file."""
    sound = dict.fromkeys(row, "")
    good = {"ListUnitPrice": "1.5", "Tags": '{"a": "b"}'}

    assert "failed" == of({}, row)[rule]
    assert of({}, {name: good.get(name) or {**sound}[name] for name in row if name in good})[rule] != "failed"


def test_a_rule_under_a_condition_speaks_only_of_its_rows(of):
    """`BilledCost MUST be 0 …` holds only where provider and issuer differ."""
    assert ["failed", "passed", "passed"] == [
        of(row)["BilledCost-C-005-C"] for row in ({}, {"ProviderName": "Cloud Inc."}, {"BilledCost": "0"})
    ]


def test_what_data_cannot_tell_is_unchecked_and_never_passed(focus_file):
    """Rules that the model calls dynamic stay unchecked, whatever the file, and so does all that is made of them."""
    validation = validate(focus_file({}), MODEL, lacks=["ALL"])
    found = status(validation)

    dynamic = [rule for rule in MODEL.rules.values() if rule.dynamic and rule.keyword != "MAY"]
    assert {"unchecked"} == {found[rule.id] for rule in dynamic}
    for rule in MODEL.rules.values():
        if found[rule.id] == "passed":
            assert not {found[child] for child in rule.children} & {"failed", "unchecked"}
    assert found["CostAndUsage-D-000-M"] != "passed"


def test_a_missing_column_depends_on_what_the_provider_supports(of):
    """Absent and supported is a violation, absent and lacking does not apply, and not said is unchecked."""
    rule, criterion = "CostAndUsage-D-007-C", "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED"
    assert criterion in MODEL.rules[rule].criteria

    assert ["unchecked", "failed", "not_applicable"] == [
        of({})[rule],
        of({}, supports=[criterion])[rule],
        of({}, lacks=["ALL"])[rule],
    ]


def test_a_missing_mandatory_column_is_a_result_and_not_an_error(of):
    """The presence rule fails; the rules of the column itself do not apply."""
    found = of({}, drop=("BilledCost",))

    assert ("failed", "not_applicable") == (found["CostAndUsage-D-006-M"], found["BilledCost-C-001-M"])


def test_a_file_that_cannot_be_read_is_an_error(tmp_path, focus_text):
    """Broken quoting gives no results at all."""
    path = tmp_path / "bill.csv"
    for rows in (({},), ({"ChargeDescription": "two\nlines"},)):
        path.write_text(focus_text(*rows) + '"never closed\n')
        with pytest.raises(CostFileError, match="cannot be read|not well-formed"):
            validate(path, MODEL)


def test_line_breaks_inside_quotes_are_no_matter(focus_file):
    """Such a file has the results of the same file without them."""
    one, two = (validate(focus_file({"ChargeDescription": text}), MODEL) for text in ("two lines", "two\nlines"))
    assert one.results == two.results


def test_a_model_that_is_none_is_an_error(tmp_path):
    """Other JSON, and no JSON, are named."""
    for text in ("{}", "no", '{"Details": {}, "ModelRules": []}'):
        path = tmp_path / "model.json"
        path.write_text(text)
        with pytest.raises(RuleModelError, match=r"model\.json"):
            load_model(path)


def test_the_command_exits_by_what_was_found(focus_file, capsys):
    """1 for a violation, 3 when only unchecked rules are left; JSON has a result for every rule."""
    assert 1 == main(["finops", "validate", str(focus_file({"BilledCost": "x"}))])
    assert "BilledCost-C-001-M" in capsys.readouterr().out

    sound = {"ProviderName": "Cloud Inc."}
    status_code = main(["finops", "validate", str(focus_file(sound)), "--lacks", "ALL", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (len(MODEL.rules), 0) == (len(told["results"]), told["counts"].get("failed", 0))
    assert 3 == status_code
