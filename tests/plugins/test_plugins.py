"""Plugins: allowed by name, isolated, unable to alter."""

import datetime as dt

import pytest

from companyos import hookimpl
from companyos.errors import ConfigError
from companyos.plugins import PluginError, Plugins, allowed_names
from companyos.ports import AccessRequest, Command, Entry, Message

ENTRY = Entry(0, "id", "src", "a.b", dt.datetime.now(dt.UTC), None, None, {"list": [1]})


class Refuser:
    """Refuses every entry and every decision."""

    @hookimpl
    def companyos_validate_entry(self, type, data):  # noqa: A002
        return f"no {type}"

    @hookimpl
    def companyos_validate_decision(self, request, opinion_reason):
        return f"not {request.action} by {opinion_reason}"


class Failing:
    """Fails in every listener and validator."""

    @hookimpl
    def companyos_on_entry(self, entry):
        raise RuntimeError("listener broke")

    @hookimpl
    def companyos_on_decision(self, decision):
        raise RuntimeError("listener broke")

    @hookimpl
    def companyos_validate_entry(self):
        raise RuntimeError("validator broke")


class Meddler:
    """Tries to change what it is shown."""

    seen: list

    def __init__(self):
        self.seen = []

    @hookimpl
    def companyos_on_entry(self, entry):
        entry.data["list"].append(2)
        self.seen.append(entry)


def make(*plugins):
    manager = Plugins()
    for number, plugin in enumerate(plugins):
        manager.register(plugin, f"p{number}")
    return manager


def test_a_failing_listener_disturbs_nobody():
    """It is counted and logged, and the next listener is still told."""
    meddler = Meddler()
    manager = make(meddler, Failing())
    manager.on_entry(ENTRY)
    manager.on_decision(AccessRequest({}, "read", {}), None)
    assert manager.failures == {"p1": 2}
    assert len(meddler.seen) == 1


def test_listeners_see_copies():
    """What a listener does to an entry, nobody else sees."""
    make(Meddler(), Meddler()).on_entry(ENTRY)
    assert ENTRY.data == {"list": [1]}


def test_one_refusal_is_enough_and_a_failing_validator_refuses():
    """Vetoes come as sentences; an error in a validator is one too."""
    assert make(Refuser()).validate_entry("a.b", {}) == "p0: no a.b"
    assert make(Failing()).validate_entry("a.b", {}) == "p0 failed: validator broke"
    assert make(Refuser()).validate_decision(AccessRequest({}, "read", {}), "r") == "p0: not read by r"
    assert make().validate_entry("a.b", {}) is None


def test_a_misspelt_hook_is_a_start_up_error():
    """A hook that does not exist is refused when the plugin is registered."""

    class Misspelt:
        @hookimpl
        def companyos_on_entri(self, entry):
            """Never called."""

    with pytest.raises(PluginError, match="companyos_on_entri"):
        make(Misspelt())


def test_an_unknown_argument_is_a_start_up_error():
    """A hook implementation may only ask for what the specification names."""

    class Asking:
        @hookimpl
        def companyos_on_entry(self, everything):
            """Never called."""

    with pytest.raises(PluginError, match="everything"):
        make(Asking())


def test_wrapping_hooks_are_refused():
    """No plugin can come between a hook and its answer."""

    class Wrapping:
        @hookimpl(wrapper=True)
        def companyos_on_entry(self, entry):
            return (yield)

    with pytest.raises(PluginError, match="wraps companyos_on_entry"):
        make(Wrapping())


def test_commands_are_collected_and_duplicates_refused():
    """Two plugins with a command of the same name cannot both run."""

    class Commanding:
        @hookimpl
        def companyos_commands(self):
            return [Command("x", "help", "a:b")]

    assert list(make(Commanding()).commands()) == ["x"]
    with pytest.raises(PluginError, match="claim the name x"):
        make(Commanding(), Commanding()).commands()


def test_an_allowed_plugin_must_be_installed():
    """A name in the allow-list that nothing answers to is an error, not silence."""
    with pytest.raises(PluginError, match="allowed but not installed"):
        Plugins({"no-such-plugin"})


@pytest.mark.parametrize(
    ("setting", "environ", "expected"),
    [
        (("a",), {}, {"a"}),
        (("a",), {"COMPANYOS_PLUGINS": ""}, set()),
        (("a",), {"COMPANYOS_PLUGINS": "b, c"}, {"b", "c"}),
    ],
)
def test_the_environment_replaces_the_allow_list(setting, environ, expected):
    """COMPANYOS_PLUGINS decides alone when it is set; empty means none."""
    assert allowed_names(setting, environ) == expected


def test_the_built_in_channels_come_through_their_own_hook(tmp_path):
    """The core registers its channels as a plugin would, and they deliver."""
    channels = Plugins().channels({"options": {"jsonl": {"path": "out.jsonl"}}, "root": tmp_path})
    assert sorted(channels) == ["jsonl", "log"]
    channels["jsonl"].deliver(Message("t", "hello", "c"))
    assert "hello" in (tmp_path / "out.jsonl").read_text()


def test_errors_of_plugins_are_configuration_errors():
    """The command line answers them with exit status 2."""
    assert issubclass(PluginError, ConfigError)
    assert PluginError.exit_status == 2
