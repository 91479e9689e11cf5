"""Plugins: who is installed, who may run, and how their hooks are called.

Loading a plugin runs its code, so nothing third-party loads until its name is allowed: in `companyos.yaml`
(`plugins.allow`), or in `COMPANYOS_PLUGINS`, a comma-separated list that replaces that setting (empty: none at all).
Built-ins are the dotted names below, imported when their kind of hook is first asked for.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import inspect
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pluggy

from companyos import hookspecs
from companyos.controls import Control, unique
from companyos.errors import CompanyOSError, ConfigError
from companyos.hookspecs import PROJECT
from companyos.ports import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.metadata import EntryPoint

    from companyos.decision import Decision
    from companyos.ports import AccessRequest, Channel, DecisionEngine, Entry, ObligationHandler

__all__ = ("BUILTINS", "Heard", "Installed", "PluginError", "Plugins", "allowed_names", "installed")

ENVIRONMENT = "COMPANYOS_PLUGINS"
BUILTINS: tuple[tuple[str, str], ...] = (
    ("companyos_engines", "companyos.authz.plugin"),
    ("companyos_obligation_handlers", "companyos.authz.plugin"),
    ("companyos_controls", "companyos.authz.plugin"),
    ("companyos_controls", "companyos.evidence.plugin"),
    ("companyos_controls", "companyos.finops.plugin"),
    ("companyos_controls", "companyos.flags.plugin"),
    ("companyos_controls", "companyos.guardrails.plugin"),
    ("companyos_controls", "companyos.notify.plugin"),
    ("companyos_controls", "companyos.observability.plugin"),
    ("companyos_controls", "companyos.server.plugin"),
    ("companyos_channels", "companyos.notify.plugin"),
    ("companyos_projections", "companyos.authz.plugin"),
    ("companyos_projections", "companyos.ledger.plugin"),
)
"""Which hook is answered by which built-in module."""
_RESERVED = f"{PROJECT}."
_CLASSES: Mapping[str, type] = {
    "companyos_controls": Control,
    "companyos_commands": Command,
    "companyos_projections": type,
}
_SHAPES: Mapping[str, tuple[str, str]] = {
    "companyos_engines": ("name", "decide"),
    "companyos_obligation_handlers": ("obligation", "discharge"),
    "companyos_channels": ("name", "deliver"),
    "companyos_projections": ("name", "follow"),
}
"""What a registration has where its class is not known here: the attribute that names it, and its method."""

_T = TypeVar("_T")
_log = logging.getLogger("companyos.plugins")


class PluginError(ConfigError):
    """A plugin cannot be loaded, or its hooks do not fit."""

    code = "plugins.invalid"


@dataclass(frozen=True, slots=True)
class Installed:
    """A plugin as its metadata describes it; reading this runs none of its code."""

    name: str
    """Entry-point name: what is allowed."""
    distribution: str
    """The distribution it came with."""
    version: str
    """That distribution's version."""
    module: str
    """What would be imported."""


def installed() -> tuple[Installed, ...]:
    """The installed plugins by name, from metadata alone."""
    found = [
        Installed(
            point.name, point.dist.name if point.dist else "?", point.dist.version if point.dist else "?", point.value
        )
        for point in _entry_points()
    ]
    return tuple(sorted(found, key=lambda plugin: plugin.name))


def allowed_names(setting: Iterable[str], environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The names that may load: those of `COMPANYOS_PLUGINS` if it is set, else those of the setting."""
    chosen = environ[ENVIRONMENT].split(",") if ENVIRONMENT in environ else setting
    return frozenset(name.strip() for name in chosen if name.strip())


class Plugins:
    """The loaded plugins, and one method for each hook.

    Raises:
        PluginError: an allowed plugin is not installed, comes with two distributions, fails to import, names a hook
            that does not exist, wraps a hook, has an async hook, or one with unknown arguments.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._manager = _manager()
        self._builtins: set[str] = set()
        self.failures: Counter[str] = Counter()
        """How often a listener failed, by plugin."""
        allow = frozenset(allow)
        points = _entry_points() if allow else []
        for name in sorted(allow):
            self.register(_load(name, points), name)

    def register(self, plugin: object, name: str) -> None:
        """Register a plugin object (a module or anything with hookimpls).

        Raises:
            PluginError: it does not fit, or its name is taken or reserved; nothing of it is registered then.
        """
        if f"{name}.".startswith(_RESERVED) or getattr(plugin, "__name__", None) in {dotted for _, dotted in BUILTINS}:
            raise PluginError(f"plugin {name} passes for a built-in", expected=f"a name and a module outside {PROJECT}")
        if self._manager.has_plugin(name) or self._manager.is_registered(plugin):
            raise PluginError(f"plugin {name} is registered already")
        _require_fit(plugin, name)
        self._manager.register(plugin, name)

    def hooks_of(self, name: str) -> tuple[str, ...]:
        """The hooks that a loaded plugin implements; empty for one that is not loaded."""
        plugin = self._manager.get_plugin(name)
        callers = self._manager.get_hookcallers(plugin) if plugin is not None else None
        return tuple(sorted(caller.name for caller in callers or ()))

    def engines(self, settings: Mapping[str, Any]) -> dict[str, DecisionEngine]:
        """Decision engines by name."""
        return _by_name(self._collect("companyos_engines", settings=settings), lambda engine: engine.name)

    def engine(self, name: str, settings: Mapping[str, Any]) -> DecisionEngine:
        """The decision engine of this name.

        Raises:
            ConfigError: there is none.
        """
        engines = self.engines(settings)
        if name in engines:
            return engines[name]
        raise ConfigError(
            f"no decision engine {name!r}",
            expected=", ".join(sorted(engines)),
            hint="mend authz.engine in companyos.yaml; opa and authzen need authz.remote.url beside it",
        )

    def obligation_handlers(self) -> dict[str, ObligationHandler]:
        """Obligation handlers by obligation; one marked `fallback` gives way to another."""
        handlers = self._collect("companyos_obligation_handlers")
        claimed = {handler.obligation for handler in handlers if not getattr(handler, "fallback", False)}
        chosen = [h for h in handlers if h.obligation not in claimed or not getattr(h, "fallback", False)]
        return _by_name(chosen, lambda handler: handler.obligation)

    def controls(self) -> dict[str, Control]:
        """Controls by id."""
        return unique(sorted(self._collect("companyos_controls"), key=lambda control: control.id))

    def channels(self, settings: Mapping[str, Any]) -> dict[str, Channel]:
        """Notification channels by name."""
        return _by_name(self._collect("companyos_channels", settings=settings), lambda channel: channel.name)

    def commands(self) -> dict[str, Command]:
        """Commands that plugins add to the command line, by name."""
        return _by_name(self._collect("companyos_commands"), lambda command: command.name)

    def projections(self) -> dict[str, type]:
        """Projections of the ledger by name, as classes to be made with a database."""
        return _by_name(self._collect("companyos_projections"), lambda projection: projection.name)

    def heard(self, hook: str, function: Callable[..., Any]) -> Heard:
        """`function`, one of the methods below, as one that says when no plugin implements its hook."""
        return Heard(getattr(self._manager.hook, hook), function)

    def on_entry(self, entry: Entry) -> None:
        """Tell listeners that an entry is durable."""
        self._notify("companyos_on_entry", entry=entry)

    def on_decision(self, request: AccessRequest, decision: Decision) -> None:
        """Tell listeners that an authorization is final."""
        self._notify("companyos_on_decision", request=request, decision=decision)

    def validate_entry(self, type: str, data: Mapping[str, Any]) -> str | None:  # noqa: A002 - as in the hook
        """The first refusal of an entry, None if nobody refuses."""
        return self._veto("companyos_validate_entry", type=type, data=data)

    def validate_decision(self, request: AccessRequest, opinion_reason: str) -> str | None:
        """The first refusal of a request that the engine would allow, None if nobody refuses."""
        return self._veto("companyos_validate_decision", request=request, opinion_reason=opinion_reason)

    def _collect(self, hook: str, **arguments: Any) -> list[Any]:
        for kind, dotted in BUILTINS:
            if kind == hook and dotted not in self._builtins:
                self._manager.register(import_module(dotted), dotted)
                self._builtins.add(dotted)
        return [
            item
            for name, function in self._implementations(hook)
            for item in self._registrations(hook, name, function, arguments)
        ]

    def _registrations(
        self, hook: str, name: str, function: Callable[[dict[str, Any]], Any], arguments: dict[str, Any]
    ) -> Sequence[Any]:
        try:
            found = function(arguments)
            _require_registrations(hook, found)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if name in self._builtins and isinstance(error, CompanyOSError):
                raise
            raise PluginError(
                f"plugin {name} failed in {hook}", got=_text(error), hint=f"mend or disallow {name}"
            ) from error
        return cast("Sequence[Any]", found)

    def _notify(self, hook: str, **arguments: Any) -> None:
        for name, function in self._implementations(hook):
            try:
                function(arguments)
            except KeyboardInterrupt:
                raise
            except BaseException:  # noqa: BLE001 - a listener may fail in any way, sys.exit() included, and disturbs nobody
                self.failures[name] += 1
                _log.warning("listener %s of %s failed", name, hook, exc_info=True)

    def _veto(self, hook: str, **arguments: Any) -> str | None:
        for name, function in self._implementations(hook):
            try:
                refusal = function(arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever a validator raises is a refusal
                return f"{name} failed: {str(error) or type(error).__name__}"
            if refusal is not None:
                return f"{name}: {refusal}"
        return None

    def _implementations(self, hook: str) -> list[tuple[str, Callable[[dict[str, Any]], Any]]]:
        """Each implementation alone, so that one can be isolated from the next; each gets copies of its own."""

        def caller(impl: pluggy.HookImpl) -> Callable[[dict[str, Any]], Any]:
            return lambda arguments: _settled(impl.function(*(_copied(arguments[name]) for name in impl.argnames)))

        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        return [(impl.plugin_name, caller(impl)) for impl in implementations]


class Heard:
    """A hook as a function that can tell whether anybody implements it; see `companyos.ports.is_idle`."""

    __slots__ = ("_caller", "_function")

    def __init__(self, caller: pluggy.HookCaller, function: Callable[..., Any]) -> None:
        self._caller = caller
        self._function = function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the hook."""
        return self._function(*arguments, **named)

    def is_idle(self) -> bool:
        """Whether no plugin implements the hook, as of now."""
        return not self._caller.get_hookimpls()


def _entry_points() -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return list(entry_points(group=PROJECT))


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _require_fit(plugin: object, name: str) -> None:
    """Try the plugin on a manager that is thrown away, so that one that is refused leaves nothing behind."""
    trial = _manager()
    try:
        trial.register(plugin, name)
        trial.check_pending()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        hint = "compare its hooks with docs/plugins.md"
        raise PluginError(f"plugin {name} does not fit", got=_text(error), hint=hint) from error
    for caller in trial.get_hookcallers(plugin) or ():
        if not caller.has_spec() and caller.name.startswith(f"{PROJECT}_"):
            raise PluginError(f"plugin {name} has a hook that does not exist", got=caller.name)
        for impl in caller.get_hookimpls():
            if impl.wrapper or impl.hookwrapper:
                raise PluginError(f"plugin {name} wraps {caller.name}", expected="no wrappers: hooks may not alter")
            if inspect.iscoroutinefunction(impl.function) or inspect.isasyncgenfunction(impl.function):
                raise PluginError(f"plugin {name} has an async {caller.name}", expected="a plain function")


def _require_registrations(hook: str, found: object) -> None:
    if not isinstance(found, Sequence) or isinstance(found, str | bytes):
        raise TypeError(f"returned {type(found).__name__} instead of a list")
    for item in found:
        if not _fits(hook, item):
            raise TypeError(f"returned a {type(item).__name__} that does not fit")


def _fits(hook: str, item: object) -> bool:
    if not isinstance(item, _CLASSES.get(hook, object)):
        return False
    if hook not in _SHAPES:
        return True
    name, method = _SHAPES[hook]
    return isinstance(getattr(item, name, None), str) and callable(getattr(item, method, None))


def _settled(result: object) -> object:
    """What an implementation returned; a coroutine would never run."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("returned a coroutine: hooks are plain functions")
    return result


def _copied(value: Any) -> Any:
    """A deep copy, with read-only views of mappings, which cannot be copied, turned into dictionaries."""
    try:
        return copy.deepcopy(value)
    except TypeError:
        if isinstance(value, Mapping):
            return {key: _copied(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(_copied(inner) for inner in value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes = {field.name: _copied(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return dataclasses.replace(value, **changes)
        raise


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _load(name: str, points: Iterable[EntryPoint]) -> object:
    found = [point for point in points if point.name == name]
    if not found:
        near = difflib.get_close_matches(name, {point.name for point in points}, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "install it, or take it out of plugins.allow"
        raise PluginError(f"plugin {name} is allowed but not installed", hint=hint)
    if len(found) > 1:
        claims = sorted(f"{point.dist.name if point.dist else '?'} ({point.value})" for point in found)
        raise PluginError(
            f"more than one distribution claims the plugin {name}", got=", ".join(claims), hint="uninstall all but one"
        )
    try:
        return found[0].load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"plugin {name} cannot be imported", got=_text(error)) from error


def _by_name(items: Iterable[_T], name: Callable[[_T], str]) -> dict[str, _T]:
    found: dict[str, _T] = {}
    for item in items:
        if name(item) in found:
            raise PluginError(
                f"two registrations claim the name {name(item)}", got=f"{found[name(item)]!r} and {item!r}"
            )
        found[name(item)] = item
    return found
