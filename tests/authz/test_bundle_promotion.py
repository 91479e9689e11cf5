from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta

import pytest

from companyos.authz.audit import SOURCE
from companyos.authz.bundles import (
    BundlesInForce,
    Candidate,
    PromotionRefusedError,
    build_bundle,
    judge_bundle,
    promote_bundle,
    promotions_of,
    sign_bundle,
)
from companyos.authz.bundles.promotions import PROMOTED
from companyos.authz.specimens.bundles import key_of, trust_of
from companyos.ledger import Database, Ledger
from companyos.plugins import Plugins
from companyos.ports import Personal

ANN, BOB, EVE = "ann@example.org", "bob@example.org", "Eve <eve@example.org>"


@pytest.fixture
def signed(freeze):
    """A signed tarball of the freeze policy in some version."""

    def make(version="1.0.0", at=None, **more):
        expires = datetime.now(UTC) + timedelta(days=30)
        built = build_bundle([freeze(version, **more)], created_by=ANN, expires=expires)
        return sign_bundle(built, key_of("EdDSA"), "k", at=at).to_bytes()

    return make


def promote(ledger, data, stage, by):
    """Promote, with the one trusted key."""
    return promote_bundle(Candidate(data, stage, by), trust_of(), ledger)


def in_force(ledger):
    """Version by stage."""
    return {entry.stage: entry.version for entry in promotions_of(ledger).current()}


def test_from_dev_to_prod(ledger, signed):
    """A bundle enters the stages in order, and each promotion is an entry that says what, where and who."""
    data = signed()
    promote(ledger, data, "dev", ANN)
    promote(ledger, data, "staging", BOB)
    receipt = promote(ledger, data, "prod", EVE)
    entry = ledger.reveal(list(ledger.read())[-1])

    assert in_force(ledger) == {"dev": "1.0.0", "staging": "1.0.0", "prod": "1.0.0"}
    assert (entry.id, entry.type, entry.stream) == (receipt.id, PROMOTED, "bundle:freeze")
    assert {key: entry.data[key] for key in ("name", "version", "stage", "key", "tests", "engine")} == {
        "name": "freeze",
        "version": "1.0.0",
        "stage": "prod",
        "key": "k",
        "tests": 2,
        "engine": "rego",
    }
    assert (entry.data["created_by"], entry.data["promoted_by"]) == (ANN, EVE)
    assert judge_bundle(data, trust_of(), promotions_of(ledger), stage="prod").allow


def test_people_are_encrypted(ledger, signed):
    """The names of author and promoter are not in the log, and it is still known that they are two."""
    data = signed()
    promote(ledger, data, "dev", ANN)
    promote(ledger, data, "staging", BOB)
    raw = b"".join(ledger.raw(index) for index in range(len(ledger)))
    entry = promotions_of(ledger).in_force("freeze", "staging")

    assert b"example.org" not in raw
    assert entry.created_by != entry.promoted_by


@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        ([("staging", BOB)], "promotion.order"),
        ([("dev", ANN), ("prod", BOB)], "promotion.order"),
        ([("dev", ANN), ("staging", "Ann <ANN@example.org>")], "promotion.author"),
        ([("dev", ANN), ("dev", BOB)], "promotion.repeated"),
    ],
)
def test_what_is_refused_leaves_no_entry(ledger, signed, steps, rule):
    """A promotion that breaks a rule is refused by that name, and the ledger is not told."""
    data = signed()
    for stage, by in steps[:-1]:
        promote(ledger, data, stage, by)
    with pytest.raises(PromotionRefusedError, match=rule) as caught:
        promote(ledger, data, *steps[-1])

    assert caught.value.rule == rule
    assert len(ledger) == len(steps) - 1


def test_an_older_bundle_is_refused_once_a_newer_is_known(ledger, signed):
    """A validly signed older bundle is neither loaded nor promoted, and going back is a new version."""
    old, new = signed("1.0.0"), signed("1.1.0")
    for data in (old, new):
        promote(ledger, data, "dev", ANN)
        promote(ledger, data, "staging", BOB)
    known = promotions_of(ledger)

    assert judge_bundle(old, trust_of(), known).reason == "bundle.older"
    assert judge_bundle(old, trust_of(), known, stage="staging").reason == "bundle.older"
    assert judge_bundle(new, trust_of(), known, stage="staging").allow
    promote(ledger, old, "prod", BOB)
    promote(ledger, new, "prod", BOB)
    again = judge_bundle(old, trust_of(), promotions_of(ledger), stage="prod")
    assert again.reason == "bundle.older"
    assert "1.1.0 (in prod)" in again.message


def test_a_version_names_one_content(ledger, signed, freeze):
    """Another content under a version that is known is neither loaded nor promoted."""
    promote(ledger, signed("1.0.0"), "dev", ANN)
    built = build_bundle(
        [freeze("2.0.0")], created_by=ANN, expires=datetime.now(UTC) + timedelta(days=9), version="1.0"
    )
    other = sign_bundle(built, key_of("EdDSA"), "k").to_bytes()

    assert judge_bundle(other, trust_of(), promotions_of(ledger)).reason == "bundle.version_reused"
    with pytest.raises(PromotionRefusedError, match=r"promotion\.bundle"):
        promote(ledger, other, "staging", BOB)


def test_without_tests_there_is_no_promotion(ledger, signed):
    """A bundle without tests does not even enter dev, nor does one whose tests fail."""
    failing = "- name: x\n  request: {subject: {id: u, type: user}, action: read, resource: {id: d, type: t}}\n"
    failing += "  expect: {decision: deny, reason: policy.freeze}\n"
    with pytest.raises(PromotionRefusedError, match=r"promotion\.untested"):
        promote(ledger, signed("1.0.0", tests=None), "dev", ANN)
    with pytest.raises(PromotionRefusedError, match=r"promotion\.tests: 1 of 1 tests failed") as caught:
        promote(ledger, signed("1.1.0", tests=failing), "dev", ANN)

    assert "freeze/tests/freeze.yaml: x: decision is allow, expected deny" in caught.value.got
    assert len(ledger) == 0


def test_of_two_who_promote_at_once_one_is_told(tmp_path, signed):
    """When two promote one version to one stage at once, one entry is in force and the other is refused by name."""
    data, outcomes = signed(), []
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Ledger.open(url) as ledger:
        promote(ledger, data, "dev", ANN)

        def run(by):
            try:
                outcomes.append(promote(ledger, data, "staging", by).index)
            except PromotionRefusedError as error:
                outcomes.append(error.rule)

        threads = [threading.Thread(target=run, args=(by,)) for by in (BOB, EVE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(map(str, outcomes)) == ["1", "promotion.repeated"]
        assert len(ledger) == 2


def forge(ledger, stage, version="1.0.0", **more):
    """An entry that somebody appended who went round the rules."""
    data = {
        "name": "freeze",
        "version": version,
        "stage": stage,
        "digest": f"sha256:{version}",
        "archive": "sha256:0",
        "expires": "2030-01-01T00:00:00Z",
        "key": "k",
        "created_by": Personal(ANN, "ann@example.org"),
        "promoted_by": Personal(BOB, "bob@example.org"),
    }
    return ledger.append(PROMOTED, {**data, **more}, source=more.pop("source", None) or SOURCE)


def test_entries_that_break_the_rules_put_nothing_in_force(ledger):
    """What was appended past the rules is kept with its reason and counts for nothing."""
    forge(ledger, "prod")
    forge(ledger, "dev")
    forge(ledger, "staging", promoted_by=Personal(ANN, "ann@example.org"))
    forge(ledger, "staging", created_by=None, promoted_by=None)
    forge(ledger, "staging", digest="sha256:other")
    forge(ledger, "staging", version="x")
    forge(ledger, "production")
    forge(ledger, "dev", digest=7)
    with Database.open("sqlite://") as database:
        projection = BundlesInForce(database)
        ledger.replay(projection)
        broken = [row[-1] for row in sorted(projection.snapshot().state["authz_promotion"])]

    assert in_force(ledger) == {"dev": "1.0.0"}
    assert broken == [
        "promotion.order",
        "",
        "promotion.author",
        "promotion.author",
        "bundle.version_reused",
        "promotion.bundle",
        "promotion.order",
        "promotion.bundle",
    ]


def test_entries_of_another_source_count_for_nothing(ledger):
    """The type alone does not make an entry a promotion of ours."""
    forge(ledger, "dev")
    ledger.append(PROMOTED, {"name": "freeze", "version": "2", "stage": "dev"}, source="somebody/else")

    assert in_force(ledger) == {"dev": "1.0.0"}


def test_the_projection_is_the_same_on_every_database(ledger, postgresql_url):
    """On SQLite and PostgreSQL the state has the same digest, which replay from nothing gives again."""
    for stage in ("dev", "staging", "prod"):
        forge(ledger, stage)
    with Database.open("sqlite://") as one, Database.open(postgresql_url) as other:
        here, there = BundlesInForce(one), BundlesInForce(other)
        ledger.replay(here)
        ledger.replay(there)

        assert here.digest() == there.digest() == BundlesInForce.digest_at(ledger.read, 3)
        assert here.promotions() == there.promotions() == promotions_of(ledger)
        assert promotions_of(ledger, one) == promotions_of(ledger)


def test_the_projection_has_a_name():
    """`companyos ledger replay --projection bundles` finds it, as plugins' projections are found."""
    assert Plugins().projections()["bundles"] is BundlesInForce


@pytest.fixture
def expired(freeze):
    """A bundle that was signed a day ago and went out of date half an hour ago."""
    now = datetime.now(UTC)
    built = build_bundle([freeze()], created_by=ANN, expires=now - timedelta(minutes=30))
    return sign_bundle(built, key_of("EdDSA"), "k", at=now - timedelta(days=1)).to_bytes()


def an_hour_behind(ledger, data):
    """The decision of a machine whose clock is an hour behind: the signature is older than that, so that it holds."""
    return judge_bundle(data, trust_of(), promotions_of(ledger), at=datetime.now(UTC) - timedelta(hours=1))


def test_a_clock_behind_the_ledger_is_named(ledger, signed):
    """Who verifies with a clock an hour behind the ledger's last promotion is told so, and by how much."""
    data = signed(at=datetime.now(UTC) - timedelta(hours=5))
    promote(ledger, data, "dev", ANN)
    decision = an_hour_behind(ledger, data)

    assert decision.reason == "bundle.clock"
    assert re.search(r"the ledger is newer than now; got: this machine's clock is 3\d{3} s behind", decision.message)


@pytest.mark.parametrize("promoted", [False, True], ids=["never promoted", "promoted long before"])
def test_any_entry_tells_that_the_clock_is_behind(ledger, signed, expired, promoted):
    """With the clock set back a bundle out of date is refused, whatever the ledger's newest entry is about."""
    assert an_hour_behind(ledger, expired).allow
    if promoted:
        forge(ledger, "dev", version="0.9")
    ledger.append("example.any", {"n": 1}, source="somebody/else")
    decision = an_hour_behind(ledger, expired)

    assert decision.reason == "bundle.clock"
    assert "the ledger is newer than now" in decision.message


def test_the_newest_time_is_that_of_the_newest_entry(ledger):
    """It is the time of the last entry, whatever its type, with a projection that is kept and with one that is not."""
    assert promotions_of(ledger).newest_time is None
    forge(ledger, "dev")
    ledger.append("example.any", {"n": 1}, source="somebody/else")
    newest = list(ledger.read())[-1].time
    with Database.open("sqlite://") as database:
        assert promotions_of(ledger, database).newest_time == promotions_of(ledger).newest_time == newest
