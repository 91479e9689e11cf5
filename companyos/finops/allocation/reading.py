"""Reading allocation rules from YAML, each mistake with the line it stands in."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import yaml

from companyos._yaml import StrictLoader
from companyos.canonical import sha256_hex
from companyos.errors import UserError
from companyos.finops.allocation.rules import DIMENSIONS, POOL, AllocationRules, Match, Pool, Rule, Split
from companyos.finops.errors import AllocationError
from companyos.finops.slices import check_keys, check_metric

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("read_rules",)

MAX_BYTES = 1024 * 1024
WHOLE = Decimal(100)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RECEIVER = re.compile(r"[^(){}\x00-\x1f]{1,200}")
_KEYS_OF_POOL = {
    "even": frozenset({"split", "over", "among"}),
    "proportional": frozenset({"split", "over", "among"}),
    "fixed": frozenset({"split", "over", "shares"}),
    "metric": frozenset({"split", "over", "among", "metric", "where"}),
}


def read_rules(path: Path) -> AllocationRules:
    """The rules in a file; see `AllocationRules.load`."""
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise AllocationError(f"{path.name} is too long", got=path.stat().st_size, expected=f"{MAX_BYTES} bytes")
    try:
        content = path.read_bytes()
        loader = StrictLoader(content.decode("utf-8"))
        node = loader.get_single_node()
        values = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise AllocationError(f"{path.name}, line {line}: {error.problem}", expected="YAML") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise AllocationError(
            f"cannot read the rules in {path.name}", got=error, expected="a YAML file in UTF-8"
        ) from error
    return _Reader(path.name, node).read(values, f"sha256:{sha256_hex(content)}")


class _Reader:
    def __init__(self, name: str, node: yaml.Node | None) -> None:
        self._name, self._node = name, node

    def read(self, values: Any, digest: str) -> AllocationRules:
        top = self._mapping(values, {"rules", "pools"}, ())
        rules, pools = top.get("rules"), top.get("pools") or {}
        if not isinstance(rules, list) or not rules:
            self._refuse(("rules",), "there are no rules", rules, "a list of rules")
        read_pools = [self._pool(name, value) for name, value in self._mapping(pools, None, ("pools",)).items()]
        read = [self._rule(at, value, {pool.name for pool in read_pools}) for at, value in enumerate(rules)]
        names = [rule.name for rule in read]
        for at, name in enumerate(names):
            if name in names[:at]:
                self._refuse(("rules", at), f"a second rule is named {name}", name, "names that differ")
        return AllocationRules(tuple(read), self._ordered(read_pools), self._name, digest)

    def _rule(self, at: int, value: Any, pools: set[str]) -> Rule:
        place = ("rules", at)
        rule = self._mapping(value, {"name", "match", "to"}, place)
        name = self._text(rule.get("name"), _NAME, (*place, "name"), "a name")
        to = self._mapping(rule.get("to"), {*DIMENSIONS, "pool"}, (*place, "to"))
        if not to or ("pool" in to and len(to) > 1):
            self._refuse(
                (*place, "to"), f"rule {name} does not say where to", to, f"a pool, or {', '.join(DIMENSIONS)}"
            )
        match = self._match(rule.get("match"), (*place, "match"))
        if not match.patterns:
            self._refuse(place, f"rule {name} matches nothing in particular", None, "match: a key and its values")
        pool = to.pop("pool", None)
        if pool is not None and pool not in pools:
            self._refuse((*place, "to"), f"rule {name} fills a pool that is not there", pool, "one of `pools`")
        receivers = tuple((kind, self._receiver(target, (*place, "to", kind))) for kind, target in to.items())
        return Rule(name, self._line(place), match, receivers, pool)

    def _receiver(self, target: Any, place: tuple[str | int, ...]) -> str:
        if isinstance(target, str) and target.startswith("{") and target.endswith("}"):
            self._key(target[1:-1], place)
            return target
        receiver = self._text(target, _RECEIVER, place, "a name, or {tag:KEY} for the value of a tag")
        if receiver.startswith(POOL):
            self._refuse(place, "a pool is no receiver of charges", receiver, "to: {pool: NAME}")
        return receiver

    def _match(self, value: Any, place: tuple[str | int, ...]) -> Match:
        patterns = []
        for key, wanted in self._mapping(value or {}, None, place).items():
            self._key(key, (*place, key))
            texts = wanted if isinstance(wanted, list) else [wanted]
            if not texts or not all(isinstance(text, str) and text for text in texts):
                self._refuse((*place, key), f"{key} is matched by something else than text", wanted, "text, in quotes")
            patterns.append((key, tuple(texts)))
        return Match(tuple(patterns))

    def _key(self, key: Any, place: tuple[str | int, ...]) -> None:
        try:
            check_keys([str(key)])
        except UserError as error:
            self._refuse(place, str(error.args[0]), key, "a key such as tag:team or service", error)

    def _pool(self, name: Any, value: Any) -> Pool:
        place = ("pools", name)
        self._text(name, _NAME, place, "a name")
        pool = self._mapping(value, {"split", "over", "among", "shares", "metric", "where"}, place)
        split: Any = pool.get("split")
        if split not in get_args(Split):
            self._refuse(place, f"pool {name} does not say how to split it", split, ", ".join(get_args(Split)))
        extra = sorted(set(pool) - _KEYS_OF_POOL[split])
        if extra:
            self._refuse((*place, extra[0]), f"pool {name} is split {split}", f"{extra[0]} too", "not both")
        over, metric = pool.get("over"), pool.get("metric")
        if over not in {None, *DIMENSIONS}:
            self._refuse((*place, "over"), f"pool {name} is shared over something else", over, ", ".join(DIMENSIONS))
        if split == "metric":
            self._metric(metric, name, place)
        made = Pool(
            name,
            self._line(place),
            split,
            over,
            self._among(pool.get("among"), split, (*place, "among")),
            self._shares(name, pool.get("shares"), place) if split == "fixed" else (),
            metric,
            self._match(pool.get("where"), (*place, "where")),
        )
        if over is None and made.receivers:
            self._refuse(place, f"pool {name} names receivers", made.receivers[0], "over: team, or what they are")
        return made

    def _metric(self, metric: Any, name: str, place: tuple[str | int, ...]) -> None:
        try:
            check_metric(str(metric))
        except UserError as error:
            self._refuse((*place, "metric"), f"pool {name}: {error.args[0]}", metric, "a column of numbers", error)

    def _among(self, value: Any, split: str, place: tuple[str | int, ...]) -> tuple[str, ...]:
        names = [] if value is None else value
        if not isinstance(names, list) or (value is not None and not names):
            self._refuse(place, "nobody shares the pool", value, "a list of names")
        read = tuple(self._text(name, _RECEIVER, place, "a name") for name in names)
        if len(set(read)) != len(read):
            self._refuse(place, "somebody is named twice", ", ".join(read), "each once")
        if split in {"proportional", "metric"} and any(name.startswith(POOL) for name in read):
            self._refuse(
                place, "a pool has no direct costs", ", ".join(read), f"split: even or fixed, to give to {POOL}…"
            )
        return read

    def _shares(self, name: str, value: Any, place: tuple[str | int, ...]) -> tuple[tuple[str, Decimal], ...]:
        shares = []
        for who, share in self._mapping(value, None, (*place, "shares")).items():
            self._text(who, _RECEIVER, (*place, "shares", who), "a name")
            percent = _decimal(share)
            if percent is None or not 0 < percent <= WHOLE:
                self._refuse((*place, "shares", who), f"pool {name}: no share", share, "a percentage above 0")
            shares.append((who, percent))
        total = sum((share for _, share in shares), Decimal(0))
        if total > WHOLE:
            self._refuse(
                (*place, "shares"), f"pool {name} gives away more than it holds", f"{total} %", "at most 100 %"
            )
        if not shares:
            self._refuse(place, f"pool {name} has no shares", value, "shares: {NAME: PERCENT}")
        return tuple(shares)

    def _ordered(self, pools: list[Pool]) -> tuple[Pool, ...]:
        known = {pool.name: pool for pool in pools}
        gives = {
            pool.name: [name.removeprefix(POOL) for name in pool.receivers if name.startswith(POOL)] for pool in pools
        }
        for name, given in gives.items():
            for other in given:
                if other not in known:
                    self._refuse(
                        ("pools", name), f"pool {name} gives to a pool that is not there", other, "one of `pools`"
                    )
                if known[other].over not in {None, known[name].over}:
                    self._refuse(("pools", name), f"pool {name} gives to one over another dimension", other, "the same")
        try:
            order = list(TopologicalSorter(gives).static_order())  # receivers first
        except CycleError as error:
            circle = error.args[1]
            first = min(circle, key=lambda name: known[name].line)
            self._refuse(("pools", first), "pools give to each other in a circle", " > ".join(circle), "an end", error)
        return tuple(known[name] for name in reversed(order))

    def _mapping(self, value: Any, allowed: set[str] | None, place: tuple[str | int, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._refuse(place, "not a mapping", value, f"{', '.join(sorted(allowed))}" if allowed else "a mapping")
        for key in value:
            if not isinstance(key, str) or (allowed is not None and key not in allowed):
                self._refuse((*place, key), "an unknown key", key, ", ".join(sorted(allowed or ())) or "text")
        return dict(value)

    def _text(self, value: Any, shape: re.Pattern[str], place: tuple[str | int, ...], expected: str) -> str:
        if not isinstance(value, str) or not shape.fullmatch(value):
            self._refuse(place, "not a name", value, expected)
        return value

    def _line(self, place: tuple[str | int, ...]) -> int:
        """The line of a place in the file, or of the nearest one above that is there."""
        node, line = self._node, 1
        for step in place:
            if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = node.value[step]
                line = node.start_mark.line + 1
                continue
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == step), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        return line

    def _refuse(
        self, place: tuple[str | int, ...], what: str, got: object, expected: str, cause: Exception | None = None
    ) -> NoReturn:
        raise AllocationError(f"{self._name}, line {self._line(place)}: {what}", got=got, expected=expected) from cause


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
