"""What an identity store promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from companyos.authz.identity import (
    Attribute,
    Binding,
    Bundle,
    IdentityConflictError,
    IdentityInvalidError,
    IdentityStore,
    Role,
    Subject,
    UnknownSubjectError,
)


def types(ledger):
    """The types of all entries, without the part that they share."""
    return [entry.type.removeprefix("companyos.identity.") for entry in ledger.read()]


class TestResolving:
    def test_a_subject_as_a_request_has_it(self, store):
        """Id, type, status, organisation, workspace, attributes, and the names of the roles."""
        store.put_subject("u-1", org_id="shop", workspace_id="eu")
        store.put_attribute("clearance", "high", subject="u-1")
        store.put_role("r-1", name="editor", org_id="shop")
        store.bind("u-1", "r-1")

        assert {
            "id": "u-1",
            "type": "user",
            "status": "active",
            "org_id": "shop",
            "workspace_id": "eu",
            "attributes": {"roles": ["editor"], "clearance": "high"},
        } == store.resolve("u-1")

    def test_what_is_not_set_is_absent(self, store):
        """A subject of no organisation has no `org_id`; one without roles has an empty list of them."""
        store.put_subject("job", type="service")

        assert {"id": "job", "type": "service", "status": "active", "attributes": {"roles": []}} == store.resolve("job")

    @pytest.mark.parametrize("name", ["nobody", "U-1", "u-1 ", "u\u200b-1", "", "u-1\0", "x" * 300])
    def test_an_unknown_subject_is_an_error(self, store, name):
        """Who is not known, byte by byte, is never an empty subject."""
        store.put_subject("u-1")

        with pytest.raises((UnknownSubjectError, IdentityInvalidError)):
            store.resolve(name)

    def test_the_nearest_scope_counts(self, store):
        """Subject over workspace over organisation, whatever was put last."""
        store.put_subject("u-1", org_id="shop", workspace_id="eu")
        store.put_attribute("tier", 1, subject="u-1")
        store.put_attribute("tier", 2, workspace="eu")
        store.put_attribute("tier", 3, org="shop")
        seen = [store.resolve("u-1")["attributes"]["tier"]]
        store.remove_attribute("tier", subject="u-1")
        seen.append(store.resolve("u-1")["attributes"]["tier"])
        store.remove_attribute("tier", workspace="eu")
        seen.append(store.resolve("u-1")["attributes"]["tier"])

        assert [1, 2, 3] == seen

    def test_of_two_sources_the_last_one_counts(self, store, clock):
        """Each source says one thing; what was put last counts, and when it goes what the other says."""
        store.put_subject("u-1")
        store.put_attribute("clearance", "low", subject="u-1", source="hr")
        store.put_attribute("clearance", "high", subject="u-1", source="incident-7", ttl=timedelta(hours=1))
        seen = [store.resolve("u-1")["attributes"]["clearance"]]
        store.put_attribute("clearance", "medium", subject="u-1", source="hr")
        seen.append(store.resolve("u-1")["attributes"]["clearance"])
        store.put_attribute("clearance", "high", subject="u-1", source="incident-7", ttl=timedelta(hours=2))
        seen.append(store.resolve("u-1")["attributes"]["clearance"])
        clock.advance(hours=2)
        seen.append(store.resolve("u-1")["attributes"]["clearance"])

        assert ["high", "medium", "high", "medium"] == seen

    def test_an_expired_attribute_is_absent(self, store, clock):
        """Up to the last moment it holds, then the farther scope's does, or none."""
        store.put_subject("u-1", org_id="shop")
        store.put_attribute("clearance", "high", subject="u-1", ttl=timedelta(seconds=60))
        store.put_attribute("region", "eu", org="shop", expires_at=clock.now + timedelta(seconds=60))
        clock.advance(seconds=59.999999)
        before = store.resolve("u-1")["attributes"]
        clock.advance(microseconds=1)

        assert {"roles": [], "clearance": "high", "region": "eu"} == before
        assert {"roles": []} == store.resolve("u-1")["attributes"]
        assert before == store.resolve("u-1", at=clock.now - timedelta(seconds=1))["attributes"]

    def test_an_expired_binding_is_absent(self, store, clock):
        """A role that was given until a time is gone from then on."""
        store.put(Subject("u-1"), Role("oncall"), Binding("u-1", "oncall", expires_at=clock.now + timedelta(hours=8)))
        assert ["oncall"] == store.resolve("u-1")["attributes"]["roles"]
        clock.advance(hours=8)

        assert [] == store.resolve("u-1")["attributes"]["roles"]

    def test_a_role_holds_in_its_workspace(self, store):
        """A role bound in a workspace counts there only; without one named, the subject's own workspace counts."""
        store.put(Subject("u-1", workspace_id="eu"), Role("editor"), Role("reader"))
        store.put(Binding("u-1", "editor", "us"), Binding("u-1", "reader"))
        store.put_attribute("region", "us", workspace="us")

        assert {"roles": ["reader"]} == store.resolve("u-1")["attributes"]
        assert {"roles": ["editor", "reader"], "region": "us"} == store.resolve("u-1", "us")["attributes"]
        assert "us" == store.resolve("u-1", "us")["workspace_id"]

    def test_the_same_role_in_two_workspaces_and_everywhere(self, store):
        """Bindings of one role are told apart by the workspace, and unbinding one leaves the others."""
        store.put(Subject("u-1"), Role("editor"))
        store.put(Binding("u-1", "editor", "a"), Binding("u-1", "editor", "b"), Binding("u-1", "editor"))
        store.unbind("u-1", "editor")
        store.unbind("u-1", "editor", workspace="b")

        assert (["editor"], [], []) == tuple(
            store.resolve("u-1", where)["attributes"]["roles"] for where in ("a", "b", None)
        )

    def test_the_status_is_passed_on(self, store):
        """A suspended subject is resolved as suspended, until it is active again."""
        store.put_subject("u-1")
        store.suspend("u-1")
        suspended = store.resolve("u-1")["status"]
        store.activate("u-1")

        assert ("suspended", "active") == (suspended, store.resolve("u-1")["status"])

    def test_many_at_once(self, store):
        """Each subject has what is its own; the order is the caller's; who is unknown is named."""
        names = [f"u-{number}" for number in range(450)]
        store.put(*(Subject(name, org_id=f"o-{name}") for name in names))
        store.put(*(Attribute("badge", name, "org", f"o-{name}") for name in names))
        found = store.resolve_many(reversed(names))

        assert list(reversed(names)) == list(found)
        assert names == [found[name]["attributes"]["badge"] for name in names]
        with pytest.raises(UnknownSubjectError, match="nobody, noone"):
            store.resolve_many(["u-1", "nobody", "noone"])
        assert {} == store.resolve_many([])

    @pytest.mark.parametrize(
        "value", [None, False, True, 0, -1.5, 2**53 - 1, "", "Ünï\n\"'", [], [1, "a"], {}, {"a": {"b": [None]}}]
    )
    def test_any_json_value(self, store, value):
        """A value comes back as it was put, and true is not 1."""
        store.put_subject("u-1")
        store.put_attribute("extra", value, subject="u-1")
        found = store.resolve("u-1")["attributes"]["extra"]

        assert (value, type(value)) == (found, type(found))

    def test_true_after_one_is_a_change(self, store):
        """For Python true equals 1; for policies it does not."""
        store.put_subject("u-1")
        store.put_attribute("extra", 1, subject="u-1")

        assert store.put_attribute("extra", True, subject="u-1")
        assert store.resolve("u-1")["attributes"]["extra"] is True


class TestChanging:
    def test_every_change_is_an_entry(self, store, ledger):
        """What is put or removed is logged once, what is there already is not."""
        store.put_subject("u-1", org_id="shop")
        store.put_subject("u-1", org_id="shop")
        store.put_role("editor", org_id="shop")
        store.bind("u-1", "editor")
        store.put_attribute("clearance", "low", subject="u-1")
        store.remove_attribute("clearance", subject="u-1")
        store.remove_attribute("clearance", subject="u-1")
        store.unbind("u-1", "editor")
        store.remove(Role("editor"))
        store.remove(Subject("u-1"))

        assert [
            "subject_put",
            "role_put",
            "binding_put",
            "attribute_put",
            "attribute_removed",
            "binding_removed",
            "role_removed",
            "subject_removed",
        ] == types(ledger)

    def test_receipts(self, store, ledger):
        """A change returns the receipts of its entries; the store reflects them."""
        receipts = store.put(Subject("u-1"), Role("editor"), Binding("u-1", "editor"))

        assert [0, 1, 2] == [receipt.index for receipt in receipts]
        assert 3 == store.position == len(ledger)

    def test_what_the_entries_hold(self, store, ledger):
        """Who changed what, decrypted."""
        store.put_subject("ann@example.org", org_id="shop")
        (entry,) = (ledger.reveal(entry) for entry in ledger.read())

        assert (entry.source, entry.stream, entry.data["by"]) == ("companyos/identity", "identity", "root")
        assert {
            "id": "ann@example.org",
            "type": "user",
            "org_id": "shop",
            "workspace_id": None,
            "status": "active",
            "created_at": "2026-11-30T12:00:00.000000Z",
        } == entry.data["record"]

    def test_nothing_personal_in_the_clear(self, store, ledger):
        """No id of a subject, no value of an attribute of one, no author of a change or a bundle."""
        store.put_subject("ann@example.org", org_id="shop")
        store.put_attribute("nickname", "Annie-O", subject="ann@example.org", source="sourcery")
        store.put_role("editor")
        store.bind("ann@example.org", "editor")
        store.put_bundle("access", "1.0.0", "dev", "sha256:" + "0" * 64, created_by="bob@example.org")
        store.suspend("ann@example.org")
        store.remove(Subject("ann@example.org"))
        logged = b"".join(ledger.raw(index) for index in range(len(ledger)))

        assert len(ledger) == 7
        for secret in (b"ann@", b"Annie", b"nickname", b"sourcery", b"bob@", b'"root"', b"suspended"):
            assert secret not in logged
        assert b"editor" in logged

    def test_all_or_nothing(self, store, ledger):
        """One record that does not fit, and none is put, nor logged."""
        with pytest.raises(IdentityConflictError, match="no such role"):
            store.put(Subject("u-1"), Role("editor"), Binding("u-1", "writer"))

        assert ([], ()) == (types(ledger), store.directory().subjects)

    def test_a_put_keeps_a_suspension(self, store):
        """Putting a suspended subject without a status does not let it in again; with one, it does."""
        store.put_subject("u-1")
        store.suspend("u-1")
        store.put_subject("u-1", org_id="shop")
        kept = store.resolve("u-1")["status"]
        store.put_subject("u-1", org_id="shop", status="active")

        assert ("suspended", "active") == (kept, store.resolve("u-1")["status"])

    def test_created_once(self, store, clock):
        """The time of creation is that of the first put."""
        first = clock.now
        store.put_subject("u-1")
        clock.advance(days=1)
        store.put_subject("u-1", org_id="shop")

        assert first == store.subject("u-1").created_at

    def test_with_a_subject_goes_what_is_its_own(self, store):
        """A subject that was removed and is put again begins with nothing."""
        store.put(Subject("u-1"), Role("editor"), Binding("u-1", "editor"))
        store.put_attribute("clearance", "high", subject="u-1")
        store.remove(Subject("u-1"))
        store.put_subject("u-1")

        assert {"roles": []} == store.resolve("u-1")["attributes"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda store: store.bind("nobody", "editor"), "no such subject"),
            (lambda store: store.bind("u-1", "nothing"), "no such role"),
            (lambda store: store.put_attribute("x", 1, subject="nobody"), "no such subject"),
            (lambda store: store.suspend("nobody"), "no such subject"),
            (lambda store: store.subject("nobody"), "no such subject"),
            (lambda store: store.remove(Role("editor")), "somebody has the role"),
            (lambda store: store.put_role("editor", org_id="bank"), "another organisation"),
            (lambda store: store.put_role("editor-2", name="editor", org_id="shop"), "has the name already"),
            (lambda store: store.put_subject("U-1"), "look alike"),
            (lambda store: store.put_subject("u-l"), "look alike"),
            (lambda store: store.put_role("Editor"), "look alike"),
            (lambda store: store.put_subject("u-1", org_id="bank"), "a role of another organisation"),
            (lambda store: store.put(Subject("b-9", org_id="bank"), Binding("b-9", "editor")), "another organisation"),
            (lambda store: store.put(Subject("b-9"), Binding("b-9", "editor")), "another organisation"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, store, ledger, change, message):
        """Each by name, and nothing is logged."""
        store.put(Subject("u-1", org_id="shop"), Role("editor", org_id="shop"), Binding("u-1", "editor"))
        before = len(ledger), store.digest()

        with pytest.raises((IdentityConflictError, UnknownSubjectError), match=message):
            change(store)

        assert before == (len(ledger), store.digest())

    def test_one_name_in_two_organisations(self, store):
        """A role's name is unique within its organisation; a subject has its own organisation's."""
        store.put(Role("shop/editor", "editor", "shop"), Role("bank/editor", "editor", "bank"))
        store.put(Subject("u-1", org_id="bank"), Binding("u-1", "bank/editor"))

        assert ["editor"] == store.resolve("u-1")["attributes"]["roles"]

    def test_bundles(self, store):
        """A version of a bundle at a stage is what it is for ever; promoted, it is there twice."""
        checksum = "sha256:" + "1" * 64
        store.put_bundle("access", "1.0.0", "dev", checksum, created_by="ann")
        store.put_bundle("access", "1.0.0", "staging", checksum, created_by="bob")

        assert (
            Bundle("access", "1.0.0", "dev", checksum, "ann"),
            Bundle("access", "1.0.0", "staging", checksum, "bob"),
        ) == store.bundles()
        with pytest.raises(IdentityConflictError, match="and another one"):
            store.put_bundle("access", "1.0.0", "dev", "sha256:" + "2" * 64)

    def test_seen_by_others_once_it_returns(self, place, ledger, store):
        """Another store over the same database sees a change that was acknowledged."""
        with IdentityStore.open(place.url, ledger) as other:
            store.put_subject("u-1")
            other.suspend("u-1")
            assert "suspended" == store.resolve("u-1")["status"]

    def test_threads(self, store):
        """Threads change and resolve through one store; nothing is lost, nothing is half done."""
        store.put_subject("u-0", org_id="o", workspace_id="o")
        wrong = []

        def change(number):
            for turn in range(10):
                name = f"{number}-{turn}"
                store.put(Subject("u-0", org_id=name, workspace_id=name), Subject(f"t-{name}"))
                found = store.resolve("u-0")
                if found["org_id"] != found["workspace_id"]:
                    wrong.append(found)

        threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert ([], 41) == (wrong, len(store.directory().subjects))
        assert store.verify()


class TestRecords:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: Subject(""),
            lambda: Subject(" u"),
            lambda: Subject("u\u200b"),
            lambda: Subject("u\n"),
            lambda: Subject("\uff55-1"),
            lambda: Subject("p\u0430ypal"),
            lambda: Subject("e\u0301"),
            lambda: Subject("u" * 257),
            lambda: Subject(7),
            lambda: Subject("u", "robot"),
            lambda: Subject("u", status="paused"),
            lambda: Subject("u", org_id=""),
            lambda: Subject("u", created_at=datetime(2026, 1, 1)),  # noqa: DTZ001 - the point
            lambda: Subject("u", created_at="2026-01-01"),
            lambda: Attribute("roles", ["admin"], "subject", "u"),
            lambda: Attribute("Clearance", "high", "subject", "u"),
            lambda: Attribute("clearance", ["high"], "subject", "u"),
            lambda: Attribute("a", float("nan"), "subject", "u"),
            lambda: Attribute("a", 2**60, "subject", "u"),
            lambda: Attribute("a", object(), "subject", "u"),
            lambda: Attribute("a", "\ud800", "subject", "u"),
            lambda: Attribute("a", "x" * 9000, "subject", "u"),
            lambda: Attribute("a", 1, "team", "u"),
            lambda: Attribute("a", 1, "subject", "u", ttl=0),
            lambda: Attribute("a", 1, "subject", "u", ttl=True),
            lambda: Attribute("a", 1, "subject", "u", source=""),
            lambda: Role(""),
            lambda: Role("r", description="two\nlines"),
            lambda: Binding("u", "r", workspace_id=""),
            lambda: Bundle("b", "1", "live", "sha256:" + "0" * 64),
            lambda: Bundle("b", "1", "dev", "0" * 64),
        ],
    )
    def test_what_cannot_be_one(self, make):
        """A record that exists is valid; anything else is refused by name where it is made."""
        with pytest.raises(IdentityInvalidError) as caught:
            make()

        assert "identity.invalid" == caught.value.code

    def test_an_attribute_has_one_owner(self, store):
        """None, or two, is a mistake."""
        with pytest.raises(IdentityInvalidError, match="one owner"):
            store.put_attribute("a", 1)
        with pytest.raises(IdentityInvalidError, match="one owner"):
            store.put_attribute("a", 1, subject="u", org="o")

    def test_times_are_utc(self):
        """A time of another zone is the same moment."""
        zone = datetime.fromisoformat("2026-01-31T12:00:00+02:00")

        assert datetime(2026, 1, 31, 10, tzinfo=UTC) == Binding("u", "r", expires_at=zone).expires_at
