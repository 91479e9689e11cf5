"""Cedar policies as files: read, checked, and taken apart into what grants, what refuses and what obliges.

Each policy has `@id("…")`, unique in the whole; it is the reason of what the policy decides unless `@reason("…")` gives
another. `@message("…")` says it to a person. `@obligations("[…]")` holds a JSON list of obligations:

- on a `permit` they come with what it grants;
- a `forbid` with obligations forbids *unless they are carried out*: it adds them instead of refusing. A tool that knows
  nothing of the annotation refuses, so that nothing is lost on the way to it.

Any other annotation is refused: one that is misspelt would be an obligation that nobody carries out.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.authz.derived import facts_digest
from companyos.authz.engines._cedar_obligations import Template, parse_obligations
from companyos.authz.engines._cedar_reads import EVERYTHING, Read, reads
from companyos.authz.engines._cedar_text import check_depth, statements
from companyos.authz.interface import PolicyError
from companyos.authz.layout import METADATA, PLAYBOOK, TESTS, find_places, read_text
from companyos.authz.policyset import PolicySet
from companyos.authz.slices import Slice
from companyos.canonical import digest, sha256_hex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from companyos.authz.engines._cedar_text import Statement
    from companyos.authz.layout import Place

__all__ = ("CEDAR_PLAYBOOK", "CedarPolicies", "CedarPolicy", "load_cedar", "parse_cedar", "policy_tree")

CEDAR_PLAYBOOK = Path(__file__).parents[1] / "policies_cedar"
"""The built-in policies, in Cedar."""
SCHEMA = "schema.cedarschema"
"""Optional: a schema that policies are validated against, and requests too."""
ANNOTATIONS = ("id", "message", "obligations", "reason")


@dataclass(frozen=True, slots=True)
class CedarPolicy:
    """One policy."""

    id: str
    """Its `@id`."""
    reason: str
    """Stable id of the reason that it gives."""
    message: str
    """The same for a person."""
    permits: bool
    """Whether it is a `permit`; else a `forbid`."""
    obligations: tuple[Template, ...]
    """What it obliges to."""
    text: str
    """The policy itself."""
    slice: Slice
    """The requests that its directory may speak about."""
    place: str
    """File and line where it begins."""
    tree: Mapping[str, Any]
    """The same in Cedar's JSON form."""
    reads: frozenset[Read] = EVERYTHING
    """What of a request it can read."""

    @property
    def obliges_only(self) -> bool:
        """Whether it adds obligations instead of refusing."""
        return bool(self.obligations) and not self.permits


@dataclass(frozen=True, slots=True)
class CedarPolicies:
    """The policies that decisions are made by."""

    policies: tuple[CedarPolicy, ...]
    """All of them, in the order of their directories and files."""
    schema: str | None
    """The text of the schema, if there is one."""
    version: str
    """Digest over all files and the tables of derived facts."""
    extends_playbook: bool
    """Whether the built-in policies are among them."""


def load_cedar(directories: Sequence[Path], *, stage: str) -> CedarPolicies:
    """Read and check directories of Cedar policies; none at all means the built-in playbook in Cedar.

    Raises:
        PolicyError: a file cannot be read or is not read at all, or a policy cannot be used; the text names the place.
    """
    files: dict[str, str] = {}
    sources: dict[str, str] = {}
    declared: dict[str, Slice] = {}
    places = list(_places(directories or (CEDAR_PLAYBOOK,), stage))
    for place in places:
        for path in _files(place.directory):
            name = f"{place.label}/{path.relative_to(place.directory).as_posix()}"
            text = read_text(path)
            files[name] = sha256_hex(text.encode())
            if path.name != METADATA:
                sources[name], declared[name] = text, place.declared
    extends = any(place.directory == CEDAR_PLAYBOOK for place in places)
    owners = tuple(place.metadata["owner"] for place in places)
    return parse_cedar(PolicySet(sources, {}, owners, digest(files), extends, declared))


def parse_cedar(read: PolicySet) -> CedarPolicies:
    """The policies in texts that were read already, with their schema if there is one.

    Raises:
        PolicyError: there is none, or one cannot be used; the text names the place.
    """
    policies = [
        _policy(statement, read.declared.get(name, Slice()))
        for name, text in read.sources.items()
        if name.endswith(".cedar")
        for statement in statements(name, text)
    ]
    if not policies:
        raise PolicyError("no policies found", got=", ".join(read.sources), expected="at least one in .cedar")
    _check_unique(policies)
    schemas = [text for name, text in read.sources.items() if name.rpartition("/")[2] == SCHEMA]
    if len(schemas) > 1:
        raise PolicyError(f"there is more than one {SCHEMA}", hint="keep the one that describes all policies")
    schema = _checked_schema(schemas[0], policies) if schemas else None
    version = digest({"cedar": read.digest, "facts": facts_digest()})
    return CedarPolicies(tuple(policies), schema, version, read.extends_playbook)


def _places(directories: Sequence[Path], stage: str) -> Iterator[Place] | list[Place]:
    """The directories, with the playbook in Cedar where one extends the playbook."""
    found = []
    for place in find_places(directories, stage=stage):
        if place.directory in {PLAYBOOK, CEDAR_PLAYBOOK}:
            (own,) = find_places([CEDAR_PLAYBOOK], stage=stage)
            place = replace(own, label="playbook")  # noqa: PLW2901 - stands in the same place
        found.append(place)
    return list({place.directory: place for place in found}.values())


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(directory):
            raise PolicyError(f"{path} points out of its directory", got=path.resolve(), expected="no such links")
        if path.is_file() and _is_policy(path, directory):
            yield path


def _is_policy(path: Path, directory: Path) -> bool:
    """Whether to read a file; what is neither a policy nor a text about policies is refused instead of passed over."""
    if path.parent == directory / TESTS and path.suffix == ".yaml":
        return False
    if path.suffix == ".cedar" or path.name in {METADATA, SCHEMA}:
        return True
    hidden = path.name.startswith(".") and ".cedar" not in path.name.casefold()
    if hidden or path.suffix == ".md" or path.name.startswith("README"):
        return False
    raise PolicyError(
        f"{path} is not read as a policy",
        expected=f"names ending in .cedar; {SCHEMA}, {METADATA}, README, and .md files; {TESTS}/*.yaml",
    )


def policy_tree(statement: Statement) -> dict[str, Any]:
    """One policy in Cedar's JSON form.

    Raises:
        PolicyError: it does not parse, or is a template.
    """
    cedar = require("cedarpy", extra="authz-cedar")
    try:
        parsed = json.loads(cedar.policies_to_json_str(statement.text))
    except ValueError as error:
        raise PolicyError("a policy does not parse", got=f"{statement.place}: {error}", expected="Cedar") from error
    found: list[dict[str, Any]] = list(parsed["staticPolicies"].values())
    if len(found) != 1:
        raise PolicyError(
            "a policy is a template", got=statement.place, expected="policies without ?principal and ?resource"
        )
    return found[0]


def _policy(statement: Statement, declared: Slice) -> CedarPolicy:
    tree = policy_tree(statement)
    said = {name: "" if text is None else text for name, text in tree.get("annotations", {}).items()}
    _check_annotations(said, statement.place)
    return CedarPolicy(
        id=said["id"],
        reason=said.get("reason", said["id"]),
        message=said.get("message", ""),
        permits=tree["effect"] == "permit",
        obligations=parse_obligations(said["obligations"], statement.place) if "obligations" in said else (),
        text=statement.text,
        slice=declared,
        place=statement.place,
        tree=tree,
        reads=reads(tree),
    )


def _check_annotations(said: Mapping[str, Any], place: str) -> None:
    for name in said:
        if name not in ANNOTATIONS:
            near = difflib.get_close_matches(name, ANNOTATIONS, n=1)
            raise PolicyError(
                f"a policy has the annotation @{name}, which nobody reads",
                got=place,
                expected=", ".join(f"@{known}" for known in ANNOTATIONS),
                hint=f"did you mean @{near[0]}?" if near else None,
            )
    for name in ("id", "reason"):
        if not said.get(name, "" if name == "id" else "-").strip():
            raise PolicyError(f"a policy has no @{name}", got=place, hint=f'write @{name}("policy.name") before it')


def _check_unique(policies: Iterable[CedarPolicy]) -> None:
    seen: set[str] = set()
    for policy in policies:
        if policy.id in seen:
            raise PolicyError(
                "two policies have the same @id", got=policy.id, hint="give each its own; @reason may be shared"
            )
        seen.add(policy.id)


def _checked_schema(schema: str, policies: Iterable[CedarPolicy]) -> str:
    cedar = require("cedarpy", extra="authz-cedar")
    check_depth(SCHEMA, schema)
    try:
        handle = cedar.Schema.from_str(schema)
        for policy in policies:
            result = cedar.validate_policies(policy.text, handle)
            if not result.validation_passed:
                problem = "; ".join(str(error) for error in result.errors)
                raise PolicyError(f"{policy.id} does not agree with the schema", got=problem)
    except ValueError as error:
        if isinstance(error, PolicyError):
            raise
        raise PolicyError(f"{SCHEMA} is not a Cedar schema", got=error) from error
    return schema
