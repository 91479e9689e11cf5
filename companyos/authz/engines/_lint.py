"""What a policy may call: read from its syntax tree and held against a list, before it may decide anything.

An engine that meets a function it does not know, or one that reaches outside, must not find out at the hour of a
request. Time comes only from `environment.time`, so that the same request always has the same answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from companyos.authz.interface import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set  # noqa: PYI025

__all__ = ("ALLOWED", "PACKAGE", "RESERVED", "check")

PACKAGE = "companyos.access"
"""The package whose rules `deny`, `allow` and `obligation` are combined into the decision."""
RESERVED = frozenset({"decision", "obligations"})
"""Rules of that package which only the fixed combination may define."""
OPINIONS = frozenset({"allow", "deny", "obligation"})
"""Rules that mean something in that package alone."""

_PLAIN = (
    "abs ceil concat contains count endswith floor format_int indexof indexof_n intersection is_array "
    "is_boolean is_null is_number is_object is_set is_string lower max min product replace round sort "
    "split sprintf startswith substring sum to_number trim trim_left trim_prefix trim_right trim_space "
    "trim_suffix type_name union upper walk "
)
_GROUPED = {
    "array": "concat reverse slice",
    "base64": "decode encode is_valid",
    "base64url": "decode encode encode_no_pad",
    "bits": "and lsh negate or rsh xor",
    "glob": "match quote_meta",
    "graph": "reachable reachable_paths",
    "hex": "decode encode",
    "json": "filter is_valid marshal match_schema patch remove unmarshal verify_schema",
    "net": "cidr_contains cidr_is_valid",
    "numbers": "range range_step",
    "object": "filter get keys remove subset union union_n",
    "regex": "find_all_string_submatch_n find_n is_valid match replace split template_match",
    "semver": "compare is_valid",
    "strings": "any_prefix_match any_suffix_match count replace_n reverse",
    "time": "add_date clock date diff format parse_duration_ns parse_ns parse_rfc3339_ns weekday",
    "units": "parse parse_bytes",
    "urlquery": "decode decode_object encode encode_object",
    "uuid": "parse",
}
ALLOWED = frozenset(_PLAIN.split()) | {f"{group}.{name}" for group, names in _GROUPED.items() for name in names.split()}
"""Built-in functions that are pure and that regorus 0.13.0 knows; anything else is refused at load."""

_REASONS = {
    "http.send": "a policy may not use the network",
    "net.lookup_ip_addr": "a policy may not use the network",
    "opa.runtime": "a policy may not read the machine it runs on",
    "rand.intn": "a policy may not throw dice",
    "uuid.rfc4122": "a policy may not throw dice",
    "time.now_ns": "time comes only from input.environment.time",
}


def check(ast_json: str, fixed: str) -> None:
    """Refuse policies that call what they may not, or define what only the file named `fixed` may.

    Raises:
        PolicyError: with file, line and function.
    """
    try:
        modules = [_Module(entry) for entry in json.loads(ast_json)]
        defined = {name for module in modules for name in module.rules}
        for module in modules:
            _check_rules(module, fixed)
            for name, line in module.calls(defined):
                _check_call(name, f"{module.file}:{line}", defined)
        _check_all_used(modules)
    except RecursionError as error:
        raise PolicyError("a policy nests too deeply") from error


class _Module:
    """One parsed file: its package, the names it imports, its rules and calls."""

    def __init__(self, entry: dict[str, Any]) -> None:
        tree = entry["ast"]
        self.file: str = entry["source"]["file"]
        self.package = _path(tree["package"]["refr"])
        source = entry["source"]["contents"].encode()
        self._imports = dict(_import(item, source) for item in tree["imports"])
        self.rules = {f"data.{self.package}.{name}" for name in map(_rule_name, tree["rules"])}
        self._tree = tree["rules"]

    def calls(self, defined: Set[str]) -> Iterator[tuple[str, int]]:
        """Every function called: its full name (`data.…` for those that policies define) and the line."""
        for call in _find_calls(self._tree):
            name = self._in_full(_path(call["fcn"]))
            if f"data.{self.package}.{name}" in defined:
                name = f"data.{self.package}.{name}"
            yield name, call["span"]["line"]

    def uses(self, package: str) -> bool:
        """Whether anything in the file refers to another package, by an import or by its path."""
        wanted = f"data.{package}."
        paths = {*self._imports.values(), *map(self._in_full, _find_paths(self._tree))}
        # What is worked out at run time (`data.companyos[name]`) may be any package beneath.
        open_ended = (path.partition("*")[0] for path in paths if path.startswith("data.") and "*" in path)
        return any(f"{path}.".startswith(wanted) for path in paths) or any(map(wanted.startswith, open_ended))

    def _in_full(self, name: str) -> str:
        head, _, rest = name.partition(".")
        if head not in self._imports:
            return name
        return f"{self._imports[head]}.{rest}" if rest else self._imports[head]


def _check_rules(module: _Module, fixed: str) -> None:
    if not f"{module.package}.".startswith("companyos."):
        raise PolicyError(f"{module.file} is in a package of its own", got=module.package, expected="companyos.…")
    if module.file == fixed:
        return
    for rule in sorted(module.rules):
        if module.package == PACKAGE:
            _check_reserved(module, rule)
        else:
            _check_elsewhere(module, rule)


def _check_reserved(module: _Module, rule: str) -> None:
    name = rule.removeprefix(f"data.{PACKAGE}.").partition(".")[0]
    if name in RESERVED:
        raise PolicyError(
            f"{module.file} defines {name}, which only the fixed combination may",
            hint="add to deny, allow or obligation instead",
        )


def _check_elsewhere(module: _Module, rule: str) -> None:
    name = rule.removeprefix(f"data.{module.package}.").partition(".")[0]
    if name in OPINIONS:
        raise PolicyError(
            f"{module.file} adds to {name} in another package, where nobody reads it",
            got=module.package,
            expected=PACKAGE,
        )
    if f"{rule}.".startswith(f"data.{PACKAGE}."):
        raise PolicyError(
            f"{module.file} reaches into {PACKAGE} from another package",
            got=module.package,
            expected=f"{PACKAGE}, or a package beside it such as companyos.helpers",
        )


def _check_all_used(modules: Sequence[_Module]) -> None:
    """Refuse a file that no decision can depend on: its package is misspelt, or it is dead."""
    waiting = [module for module in modules if module.package != PACKAGE]
    used = [module for module in modules if module.package == PACKAGE]
    for user in used:
        reached = [module for module in waiting if user.uses(module.package)]
        waiting = [module for module in waiting if module not in reached]
        used.extend(reached)
    if waiting:
        raise PolicyError(
            f"{waiting[0].file} is in a package that no policy refers to",
            got=waiting[0].package,
            expected=PACKAGE,
            hint="mend the package, or take the file out of the directory",
        )


def _check_call(name: str, where: str, defined: Set[str]) -> None:
    if name not in ALLOWED and name not in defined:
        raise PolicyError(
            f"{where} calls {name}, which policies may not",
            got=_REASONS.get(name, "a function that is neither a pure built-in of the engine nor defined by a policy"),
            hint="decide by the request and its derived facts alone",
        )


def _find_calls(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _find_calls(item)
    elif isinstance(node, dict):
        call = node.get("Call")
        if isinstance(call, dict) and "fcn" in call:
            yield call
        for item in node.values():
            yield from _find_calls(item)


def _find_paths(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _find_paths(item)
    elif isinstance(node, dict):
        for kind, item in node.items():
            if kind in {"Var", "RefDot", "RefBrack"}:
                yield _path({kind: item})
            yield from _find_paths(item)


def _import(item: dict[str, Any], source: bytes) -> tuple[str, str]:
    path = _path(item["refr"])
    alias = item.get("as")
    name = source[alias["start"] : alias["end"]].decode() if alias else path.rsplit(".", 1)[-1]
    return name, path


def _rule_name(rule: dict[str, Any]) -> str:
    body = rule.get("Spec") or rule.get("Default") or {}
    head = body.get("head", body)
    inner = next((part for part in head.values() if isinstance(part, dict) and "refr" in part), head)
    return _path(inner["refr"]) if "refr" in inner else ""


def _path(node: dict[str, Any]) -> str:
    """The dotted name of a reference; what is worked out at run time is not part of it."""
    (kind, body), *_ = node.items()
    if kind == "Var":
        return str(body["value"])
    if kind == "RefDot":
        field = body["field"]
        return f"{_path(body['refr'])}.{field[1] if isinstance(field, list) else field}"
    if kind == "RefBrack":
        index = body["index"]
        key = index["String"]["value"] if "String" in index else "*"
        return f"{_path(body['refr'])}.{key}"
    return "?"
