"""Who speaks for a subject: where there is an identity store, a running server takes nobody's word against it."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from companyos.company import Company
from companyos.controls import prove
from companyos.server.subject_specimens import CONTROL
from tests.server.conftest import entries, write_company

POLICY = """package companyos.access

import rego.v1

allow contains {"id": "ids.read", "message": "who is active reads"} if input.action == "read"

allow contains {"id": "ids.admin", "message": "admins delete"} if {
	input.action == "delete"
	"admin" in input.subject.attributes.roles
}

allow contains {"id": "ids.clearance", "message": "who is cleared exports"} if {
	input.action == "export"
	input.subject.attributes.clearance == "high"
}

deny contains {"id": "ids.inactive", "message": "not active"} if input.subject.status != "active"

deny contains {"id": "ids.org", "message": "of another organisation"} if {
	input.resource.org_id != input.subject.org_id
}
"""
POLICIES = {"policy.rego": POLICY}
STORE = {"identity": {"url": "sqlite:///who.db"}}


def body(subject="ana", action="read", *, kind="user", properties=None, **resource):
    who = {"type": kind, "id": subject} | ({} if properties is None else {"properties": properties})
    what = {"type": "record", "id": "r-1"} | ({"properties": resource} if resource else {})
    return {"subject": who, "action": {"name": action}, "resource": what}


def fill(store):
    """Two subjects of the shop: Ana edits and is cleared, Bob was an admin until a moment ago."""
    for name in ("admin", "editor"):
        store.put_role(name, org_id="shop")
    for name in ("ana", "bob"):
        store.put_subject(name, org_id="shop", workspace_id="eu")
    store.put_subject("bot", type="service", org_id="shop")
    store.bind("ana", "editor")
    store.bind("bob", "admin", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    store.put_attribute("clearance", "high", subject="ana")


@contextmanager
def company_at(directory):
    with Company.open(directory) as company:
        yield company


@pytest.fixture
def serve(start, tmp_path):
    """Start a server beside a store that is filled."""

    def begin(subjects=None, settings=STORE):
        values = {**settings, "server": {} if subjects is None else {"subjects": subjects}}
        with company_at(write_company(tmp_path / "company", values, POLICIES)) as company:
            fill(company.identity)
        return start(values, POLICIES)

    return begin


def answer(server, *arguments, **options):
    """Decision and reason."""
    given = server.ask(body(*arguments, **options)).json()
    return given["decision"], given["context"]["reason"]


def test_the_control_holds():
    """Every planted claim is refused by its own rule, and every true one counts."""
    proof = prove(CONTROL)

    assert [result for result in proof.results if not result.passed] == []
    assert (proof.caught, proof.clean, proof.false_alarms) == (19, 5, 0)


@pytest.mark.parametrize("settings", [STORE, {}], ids=["a store by its URL", "the default store"])
def test_a_suspension_counts_at_once(serve, settings):
    """Who is suspended while the server runs is denied in the very next request, whatever the caller says of them."""
    server = serve(settings=settings)
    assert answer(server) == (True, "ids.read")
    with company_at(server.directory) as company:
        company.identity.suspend("ana")

        assert answer(server) == (False, "ids.inactive")
        assert answer(server, properties={"status": "active"}) == (False, "subject.contradicted")
        company.identity.activate("ana")
    assert answer(server) == (True, "ids.read")


@pytest.mark.parametrize(
    ("subject", "properties"),
    [
        pytest.param("ana", {"roles": ["admin"]}, id="another-role"),
        pytest.param("ana", {"roles": ["editor", "admin"]}, id="one-more-role"),
        pytest.param("ana", {"attributes": {"roles": ["admin"]}}, id="in-attributes"),
        pytest.param("ana", {"org_id": "bank"}, id="another-organisation"),
        pytest.param("ana", {"attributes": {"org_id": "bank"}}, id="another-organisation-in-attributes"),
        pytest.param("ana", {"clearance": "top"}, id="another-clearance"),
        pytest.param("bob", {"clearance": "high"}, id="a-clearance-that-the-store-does-not-know"),
        pytest.param("bob", {"status": "suspended"}, id="suspended-by-the-caller"),
        pytest.param("bob", {"roles": ["admin"]}, id="a-role-that-expired"),
        pytest.param("bot", {"workspace_id": "eu"}, id="a-workspace-where-there-is-none"),
        pytest.param("ana", {"id": "bob"}, id="another-id"),
        pytest.param("ana", {"department": "sales"}, id="what-nobody-knows"),
    ],
)
def test_what_the_store_does_not_say_is_refused_by_name(serve_once, subject, properties):
    """A property that contradicts the store, or that it knows nothing of, is never honoured, and never passed over."""
    answered = serve_once.ask(body(subject, properties=properties)).json()
    name = next(iter(properties.get("attributes", properties)))

    assert (answered["decision"], answered["context"]["reason"]) == (False, "subject.contradicted")
    assert name in answered["context"]["message"]


@pytest.fixture(scope="module")
def serve_once(tmp_path_factory):
    """One server for questions that change nothing."""
    from companyos.server import add_key
    from tests.server.conftest import Running

    directory = tmp_path_factory.mktemp("pdp")
    write_company(directory, {**STORE, "server": {"api_keys": "keys.yaml"}}, POLICIES)
    with company_at(directory) as company:
        fill(company.identity)
    server = Running(directory, key=add_key(directory / "keys.yaml", "tests"))
    yield server
    assert server.stop() == 0


@pytest.mark.parametrize(
    "properties",
    [
        None,
        {},
        {"roles": ["editor"]},
        {"status": "active", "org_id": "shop", "workspace_id": "eu", "clearance": "high"},
        {"attributes": {"org_id": "shop"}},
    ],
)
def test_what_agrees_with_the_store_is_no_matter(serve_once, properties):
    """A caller may say what the store says too."""
    assert answer(serve_once, properties=properties) == (True, "ids.read")


def test_the_subject_s_own_workspace_is_no_contradiction(serve_once):
    """In a resource's workspace the subject is resolved there, and its own is still its own."""
    asked = {"properties": {"workspace_id": "eu"}}

    assert answer(serve_once, **asked, workspace_id="us") == (True, "ids.read")
    assert answer(serve_once, properties={"workspace_id": "asia"}, workspace_id="us") == (
        False,
        "subject.contradicted",
    )


def test_roles_and_attributes_come_from_the_store(serve_once):
    """What is bound and live is there; what has expired is not; what the store says of the organisation holds."""
    assert answer(serve_once, "ana", "export") == (True, "ids.clearance")
    assert answer(serve_once, "bob", "export") == (False, "policy.default_deny")
    assert answer(serve_once, "ana", "delete") == (False, "policy.default_deny")
    assert answer(serve_once, "bob", "delete") == (False, "policy.default_deny")
    assert answer(serve_once, "ana", org_id="bank") == (False, "ids.org")


@pytest.mark.parametrize("subject", ["nobody", "Ana", "an\u00e1"])
def test_who_is_not_in_the_store_is_denied_by_name(serve_once, subject):
    """Whatever is said of a subject that the store does not know, it is unknown."""
    assert answer(serve_once, subject) == (False, "subject.unknown")
    assert answer(serve_once, subject, properties={"status": "active"}) == (False, "subject.unknown")


def test_a_subject_of_another_type_is_another_subject(serve_once):
    """An id is one within its type, as the specification has it."""
    assert answer(serve_once, "bot", kind="service") == (True, "ids.read")
    assert answer(serve_once, "bot") == (False, "subject.contradicted")


def test_an_id_that_cannot_be_one_is_malformed(serve_once):
    """Letters of two scripts that look alike make no id, and say nothing about the store."""
    answered = serve_once.ask(body("an\u0430"))

    assert (answered.status_code, "scripts" in answered.text) == (400, True)


def test_batches_are_held_against_the_store_too(serve_once):
    """Each evaluation of a batch is about a subject of the store, or denied."""
    asked = {
        "action": {"name": "read"},
        "resource": {"type": "record", "id": "r-1"},
        "evaluations": [
            {"subject": {"type": "user", "id": "ana"}},
            {"subject": {"type": "user", "id": "ana", "properties": {"roles": ["admin"]}}},
            {"subject": {"type": "user", "id": "nobody"}},
        ],
    }
    answered = serve_once.ask(asked, "/access/v1/evaluations").json()["evaluations"]

    assert [item["context"]["reason"] for item in answered] == ["ids.read", "subject.contradicted", "subject.unknown"]


def test_a_role_that_is_bound_counts_from_the_next_request(serve):
    """A binding is there as soon as it is made, and gone as soon as it has expired."""
    server = serve()
    assert answer(server, "ana", "delete") == (False, "policy.default_deny")
    with company_at(server.directory) as company:
        company.identity.bind("ana", "admin")
        assert answer(server, "ana", "delete") == (True, "ids.admin")
        company.identity.bind("ana", "admin", expires_at=datetime.now(UTC))
        assert answer(server, "ana", "delete") == (False, "policy.default_deny")


def test_with_both_the_caller_may_say_more(serve):
    """`both`: the store wins where it says something; what it knows nothing of is taken from the caller."""
    server = serve("both")

    assert answer(server, "bob", "export", properties={"clearance": "high"}) == (True, "ids.clearance")
    assert answer(server, "ana", "export", properties={"clearance": "none"}) == (False, "subject.contradicted")
    assert answer(server, "bob", "delete", properties={"roles": ["admin"]}) == (False, "subject.contradicted")
    assert answer(server, "bot", properties={"workspace_id": "eu"}, kind="service") == (False, "subject.contradicted")
    guest = {"status": "active", "roles": ["admin"]}
    assert answer(server, "guest", "delete", properties=guest) == (True, "ids.admin")


def test_the_caller_alone_counts_where_that_is_asked_for(serve):
    """`caller`: the store is not asked, which has to be said where there is one."""
    server = serve("caller")

    assert answer(server, "ana", "delete", properties={"roles": ["admin"]}) == (True, "ids.admin")


def test_without_a_store_the_caller_speaks(start):
    """Where there is no store the caller's word is all there is, and the log says so."""
    server = start(None, POLICIES)

    assert answer(server, "ana", "delete", properties={"roles": ["admin"]}) == (True, "ids.admin")
    assert "what callers say of subjects counts" in server.log()


def test_a_store_that_comes_to_be_counts_without_a_restart(start):
    """The first import makes the default store, and from then on it speaks."""
    server = start(None, POLICIES)
    assert answer(server) == (True, "ids.read")
    with company_at(server.directory) as company:
        fill(company.identity)
        company.identity.suspend("ana")

    assert answer(server) == (False, "ids.inactive")


def test_a_default_store_whose_file_was_lost_still_counts(serve, start):
    """Removing the file does not hand the word to the caller: the log knows that there were subjects."""
    server = serve(settings={})
    server.stop()
    for path in (server.directory / ".companyos").glob("identity.db*"):
        path.unlink()
    again = start(None, POLICIES)

    assert answer(again, "ana", properties={"roles": ["admin"]}) == (False, "subject.contradicted")
    assert answer(again) == (True, "ids.read")


def test_a_store_that_cannot_be_read_denies_by_its_own_reason(serve):
    """Neither a store that is taken away under the server, nor one that is none, lets anybody in."""
    server = serve()
    path = server.directory / "who.db"
    path.rename(server.directory / "away.db")
    path.write_bytes(b"this is no database" * 100)

    given = server.ask(body(properties={"status": "active"})).json()
    assert (given["decision"], given["context"]["reason"]) == (False, "identity.unavailable")
    assert given["context"]["verdict"] == "undetermined"
    assert given["context"]["audit_id"]
    assert server.alive()


def test_a_store_that_cannot_be_opened_denies_and_the_server_lives(start, tmp_path):
    """A server that starts while the store is away refuses everything until it is there."""
    values = {**STORE, "server": {}}
    directory = write_company(tmp_path / "company", values, POLICIES)
    (directory / "who.db").write_bytes(b"this is no database" * 100)
    server = start(values, POLICIES)
    assert answer(server) == (False, "identity.unavailable")
    (directory / "who.db").unlink()
    with company_at(directory) as company:
        fill(company.identity)

    assert answer(server) == (True, "ids.read")


def test_what_was_asserted_is_not_on_record_as_true(serve):
    """The entry of a contradiction is about the subject as the store knows it, with the reason."""
    server = serve()
    given = server.ask(body(properties={"roles": ["admin"]})).json()
    server.stop()
    (found,) = (entry for entry in entries(server.directory, "companyos.authz.decision"))

    assert found.id == given["context"]["audit_id"]
    assert found.data["reason"] == "subject.contradicted"
    assert "admin" not in str(found.data)
