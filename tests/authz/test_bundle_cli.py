from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from companyos.authz.bundles.bundle import Bundle
from companyos.cli import app
from companyos.cli.bundle import bundle
from companyos.signing import PrivateKey

ANN, BOB = ("--by", "ann@example.org"), ("--by", "bob@example.org")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, freeze):
    """Runs `companyos bundle …` where there are a policy directory, a key and a trust configuration."""
    monkeypatch.chdir(tmp_path)
    freeze()
    PrivateKey.generate().save(tmp_path / "release.pem")
    (tmp_path / "bundle-trust.yaml").write_text(
        "keys:\n  - {id: release, public_key: 'file:release.pem.pub', algorithm: EdDSA}\n"
    )
    (tmp_path / "companyos.yaml").write_text("company:\n  name: acme\n")

    def call(*arguments):
        status = app.run(["bundle", *map(str, arguments)])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def signed(run):
    """`freeze.tar.gz`, built and signed."""
    assert run("build", "1.0.0/freeze", "--out", "freeze.tar.gz", *ANN)[0] == 0
    assert run("sign", "freeze.tar.gz", "--key", "file:release.pem", "--key-id", "release")[0] == 0
    return "freeze.tar.gz"


def test_from_the_directory_to_production(run, signed):
    """Built, signed, verified, promoted through all stages, and listed with version, digest, creator and time."""
    assert run("verify", signed)[0] == 0
    for stage, who in (("dev", ANN), ("staging", BOB), ("prod", BOB)):
        status, out, _ = run("promote", signed, "--to", stage, *who)
        assert (status, f"in force in {stage}" in out) == (0, True)
    status, out, _ = run("verify", signed, "--stage", "prod", "--json")
    listed = json.loads(run("list", "--json")[1])

    assert (status, json.loads(out)["decision"]) == (0, "allow")
    assert [(row["version"], row["stage"], row["created_by"]) for row in listed] == [
        ("1.0.0", "dev", "ann@example.org"),
        ("1.0.0", "staging", "ann@example.org"),
        ("1.0.0", "prod", "ann@example.org"),
    ]
    assert {row["digest"] for row in listed} == {json.loads(out)["facts"]["digest"]}
    assert all(row["time"].endswith("Z") for row in listed)
    table = run("list", "--all")[1].splitlines()
    assert table[0].split() == ["name", "version", "stage", "digest", "created_by", "promoted_by", "time", "expires"]
    assert len(table) == 4
    assert run("list", "--name", "other", "--json")[1].strip() == "[]"


def test_a_name_that_was_erased_is_a_pseudonym(run, signed):
    """Once the author is erased from the ledger, the list shows a pseudonym in place of the name."""
    from companyos.company import Company

    run("promote", signed, "--to", "dev", *ANN)
    with Company.open() as company:
        company.ledger.erase("ann@example.org", reason="on request")
    (row,) = json.loads(run("list", "--json")[1])

    assert row["created_by"].startswith("p-")


def test_without_a_company_nothing_is_known(run, signed, tmp_path):
    """Without a companyos.yaml, verify cannot tell (3), and promote and list say what is missing (2)."""
    (tmp_path / "companyos.yaml").unlink()

    assert run("verify", signed)[0] == 3
    for arguments in (("promote", signed, "--to", "dev", *ANN), ("list",)):
        status, _, err = run(*arguments)
        assert (status, "there is no company here" in err) == (2, True)


def test_what_is_refused_is_refused_by_name(run, signed):
    """A refusal has exit status 1 and the name of its rule, for people and machines."""
    status, _, err = run("promote", signed, "--to", "prod", *BOB)
    assert (status, "promotion.order" in err) == (1, True)
    Path("cut.tar.gz").write_bytes(Path(signed).read_bytes()[:-30])
    status, out, _ = run("verify", "cut.tar.gz", "--json")
    decision = json.loads(out)

    assert (status, decision["reason"], decision["findings"][0]["rule"]) == (1, "bundle.gzip", "bundle.gzip")


def test_a_difference_is_found(run, signed, freeze):
    """`diff` exits with 1 and shows the requests; without a difference it says how many it tried."""
    freeze("1.1.0", policy="package companyos.access\n")
    status, out, _ = run("diff", signed, "1.1.0/freeze", "--requests", 3000)
    assert (status, "deny policy.freeze" in out) == (1, True)
    assert " of change, in" in out
    status, out, _ = run("diff", signed, "1.1.0/freeze", "--requests", 3000, "--json")
    found = json.loads(out)
    assert (status, found["tried"], found["complete"]) == (1, 3000, True)
    assert {"request", "old", "new"} == set(found["changes"][0])
    status, out, _ = run("diff", signed, signed, "--requests", 50)
    assert (status, out) == (0, "none found in 50 requests\n")


def test_git_says_who(run, tmp_path, monkeypatch):
    """Without --by the builder is git's user.email, and without that the command asks who."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    status, _, err = run("build", "1.0.0/freeze", "--out", "a.tar.gz")
    assert (status, "who? --by NAME" in err) == (2, True)
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "config", "user.email", "git@example.org"], check=True)
    status, out, _ = run("build", "1.0.0/freeze", "--out", "a.tar.gz", "--json")

    assert (status, json.loads(out)["created_by"]) == (0, "git@example.org")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--expires", "tomorrow"), "--expires is no moment"),
        (("--expires", "2027-01-01T00:00:00"), "--expires has no zone"),
        (("--version", "one"), "not a version"),
        (("--out", "nowhere/x.tar.gz"), "cannot write"),
    ],
)
def test_wrong_usage(run, arguments, text):
    """What is wrong with a call is said on stderr, with exit status 2."""
    status, out, err = run("build", "1.0.0/freeze", "--out", "a.tar.gz", *ANN, *arguments)

    assert (status, out) == (2, "")
    assert text in err


def test_an_expiry_is_kept(run):
    """The expiry that is given is the bundle's, in UTC."""
    run("build", "1.0.0/freeze", "--out", "a.tar.gz", *ANN, "--expires", "2027-01-01T01:00:00+01:00")
    built = Bundle.from_bytes(Path("a.tar.gz").read_bytes())

    assert built.manifest.to_dict()["expires"] == "2027-01-01T00:00:00Z"
    assert built.signatures is None


def test_a_file_that_is_no_bundle(run, tmp_path):
    """A file that is no bundle is refused by name wherever one is expected."""
    (tmp_path / "x.tar.gz").write_bytes(b"no bundle")
    for arguments in (
        ("sign", "x.tar.gz", "--key", "file:release.pem", "--key-id", "release"),
        ("verify", "x.tar.gz"),
        ("promote", "x.tar.gz", "--to", "dev", *ANN),
        ("diff", "x.tar.gz", "x.tar.gz"),
    ):
        status, out, err = run(*arguments)
        assert (status, "bundle.gzip" in out + err) == (1, True)


def test_the_group_has_help():
    """Each command says what it does."""
    assert sorted(bundle.commands) == ["build", "diff", "list", "promote", "sign", "verify"]
    assert all(command.help for command in bundle.commands.values())


@pytest.mark.parametrize(
    ("wrong", "instead", "said"),
    [
        ("EdDSA", "eddsa", "keys.0.algorithm"),
        ("public_key", "publickey", "keys.0.publickey"),
        ("release.pem.pub", "typo", "mend public_key; a path is relative to its file"),
    ],
)
def test_what_is_wrong_in_a_trust_configuration(run, signed, tmp_path, wrong, instead, said):
    """One thing is named, in its place, and nothing of how it is validated."""
    path = tmp_path / "bundle-trust.yaml"
    path.write_text(path.read_text().replace(wrong, instead))
    status, _, err = run("verify", signed)

    assert (status, said in err, "pydantic" in err) == (2, True, False)


@pytest.mark.parametrize(
    ("uri", "said"),
    [("release.pem", "put file: before a path"), ("file:release.pem.pub", "is the public half of a key")],
)
def test_a_key_that_cannot_sign(run, signed, uri, said):
    """A path without its scheme, and the wrong half of the key, are named as what they are."""
    status, _, err = run("sign", signed, "--key", uri, "--key-id", "release")

    assert (status, said in err, "chmod" in err) == (2, True, False)


@pytest.mark.parametrize("moment", ["tomorrow", "2030-01-01", "2030-01-01Z"])
def test_a_moment_is_shown_by_an_example(run, moment):
    """A time that is none, or has no zone, is answered with one that is taken."""
    status, _, err = run("build", "1.0.0/freeze", "--out", "x.tar.gz", "--expires", moment, *ANN)

    assert (status, "write 2027-01-31T00:00:00Z" in err) == (2, True)
