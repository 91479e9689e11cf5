"""The check: which flags may stay."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from companyos import flags
from companyos.cli import main
from companyos.controls import prove
from companyos.decision import Verdict
from companyos.flags.definition import HORIZON_DAYS
from companyos.flags.plugin import FLAG_EXPIRY, companyos_controls
from companyos.flags.reading import MAX_BYTES, parse
from tests.flags.flag_samples import TODAY, flag

BROKEN = {
    "no owner": (flag(owner=None), "owner"),
    "nobody": (flag(owner="nobody"), "owner"),
    "owner is a number": (flag(owner=7), "owner"),
    "no expiry": (flag(expires=None), "expires"),
    "expiry is a year": (flag(expires=2026), "expires"),
    "expiry with a time": (flag(expires="2026-12-31T00:00:00Z"), "expires"),
    "expiry in other digits": (flag(expires="\uff12\uff10\uff12\uff16-12-31"), "expires"),
    "expired": (flag(expires="2026-06-30"), "expired"),
    "never": (flag(expires="2099-01-01"), "horizon"),
    "unknown kind": (flag(kind="misc"), "kind"),
    "no kind": (flag(kind=None), "kind"),
    "kind is a list": (flag(kind=["release"]), "kind"),
    "no issue": (flag(issue=None), "issue"),
    "issue is no link": (flag(issue="#42"), "issue"),
    "no description": (flag(description=None), "description"),
    "unknown state": (flag(definition_state="on"), "shape"),
    "no variants": (flag(definition_variants={}), "shape"),
    "variants of several types": (flag(definition_variants={"on": True, "off": 0}), "shape"),
    "default is no variant": (flag(definition_defaultVariant="maybe"), "shape"),
    "default is a list": (flag(definition_defaultVariant=["off"]), "shape"),
    "misspelt key": (flag(definition_variant="off"), "shape"),
    "targeting is text": (flag(definition_targeting="on"), "shape"),
    "unknown operator": (flag(definition_targeting={"if": [{"equals": [1, 1]}, "on", "off"]}), "shape"),
    "metadata holds a list": (flag(teams=["a"]), "shape"),
    "no mapping": ("on", "shape"),
    "nothing": (None, "shape"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_flags_are_denied(write, case):
    """Each defect is denied by the rule that is meant for it, with the place."""
    definition, rule = BROKEN[case]
    decision = flags.check(write({"fine": flag(), "broken": definition}), today=TODAY)
    found = [finding for finding in decision.findings if finding.rule == f"FLAG-EXPIRY.{rule}"]
    assert (decision.verdict, decision.reason) == (Verdict.DENY, "flags.refused")
    assert found
    assert {finding.rule for finding in decision.findings} <= set(flags.RULES)
    assert all("broken" in finding.message and finding.line for finding in decision.findings)


def test_sound_flags_are_allowed(write):
    """Flags that are owned, dated, linked and current may stay."""
    definitions = {
        "release": flag(),
        "text": flag(kind="ops", definition_variants={"a": "x", "b": "y"}, definition_defaultVariant="b"),
        "number": flag(kind="kill-switch", definition_variants={"a": 1, "b": 2.5}, definition_defaultVariant="a"),
        "object": flag(kind="experiment", definition_variants={"a": {"n": 1}}, definition_defaultVariant="a"),
        "off": flag(definition_state="DISABLED"),
        "split": flag(definition_targeting={"fractional": [["on", 50], ["off", 50]]}),
    }
    decision = flags.check(write(definitions), today=TODAY)
    assert (decision.verdict, decision.findings) == (Verdict.ALLOW, ())
    assert dict(decision.facts) == {"files": 1, "flags": 6, "today": "2026-07-01", "unchecked": []}


@pytest.mark.parametrize(
    ("expires", "rules"),
    [
        (TODAY - timedelta(days=1), ["FLAG-EXPIRY.expired"]),
        (TODAY, []),
        (TODAY + timedelta(days=HORIZON_DAYS), []),
        (TODAY + timedelta(days=HORIZON_DAYS + 1), ["FLAG-EXPIRY.horizon"]),
    ],
)
def test_edges_of_the_expiry(write, expires, rules):
    """A flag lives through its last day, and that may not lie too far ahead."""
    decision = flags.check(write({"f": flag(expires=expires.isoformat())}), today=TODAY)
    assert [finding.rule for finding in decision.findings] == rules


def test_yaml_as_people_mean_it(write):
    """`on` and `off` are names, a date needs no quotes, and findings name the line of the flag."""
    text = """\
flags:
  # The comment shifts the lines.
  new-checkout:
    state: ENABLED
    variants: {on: true, off: false}
    defaultVariant: off
    metadata: {owner: a, description: b, kind: ops, expires: 2026-06-01, issue: https://t.example/1}
"""
    path = write(text)
    (found,) = flags.load(path).flags
    assert (found.definition["defaultVariant"], found.expires) == ("off", date(2026, 6, 1))
    (finding,) = flags.check(path, today=TODAY).findings
    assert (finding.rule, finding.line, finding.path) == ("FLAG-EXPIRY.expired", 3, str(path))


@pytest.mark.parametrize(
    "text",
    [
        "flags:\n  a: {}\n  b: {}\n  a: {}\n",
        "flags:\n  a:\n    state: ENABLED\n    state: DISABLED\n",
        "flags:\n  a:\n    metadata: {owner: x, owner: y}\n",
        "flags:\n  a:\n    targeting: {if: [{var: a, var: b}, x]}\n",
    ],
)
def test_keys_that_occur_twice(write, text):
    """YAML's silent choice of the last of two equal keys is a finding."""
    rules = {finding.rule for finding in flags.check(write(text), today=TODAY).findings}
    assert "FLAG-EXPIRY.duplicate" in rules


UNREADABLE = {
    "not yaml": "flags: [",
    "nothing": "",
    "a list": "- a",
    "a text": "flags",
    "flags are a list": "flags: [a]",
    "flags missing": "flag: {}",
    "unknown top key": "flags: {}\nFlags: {}",
    "two flags": "flags: {}\nflags: {}",
    "two documents": "flags: {}\n---\nflags: {}",
    "python object": "flags: !!python/object/apply:os.getcwd []",
    "evaluators are a list": "flags: {}\n$evaluators: []",
    "too deep": "flags: " + "[" * 1500,
    "too large": "flags: {}\n#" + "x" * MAX_BYTES,
    "unhashable key": "flags: {[a]: b}",
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_undetermined(write, case):
    """A file that holds no flags to judge is never a pass, and the error says what was expected."""
    path = write(UNREADABLE[case])
    decision = flags.check(path, today=TODAY)
    assert (decision.verdict, decision.reason) == (Verdict.UNDETERMINED, "flags.unreadable")
    with pytest.raises(flags.FlagFileError) as caught:
        flags.load(path)
    assert caught.value.code == "flags.unreadable"


def test_missing_and_binary_files_are_undetermined(tmp_path):
    """So is a file that is not there, and one that is not text."""
    assert flags.check(tmp_path / "none.yaml").verdict is Verdict.UNDETERMINED
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert flags.check(tmp_path / "binary.yaml").verdict is Verdict.UNDETERMINED


def test_nested_aliases_end(write):
    """A nest of aliases, which would be huge when written out, is judged in no time."""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    text = "$evaluators:\n" + "\n".join(f"  {line}" for line in lines) + "\nflags:\n  f: {targeting: *a39}\n"
    assert flags.check(write(text), today=TODAY).verdict is Verdict.DENY


def test_a_tree_is_searched(write, tmp_path):
    """Every file in a directory feature-flags counts, wherever it is; others and installed packages do not."""
    write({"fine": flag()})
    other = tmp_path / "services" / "a" / "feature-flags"
    other.mkdir(parents=True)
    (other / "more.json").write_text(json.dumps({"flags": {"old": flag(expires="2020-01-01")}}))
    (other / "README.md").write_text("# flags")
    hidden = tmp_path / "node_modules" / "x" / "feature-flags"
    hidden.mkdir(parents=True)
    (hidden / "flags.yaml").write_text("nonsense")
    decision = flags.check(tmp_path, today=TODAY)
    assert [(f.rule, f.path) for f in decision.findings] == [
        ("FLAG-EXPIRY.expired", "services/a/feature-flags/more.json")
    ]
    assert decision.facts["files"] == 2


def test_a_tree_without_flags(tmp_path):
    """A tree without a feature-flags directory has no flags to refuse, and the answer says so."""
    decision = flags.check(tmp_path)
    assert (decision.verdict, decision.reason) == (Verdict.ALLOW, "flags.none")


@pytest.mark.parametrize(
    "path",
    [
        "feature-flags/prod/eu/flags.yaml",
        "Feature-Flags/flags.yaml",
        "feature-flags/flags.YML",
        "feature-flags/build/f.json",
    ],
)
def test_nested_and_differently_written_files_are_found(tmp_path, path):
    """Neither a directory below `feature-flags` nor capital letters hide a flag."""
    target = tmp_path / path
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps({"flags": {"f": flag(expires="2020-01-01")}}))
    decision = flags.check(tmp_path, today=TODAY)
    assert [(finding.rule, finding.path) for finding in decision.findings] == [("FLAG-EXPIRY.expired", path)]


def test_the_directory_of_flags_itself_is_a_tree_of_flags(write):
    """Asked for `feature-flags`, the check looks into it."""
    root = write({"f": flag(expires="2020-01-01")}).parent
    (root / "feature-flags").mkdir(exist_ok=True)
    (root / "feature-flags" / "f.yaml").write_text(json.dumps({"flags": {"f": flag(expires="2020-01-01")}}))
    assert flags.check(root / "feature-flags", today=TODAY).reason == "flags.refused"


def test_a_linked_directory_of_flags_is_undetermined(tmp_path):
    """Links are not followed; what lies behind one is not taken for checked."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "feature-flags").symlink_to(tmp_path / "elsewhere")
    decision = flags.check(tmp_path, today=TODAY)
    assert decision.verdict is Verdict.UNDETERMINED
    assert decision.facts["unchecked"] == ["feature-flags: a linked directory is not followed"]


def test_an_unreadable_file_beside_a_bad_one(write, tmp_path):
    """Findings deny; what could not be read is named too."""
    write({"old": flag(expires="2020-01-01")})
    (tmp_path / "feature-flags" / "broken.yaml").write_text("flags: [")
    decision = flags.check(tmp_path, today=TODAY)
    assert decision.verdict is Verdict.DENY
    assert "broken.yaml" in decision.message


def test_the_control_proves_itself():
    """Everything planted is caught by its own rule and nothing clean is refused."""
    proof = prove(FLAG_EXPIRY)
    assert [result for result in proof.results if not result.passed] == []
    assert (proof.caught, proof.false_alarms) == (proof.planted, 0)
    assert companyos_controls() == [FLAG_EXPIRY]


@example("False0")
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_judged_or_refused(text):
    """No text makes the reader fail in any other way than by its own error."""
    for candidate in (text, f"flags: {text}", f"flags:\n  {text}"):
        try:
            file = parse(candidate, "x")
        except flags.FlagFileError:
            continue
        for found in file.flags:
            assert isinstance(found.findings(TODAY), tuple)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["state", "variants", "defaultVariant", "targeting", "metadata", "x"]), JSON))
def test_any_definition_is_judged(definition):
    """Whatever stands under a key, the check answers, and never allows what has no owner."""
    (found,) = parse(json.dumps({"flags": {"f": definition}}), "x").flags
    assert found.owner or found.refusal(TODAY) is not None


@pytest.mark.parametrize(("content", "status"), [({"f": flag()}, 0), ({"f": flag(owner=None)}, 1), ("flags: [", 3)])
def test_command_check(write, capsys, content, status):
    """`flags check` exits 0, 1 or 3, and prints the decision."""
    assert main(["flags", "check", str(write(content)), "--today", "2026-07-01", "--json"]) == status
    answer = json.loads(capsys.readouterr().out)
    assert answer["decision"] == {0: "allow", 1: "deny", 3: "undetermined"}[status]


def test_command_uses_the_configured_file(write, tmp_path, monkeypatch, capsys):
    """Without a path the file is that of companyos.yaml, from any directory below."""
    path = write({"f": flag()})
    path.rename(tmp_path / "switches.yaml")
    (tmp_path / "companyos.yaml").write_text("flags: {file: switches.yaml}")
    monkeypatch.chdir(path.parent)
    assert main(["flags", "check", "--today", "2026-07-01"]) == 0
    assert capsys.readouterr().out.startswith("ALLOW  flags.current")


def test_command_list(write, capsys):
    """`flags list` shows each flag with its owner, its date and whether it is refused."""
    path = str(write({"a": flag(), "b": flag(expires="2020-01-01")}))
    assert main(["flags", "list", path, "--today", "2026-07-01"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["key", "state", "default", "kind", "owner", "expires", "refused"]
    assert lines[2] == ["b", "ENABLED", "off", "release", "team-orders", "2020-01-01", "FLAG-EXPIRY.expired"]
    assert main(["flags", "list", path, "--today", "2026-07-01", "--json"]) == 0
    assert [row["refused"] for row in json.loads(capsys.readouterr().out)] == ["", "FLAG-EXPIRY.expired"]


def test_command_list_of_an_unreadable_file(write, capsys):
    """`flags list` of a file that cannot be read exits 3 and says why on stderr."""
    assert main(["flags", "list", str(write("flags: ["))]) == 3
    assert "error[flags.unreadable]" in capsys.readouterr().err
