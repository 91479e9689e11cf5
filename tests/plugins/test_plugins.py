"""Plugins: allowed by name, isolated, unable to alter."""

import asyncio
import datetime as dt
import sys
import types

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


@pytest.mark.parametrize("kind", [SystemExit, asyncio.CancelledError, GeneratorExit])
def test_a_listener_cannot_end_the_process(kind):
    """sys.exit() and its like in a listener are failures like any other; in a validator they refuse."""

    class Leaving:
        @hookimpl
        def companyos_on_entry(self):
            raise kind

        @hookimpl
        def companyos_validate_entry(self):
            raise kind

    manager = make(Leaving())
    manager.on_entry(ENTRY)
    assert manager.failures == {"p0": 1}
    assert manager.validate_entry("a.b", {}) == f"p0 failed: {kind.__name__}"


def test_data_that_cannot_be_copied_as_it_is_reaches_validators():
    """A read-only view of a mapping is shown as a dictionary, at any depth."""
    seen = []

    class Looking:
        @hookimpl
        def companyos_validate_entry(self, data):
            seen.append(data)

        @hookimpl
        def companyos_validate_decision(self, request):
            seen.append(request.subject)

    view = types.MappingProxyType({"a": [types.MappingProxyType({"b": 1})]})
    manager = make(Looking())
    assert manager.validate_entry("a.b", view) is None
    assert manager.validate_decision(AccessRequest(view, "read", {}), "r") is None
    assert seen == [{"a": [{"b": 1}]}] * 2


def plugin(hook, function):
    return types.SimpleNamespace(**{hook: hookimpl(function)})


async def never(**_):
    """Never runs."""


def promise():
    return never()


def leave():
    sys.exit(0)


@pytest.mark.parametrize("hook", ["companyos_controls", "companyos_commands", "companyos_obligation_handlers"])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: 5, "returned int instead of a list"),
        (lambda: None, "returned NoneType instead of a list"),
        (lambda: "ab", "returned str instead of a list"),
        (lambda: [object()], "returned a object that does not fit"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (leave, "SystemExit: 0"),
        (promise, "returned a coroutine"),
    ],
    ids=["int", "None", "str", "item", "raises", "exits", "coroutine"],
)
def test_bad_registrations_are_named(hook, function, message):
    """Whatever a collecting hook does wrong is an error that names plugin and hook."""
    manager = make(plugin(hook, function))
    with pytest.raises(PluginError, match=f"plugin p0 failed in {hook}") as caught:
        getattr(manager, hook.removeprefix("companyos_"))()
    assert message in caught.value.message


def test_an_error_of_a_built_in_stays_what_it_is(monkeypatch):
    """Only third parties are wrapped: the built-ins say themselves what is wrong."""
    with pytest.raises(ConfigError, match="notify.options.jsonl") as caught:
        Plugins().channels({"options": {"jsonl": {"path": 5}}})
    assert not isinstance(caught.value, PluginError)


@pytest.mark.parametrize("name", ["companyos", "companyos.guardrails.plugin", "companyos.mine"])
def test_no_plugin_passes_for_a_built_in(name):
    """Names of built-ins are reserved, and all built-ins stay."""
    manager = Plugins()
    with pytest.raises(PluginError, match="passes for a built-in"):
        manager.register(types.SimpleNamespace(), name)
    assert sorted(manager.controls()) == sorted(Plugins().controls())


def test_a_built_in_is_not_registered_again_under_another_name():
    """An entry point that leads to a built-in module is refused."""
    from companyos.notify import plugin as builtin

    with pytest.raises(PluginError, match="passes for a built-in"):
        make(builtin)


async def listening(entry):
    """Never runs."""


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (plugin("companyos_on_entry", listening), "async companyos_on_entry"),
        (plugin("companyos_on_entri", lambda entry: None), "companyos_on_entri"),
        (types.SimpleNamespace(companyos_on_entri=hookimpl(optionalhook=True)(lambda: None)), "does not exist"),
    ],
    ids=["async", "misspelt", "optional"],
)
def test_what_is_refused_is_not_registered(refused, message):
    """After a refusal the manager is as it was, and takes the next plugin."""
    manager = Plugins()
    with pytest.raises(PluginError, match=message):
        manager.register(refused, "refused")
    assert manager.hooks_of("refused") == ()
    manager.on_entry(ENTRY)
    assert manager.failures == {}
    manager.register(Refuser(), "refused")
    assert manager.validate_entry("a.b", {}) == "refused: no a.b"


def test_a_second_registration_is_refused_and_the_first_stays():
    """One name, one plugin."""
    manager = make(Refuser())
    with pytest.raises(PluginError, match="registered already"):
        manager.register(Meddler(), "p0")
    assert manager.validate_entry("a.b", {}) == "p0: no a.b"


def install(directory, distribution, module, source):
    info = directory / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[companyos]\nshared = {module}\n")
    (directory / f"{module}.py").write_text(source)


def test_a_name_that_two_distributions_claim_is_refused(tmp_path, monkeypatch):
    """Nobody knows which of the two was meant, so neither is loaded."""
    for letter in "ab":
        install(tmp_path, f"dist-{letter}", f"claims_{letter}", "raise RuntimeError('ran')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="more than one distribution claims the plugin shared") as caught:
        Plugins({"shared"})
    assert "dist-a (claims_a), dist-b (claims_b)" in caught.value.message


def test_a_plugin_that_exits_while_it_is_loaded_is_an_error(tmp_path, monkeypatch):
    """sys.exit(0) in a plugin's module does not end the process as if all were well."""
    install(tmp_path, "dist-exits", "exits_at_import", "import sys; sys.exit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="plugin shared cannot be imported"):
        Plugins({"shared"})


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
