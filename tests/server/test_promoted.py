"""A bundle that was promoted comes into force in a server that runs, and no other does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from companyos.authz.audit import SOURCE
from companyos.authz.bundles.promotions import PROMOTED
from companyos.company import Company
from companyos.ports import Personal
from tests.server.conftest import entries, request
from tests.server.shelf import SETTINGS, Shelf, altered, digest_of, reason
from tests.server.test_authentication import until
from tests.server.test_reload import Load

TAKEN = "companyos.server.policies"


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A company with a store of bundles, of which 1.0.0 is in prod, and 1.1.0 in staging but not in the store."""
    shelf = Shelf(tmp_path_factory.mktemp("released") / "company")
    shelf.release("1.0.0")
    shelf.promote(shelf.build("1.1.0"), "dev", "staging")
    return shelf


@pytest.fixture
def shelf(released, tmp_path):
    """One of the test's own, in the same state."""
    return released.copy(tmp_path / "company")


@pytest.fixture
def serve(shelf, start):
    """Start the company's server."""
    return lambda: start(SETTINGS)


def answered(server, **more):
    """The context of the answer to one request."""
    return server.ask(request(**more)).json()["context"]


def ready(server):
    """What `/ready` says."""
    return server.http.get("/ready").json()


def problems(shelf):
    """Why bundles were refused, as the ledger tells it."""
    return [entry.data["problem"] for entry in entries(shelf.directory, TAKEN) if "problem" in entry.data]


def test_a_promotion_comes_into_force_under_load(shelf, serve):
    """While four callers ask without a pause, `companyos bundle promote` puts 1.1.0 in force; no request is lost."""
    old, new = shelf.path("1.0.0"), shelf.path("1.1.0")
    server = serve()
    shelf.put(new)
    with Load(server) as load:
        until(lambda: len(load.answers) > 20)
        shelf.promote(new, "prod")
        until(lambda: {found for _, found in load.answers[-20:]} == {reason("1.1.0")})

    assert {status for status, _ in load.answers} == {200}
    assert load.reasons() == {reason("1.0.0"), reason("1.1.0")}
    digests = [digest_of(old), digest_of(new)]
    assert ready(server) == {"status": "ready", "policy_digest": digests[1], "workers": 2}
    assert answered(server)["policy_digest"] == digests[1]
    server.stop()
    taken = entries(shelf.directory, TAKEN)
    promoted = [entry for entry in entries(shelf.directory, PROMOTED) if entry.data["stage"] == "prod"]
    assert [entry.data["policy_digest"] for entry in taken] == digests
    assert [entry.data["bundle"]["promotion"] for entry in taken] == [entry.index for entry in promoted]
    assert [entry.data["bundle"]["version"] for entry in taken] == ["1.0.0", "1.1.0"]
    recorded = entries(shelf.directory, "companyos.authz.decision")
    assert len(recorded) == len(load.answers) + 1
    assert {entry.data["policy"]["digest"] for entry in recorded} == set(digests)


def test_a_promotion_to_another_stage_changes_nothing_here(shelf, serve):
    """What is in staging does not decide in prod, until it is promoted there."""
    server, new = serve(), shelf.build("1.2.0")
    shelf.put(new)
    shelf.promote(new, "dev", "staging")
    assert answered(server)["reason"] == reason("1.0.0")
    shelf.promote(new, "prod")
    until(lambda: answered(server)["reason"] == reason("1.2.0"))
    server.stop()

    assert [entry.data["outcome"] for entry in entries(shelf.directory, TAKEN)] == ["loaded", "loaded"]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        pytest.param(lambda data: None, "is in force in prod, and is not there", id="missing"),
        pytest.param(lambda data: data[:-40], "is in force in prod, and is not there", id="cut-short"),
        pytest.param(altered, "bundle.file_changed", id="tampered"),
    ],
)
def test_what_cannot_be_trusted_is_refused_and_the_old_one_stays(shelf, serve, spoil, problem):
    """A promoted bundle that is missing or spoilt is refused by name under load, and taken once it is mended."""
    server, new = serve(), shelf.path("1.1.0")
    spoilt = spoil(new.read_bytes())
    if spoilt is not None:
        shelf.put(new, spoilt)
    with Load(server, clients=2) as load:
        shelf.promote(new, "prod")
        until(lambda: ready(server)["status"] == "degraded")
        seen = len(load.answers)
        until(lambda: len(load.answers) > seen + 20)

    assert set(load.answers) == {(200, reason("1.0.0"))}
    shelf.put(new)
    until(lambda: answered(server)["reason"] == reason("1.1.0"))
    until(lambda: ready(server)["status"] == "ready")
    server.stop()
    assert [problem in found for found in problems(shelf)] == [True]


def test_a_bundle_that_nobody_promoted_is_passed_over(shelf, serve):
    """A newer signed bundle in the store, and one that an entry past the rules names, never decide."""
    first, older, planted = shelf.path("1.0.0"), shelf.build("0.9.0"), shelf.build("3.0.0")
    server = serve()
    for path in (older, planted):
        shelf.put(path)
    with Company.open(shelf.directory) as company:
        known = [entry for entry in company.ledger.read() if entry.type == PROMOTED][-1].data
        people = {name: Personal("eve", name) for name in ("created_by", "promoted_by")}
        for path, version in ((older, "0.9.0"), (planted, "3.0.0")):
            forged = {**known, **people, "version": version, "digest": digest_of(path)}
            company.ledger.append(PROMOTED, forged, source=SOURCE)
    new = shelf.path("1.1.0")
    shelf.put(new)
    shelf.promote(new, "prod")
    until(lambda: answered(server)["reason"] == reason("1.1.0"))
    server.stop()

    taken = [entry.data["policy_digest"] for entry in entries(shelf.directory, TAKEN)]
    assert taken == [digest_of(first), digest_of(new)]


def test_a_key_that_is_revoked_ends_its_bundle_at_once(shelf, serve):
    """Once the trust file revokes the key, nothing is allowed any more; with a key that counts, all is as it was."""
    server = serve()
    assert answered(server)["reason"] == reason("1.0.0")
    shelf.trust(revoked_at="2026-01-01T00:00:00Z")
    until(lambda: answered(server)["reason"] == "policy.withdrawn")
    assert answered(server)["verdict"] == "undetermined"
    until(lambda: ready(server)["status"] == "degraded")
    shelf.trust()
    until(lambda: ready(server)["status"] == "ready")

    assert answered(server)["reason"] == reason("1.0.0")


def test_a_trust_file_that_cannot_be_read_changes_nothing(shelf, serve):
    """A trust file that is half written lets nothing new in, and takes away nothing that was verified."""
    server, new = serve(), shelf.path("1.1.0")
    (shelf.directory / "bundle-trust.yaml").write_text("keys: [", encoding="utf-8")
    until(lambda: ready(server)["status"] == "degraded")
    assert answered(server)["reason"] == reason("1.0.0")
    shelf.trust()
    shelf.put(new)
    shelf.promote(new, "prod")

    until(lambda: answered(server)["reason"] == reason("1.1.0"))


def test_a_bundle_that_expires_while_it_serves_decides_no_more(shelf, serve):
    """From the moment of expiry every request is refused by name; the same bundle signed again ends that."""
    built = shelf.path("1.0.0")
    server = serve()

    def takes(data):
        before = server.log().count("policies in force"), server.log().count("policies are refused")
        shelf.put(built, data)
        until(
            lambda: (server.log().count("policies in force"), server.log().count("policies are refused")) != before, 60
        )
        return server.log().count("policies in force") > before[0]

    # On a machine that is busy a short life may be over before it begins; then a longer one is tried.
    assert next(seconds for seconds in (3, 9, 27) if takes(shelf.signed_again(built, seconds)))
    until(lambda: answered(server)["reason"] == "policy.expired", 60)
    refused = server.ask(request()).json()
    assert (refused["decision"], refused["context"]["verdict"]) == (False, "undetermined")
    until(lambda: ready(server)["status"] == "degraded")
    assert takes(shelf.signed_again(built, 3600))

    until(lambda: answered(server)["reason"] == reason("1.0.0"))
    until(lambda: ready(server)["status"] == "ready")


def refuse(shelf, case):
    """Bring a company into a state in which there is nothing to decide by."""
    if case == "nothing-promoted":
        shelf.forget()
        shelf.promote(shelf.path("1.0.0"), "dev")
        return
    built = shelf.path("1.0.0")
    in_store = shelf.store / built.name
    if case == "missing":
        in_store.unlink()
    elif case == "tampered":
        shelf.put(built, altered(built.read_bytes()))
    elif case == "expired":
        shelf.put(built, shelf.signed_again(built, -1))
    elif case == "key-expired":
        shelf.trust(not_after=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    else:
        in_store.unlink()
        shelf.store.rmdir()


@pytest.mark.parametrize(
    ("case", "named"),
    [
        ("nothing-promoted", "error[authz.bundle]: bundle.not_promoted"),
        ("missing", "error[authz.bundle_missing]"),
        ("tampered", "error[authz.bundle]: bundle.file_changed"),
        ("expired", "error[authz.bundle]: bundle.expired"),
        ("key-expired", "error[authz.bundle]: bundle.key_expired"),
        ("no-store", "error[config.invalid]: cannot read the directory of bundles"),
    ],
)
def test_without_a_bundle_to_trust_the_server_does_not_start(shelf, serve, case, named):
    """A server that has nothing to decide by names why, and never answers."""
    refuse(shelf, case)
    with pytest.raises(AssertionError) as caught:
        serve()

    assert named in str(caught.value)
