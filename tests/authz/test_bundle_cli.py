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


def test_the_trust_configuration_is_found_from_below(run, signed, tmp_path, monkeypatch):
    """In a directory below the company's the keys beside companyos.yaml count, unless there are some here."""
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    assert run("promote", f"../{signed}", "--to", "dev", *ANN)[0] == 0
    assert run("verify", f"../{signed}")[0] == 0
    Path("bundle-trust.yaml").write_text("keys: []\n")
    assert run("verify", f"../{signed}")[0] != 0


def test_a_refusal_says_what_is_wrong_once(run, signed):
    """People read the reason, then what was wrong and what to do next, and not the same again as a finding."""
    Path("cut.tar.gz").write_bytes(Path(signed).read_bytes()[:-30])
    _, out, _ = run("verify", "cut.tar.gz")
    what = json.loads(run("verify", "cut.tar.gz", "--json")[1])["findings"][0]["message"]

    assert out.count(what) == 1


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


@pytest.fixture
def identity(run, capsys, tmp_path):
    """Runs `companyos identity …` of a company that keeps an identity store; each call says status, out and err."""
    (tmp_path / "companyos.yaml").write_text("company:\n  name: acme\nidentity:\n  url: sqlite:///who.db\n")

    def call(*arguments):
        status = app.run(["identity", *map(str, arguments)])
        return (status, *capsys.readouterr())

    return call


def bundles_of(identity):
    """Version, stage and creator of the bundles that the identity store shows."""
    rows = json.loads(identity("show", "--bundles", "--json")[1])
    return [(row["bundle_id"], row["version"], row["stage"], row["created_by"]) for row in rows]


def test_a_promotion_is_in_the_identity_store(run, identity, signed):
    """Where there is an identity store it shows, exports and takes back what was promoted, with its maker."""
    for stage, who in (("dev", ANN), ("staging", BOB)):
        status, out, err = run("promote", signed, "--to", stage, *who, "--json")
        assert (status, json.loads(out)["identity_problem"], err) == (0, None, "")
    expected = [("freeze", "1.0.0", "dev", "ann@example.org"), ("freeze", "1.0.0", "staging", "ann@example.org")]
    listed = json.loads(run("list", "--json")[1])
    shown = json.loads(identity("show", "--bundles", "--json")[1])

    assert bundles_of(identity) == expected
    assert [row["checksum"] for row in shown] == [row["digest"] for row in listed]
    assert "staging" in identity("show", "--bundles")[1]
    exported = json.loads(identity("export", "--json")[1])["policy_bundles"]
    assert exported == shown
    Path("export.yaml").write_text(identity("export")[1])
    Path("old.yaml").write_text("version: 1\n")
    for arguments in (("export.yaml",), ("export.yaml", "--prune"), ("old.yaml", "--prune")):
        status, out, _ = identity("import", *arguments, "--json")
        assert (status, json.loads(out)["steps"]) == (0, [])
    assert identity("verify")[0] == 0
    Path("who.db").unlink()
    assert bundles_of(identity) == expected


def test_without_an_identity_store_none_is_made(run, signed, tmp_path):
    """A company that keeps no identities has none after a promotion; one whose default store was made is told."""
    run("promote", signed, "--to", "dev", *ANN)
    assert not (tmp_path / ".companyos" / "identity.db").exists()
    assert app.run(["identity", "rebuild"]) == 0
    run("promote", signed, "--to", "staging", *BOB)
    from companyos.company import Company

    with Company.open() as company:
        assert [bundle.stage for bundle in company.identity.bundles()] == ["dev", "staging"]


def test_a_store_that_does_not_answer_undoes_no_promotion(run, identity, signed, tmp_path):
    """The promotion counts and the trouble is told; the next promotion makes up for it."""
    (tmp_path / "who.db").mkdir()
    status, out, err = run("promote", signed, "--to", "dev", *ANN)
    assert (status, "in force in dev" in out) == (0, True)
    assert "the identity store was not told" in err
    (tmp_path / "who.db").rmdir()
    assert run("promote", signed, "--to", "staging", *BOB)[0] == 0

    assert [row[2] for row in bundles_of(identity)] == ["dev", "staging"]


def test_the_ledger_is_right_and_the_store_is_put_right(run, identity, signed):
    """A record that says otherwise than the promotion is replaced by the next one."""
    from companyos.company import Company

    with Company.open() as company:
        company.identity.put_bundle("freeze", "1.0.0", "dev", f"sha256:{'0' * 64}", created_by="eve")
    run("promote", signed, "--to", "dev", *ANN)
    with Company.open() as company:
        (row,) = company.identity.bundles()

    assert row.checksum == json.loads(run("list", "--json")[1])[0]["digest"]
    assert row.created_by == "ann@example.org"


@pytest.mark.parametrize(("gone", "maker"), [("ann@example.org", None), ("bob@example.org", "ann@example.org")])
def test_who_was_erased_is_not_recorded_again(run, identity, signed, tmp_path, gone, maker):
    """A promotion that is recorded late names its maker unless that person, and nobody else, was erased since."""
    from companyos.company import Company

    (tmp_path / "who.db").mkdir()
    run("promote", signed, "--to", "dev", *ANN)
    run("promote", signed, "--to", "staging", *BOB)
    with Company.open() as company:
        company.ledger.erase(gone, reason="on request")
    (tmp_path / "who.db").rmdir()
    run("promote", signed, "--to", "prod", "--by", "eve@example.org")

    assert [(stage, by) for _, _, stage, by in bundles_of(identity)] == [
        ("dev", maker),
        ("prod", "ann@example.org"),
        ("staging", maker),
    ]


def test_a_file_makes_no_promotion(run, identity, signed):
    """A bundle in a file that the ledger does not say was promoted is refused, and nothing of the file is done."""
    run("promote", signed, "--to", "dev", *ANN)
    text = identity("export")[1]
    Path("who.yaml").write_text(text.replace("stage: dev", "stage: prod") + "subjects:\n- {id: u-1}\n")
    status, _, err = identity("import", "who.yaml")
    assert (status, "does not say was promoted" in err) == (1, True)
    assert identity("show", "u-1")[0] == 1
    Path("who.yaml").write_text(text.replace("sha256:", "sha256:0"))
    assert identity("import", "who.yaml")[0] == 1

    assert [row[2] for row in bundles_of(identity)] == ["dev"]


def test_show_wants_one_of_the_two(identity):
    """`identity show` shows a subject or the bundles."""
    for arguments in ((), ("u-1", "--bundles"), ("--bundles", "--workspace", "w")):
        status, _, err = identity("show", *arguments)
        assert (status, "show SUBJECT" in err) == (2, True)
