from __future__ import annotations

import json
import shutil

import pytest

from companyos.authz import RegoEngine, derived, playbook_control
from companyos.authz.engines._regorus import prepare
from companyos.authz.policyset import PLAYBOOK
from companyos.cli import app
from companyos.controls import prove

EXTENDS = "owner: team\nversion: 1.0.0\nextends: playbook\n"
GREEDY = (
    "package companyos.access\n\nimport rego.v1\n\n"
    'allow contains {"id": "policy.mine", "message": "all"} if { input.action != "x" }\n'
)


def _rules():
    """Every rule of the built-in policies: file, first line, and the bytes it takes."""
    for path in sorted(PLAYBOOK.glob("*.rego")):
        text = path.read_text(encoding="utf-8")
        (module,) = json.loads(prepare({path.name: text}, {}).get_ast_as_json())
        for rule in module["ast"]["rules"]:
            span = rule["Spec"]["span"]
            yield pytest.param(path.name, span["start"], span["end"], id=f"{path.stem}:{span['line']}")


def _prove_changed(tmp_path, name, change):
    copy = tmp_path / "policies"
    shutil.copytree(PLAYBOOK, copy)
    source = (copy / name).read_text(encoding="utf-8")
    changed = change(source)
    assert source != changed
    (copy / name).write_text(changed, encoding="utf-8")
    return prove(playbook_control(RegoEngine([copy])))


def test_the_playbook_proves_itself():
    """Everything planted is caught by the right policy, and nothing clean is refused."""
    proof = prove(playbook_control())

    assert proof.to_dict()["failures"] == []
    assert proof.holds
    assert proof.planted >= 30
    assert proof.clean >= 15


@pytest.mark.parametrize(("name", "start", "end"), list(_rules()))
def test_a_lost_rule_is_noticed(tmp_path, name, start, end):
    """Deleting any one rule of the playbook makes the proof fail."""
    proof = _prove_changed(tmp_path, name, lambda text: text[:start] + text[end:])

    assert not proof.holds


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("dlp_redaction.rego", "subject.clearance <", "subject.clearance <="),
        ("dlp_redaction.rego", "input.derived.subject.clearance", "input.subject.attributes.clearance"),
        ("dlp_redaction.rego", "input.derived.resource.required_clearance", "input.resource.required_clearance"),
        ("eu_residency.rego", "input.derived.resource.personal", "input.resource.contains_pii"),
        ("eu_residency.rego", "not input.derived.resource.in_eea", 'input.resource.region != "eu"'),
        ("eu_residency.rego", "not input.derived.resource.in_eea", 'not startswith(input.resource.region, "eu")'),
        (
            "eu_residency.rego",
            "not input.derived.destination.in_eea",
            'not startswith(object.get(input.resource, "destination_region", "eu"), "eu")',
        ),
        (
            "eu_residency.rego",
            "not input.derived.subject.in_eea",
            'not startswith(object.get(input.subject, "region", "eu"), "eu")',
        ),
        ("export_approval.rego", "trim_space(input.environment.approval_ticket)", "input.environment.approval_ticket"),
        ("step_up.rego", "not input.derived.multi_factor", "not input.environment.auth_strength"),
        ("baseline.rego", 'granted in {input.action, "*"}', "granted"),
        ("baseline.rego", "input.resource.owner == input.subject.id", "input.resource.owner"),
    ],
)
def test_a_weakened_rule_is_noticed(tmp_path, name, old, new):
    """Typical mistakes (comparing words, prefixes, presence alone) make the proof fail."""
    proof = _prove_changed(tmp_path, name, lambda text: text.replace(old, new))

    assert not proof.holds


def test_a_lost_condition_is_noticed(tmp_path):
    """Deleting any one condition line of the playbook makes the proof fail."""
    # A refused write may as well carry the obligation to mask: there is nothing to mask.
    harmless = {'dlp_redaction.rego: input.action == "read"'}
    survivors = []
    for path in sorted(PLAYBOOK.glob("*.rego")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for number, line in enumerate(lines):
            inside = line.startswith("\t")
            alone = inside and not lines[number - 1].startswith("\t") and lines[number + 1].startswith("}")
            if not inside or f"{path.name}: {line.strip()}" in harmless:
                continue
            kept = "\ttrue\n" if alone else ""
            changed = "".join((*lines[:number], kept, *lines[number + 1 :]))
            proof = _prove_changed(tmp_path / f"{path.stem}-{number}", path.name, lambda _, new=changed: new)
            if proof.holds:
                survivors.append(f"{path.name}:{number + 1} {line.strip()}")

    assert "\n".join(survivors) == ""


class TestPoliciesInForce:
    @pytest.fixture
    def prove_here(self, tmp_path, monkeypatch, capsys):
        """Runs `companyos prove AUTHZ-PLAYBOOK --json` where policies are configured: exit status, report, stderr."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "companyos.yaml").write_text("authz:\n  policies: [policies]\n")

        def run(*arguments):
            status = app.run(["prove", "AUTHZ-PLAYBOOK", *arguments])
            out, err = capsys.readouterr()
            return status, json.loads(out) if "--json" in arguments else out, err

        return run

    def test_policies_that_extend_the_playbook(self, prove_here, policies):
        """The control judges the configured policies when these extend the playbook."""
        policies(mine__rego=GREEDY.replace('!= "x"', '== "certify"'), metadata__yaml=EXTENDS)
        status, report, _ = prove_here("--json")

        assert (status, report["holds"], report["unproven"]) == (0, True, [])

    def test_policies_that_undo_the_playbook(self, prove_here, policies):
        """A rule of one's own that allows what the playbook denies makes the proof fail."""
        policies(mine__rego=GREEDY, metadata__yaml=EXTENDS)
        status, report, _ = prove_here("--json")

        assert (status, report["holds"]) == (1, False)

    def test_policies_that_replace_the_playbook(self, prove_here, policies):
        """Policies without specimens are never proven green: the exit status is 3, and a line says why."""
        policies(mine__rego=GREEDY)
        status, report, err = prove_here("--json")

        assert (status, report["holds"], report["unproven"]) == (3, False, ["AUTHZ-PLAYBOOK"])
        assert "the policies in force have no specimens" in err

    def test_policies_that_cannot_be_used(self, prove_here, policies):
        """Policies that do not load prove nothing."""
        policies(mine__rego="package nowhere\n")

        assert prove_here()[0] == 2


class TestTables:
    """A word lost from a table, or slipped into the wrong one, makes the proof fail."""

    @pytest.mark.parametrize(
        ("table", "word"),
        [
            (name, word)
            for name in ("NON_PERSONAL", "LOW_SENSITIVITY", "MULTI_FACTOR")
            for word in sorted(getattr(derived, name))
        ],
    )
    def test_a_lost_word(self, monkeypatch, table, word):
        """Each word of each list is there for a specimen."""
        monkeypatch.setattr(derived, table, getattr(derived, table) - {word})

        assert not prove(playbook_control()).holds

    @pytest.mark.parametrize(
        ("table", "word"),
        [
            ("NON_PERSONAL", "pii"),
            ("NON_PERSONAL", "restricted"),
            ("NON_PERSONAL", ""),
            ("LOW_SENSITIVITY", "high"),
            ("LOW_SENSITIVITY", "critical"),
            ("MULTI_FACTOR", "password"),
            ("MULTI_FACTOR", "aal1"),
        ],
    )
    def test_a_word_too_many(self, monkeypatch, table, word):
        """A word that would let something through is noticed."""
        monkeypatch.setattr(derived, table, getattr(derived, table) | {word})

        assert not prove(playbook_control()).holds

    @pytest.mark.parametrize("word", derived.CLEARANCES)
    def test_a_clearance_of_another_rank(self, monkeypatch, word):
        """Each clearance has its rank and no other, and cannot be lost."""
        ranks = derived.CLEARANCES
        for other in (
            {**ranks, word: ranks[word] + 1},
            {**ranks, word: ranks[word] - 1},
            {key: rank for key, rank in ranks.items() if key != word},
        ):
            monkeypatch.setattr(derived, "CLEARANCES", other)

            assert not prove(playbook_control()).holds

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"editor": ["write"]', '"editor": ["write", "delete"]'),
            ('"editor": ["write"]', '"editor": ["write", "transfer"]'),
            ('"editor": ["write"]', '"editor": []'),
            ('"admin": ["*"]', '"admin": ["write"]'),
            ('"open_actions": ["read", "export"]', '"open_actions": ["read"]'),
            ('"open_actions": ["read", "export"]', '"open_actions": ["export"]'),
            ('"open_actions": ["read", "export"]', '"open_actions": ["read", "export", "delete"]'),
            ('"open_actions": ["read", "export"]', '"open_actions": ["read", "export", "transfer"]'),
            ('["write", "delete", "transfer"]', '["write", "delete"]'),
            ('["write", "delete", "transfer"]', '["write", "transfer"]'),
            ('["write", "delete", "transfer"]', '["delete", "transfer"]'),
            ('"step_up_actions": ["delete", "transfer"]', '"step_up_actions": ["delete"]'),
            ('"step_up_actions": ["delete", "transfer"]', '"step_up_actions": ["transfer"]'),
            ('"step_up_actions": ["delete", "transfer"]', '"step_up_actions": ["delete", "transfer", "write"]'),
        ],
    )
    def test_another_grant(self, tmp_path, old, new):
        """Who may do what in `data.json` is held by specimens, entry for entry."""
        assert not _prove_changed(tmp_path, "data.json", lambda text: text.replace(old, new)).holds
