"""What a policy may call: read from its syntax tree and held against a list, before it may decide anything.

An engine that meets a function it does not know, or one that reaches outside, must not find out at the hour of a
request. Time comes only from `environment.time`, so that the same request always has the same answer.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from companyos.authz.engines._references import reached
from companyos.authz.engines._syntax import WILD, Module, Rule
from companyos.authz.interface import PolicyError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("ALLOWED", "OPINIONS", "PACKAGE", "RESERVED", "check")

PACKAGE = "companyos.access"
"""The package whose rules `deny`, `allow` and `obligation` are combined into the decision."""
_HOME = ("data", *PACKAGE.split("."))
RESERVED = frozenset({"decision", "obligations"})
"""Rules of that package which only the fixed combination may define."""
OPINIONS = frozenset({"allow", "deny", "obligation"})
"""Rules that mean something in that package alone."""

_PLAIN = (
    "abs ceil concat contains count endswith floor format_int indexof indexof_n intersection is_array "
    "is_boolean is_null is_number is_object is_set is_string lower max min product replace round sort "
    "split sprintf startswith substring sum to_number trim trim_left trim_prefix trim_right trim_space "
    "trim_suffix type_name union upper "
)
_GROUPED = {
    "array": "concat reverse slice",
    "base64": "decode encode is_valid",
    "base64url": "decode encode encode_no_pad",
    "bits": "and lsh negate or rsh xor",
    "glob": "match quote_meta",
    "graph": "reachable",
    "hex": "decode encode",
    "json": "filter is_valid marshal patch remove unmarshal",
    "net": "cidr_contains cidr_is_valid",
    "numbers": "range range_step",
    "object": "filter get keys remove subset union union_n",
    "regex": "find_all_string_submatch_n find_n is_valid match replace template_match",
    "semver": "compare is_valid",
    "strings": "any_prefix_match any_suffix_match reverse",
    "time": "clock date diff format parse_duration_ns parse_ns parse_rfc3339_ns weekday",
    "units": "parse parse_bytes",
    "urlquery": "decode decode_object encode encode_object",
    "uuid": "parse",
}
ALLOWED = frozenset(_PLAIN.split()) | {f"{group}.{name}" for group, names in _GROUPED.items() for name in names.split()}
"""Built-in functions that are pure and that regorus 0.13.0 answers as OPA does; anything else is refused at load."""
_DIFFERS = "graph.reachable_paths json.match_schema json.verify_schema regex.split strings.count strings.replace_n "

_REASONS = {
    "http.send": "a policy may not use the network",
    "net.lookup_ip_addr": "a policy may not use the network",
    "opa.runtime": "a policy may not read the machine it runs on",
    "rand.intn": "a policy may not throw dice",
    "uuid.rfc4122": "a policy may not throw dice",
    "time.now_ns": "time comes only from input.environment.time",
} | dict.fromkeys((_DIFFERS + "time.add_date walk").split(), "the embedded engine does not answer it as OPA does")


def check(modules: Sequence[Module], fixed: str) -> frozenset[str]:
    """Refuse policies that call what they may not, or define what only the file named `fixed` may.

    Returns the built-in functions that are called.

    Raises:
        PolicyError: with file, line and function.
    """
    defined = {".".join(rule.path) for module in modules for rule in module.rules}
    called: set[str] = set()
    for module in modules:
        _check_rules(module, fixed)
        for name, line in (call for rule in module.rules for call in rule.calls):
            if f"{'.'.join(module.package)}.{name}" not in defined and name not in defined:
                _check_call(name, f"{module.file}:{line}")
                called.add(name)
    _check_all_used(modules)
    _check_names(modules, fixed)
    return frozenset(called)


def _check_rules(module: Module, fixed: str) -> None:
    package = ".".join(module.package[1:])
    if module.package[1] != "companyos":
        raise PolicyError(f"{module.file} is in a package of its own", got=package, expected="companyos.…")
    if module.file == fixed:
        return
    for rule in module.rules:
        if package == PACKAGE:
            _check_reserved(module, rule)
        else:
            _check_elsewhere(module, rule, package)


def _check_reserved(module: Module, rule: Rule) -> None:
    name = rule.path[len(module.package)]
    if name in RESERVED:
        raise PolicyError(
            f"{module.file} defines {name}, which only the fixed combination may",
            hint="add to deny, allow or obligation instead",
        )
    if name in OPINIONS and (rule.kind != "Set" or len(rule.path) != len(module.package) + 1):
        raise PolicyError(
            f"{module.file}:{rule.line} defines {name} as something other than a set",
            expected=f"{name} contains {{…}} if {{…}}",
        )


def _check_elsewhere(module: Module, rule: Rule, package: str) -> None:
    name = rule.path[len(module.package)]
    if name in OPINIONS:
        raise PolicyError(
            f"{module.file} adds to {name} in another package, where nobody reads it", got=package, expected=PACKAGE
        )
    if rule.path[: len(_HOME)] == _HOME or WILD in rule.path[: len(_HOME)]:
        raise PolicyError(
            f"{module.file} reaches into {PACKAGE} from another package",
            got=package,
            expected=f"{PACKAGE}, or a package beside it such as companyos.helpers",
        )


def _check_all_used(modules: Sequence[Module]) -> None:
    """Refuse a file that no decision can depend on: its package is misspelt, or it is dead."""
    owners = [module for module in modules for _ in module.rules]
    reach = reached([rule for module in modules for rule in module.rules])
    home = [place for place, module in enumerate(owners) if module.package == _HOME]
    alive = {owners[place].file for start in home for place in reach[start]}
    for module in modules:
        if module.package != _HOME and module.file not in alive:
            raise PolicyError(
                f"{module.file} is in a package that no policy refers to",
                got=".".join(module.package[1:]),
                expected=PACKAGE,
                hint="mend the package, or take the file out of the directory",
            )


def _check_names(modules: Sequence[Module], fixed: str) -> None:
    """Refuse a set that is all but called `deny`, `allow` or `obligation`, and that no opinion depends on."""
    owned = [(module, rule) for module in modules for rule in module.rules]
    reach = reached([rule for _, rule in owned])
    alive: set[int] = set()
    for place, (module, rule) in enumerate(owned):
        if module.file == fixed or (module.package == _HOME and rule.path[len(_HOME)] in OPINIONS):
            alive |= reach[place]
    for place, (module, rule) in enumerate(owned):
        if place in alive or module.package != _HOME or rule.kind != "Set":
            continue
        near = difflib.get_close_matches(rule.path[len(_HOME)], sorted(OPINIONS), n=1, cutoff=0.8)
        if near:
            raise PolicyError(
                f"{module.file}:{rule.line} adds to {rule.path[len(_HOME)]}, which no decision depends on",
                expected=", ".join(sorted(OPINIONS)),
                hint=f"did you mean {near[0]}?",
            )


def _check_call(name: str, where: str) -> None:
    if name not in ALLOWED:
        raise PolicyError(
            f"{where} calls {name}, which policies may not",
            got=_REASONS.get(name, "a function that is neither a pure built-in of the engine nor defined by a policy"),
            hint="decide by the request and its derived facts alone",
        )
