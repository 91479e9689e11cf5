"""The composition root."""

import pytest

from companyos import Company, hookimpl
from companyos.errors import ConfigError, UnverifiableError
from companyos.ledger import EntryRefusedError
from companyos.ports import Message


def make(tmp_path, text=""):
    (tmp_path / "companyos.yaml").write_text(f"company: {{name: orders}}\n{text}")
    return Company.open(tmp_path)


def test_nothing_is_opened_before_it_is_asked_for(tmp_path):
    """Opening a company writes nothing."""
    with make(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["companyos.yaml"]


def test_relative_paths_start_at_the_file(tmp_path, monkeypatch):
    """Wherever the process is, state lands beside companyos.yaml; keys apart from the log."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with make(tmp_path) as company:
        company.ledger.append("test.event", {})
    assert not list(elsewhere.iterdir())
    state = tmp_path / ".companyos"
    assert (state / "ledger.db").exists()
    assert {"ledger.pem", "people.db"} <= {path.name for path in (state / "keys").iterdir()}


def test_it_is_found_from_below(tmp_path):
    """Any directory inside the repository will do."""
    make(tmp_path).close()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    with Company.open(inner) as company:
        assert (company.settings.company.name, company.root) == ("orders", tmp_path)


@pytest.mark.parametrize("missing", ["nowhere", "nowhere/companyos.yaml", "companyos.yml"])
def test_a_path_that_does_not_exist_is_no_company(tmp_path, missing):
    """A misspelt path never opens the company above it, nor the defaults."""
    make(tmp_path).close()
    with pytest.raises(ConfigError, match="there is no company at"):
        Company.open(tmp_path / missing)


def test_options_of_a_channel_that_does_not_exist_are_refused(tmp_path):
    """A misspelt channel in notify.options would otherwise be ignored."""
    text = "notify: {options: {jsnol: {path: x}}}\n"
    with make(tmp_path, text) as company, pytest.raises(ConfigError, match="names no channel: jsnol"):
        _ = company.notifier


def test_rooms_are_opened_once(tmp_path):
    """The same ledger serves everybody; after close, a new one."""
    company = make(tmp_path)
    first = company.ledger
    assert company.ledger is first
    company.close()
    assert company.ledger is not first
    company.close()


def test_origin_names_the_company(tmp_path):
    """Checkpoints of different companies can be told apart."""
    with make(tmp_path) as company:
        assert company.ledger.origin == "orders.companyos/log"


def test_plugins_hear_of_entries_and_may_refuse_them(tmp_path):
    """Listeners are told after the commit; a validator's sentence stops the append and leaves nothing."""
    heard = []

    class Strict:
        @hookimpl
        def companyos_on_entry(self, entry):
            heard.append(entry.type)

        @hookimpl
        def companyos_validate_entry(self, data):
            return "no secrets" if "secret" in data else None

    with make(tmp_path) as company:
        company.plugins.register(Strict(), "strict")
        company.ledger.append("test.good", {})
        with pytest.raises(EntryRefusedError, match="no secrets"):
            company.ledger.append("test.bad", {"secret": 1})
        assert (heard, len(company.ledger)) == (["test.good"], 1)


def test_messages_go_to_the_configured_channels(tmp_path):
    """notify.channels chooses by name, and options reach the channel."""
    text = "notify: {channels: [jsonl], options: {jsonl: {path: told.jsonl}}}\n"
    with make(tmp_path, text) as company:
        (delivery,) = company.notifier.publish(Message("a.b", "hello", "c"))
        assert (delivery.delivered, "hello" in (tmp_path / "told.jsonl").read_text()) == (True, True)


def test_an_unknown_engine_is_a_configuration_error(tmp_path):
    """The known engines are named."""
    with make(tmp_path, "authz: {engine: oracle}\n") as company, pytest.raises(ConfigError, match="rego"):
        _ = company.authorizer


def test_every_control_is_collected(tmp_path):
    """Built-in rooms register their controls as plugins would."""
    with make(tmp_path) as company:
        assert {"EVIDENCE-PACK", "G01", "G02", "G03"} <= set(company.controls)


def test_a_plugin_that_comes_late_is_heard(tmp_path):
    """Nothing is prepared for hooks that nobody implements; whoever registers later is asked and told all the same."""
    told = []

    class Late:
        @hookimpl
        def companyos_on_entry(self, entry):
            told.append(entry.type)

        @hookimpl
        def companyos_validate_entry(self, type, data):  # noqa: A002 - as in the hook
            return "not today" if type == "test.bad" else None

        @hookimpl
        def companyos_on_decision(self, request, decision):
            told.append(decision.reason)

        @hookimpl
        def companyos_validate_decision(self, request, opinion_reason):
            return "never"

    def ask(company):
        return company.authorizer.authorize({"id": "u", "type": "user"}, "read", {"id": "f", "type": "file"}).reason

    with make(tmp_path) as company:
        before = ask(company)
        company.plugins.register(Late(), "late")
        after = ask(company)
        with pytest.raises(EntryRefusedError, match="not today"):
            company.ledger.append("test.bad", {})

    assert (before, after) == ("policy.baseline", "validator.refused")
    assert ["companyos.authz.decision", "validator.refused"] == told


def test_decisions_that_wait_are_written_at_the_end(tmp_path):
    """The reads that companyos.yaml declares of low risk are on the ledger once the company is closed."""
    with make(tmp_path, "authz: {batched_actions: [read]}\n") as company:
        decision = company.authorizer.authorize({"id": "u", "type": "user"}, "read", {"id": "f", "type": "file"})
        assert not decision.durable
    with make(tmp_path) as company:
        types = {entry.id: entry.type for entry in company.ledger.read()}

    assert types[decision.audit_id] == "companyos.authz.decision"
    assert [*types.values()][-1] == "companyos.authz.audit_closed"


def test_what_cannot_be_closed_holds_up_nobody(tmp_path):
    """Every room is closed, also after one that fails to, and the failure is raised."""
    company = make(tmp_path)
    ledger = company.ledger

    class Stuck:
        def close(self):
            raise OSError("stuck")

    company._opened["stuck"] = Stuck()
    with pytest.raises(OSError, match="stuck"):
        company.close()
    with pytest.raises(UnverifiableError):
        ledger.append("test.event", {})
