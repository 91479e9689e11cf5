"""`authorize()` with the id of a subject: looked up in the store, and refused where it cannot be."""

from __future__ import annotations

import pytest

from companyos.authz import Authorizer
from companyos.authz.identity import Attribute, Binding, IdentityStore, Role, Subject
from companyos.authz.subjects import DeferredSubjects
from companyos.company import Company

DOCUMENT = {"id": "d-1", "type": "document", "org_id": "shop"}


@pytest.fixture
def identities(ledger, tmp_path):
    with IdentityStore.open(f"sqlite:///{tmp_path / 'identity.db'}", ledger) as store:
        store.put(
            Role("editor", org_id="shop"),
            Subject("u-1", org_id="shop", workspace_id="eu"),
            Binding("u-1", "editor", "eu"),
            Attribute("clearance", "low", "subject", "u-1"),
        )
        yield store


@pytest.fixture
def ledger(tmp_path):
    from companyos.ledger import Ledger

    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture
def by_id(playbook, ledger, handlers, identities):
    return Authorizer(playbook, ledger, handlers=handlers, subjects=identities)


def last(ledger):
    """The newest entry, decrypted."""
    *_, entry = ledger.read()
    return ledger.reveal(entry)


class Answers:
    """A resolver that answers what it is given, or raises it."""

    def __init__(self, answer):
        self._answer = answer

    def resolve(self, subject_id, workspace=None):
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


def test_a_subject_by_its_id(by_id, ledger):
    """The role that the store knows of decides, and the entry names the subject and its type."""
    decision = by_id.authorize("u-1", "write", DOCUMENT)

    assert decision.allow, decision
    assert ("u-1", "user") == (last(ledger).data["actor"], last(ledger).data["actor_type"])


def test_attributes_come_from_the_store(by_id):
    """What the store says of the clearance obliges to mask."""
    decision = by_id.authorize("u-1", "read", {**DOCUMENT, "required_clearance": "high"})

    assert ["mask_fields"] == [item.id for item in decision.obligations]


def test_the_workspace_of_the_resource(by_id):
    """A role of one workspace does not count for a resource that says it is in another."""
    allowed = [by_id.authorize("u-1", "write", {**DOCUMENT, "workspace_id": where}).allow for where in ("eu", "us")]

    assert [True, False] == allowed


def test_a_suspended_subject(by_id, identities):
    """From the suspension on everything is denied."""
    identities.suspend("u-1")
    decision = by_id.authorize("u-1", "read", DOCUMENT)

    assert ("deny", "policy.inactive_subject") == (decision.verdict.value, decision.reason)


def test_an_unknown_subject(by_id, ledger, playbook):
    """Denied by name, on record with what was asked, and with the policies' digest."""
    decision = by_id.authorize("u-2", "read", DOCUMENT)
    data = last(ledger).data

    assert ("deny", "subject.unknown", playbook.version) == (
        decision.verdict.value,
        decision.reason,
        decision.facts["policy_digest"],
    )
    assert (decision.audit_id, "u-2", "unknown", "read", "d-1") == (
        last(ledger).id,
        data["actor"],
        data["actor_type"],
        data["verb"],
        data["target"]["id"],
    )


def test_listeners_hear_of_it(playbook, ledger, identities):
    """A decision about somebody unknown is told like any other."""
    told = []
    listeners = [lambda *, request, decision: told.append((request.subject["id"], decision.reason))]
    Authorizer(playbook, ledger, listeners=listeners, subjects=identities).authorize("u-2", "read", DOCUMENT)

    assert [("u-2", "subject.unknown")] == told


@pytest.mark.parametrize(
    "answer",
    [
        OSError("down"),
        TimeoutError("slow"),
        RuntimeError("bug"),
        {},
        {"id": "u-9", "type": "user"},
        None,
    ],
    ids=["down", "slow", "bug", "empty", "somebody else", "nothing"],
)
def test_a_store_that_fails(playbook, ledger, answer):
    """In whatever way the look-up fails, the request is undetermined and on record; an empty subject never passes."""
    decision = Authorizer(playbook, ledger, subjects=Answers(answer)).authorize("u-1", "read", DOCUMENT)

    assert ("undetermined", "identity.unavailable") == (decision.verdict.value, decision.reason)
    assert decision.audit_id == last(ledger).id


def test_a_store_that_is_gone(by_id, identities, tmp_path):
    """The file of the store removed under a running authorizer: undetermined, not the last that was known."""
    assert by_id.authorize("u-1", "read", DOCUMENT).allow
    (tmp_path / "identity.db").unlink()

    assert "identity.unavailable" == by_id.authorize("u-1", "read", DOCUMENT).reason


@pytest.mark.parametrize(
    ("subject", "action", "resource"),
    [
        ("", "read", DOCUMENT),
        (" u-1", "read", DOCUMENT),
        ("u-1\u200b", "read", DOCUMENT),
        ("u-1\0", "read", DOCUMENT),
        ("\ud800", "read", DOCUMENT),
        ("u-1", "Read", DOCUMENT),
        ("u-1", "read", {}),
        ("u-1", "read", {**DOCUMENT, "workspace_id": 7}),
        ("u-1", "read", {**DOCUMENT, "workspace_id": ["eu"]}),
    ],
)
def test_malformed_requests(by_id, subject, action, resource):
    """What is malformed is so with or without a store, and nobody is looked up for it."""
    decision = by_id.authorize(subject, action, resource)

    assert ("deny", "request.invalid") == (decision.verdict.value, decision.reason)


@pytest.mark.parametrize("where", ["", " ", "x" * 300, "eu\0"])
def test_a_workspace_that_cannot_be_one(by_id, where):
    """It is no reason to fall back to the subject's own."""
    assert not by_id.authorize("u-1", "write", {**DOCUMENT, "workspace_id": where}).allow


def test_without_a_store_an_id_is_no_subject(playbook, ledger):
    """An authorizer that knows nobody refuses a bare id."""
    assert "request.invalid" == Authorizer(playbook, ledger).authorize("u-1", "read", DOCUMENT).reason


def test_a_whole_request(by_id):
    """The same in one JSON object; a subject that is given whole is not looked up."""
    request = {"subject": "u-1", "action": "write", "resource": DOCUMENT}
    whole = {**request, "subject": {"id": "u-7", "type": "user", "attributes": {"org_id": "shop"}}}

    assert (True, "subject.unknown") == (
        by_id.authorize_dict(request).allow,
        by_id.authorize_dict({**request, "subject": "u-7"}).reason,
    )
    assert by_id.authorize_dict({**whole, "action": "read"}).reason.startswith("policy.")
    assert "request.invalid" == by_id.authorize_dict({**request, "colour": "red"}).reason
    assert "request.invalid" == by_id.authorize_dict({"subject": "u-1"}).reason
    assert "request.invalid" == by_id.authorize_dict(["u-1"]).reason


def test_opened_on_first_use(playbook, ledger, identities):
    """A deferred store is opened when somebody is looked up, and one that does not open is unavailable."""
    opened = []
    subjects = DeferredSubjects(lambda: opened.append(1) or identities)
    authorizer = Authorizer(playbook, ledger, subjects=subjects)
    authorizer.authorize({"id": "u-1", "type": "user"}, "read", DOCUMENT)
    before = list(opened)
    authorizer.authorize("u-1", "read", DOCUMENT)

    assert ([], [1]) == (before, opened)


def test_the_company_wires_them(tmp_path):
    """`Company.authorizer` looks subjects up in `Company.identity`, where companyos.yaml says it is."""
    (tmp_path / "companyos.yaml").write_text("identity: {url: 'sqlite:///who/is.db'}\n")
    with Company.open(tmp_path) as company:
        assert "subject.unknown" == company.authorizer.authorize("u-1", "read", DOCUMENT).reason
        company.identity.put_subject("u-1", org_id="shop")
        assert company.authorizer.authorize("u-1", "read", DOCUMENT).allow
    assert (tmp_path / "who" / "is.db").exists()


def test_a_company_whose_store_does_not_open(tmp_path):
    """Requests by id are undetermined, others are decided as ever."""
    (tmp_path / "companyos.yaml").write_text("identity: {url: 'postgresql://127.0.0.1:1/x'}\n")
    with Company.open(tmp_path) as company:
        found = company.authorizer.authorize("u-1", "read", DOCUMENT)
        whole = company.authorizer.authorize({"id": "u-1", "type": "user", "org_id": "shop"}, "read", DOCUMENT)

    assert ("undetermined", "identity.unavailable", True) == (found.verdict.value, found.reason, whole.allow)
