"""Plugins: who is installed, who may run, and how their hooks are called.

Loading a plugin runs its code, so nothing third-party loads until its name is allowed: in `companyos.yaml`
(`plugins.allow`), or in `COMPANYOS_PLUGINS`, a comma-separated list that replaces that setting (empty: none at all).
Built-ins are the dotted names below, imported when their kind of hook is first asked for.
"""

from __future__ import annotations

import copy
import difflib
import logging
import os
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from companyos import hookspecs
from companyos.controls import unique
from companyos.errors import ConfigError
from companyos.hookspecs import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from importlib.metadata import EntryPoint

    from companyos.controls import Control
    from companyos.decision import Decision
    from companyos.ports import AccessRequest, Channel, Command, DecisionEngine, Entry, ObligationHandler

__all__ = ("BUILTINS", "Installed", "PluginError", "Plugins", "allowed_names", "installed")

ENVIRONMENT = "COMPANYOS_PLUGINS"
BUILTINS: tuple[tuple[str, str], ...] = (
    ("companyos_engines", "companyos.authz.plugin"),
    ("companyos_obligation_handlers", "companyos.authz.plugin"),
    ("companyos_controls", "companyos.authz.plugin"),
    ("companyos_controls", "companyos.evidence.plugin"),
    ("companyos_controls", "companyos.finops.plugin"),
    ("companyos_controls", "companyos.flags.plugin"),
    ("companyos_controls", "companyos.guardrails.plugin"),
    ("companyos_channels", "companyos.notify.plugin"),
)
"""Which hook is answered by which built-in module."""

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
        PluginError: an allowed plugin is not installed, fails to import, names a hook that does not exist, wraps a
            hook, or has a hook with unknown arguments.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.failures: Counter[str] = Counter()
        """How often a listener failed, by plugin."""
        allow = frozenset(allow)
        points = {point.name: point for point in _entry_points()} if allow else {}
        for name in sorted(allow):
            self.register(_load(name, points), name)

    def register(self, plugin: object, name: str) -> None:
        """Register a plugin object (a module or anything with hookimpls)."""
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            raise PluginError(
                f"plugin {name} does not fit", got=error, hint="compare its hooks with docs/plugins.md"
            ) from error
        for caller in self._manager.get_hookcallers(plugin) or ():
            if any(impl.plugin is plugin and (impl.wrapper or impl.hookwrapper) for impl in caller.get_hookimpls()):
                self._manager.unregister(plugin)
                raise PluginError(f"plugin {name} wraps {caller.name}", expected="no wrappers: hooks may not alter")

    def hooks_of(self, name: str) -> tuple[str, ...]:
        """The hooks that a loaded plugin implements; empty for one that is not loaded."""
        plugin = self._manager.get_plugin(name)
        callers = self._manager.get_hookcallers(plugin) if plugin is not None else None
        return tuple(sorted(caller.name for caller in callers or ()))

    def engines(self, settings: Mapping[str, Any]) -> dict[str, DecisionEngine]:
        """Decision engines by name."""
        return _by_name(self._collect("companyos_engines", settings=settings), lambda engine: engine.name)

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
            if kind == hook and not self._manager.has_plugin(dotted):
                self._manager.register(import_module(dotted), dotted)
        results: list[Sequence[Any]] = getattr(self._manager.hook, hook)(**arguments)
        return [item for result in results for item in result]

    def _notify(self, hook: str, **arguments: Any) -> None:
        for name, function in self._implementations(hook):
            try:
                function(arguments)
            except Exception:  # noqa: BLE001 - a listener may fail in any way and must disturb nobody
                self.failures[name] += 1
                _log.warning("listener %s of %s failed", name, hook, exc_info=True)

    def _veto(self, hook: str, **arguments: Any) -> str | None:
        for name, function in self._implementations(hook):
            try:
                refusal = function(arguments)
            except Exception as error:  # noqa: BLE001 - whatever a validator raises is a refusal
                return f"{name} failed: {error}"
            if refusal is not None:
                return f"{name}: {refusal}"
        return None

    def _implementations(self, hook: str) -> list[tuple[str, Callable[[dict[str, Any]], Any]]]:
        """Each implementation alone, so that one can be isolated from the next; each gets copies of its own."""

        def caller(impl: pluggy.HookImpl) -> Callable[[dict[str, Any]], Any]:
            return lambda arguments: impl.function(*(copy.deepcopy(arguments[name]) for name in impl.argnames))

        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        return [(impl.plugin_name, caller(impl)) for impl in implementations]


def _entry_points() -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return list(entry_points(group=PROJECT))


def _load(name: str, points: Mapping[str, EntryPoint]) -> object:
    if name not in points:
        near = difflib.get_close_matches(name, points, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "install it, or take it out of plugins.allow"
        raise PluginError(f"plugin {name} is allowed but not installed", hint=hint)
    try:
        return points[name].load()
    except Exception as error:
        raise PluginError(f"plugin {name} cannot be imported", got=f"{type(error).__name__}: {error}") from error


def _by_name(items: Iterable[_T], name: Callable[[_T], str]) -> dict[str, _T]:
    found: dict[str, _T] = {}
    for item in items:
        if name(item) in found:
            raise PluginError(
                f"two registrations claim the name {name(item)}", got=f"{found[name(item)]!r} and {item!r}"
            )
        found[name(item)] = item
    return found
