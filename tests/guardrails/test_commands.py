"""The commands, as a person runs them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from companyos.cli.check import check
from companyos.cli.packages import packages
from companyos.cli.prove import prove
from companyos.errors import ConfigError, UserError
from companyos.guardrails import secrets_control
from companyos.guardrails.secrets import detectors
from companyos.guardrails.secrets.engines import OwnDetectors
from companyos.guardrails.specimens.g02 import body


def _run(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result.stdout


def test_check_of_a_clean_tree(plant):
    """Nothing found is exit 0, without the network when nothing is declared."""
    status, output = _run(check, plant({"a.py": "import os\n"}), "--offline")

    assert 0 == status
    assert "ALLOW" in output


def test_check_finds_a_planted_secret_and_a_stub(plant, tmp_path):
    """Findings are exit 1, named by file and line, and SARIF holds them too."""
    key = "AKIA" + body("cli", 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    root = plant({"a.py": f"def f(x):\n    pass\n\n\nK = '{key}'\n"})
    status, output = _run(check, root, "--offline", "--sarif", tmp_path / "out.sarif")
    results = json.loads((tmp_path / "out.sarif").read_bytes())["runs"][0]["results"]

    assert 1 == status
    assert "a.py:5" in output
    assert key not in output
    assert {"G01.empty-body", "G02.aws-key"} == {result["ruleId"] for result in results}


def test_check_says_which_languages_g01_does_not_judge(plant):
    """Code in a language without detectors is named, and tests are not counted."""
    root = plant({"a.rb": "x = 1\n", "b.kt": "val x = 1\n", "c.kt": "", "tests/d.rb": ""})
    output = _run(check, root, "--only", "G01")[1]

    assert "note: G01 does not judge the code of these files: 2 .kt, 1 .rb" in output


def test_check_offline_cannot_know_packages(plant):
    """A declared package that is not looked up is exit 3."""
    root = plant({"requirements.txt": f"click==8.1.7 --hash=sha256:{'0' * 64}\n"})
    status, output = _run(check, root, "--offline", "--only", "G03", "--json")

    assert 3 == status
    assert "undetermined" == json.loads(output)["decision"]


def test_check_reads_the_settings_of_the_tree(plant):
    """`guardrails.exclude` and `guardrails.package_index` of companyos.yaml hold."""
    snapshot = plant({"snap.json": '{"pypi": {}}'}) / "snap.json"
    settings = f"guardrails:\n  exclude: [old]\n  package_index: {snapshot}\n"
    root = plant({"companyos.yaml": settings, "old/a.py": "def f(x):\n    pass\n", "b.py": "x = 1\n"})

    assert 0 == _run(check, root)[0]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (["/nowhere"], UserError, "nothing to check"),
        ([".", "--only", "G1"], ConfigError, "no such control"),
        ([".", "--package-index", "/nowhere"], UserError, "no package index there"),
    ],
)
def test_check_refuses_what_makes_no_sense(arguments, error, text):
    """Bad arguments are one clear error."""
    with pytest.raises(error, match=text):
        _run(check, *arguments)


def test_a_report_that_cannot_be_written_leaves_nothing_behind(plant, tmp_path):
    """A SARIF file in a directory that does not exist is an error."""
    with pytest.raises(UserError, match="cannot write"):
        _run(check, plant({"a.py": "x = 1\n"}), "--only", "G01", "--sarif", tmp_path / "no" / "x.sarif")


def test_prove_prints_the_score():
    """All controls chosen hold: exit 0 and full figures."""
    status, output = _run(prove, "G01", "G03", "--json")
    score = json.loads(output)

    assert (0, True) == (status, score["holds"])
    assert score["caught"] == score["planted"] > 0
    assert 0 == score["false_alarms"]


def test_prove_fails_when_a_rule_is_deleted(monkeypatch):
    """Without one detector the command exits 1 and names what slipped."""
    kept = {rule: detect for rule, detect in detectors.DETECTORS.items() if rule != "G02.aws-key"}
    weak = secrets_control([OwnDetectors(kept)])
    monkeypatch.setattr("companyos.plugins.Plugins.controls", lambda _self: {"G02": weak})
    status, output = _run(prove, "G02")

    assert 1 == status
    assert "G02.aws-key was not caught" in output


def test_prove_fails_when_a_control_cannot_be_made(monkeypatch):
    """A control that lost its specimens is a proof that does not hold."""

    def broken(_self):
        raise ConfigError("control G02 does not prove itself")

    monkeypatch.setattr("companyos.plugins.Plugins.controls", broken)

    assert 1 == _run(prove)[0]


def test_packages_verify_against_a_snapshot(plant, tmp_path):
    """Real packages are exit 0, invented ones exit 1, and an index that is not asked exit 3."""
    digest = f"sha256:{'ab' * 32}"
    snapshot = tmp_path / "index.json"
    snapshot.write_text(json.dumps({"pypi": {"click": {"8.1.7": {"hashes": [digest]}}}}))
    root = plant({"locked.txt": f"click==8.1.7 --hash={digest}\n", "requirements.txt": f"clock==1 --hash={digest}\n"})

    assert 0 == _run(packages, "verify", root / "locked.txt", "--package-index", snapshot)[0]
    assert 1 == _run(packages, "verify", root / "requirements.txt", "--package-index", snapshot)[0]
    assert 3 == _run(packages, "verify", root / "locked.txt", "--offline")[0]


def test_packages_snapshot_writes_what_verify_reads(plant, tmp_path):
    """A snapshot of a local directory answers for it."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a-1.0-py3-none-any.whl").write_bytes(b"wheel")
    root = plant({"requirements.txt": "a==1.0\n"})
    written = tmp_path / "snap.json"
    _run(packages, "snapshot", root / "requirements.txt", "--output", written, "--package-index", tmp_path / "wheels")
    [digest] = json.loads(written.read_text())["pypi"]["a"]["1.0"]["hashes"]
    plant({"requirements.txt": f"a==1.0 --hash={digest}\n"})

    assert 0 == _run(packages, "verify", root / "requirements.txt", "--package-index", written)[0]


def test_packages_verify_refuses_other_files(plant):
    """A file that declares nothing is an error, not an empty pass."""
    with pytest.raises(UserError, match="not a file that declares"):
        _run(packages, "verify", plant({"a.py": ""}) / "a.py")
