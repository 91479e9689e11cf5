"""Flags at run time, through OpenFeature's own client."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import date, timedelta

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from companyos import flags, observability
from companyos._extras import install_command
from tests.flags.flag_samples import TODAY, flag


def client(path, **options):
    """A client for which it is always the same day."""
    return flags.client(path, **{"today": lambda: TODAY} | options)


def test_a_flag_is_evaluated(write):
    """A sound flag gives its variant, why, and who owns it."""
    details = client(write({"f": flag(definition_defaultVariant="on")})).get_boolean_details("f", False)
    assert (details.value, details.variant, details.reason) == (True, "on", Reason.STATIC)
    assert details.flag_metadata["owner"] == "team-orders"


@pytest.mark.parametrize(
    ("kind", "variants", "default", "value"),
    [
        ("string", {"a": "x", "b": "y"}, "z", "x"), ("integer", {"a": 1, "b": 2}, 0, 1),
        ("float", {"a": 1, "b": 2.5}, 0.0, 1.0), ("object", {"a": {"n": 1}, "b": {}}, {}, {"n": 1}),
        ("object", {"a": [1], "b": []}, [], [1]),
    ],
)  # fmt: skip
def test_types(write, kind, variants, default, value):
    """Variants may be texts, numbers, lists and mappings."""
    path = write({"f": flag(definition_variants=variants, definition_defaultVariant="a")})
    assert getattr(client(path), f"get_{kind}_value")("f", default) == value


def test_targeting(write):
    """Rules in JsonLogic choose by the evaluation context."""
    rule = {"if": [{"ends_with": [{"var": "email"}, "@example.org"]}, "on", "off"]}
    flagged = client(write({"f": flag(definition_targeting=rule)}))
    inside = EvaluationContext("u-1", {"email": "ann@example.org"})
    details = flagged.get_boolean_details("f", False, inside)
    assert (details.value, details.reason) == (True, Reason.TARGETING_MATCH)
    assert flagged.get_boolean_value("f", True, EvaluationContext("u-2", {"email": "bob@example.com"})) is False


def test_a_share_of_users(write):
    """A fractional rule gives the same person the same answer, and each side its share."""
    rule = {"fractional": [["on", 50], ["off", 50]]}
    flagged = client(write({"f": flag(definition_targeting=rule)}))
    answers = [flagged.get_boolean_value("f", False, EvaluationContext(f"u-{n}")) for n in range(1000)]
    again = [flagged.get_boolean_value("f", False, EvaluationContext(f"u-{n}")) for n in range(1000)]
    assert answers == again
    assert 400 < sum(answers) < 600


def test_shared_rules(write):
    """`$evaluators` of the file are understood."""
    text = """
$evaluators:
  staff: {ends_with: [{var: email}, "@example.org"]}
flags:
  f:
    state: ENABLED
    variants: {on: true, off: false}
    defaultVariant: off
    targeting: {if: [{$ref: staff}, on, off]}
    metadata: {owner: a, description: b, kind: ops, expires: 2026-12-31, issue: https://t.example/1}
"""
    context = EvaluationContext("u-1", {"email": "ann@example.org"})
    assert client(write(text)).get_boolean_value("f", False, context) is True


REFUSED = {
    "expired": flag(expires="2026-06-30", definition_defaultVariant="on"),
    "no owner": flag(owner=None, definition_defaultVariant="on"),
    "no expiry": flag(expires=None, definition_defaultVariant="on"),
    "malformed": flag(definition_defaultVariant="maybe"),
    "unknown key": flag(definition_variant="x", definition_defaultVariant="on"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_flags_give_the_default_of_the_code(write, case, caplog):
    """A flag that may not live is an error of evaluation: default value, reason, message, one violation told."""
    told = []
    flagged = client(
        write({"fine": flag(definition_defaultVariant="on"), "f": REFUSED[case]}), on_violation=told.append
    )
    with caplog.at_level(logging.WARNING, "companyos.flags"):
        for default in (False, True, False):
            details = flagged.get_boolean_details("f", default)
            assert (details.value, details.reason, details.error_code) == (default, Reason.ERROR, ErrorCode.GENERAL)
    assert details.error_message == told[0].message
    assert (len(told), len(caplog.records)) == (1, 1)
    assert flagged.get_boolean_value("fine", False) is True


def test_a_flag_expires_while_the_service_runs(write):
    """At midnight (UTC) of its last day a flag is refused without a restart, and that is told again each day."""
    days = [TODAY]
    told = []
    path = write({"f": flag(expires=TODAY.isoformat(), definition_defaultVariant="on")})
    flagged = client(path, today=lambda: days[-1], on_violation=told.append)
    assert flagged.get_boolean_value("f", False) is True
    for _ in range(2):
        days.append(days[-1] + timedelta(days=1))
        assert flagged.get_boolean_value("f", False) is False
    assert [finding.rule for finding in told] == ["FLAG-EXPIRY.expired"] * 2


def test_what_is_only_untidy_is_still_evaluated(write):
    """A missing link or kind fails the check, not the running service."""
    path = write({"f": flag(issue=None, kind=None, description=None, definition_defaultVariant="on")})
    assert client(path).get_boolean_value("f", False) is True


def test_unknown_flags_and_wrong_types(write):
    """A flag that is not there, and one of another type, give the default with OpenFeature's error codes."""
    flagged = client(write({"f": flag()}))
    assert flagged.get_boolean_details("g", True).error_code is ErrorCode.FLAG_NOT_FOUND
    details = flagged.get_string_details("f", "default")
    assert (details.value, details.error_code) == ("default", ErrorCode.TYPE_MISMATCH)


def test_disabled_flags_give_the_default_of_the_code(write):
    """A disabled flag decides nothing."""
    details = client(write({"f": flag(definition_state="DISABLED")})).get_boolean_details("f", True)
    assert (details.value, details.reason) == (True, Reason.DISABLED)


def test_rules_that_choose_no_variant(write):
    """A rule whose result is no variant is an error of evaluation, never a guess."""
    path = write({"f": flag(definition_targeting={"if": [True, "maybe"]})})
    details = client(path).get_boolean_details("f", True)
    assert (details.value, details.reason) == (True, Reason.ERROR)


def test_a_toggle_takes_effect_at_once(write):
    """Changes of the file count from the next evaluation on, however quickly they follow each other."""
    changes = []
    api.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, changes.append)
    flagged = client(write({"f": flag()}))
    for number in range(50):
        variant = "on" if number % 2 else "off"
        write({"f": flag(definition_defaultVariant=variant)})
        assert flagged.get_boolean_value("f", not number % 2) is bool(number % 2)
    write({"g": flag(definition_defaultVariant="on")})
    assert flagged.get_boolean_value("g", False) is True
    assert flagged.get_boolean_details("f", True).error_code is ErrorCode.FLAG_NOT_FOUND


def test_a_broken_change_leaves_the_last_good_flags(write, caplog):
    """While the file cannot be read the last good one holds, as STALE and said once; then it is fresh again."""
    path = write({"f": flag(definition_defaultVariant="on")})
    flagged = client(path)
    for breakage in ("flags: [", None):
        with caplog.at_level(logging.ERROR, "companyos.flags"):
            if breakage is None:
                path.unlink()
            else:
                write(breakage)
            for _ in range(3):
                details = flagged.get_boolean_details("f", False)
                assert (details.value, details.reason) == (True, Reason.STALE)
        assert len(caplog.records) == 1
        write({"f": flag(definition_defaultVariant="off")})
        assert flagged.get_boolean_details("f", True).reason is Reason.STATIC
        write({"f": flag(definition_defaultVariant="on")})
        assert flagged.get_boolean_value("f", False) is True
        caplog.clear()


def test_starting_with_an_unreadable_file(write, tmp_path):
    """A service whose flags cannot be read does not start with guesses."""
    for path in (write("flags: ["), tmp_path / "none.yaml"):
        with pytest.raises(flags.FlagFileError):
            flags.client(path)


def test_one_provider_for_one_file(write):
    """Asking again gives a client of the same provider; another file gets its own."""
    path = write({"f": flag()})
    assert flags.client(path).provider is flags.client(str(path)).provider
    other = path.with_name("other.yaml")
    other.write_text(path.read_text())
    assert flags.client(other).provider is not flags.client(path).provider


def test_evaluations_are_on_the_span(write):
    """A recorded span tells which flags were asked and what they said, and never about whom."""
    flagged = client(write({"f": flag(), "old": flag(expires="2020-01-01")}))
    with observability.setup(service="orders") as service:
        with observability.start_trace("checkout"):
            flagged.get_boolean_value("f", False, EvaluationContext("person-7"))
            flagged.get_boolean_value("old", False)
        (span,) = service.spans()
    assert [(name, dict(attributes)) for name, attributes in span.events] == [
        (
            "feature_flag.evaluation",
            {
                "feature_flag.key": "f",
                "feature_flag.provider.name": "companyos-file",
                "feature_flag.result.reason": "static",
                "feature_flag.result.variant": "off",
            },
        ),
        (
            "feature_flag.evaluation",
            {
                "feature_flag.key": "old",
                "feature_flag.provider.name": "companyos-file",
                "feature_flag.result.reason": "error",
                "error.type": "general",
            },
        ),
    ]
    assert flagged.get_boolean_value("f", False) is False


WITHOUT_EXTRA = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("openfeature"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from companyos import flags
from companyos.errors import MissingExtraError
print(flags.check(sys.argv[1]).verdict.value)
for name in ("client", "FileProvider"):
    try:
        getattr(flags, name)
    except MissingExtraError as error:
        print(error.hint)
"""


def test_without_the_extra(write):
    """Checking works with the base install; evaluating says what to install."""
    path = write({"f": flag(expires=(date.today() + timedelta(days=30)).isoformat())})  # noqa: DTZ011 - a month off
    done = subprocess.run([sys.executable, "-c", WITHOUT_EXTRA, str(path)], capture_output=True, text=True, check=True)
    hint = install_command("flags")
    assert done.stdout.splitlines() == ["allow", hint, hint]


def test_names_of_the_room():
    """The public names are all there."""
    assert dir(flags) == sorted(flags.__all__)
    assert [getattr(flags, name) for name in dir(flags)]
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        flags.nonsense  # noqa: B018 - the access is what is tested
