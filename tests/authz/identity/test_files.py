"""Import and export: read strictly, planned, atomic, and the same bytes every time."""

from __future__ import annotations

import json
import re
import string
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from companyos.authz.identity import (
    Attribute,
    Binding,
    Directory,
    IdentityConflictError,
    IdentityInvalidError,
    IdentityStore,
    Role,
    Subject,
    UnknownSubjectError,
    dump_directory,
    load_directory,
)
from companyos.authz.identity.names import skeleton
from companyos.authz.identity.records import same
from companyos.cli import main
from companyos.errors import ConfigError, UserError
from companyos.ledger import Ledger

FILE = """\
version: 1
roles:
- {id: editor, org_id: shop, description: writes}
subjects:
- {id: u-1, org_id: shop, workspace_id: eu}
- {id: job, type: service}
attributes:
- {name: clearance, value: high, subject_id: u-1, source: hr, ttl: 3600}
- {name: region, value: eu, org_id: shop}
role_bindings:
- {subject_id: u-1, role_id: editor, expires_at: 2030-01-01T00:00:00Z}
"""

KEYS = ("id", "name", "value", "subject_id", "role_id", "org_id", "ttl", "expires_at", "status", "scope")
TIME = re.compile(r"T[0-9:.]+Z")

ids = st.text(string.ascii_lowercase + string.digits + "-_.@/:", min_size=1, max_size=12) | st.sampled_from(
    ["é", "Jürgen", "日本", "yes", "null", "1e3", "0x1f", "2026-01-01", "~", "=", "a: b", "#x", "'", '"', "- a"]
)
times = st.datetimes(datetime(2027, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants it naive
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


def distinct(records):
    """Those that do not look like an earlier one."""
    return list({skeleton(record.id): record for record in records}.values())


def acceptable(make, *arguments, **more):
    """What is made of it, None where it cannot be one."""
    try:
        return make(*arguments, **more)
    except IdentityInvalidError:
        return None


@st.composite
def subjects(draw):
    """A subject, everything said."""
    kind, status = draw(st.sampled_from(["user", "service"])), draw(st.sampled_from(["active", "suspended", "deleted"]))
    return Subject(draw(ids), kind, "o", draw(st.none() | ids), status, draw(times))


@st.composite
def roles(draw):
    """A role, of one organisation or of all."""
    description = draw(st.text(string.printable[:95], max_size=20))
    return Role(draw(ids), "", draw(st.sampled_from([None, "o"])), description)


@st.composite
def directories(draw):
    """Any directory that fits together."""
    some = distinct(draw(st.lists(subjects(), max_size=4)))
    named = distinct(draw(st.lists(roles(), max_size=3)))
    owners = [("subject", subject.id) for subject in some] + [("org", "o"), ("workspace", "w")]
    records = {}
    for name in draw(st.lists(ids, max_size=4)):
        owner = draw(st.sampled_from(owners))
        made = acceptable(Attribute, name, draw(values), *owner, draw(ids), expires_at=draw(st.none() | times))
        if made is not None:
            records[made.key] = made
    for _ in range(draw(st.integers(0, 3)) if some and named else 0):
        who, what = draw(st.sampled_from(some)).id, draw(st.sampled_from(named)).id
        made = Binding(who, what, draw(st.none() | ids), draw(st.none() | times))
        records[made.key] = made
    return Directory.of([*some, *named, *records.values()])


def read(text):
    """What comes of reading a text: `read`, or the code of an error for people."""
    try:
        load_directory(text, "x.yaml")
    except UserError as error:
        return error.code
    return "read"


@pytest.fixture
def place(tmp_path):
    from tests.authz.identity.identity_workers import Place

    return Place(f"sqlite:///{tmp_path / 'identity.db'}", tmp_path)


class TestRoundTrip:
    @given(directories())
    @example(Directory(attributes=(Attribute("a", {"\x85": "\u2028x\u2029"}, "org", "o", "s"),)))
    @settings(max_examples=150, deadline=None)
    def test_text(self, directory):
        """What is written is read back as it was, and written again it is the same text."""
        text = dump_directory(directory)
        again = load_directory(text, "export")

        assert len(again.records()) == len(directory.records())
        assert all(same(one, other) for one, other in zip(again.records(), directory.records(), strict=True))
        assert text == dump_directory(again)

    @given(directories())
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_through_a_store(self, directory):
        """Imported into an empty store it exports as the same bytes; imported again there is nothing to do."""
        with (
            tempfile.TemporaryDirectory() as folder,
            Ledger.open(f"sqlite:///{Path(folder) / 'l.db'}") as ledger,
            IdentityStore.open(f"sqlite:///{Path(folder) / 'i.db'}", ledger) as store,
        ):
            text = dump_directory(directory)
            steps = store.sync(load_directory(text, "export"), prune=True)
            assert len(steps) == len(directory.records()) == len(ledger)
            assert text == dump_directory(store.directory())
            assert () == store.sync(load_directory(text, "export"), prune=True)
            assert len(ledger) == len(steps)

    @given(st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: raw.decode("latin-1")))
    @settings(max_examples=300, deadline=None)
    def test_any_text(self, text):
        """Whatever a file holds, it is a directory or an error for people."""
        assert read(text) in {"read", "config.invalid", "identity.invalid"}

    @given(
        st.dictionaries(
            st.sampled_from(["version", "subjects", "roles", "attributes", "role_bindings", "subject"]),
            st.lists(
                st.dictionaries(
                    st.sampled_from(KEYS),
                    values,
                    max_size=5,
                ),
                max_size=3,
            )
            | values,
        )
    )
    @settings(max_examples=300, deadline=None)
    def test_almost_right(self, content):
        """Files of the right shape with wrong values are refused by name, never by accident."""
        assert read(json.dumps({"version": 1, **content})) in {"read", "config.invalid", "identity.invalid"}


class TestReading:
    def test_a_file_as_people_write_it(self):
        """Defaults, and times with or without quotation marks."""
        found = load_directory(FILE, "x.yaml")

        assert (Role("editor", "editor", "shop", "writes"),) == found.roles
        assert (Binding("u-1", "editor", None, datetime(2030, 1, 1, tzinfo=UTC)),) == found.bindings
        assert found == load_directory(FILE.replace("2030-01-01T00:00:00Z", "'2030-01-01T02:00:00+02:00'"), "x.yaml")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "not a mapping"),
            ("[]", "not a mapping"),
            ("version: 2", "another version"),
            ("version: true", "another version"),
            ("subjects: []", "another version"),
            ("version: 1\nsubject: []", "did you mean 'subjects'"),
            ("version: 1\nsubjects: {}", "not a list"),
            ("version: 1\nsubjects: [u-1]", r"subjects\[0\] in x.yaml is not a mapping"),
            ("version: 1\nsubjects: [{id: a}, {id: b, staus: active}]", r"subjects\[1\] (.|\n)*did you mean 'status'"),
            ("version: 1\nsubjects: [{type: user}]", "id is missing"),
            ("version: 1\nsubjects: [{id: 7}]", "is not text"),
            ("version: 1\nsubjects: [{id: a, status: gone}]", "active, suspended, deleted"),
            ("version: 1\nsubjects: [{id: a}, {id: a}]", r"see subjects\[0\]"),
            ("version: 1\nsubjects: [{id: alice}, {id: Alice}]", "look alike"),
            ("version: 1\nsubjects: [{id: al1}, {id: all}]", "look alike"),
            ("version: 1\nsubjects: [{id: \u0430\u0435}, {id: ae}]", "look alike"),
            ("version: 1\nsubjects: [{id: p\u0430y}]", "mixes scripts"),
            ("version: 1\nsubjects: [{id: \u0430-pay}]", "mixes scripts"),
            ("version: 1\nsubjects: [{id: p\u0251y}]", "look-alike"),
            ("version: 1\nroles: [{id: r}, {id: R}]", "look alike"),
            ("version: 1\nsubjects: [{id: a, id: b}]", "second time"),
            ("version: 1\nsubjects: &x [{id: a}]", "anchors"),
            ("version: 1\nsubjects: [{id: a, created_at: 2026-01-01}]", "not a time"),
            ("version: 1\nsubjects: [{id: a, created_at: 2026-01-01 10:00:00}]", "zone"),
            ("version: 1\nattributes: [{name: n, value: 1}]", "one owner"),
            ("version: 1\nattributes: [{name: n, value: 1, org_id: o, workspace_id: w}]", "one owner"),
            ("version: 1\nattributes: [{name: n, value: 1, org_id: o, scope: subject}]", "scope"),
            ("version: 1\nattributes: [{name: n, org_id: o}]", "value is missing"),
            ("version: 1\nattributes: [{name: n, value: 2026-01-01, org_id: o}]", "not JSON"),
            ("version: 1\nattributes: [{name: n, value: .nan, org_id: o}]", "not JSON"),
            ("version: 1\nattributes: [{name: n, value: {1: a}, org_id: o}]", "not JSON"),
            ("version: 1\nattributes: [{name: roles, value: [admin], org_id: o}]", "bind the subject"),
            ("version: 1\nattributes: [{name: n, value: 1, org_id: o, ttl: -1}]", "ttl"),
            (
                "version: 1\nattributes: [{name: n, value: 1, org_id: o, ttl: 1, expires_at: 2030-01-01T00:00:00Z}]",
                "one of",
            ),
            ("version: 1\nattributes: [{name: n, value: 1, org_id: o}, {name: n, value: 2, org_id: o}]", "twice"),
            ("version: 1\nrole_bindings: [{subject_id: a}]", "role_id is missing"),
        ],
    )
    def test_what_is_refused(self, text, message):
        """Each mistake by name and place, with a hint."""
        with pytest.raises((IdentityInvalidError, ConfigError), match=message):
            load_directory(text, "x.yaml")

    def test_the_same_name_from_two_sources(self):
        """Sources are told apart."""
        text = "version: 1\nattributes: [{name: n, value: 1, org_id: o, source: a}, {name: n, value: 2, org_id: o}]"

        assert [1, 2] == [attribute.value for attribute in load_directory(text, "x").attributes]


class TestSync:
    def test_what_is_to_be_done(self, store):
        """Additions, changes with both sides, and with prune removals; done once, there is nothing to do."""
        first = store.sync(load_directory(FILE, "x"))
        changed = FILE.replace("workspace_id: eu", "workspace_id: us").replace("- {id: job, type: service}\n", "")
        second = store.sync(load_directory(changed, "x"), prune=True)

        assert ["add"] * 6 == [step.verb for step in first]
        assert [("remove", ("job",)), ("change", ("u-1",))] == [(step.verb, step.change.record.key) for step in second]
        assert {"workspace_id": ("eu", "us")} == second[1].differences
        assert () == store.sync(load_directory(changed, "x"), prune=True)

    def test_without_prune_nothing_is_removed(self, store):
        """A file that names less takes nothing away."""
        store.sync(load_directory(FILE, "x"))

        assert () == store.sync(load_directory("version: 1", "x"))

    def test_prune_everything(self, store):
        """An empty file with prune empties the store; roles go after those who had them."""
        store.sync(load_directory(FILE, "x"))
        store.sync(load_directory("version: 1", "x"), prune=True)

        assert Directory() == store.directory()
        assert store.verify()

    def test_a_role_that_is_pruned_from_one_who_stays(self, store):
        """A binding and an attribute that are named no more are removed by themselves."""
        store.sync(load_directory(FILE, "x"))
        text = "version: 1\nsubjects: [{id: u-1, org_id: shop}, {id: job, type: service}]"
        steps = store.sync(load_directory(text, "x"), prune=True)

        assert ["binding", "attribute", "attribute", "subject", "role"] == [step.change.record.kind for step in steps]

    def test_a_dry_run_does_nothing(self, store, ledger):
        """The steps are those of the real run; nothing is put, nothing logged."""
        planned = store.sync(load_directory(FILE, "x"), dry_run=True)

        assert (Directory(), 0) == (store.directory(), len(ledger))
        assert planned == store.sync(load_directory(FILE, "x"))

    @pytest.mark.parametrize(
        "more",
        [
            "- {subject_id: nobody, role_id: editor}",
            "- {subject_id: u-1, role_id: nothing}",
            "- {subject_id: job, role_id: editor}",
        ],
    )
    @pytest.mark.parametrize("dry_run", [False, True])
    def test_all_or_nothing(self, store, ledger, more, dry_run):
        """A file that does not fit together changes nothing, and a dry run says so too."""
        with pytest.raises((IdentityConflictError, UnknownSubjectError)):
            store.sync(load_directory(FILE + more, "x"), dry_run=dry_run)

        assert (Directory(), 0) == (store.directory(), len(ledger))

    def test_a_suspension_outlives_an_import(self, store):
        """A file that says nothing of the status does not let a suspended subject in again."""
        store.sync(load_directory(FILE, "x"))
        store.suspend("u-1")

        assert () == store.sync(load_directory(FILE, "x"), prune=True)
        assert "suspended" == store.resolve("u-1")["status"]

    def test_lifetimes_are_not_prolonged_by_reading_again(self, store, clock):
        """A ttl begins when the attribute is put; read again before the end the file changes nothing, after it does."""
        store.sync(load_directory(FILE, "x"))
        clock.advance(minutes=59)
        again = store.sync(load_directory(FILE, "x"))
        clock.advance(minutes=1)
        expired = dict(store.resolve("u-1")["attributes"])
        (renewed,) = store.sync(load_directory(FILE, "x"))

        assert () == again
        assert "clearance" not in expired
        assert clock.now + timedelta(hours=1) == renewed.change.record.expires_at

    def test_an_export_keeps_the_end(self, store, clock):
        """Exported and imported later, an attribute ends when it would have ended."""
        store.sync(load_directory(FILE, "x"))
        text = dump_directory(store.directory())
        clock.advance(minutes=30)

        assert () == store.sync(load_directory(text, "x"), prune=True)
        clock.advance(minutes=30)
        assert () == store.sync(load_directory(text, "x"), prune=True)
        assert "clearance" not in store.resolve("u-1")["attributes"]


class TestCommands:
    @pytest.fixture(autouse=True)
    def company(self, tmp_path, monkeypatch):
        (tmp_path / "companyos.yaml").write_text("company: {name: shop}\n")
        (tmp_path / "who.yaml").write_text(FILE, encoding="utf-8")
        monkeypatch.chdir(tmp_path)

    def test_from_a_file_and_back(self, capsys):
        """Dry run, import, again, export, show."""
        assert 0 == main(["identity", "import", "who.yaml", "--dry-run"])
        dry = capsys.readouterr()
        assert ("6 changes, not made" in dry.err, dry.out.count("add ")) == (True, 6)
        assert 0 == main(["identity", "--by", "ann", "import", "who.yaml"])
        assert TIME.sub("", dry.out) == TIME.sub("", capsys.readouterr().out)
        assert 0 == main(["identity", "import", "who.yaml", "--json"])
        assert {"dry_run": False, "steps": []} == json.loads(capsys.readouterr().out)
        assert 0 == main(["identity", "export"])
        text = capsys.readouterr().out
        Path("export.yaml").write_text(text, encoding="utf-8")
        assert 0 == main(["identity", "import", "export.yaml", "--prune"])
        assert ("", "# 0 changes\n") == tuple(capsys.readouterr())
        assert 0 == main(["identity", "export", "--json"])
        assert ["job", "u-1"] == [subject["id"] for subject in json.loads(capsys.readouterr().out)["subjects"]]
        assert 0 == main(["identity", "show", "u-1"])
        shown = capsys.readouterr().out
        assert "attributes.clearance  high" in shown
        assert 'attributes.roles      ["editor"]' in shown
        assert 0 == main(["identity", "show", "u-1", "--workspace", "us", "--json"])
        assert "us" == json.loads(capsys.readouterr().out)["workspace_id"]

    def test_a_change_is_shown_with_both_sides(self, capsys):
        """What was, and what will be."""
        main(["identity", "import", "who.yaml"])
        Path("who.yaml").write_text(FILE.replace("value: eu", "value: us"), encoding="utf-8")
        capsys.readouterr()
        assert 0 == main(["identity", "import", "who.yaml", "--dry-run"])

        assert "change  attribute  org shop region manual  value: eu → us" in capsys.readouterr().out

    def test_suspend_verify_rebuild(self, capsys):
        """The commands of an incident."""
        main(["identity", "import", "who.yaml"])
        assert [0, 0] == [main(["identity", "suspend", "u-1"]), main(["identity", "suspend", "u-1"])]
        assert "was suspended already" in capsys.readouterr().err
        main(["identity", "show", "u-1"])
        assert "suspended" in capsys.readouterr().out
        assert 0 == main(["identity", "activate", "u-1"])
        assert 0 == main(["identity", "verify"])
        assert 0 == main(["identity", "rebuild"])
        assert "built from 8 entries" in capsys.readouterr().out

    @pytest.mark.parametrize("arguments", [["verify"], ["export"], ["show", "u-1"], ["suspend", "u-1"], ["rebuild"]])
    def test_where_there_is_no_ledger(self, capsys, arguments):
        """Nothing is said of anybody, and no ledger begun, where the only mistake is the directory."""
        assert 3 == main(["identity", *arguments])

        assert "error[unverifiable]: there is no ledger at" in capsys.readouterr().err
        assert not Path(".companyos").exists()

    def test_damage(self, capsys):
        """A row that somebody wrote exits with 1 and its code."""
        import sqlite3

        main(["identity", "import", "who.yaml"])
        with sqlite3.connect(".companyos/identity.db") as database:
            database.execute("UPDATE subjects SET status = 'deleted'")
        database.close()

        assert 1 == main(["identity", "verify"])
        assert "error[identity.damaged]" in capsys.readouterr().err

    def test_entries_that_were_passed_over(self, capsys):
        """Verify lists what somebody appended under our name, and exits with 1."""
        arguments = ["--type", "companyos.identity.role_put", "--data", "{}", "--source", "companyos/identity"]
        assert 0 == main(["ledger", "append", *arguments])
        capsys.readouterr()

        assert 1 == main(["identity", "verify"])
        assert "no record" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "status", "code"),
        [
            (["show", "nobody"], 1, "identity.subject_unknown"),
            (["show", ""], 2, "identity.invalid"),
            (["suspend", "nobody"], 1, "identity.subject_unknown"),
            (["import", "bad.yaml"], 2, "identity.invalid"),
            (["import", "twice.yaml"], 2, "config.invalid"),
            (["import", "latin.yaml"], 2, "usage"),
            (["--url", "mysql://x", "export"], 2, "config.invalid"),
            (["--url", "postgresql://127.0.0.1:1/x", "export"], 3, "identity.unavailable"),
            (["--by", "", "export"], 2, "identity.invalid"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
    )
    def test_bad_calls_have_a_name(self, capsys, arguments, status, code):
        """Each wrong call has its exit status and its code."""
        Path("bad.yaml").write_text("version: 1\nsubjects: [{id: a, staus: x}]")
        Path("twice.yaml").write_text("version: 1\nversion: 1")
        Path("latin.yaml").write_bytes(b"version: 1 # \xff")
        main(["identity", "import", "who.yaml"])
        capsys.readouterr()

        assert status == main(["identity", *arguments])
        assert f"error[{code}]" in capsys.readouterr().err
