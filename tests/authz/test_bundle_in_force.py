"""Which bundle is in force, where it lies, and that an engine over it decides no longer than it counts."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from companyos.authz import build_request
from companyos.authz.bundles import (
    Bundle,
    BundleEngine,
    BundleMissingError,
    BundlePlace,
    BundleRefusedError,
    Candidate,
    build_bundle,
    find_in_force,
    promote_bundle,
    promotions_of,
    sign_bundle,
)
from companyos.authz.bundles.following import FollowedPromotions
from companyos.authz.bundles.token import token
from companyos.authz.interface import PoliciesExpiredError
from companyos.authz.specimens.bundles import key_of, trust_of
from companyos.cli import app
from companyos.company import Company
from companyos.errors import ConfigError
from companyos.ledger import Ledger
from companyos.ledger.errors import TailDroppedError
from companyos.server.promoted import PromotedPolicies, bundle_engine

ANN, BOB = "ann@example.org", "bob@example.org"
FROZEN = build_request(
    {"id": "u-1", "type": "user"},
    "delete",
    {"id": "d-1", "type": "document", "owner": "u-1"},
    {"freeze": True, "auth_strength": "mfa"},
)


@pytest.fixture
def place(tmp_path):
    """A store, and a trust file of the one key."""
    (tmp_path / "bundles").mkdir()
    key = trust_of().keys[0].model_dump(mode="json", exclude_none=True)
    (tmp_path / "bundle-trust.yaml").write_text(yaml.safe_dump({"keys": [key]}), encoding="utf-8")
    return BundlePlace("freeze", "prod", tmp_path / "bundles", tmp_path / "bundle-trust.yaml")


@pytest.fixture
def release(freeze, ledger, place):
    """Build, sign, lay into the store, promote to some stages; the tarball."""

    def make(version="1.0.0", stages=("dev", "staging", "prod"), name=None):
        expires = datetime.now(UTC) + timedelta(days=30)
        built = build_bundle([freeze(version)], created_by=ANN, expires=expires)
        data = sign_bundle(built, key_of("EdDSA"), "k").to_bytes()
        (place.store / (name or f"freeze-{version}.tar.gz")).write_bytes(data)
        for stage in stages:
            promote_bundle(Candidate(data, stage, BOB), trust_of(), ledger)
        return data

    return make


def signed_until(data, end):
    """The same content, signed again until a moment."""
    bundle = Bundle.from_bytes(data)
    issued = datetime.now(UTC) - timedelta(days=1)
    return replace(
        bundle, signatures=token(bundle.files, key_of("EdDSA"), "k", issued_at=issued, expires=end)
    ).to_bytes()


def test_it_is_found_by_its_content_whatever_it_is_called(release, place, ledger):
    """The newest version in the stage is found among others, under any name, and names its promotion."""
    release("1.0.0")
    data = release("1.1.0", name="x.tar.gz")
    release("1.2.0", stages=("dev", "staging"))
    (place.store / "a-note.txt").write_text("not a bundle")
    (place.store / "broken.tar.gz").write_bytes(data[:100])
    found = find_in_force(place, promotions_of(ledger))

    assert found.data == data
    assert found.to_dict()["version"] == "1.1.0"
    assert found.to_dict()["promotion"] == promotions_of(ledger).in_force("freeze", "prod").index
    assert found.engine().version == found.promoted.digest == found.verified.bundle.digest
    assert found.engine().decide(FROZEN).reason == "policy.freeze"


def test_one_that_was_signed_again_since_is_the_same(release, place, ledger):
    """The promoted content counts under a new signature, too, when the old one holds no more."""
    data = release()
    (place.store / "a.tar.gz").write_bytes(signed_until(data, datetime.now(UTC) - timedelta(hours=1)))
    (place.store / "freeze-1.0.0.tar.gz").unlink()
    with pytest.raises(BundleRefusedError, match=r"bundle\.expired"):
        find_in_force(place, promotions_of(ledger))
    end = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    (place.store / "b.tar.gz").write_bytes(signed_until(data, end))
    found = find_in_force(place, promotions_of(ledger))

    assert (found.verified.until, found.archive == found.promoted.archive) == (end, False)


def test_until_when_it_counts_is_what_ends_first(release, place, ledger):
    """Of the bundle, its signature and its key, what ends first is when it counts no more."""
    release()
    ends = [datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) for days in (3, 2, 60)]
    key = trust_of().keys[0].model_dump(mode="json", exclude_none=True)
    seen = []
    for name, end in (("not_after", ends[0]), ("revoked_at", ends[1]), ("not_after", ends[2])):
        place.trust.write_text(yaml.safe_dump({"keys": [{**key, name: end.isoformat()}]}), encoding="utf-8")
        found = find_in_force(place, promotions_of(ledger))
        seen.append(found.verified.until)

    assert seen == [*ends[:2], found.verified.bundle.manifest.expires]


@pytest.mark.parametrize("stages", [(), ("dev",), ("dev", "staging")])
def test_before_the_first_promotion_there_is_none(release, place, ledger, stages):
    """A bundle that has not come as far as the stage is none, however well it is signed."""
    release(stages=stages)

    with pytest.raises(BundleRefusedError, match=r"bundle\.not_promoted: no freeze was promoted to prod yet"):
        find_in_force(place, promotions_of(ledger))


def test_one_that_is_not_there_is_named(release, place, ledger):
    """Where the file is gone, the version, its digest and the place are said; an older one is no substitute."""
    release("1.0.0")
    release("1.1.0")
    (place.store / "freeze-1.1.0.tar.gz").unlink()
    with pytest.raises(BundleMissingError, match=r"freeze 1\.1\.0 is in force in prod, and is not there") as caught:
        find_in_force(place, promotions_of(ledger))
    shutil.rmtree(place.store)
    with pytest.raises(ConfigError, match="cannot read the directory of bundles"):
        find_in_force(place, promotions_of(ledger))

    assert caught.value.expected == promotions_of(ledger).in_force("freeze", "prod").digest


def test_an_engine_decides_until_its_bundle_expires(release, place, ledger):
    """Before the moment it decides; from then on it refuses by a reason of its own."""
    release()
    bundle = find_in_force(place, promotions_of(ledger)).verified.bundle

    assert BundleEngine(bundle, datetime.now(UTC) + timedelta(hours=1)).decide(FROZEN).reason == "policy.freeze"
    with pytest.raises(PoliciesExpiredError, match="has expired") as caught:
        BundleEngine(bundle, datetime.now(UTC)).decide(FROZEN)
    assert caught.value.reason == "policy.expired"


def test_a_worker_reads_no_other_file_than_the_one_that_was_verified(release, place, ledger):
    """A copy that was exchanged after the verification is refused."""
    release("1.0.0")
    found = find_in_force(place, promotions_of(ledger))
    copy = place.store / "copy.tar.gz"
    copy.write_bytes(found.data)
    assert bundle_engine(str(copy), found.archive, found.verified.until.timestamp()).version == found.promoted.digest
    copy.write_bytes(release("2.0.0", stages=()))

    with pytest.raises(BundleRefusedError, match=r"bundle\.file_changed"):
        bundle_engine(str(copy), found.archive, found.verified.until.timestamp())


def test_a_ledger_is_followed_and_each_entry_read_once(release, ledger, monkeypatch):
    """Asked again, only the newest entry is read: to see that the log did not shrink, and for its time."""
    release()
    read, counted = ledger.read, []

    def counting(*arguments):
        for entry in read(*arguments):
            counted.append(entry.index)
            yield entry

    monkeypatch.setattr(ledger, "read", counting)
    with FollowedPromotions(ledger) as followed:
        assert followed.now() == promotions_of(ledger)
        counted.clear()
        assert [followed.now().in_force("freeze", "prod").version for _ in range(2)] == ["1.0.0"] * 2
        assert counted == [2, 2, 2, 2]
        for number in range(20):
            ledger.append("something.else", {"n": number})
        counted.clear()
        followed.now()

        assert counted == [2, *range(3, 23), 22]


def test_a_ledger_that_cannot_be_read_lets_nothing_new_in(release, place, tmp_path):
    """A log that lost its tail is another state and refused by name, while what was verified before still decides."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    release()
    with Ledger.open(url) as ledger, PromotedPolicies(place, ledger, workers=1, start_seconds=60) as policies:
        loaded = policies.load()
        try:
            before = policies.fingerprint()
            assert policies.fingerprint() == before
            database = sqlite3.connect(tmp_path / "ledger.db")
            with database:
                _drop_entries(database)
            database.close()
            assert policies.fingerprint() != before
            with pytest.raises(TailDroppedError):
                policies.load()

            assert loaded.engine.decide(FROZEN).reason == "policy.freeze"
        finally:
            loaded.close()


def _drop_entries(database):
    """Take every entry out of the log."""
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert "entry" in tables, tables
    for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f"DROP TRIGGER {trigger}")
    database.execute("DELETE FROM entry")


@pytest.fixture
def company(tmp_path, release, monkeypatch):
    """A company that decides by the bundle, in the current directory."""
    data = release(stages=())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "companyos.yaml").write_text(yaml.safe_dump({"authz": {"bundle": {"name": "freeze"}}}))
    with Company.open() as opened:
        for stage in ("dev", "staging", "prod"):
            promote_bundle(Candidate(data, stage, BOB), trust_of(), opened.ledger)
    return tmp_path


def test_the_company_decides_by_it(company):
    """In process, too, the settings' bundle decides, and a decision names the digest that was promoted."""
    with Company.open() as opened:
        decision = opened.authorizer.authorize(dict(FROZEN.subject), "delete", dict(FROZEN.resource), {"freeze": True})
        digest = promotions_of(opened.ledger).in_force("freeze", "prod").digest

    assert (decision.reason, decision.facts["policy_digest"]) == ("policy.freeze", digest)


def test_the_commands_that_look_at_policies_know_of_it(company, capsys):
    """`authz explain` explains the bundle's policies, and `authz test` does not pass by testing others."""
    asked = {
        "subject": FROZEN.subject,
        "action": "delete",
        "resource": FROZEN.resource,
        "environment": FROZEN.environment,
    }
    (company / "request.json").write_text(json.dumps(asked), encoding="utf-8")
    assert app.run(["authz", "explain", "--request", "request.json"]) == 0
    assert "policy.freeze" in capsys.readouterr().out
    assert app.run(["authz", "test"]) == 2
    assert "the policies in force are a bundle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"policies": ["policies"]}, "either authz.policies or authz.bundle"),
        ({"engine": "opa"}, "which engine decides, the bundle says"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path, more, named):
    """A bundle beside directories, or for an engine that does not decide by bundles, is an error at once."""
    settings = {"authz": {"bundle": {"name": "freeze"}, **more}}
    (tmp_path / "companyos.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")

    with pytest.raises(ConfigError, match=r"authz\.bundle in .* is not valid") as caught:
        Company.open(tmp_path)
    assert named in caught.value.expected
