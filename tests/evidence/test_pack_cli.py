"""`companyos pack`, run as a person runs it."""

from __future__ import annotations

import json
import os

import pytest
import yaml

from companyos.cli import main
from companyos.company import Company
from companyos.signing import rotate

UNIT = "<testsuite><testcase/></testsuite>"


@pytest.fixture
def run(tmp_path, monkeypatch, capsysbinary):
    """Run a command in a directory with a company and a test report; returns exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("COMPANYOS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "companyos.yaml").write_text("company: {name: acme}\n")
    (tmp_path / "unit.xml").write_text(UNIT)

    def call(*arguments):
        status = main(list(arguments))
        out, err = capsysbinary.readouterr()
        return status, out.decode(), err.decode()

    return call


@pytest.fixture
def built(run):
    """The same, with a pack and a trust policy."""
    assert run("pack", "build", "--out", "a.cpack", "--subject", "orders", "--tests", "unit.xml")[0] == 0
    assert run("pack", "trust", "--out", "trust.yaml")[0] == 0
    return run


def test_build_trust_verify(built):
    """The three commands fit together, for people and for machines."""
    status, out, _ = built("pack", "verify", "a.cpack", "--trust", "trust.yaml")
    assert (status, "VERIFIED" in out, "not supplied: findings" in out) == (0, True, True)
    report = json.loads(built("pack", "verify", "a.cpack", "--trust", "trust.yaml", "--json")[1])
    assert report["summary"] == {"tests": {"passed": 1, "failed": 0, "skipped": 0}, "version": 1}
    assert ("sbom" in report["not_supplied"], len(report["entries"])) == (True, 1)


def test_the_policy_of_the_configuration_is_the_default(built, tmp_path, monkeypatch):
    """`trust.policy`, relative to companyos.yaml, is used when neither --trust nor --key is given."""
    status, _, err = built("pack", "verify", "a.cpack")
    assert (status, "trust.policy" in err) == (2, True)
    (tmp_path / "companyos.yaml").write_text("trust: {policy: trust.yaml}\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert built("pack", "verify", "../a.cpack")[0] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--trust", "trust.yaml", "--key", "key.pub"), "--trust and --key together"),
        (("--key", "key.pub", "--key", "key.pub"), "same key twice"),
        (("--key", "key.pub", "--key", "copy.pub"), "same key twice"),
        ((), "no keys to verify with"),
    ],
)
def test_keys_that_contradict_each_other(built, tmp_path, options, said):
    """Each is a mistake in usage and said in one sentence."""
    (key, *_) = yaml.safe_load((tmp_path / "trust.yaml").read_text())["keys"]
    for name in ("key.pub", "copy.pub"):
        (tmp_path / name).write_text(key["public_key"])
    status, _, err = built("pack", "verify", "a.cpack", *options)
    assert (status, said in err, "internal" in err) == (2, True, False)


def test_keys_that_were_rotated_out_stay_in_the_trust_policy(built):
    """A pack from before a rotation, and one from after it, are both verified with the new policy."""
    with Company.open() as company:
        company.ledger.rotate_key()
        rotate(company.key_uri(company.settings.evidence.key))
    assert built("pack", "build", "--out", "b.cpack", "--subject", "orders", "--tests", "unit.xml")[0] == 0
    assert built("pack", "trust", "--out", "both.yaml")[0] == 0
    for pack in ("a.cpack", "b.cpack"):
        assert built("pack", "verify", pack, "--trust", "both.yaml")[0] == 0
    assert built("pack", "verify", "b.cpack", "--trust", "trust.yaml")[0] == 3


@pytest.mark.parametrize("out", ["a.cpack/x", "a.cpack/deep/x", "."])
def test_a_place_that_cannot_be_written(built, out):
    """It is one clear error."""
    for arguments in (("pack", "build", "--subject", "orders", "--out", out), ("pack", "trust", "--out", out)):
        status, _, err = built(*arguments)
        assert (status, err.count("error["), "cannot write" in err) == (2, 1, True), err


def test_a_file_name_that_no_member_can_have(run, tmp_path):
    """It is a mistake in usage, not a matter of integrity."""
    (tmp_path / "TEST Report(1).xml").write_text(UNIT)
    status, _, err = run("pack", "build", "--out", "a.cpack", "--subject", "orders", "--tests", "TEST Report(1).xml")
    assert (status, "rename the file" in err, (tmp_path / "a.cpack").exists()) == (2, True, False)


def test_show_verifies_nothing_and_says_so(built):
    """The members are listed."""
    status, out, err = built("pack", "show", "a.cpack")
    assert (status, "summary.json" in out, "not verified" in err) == (0, True, True)
    assert "tests/unit.xml" in json.loads(built("pack", "show", "a.cpack", "--json")[1])


def test_text_out_of_a_pack_never_drives_the_terminal(run, tmp_path):
    """Control characters in figures are spelt out."""
    (tmp_path / "gate.json").write_text(json.dumps({"decision": "allow", "reason": "\x1b[2Kfine"}))
    status, out, _ = run("pack", "build", "--out", "a.cpack", "--subject", "orders", "--cost", "gate.json")
    assert (status, "\x1b" in out, "fine" in out) == (0, False, True)
