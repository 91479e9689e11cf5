"""Finding infrastructure in files, and judging all of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from companyos._json import strict_loads
from companyos.decision import Decision, Finding
from companyos.finops.infrastructure.interface import Policy, Resource, Unread
from companyos.finops.infrastructure.judging import judged
from companyos.finops.infrastructure.manifests import (
    COMPOSE,
    Documents,
    compose_resources,
    documents,
    kubernetes_resources,
    looks_like_kubernetes,
)
from companyos.finops.infrastructure.terraform import Module, parse_hcl, plan_resources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ("Infrastructure", "check_infrastructure")

MAX_BYTES = 64 * 1024 * 1024
_LEFT_OUT = frozenset({".git", ".terraform", ".tox", ".venv", "node_modules", "__pycache__"})
_SUFFIXES = (".tf", ".json", ".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """What was found in files."""

    resources: tuple[Resource, ...]
    """In the order of files."""
    unread: tuple[Unread, ...]
    """What is infrastructure and could not be read."""
    files: int
    """How many files hold infrastructure."""


def check_infrastructure(paths: Sequence[Path], policy: Policy | None = None) -> Decision:
    """Judge Terraform (HCL, JSON, plans), Kubernetes manifests and compose files under `paths`.

    Denied with findings; undetermined when something could not be read or evaluated, or when there is none at all.

    Raises:
        MissingExtraError: there is HCL, and what reads it is not installed.
    """
    policy = policy or Policy()
    found = read(paths)
    answers = list(judged(found.resources, policy))
    findings = [one for one in answers if isinstance(one, Finding)]
    unread = [*found.unread, *(one for one in answers if isinstance(one, Unread))]
    reasons = [f"{one.path}: {one.why}" for one in unread]
    facts = {
        "files": found.files,
        "resources": len(found.resources),
        "required_tags": list(policy.required),
        "unread": reasons,
    }
    if findings:
        message = f"{len(findings)} findings in {len(found.resources)} resources"
        more = f"; {len(unread)} could not be checked" if unread else ""
        return Decision.denied(findings[0].rule, message + more, findings=findings, facts=facts)
    if unread:
        return Decision.undetermined("finops.infrastructure_unread", "; ".join(reasons), facts=facts)
    if not found.resources:
        message = "no Terraform, Kubernetes manifest or compose file with anything that costs money"
        return Decision.undetermined("finops.no_infrastructure", message, facts=facts)
    return Decision.allowed("finops.infrastructure_tagged", f"{len(found.resources)} resources", facts=facts)


def read(paths: Sequence[Path]) -> Infrastructure:
    """Everything that costs money in the files under `paths`."""
    reading = _Reading()
    for path in paths:
        base = path if path.is_dir() else path.parent
        for file in _files(path):
            reading.take(file, file.relative_to(base).as_posix())
    return reading.result()


class _Reading:
    def __init__(self) -> None:
        self._modules: dict[str, Module] = {}
        self._manifests: list[tuple[str, Documents]] = []
        self._resources: list[Resource] = []
        self._unread: list[Unread] = []
        self._files = 0

    def take(self, file: Path, name: str) -> None:
        try:
            if file.stat().st_size > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")  # noqa: TRY301 - named like any other reason
            text = file.read_text(encoding="utf-8-sig")
            self._files += self._read(file, name, text)
        except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError, yaml.YAMLError) as error:
            if _is_meant(file):
                self._files += 1
                self._unread.append(Unread(name, str(error).replace("\n", " ")[:300] or type(error).__name__))

    def result(self) -> Infrastructure:
        for module in self._modules.values():
            self._resources += module.resources()
        self._resources += kubernetes_resources(self._manifests)
        return Infrastructure(tuple(self._resources), tuple(self._unread), self._files)

    def _read(self, file: Path, name: str, text: str) -> bool:
        """Read a file; whether it holds infrastructure."""
        if name.endswith(".tf"):
            self._module(name).add(name, text, parse_hcl(text))
            return True
        if name.endswith(".tf.json"):
            self._module(name).add(name, text, strict_loads(text))
            return True
        if name.endswith(".json"):
            return self._json(name, strict_loads(text))
        if COMPOSE.fullmatch(file.name):
            self._resources += compose_resources(name, text, documents(text))
            return True
        if looks_like_kubernetes(text):
            self._manifests.append((name, documents(text)))
            return True
        return False

    def _json(self, name: str, value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        if "planned_values" in value:
            self._resources += plan_resources(name, value)
            return True
        if "apiVersion" in value and "kind" in value:
            items = value.get("items") or () if value["kind"] == "List" else (value,)
            self._manifests.append((name, [(1, item) for item in items if isinstance(item, dict)]))
            return True
        return False

    def _module(self, name: str) -> Module:
        return self._modules.setdefault(name.rpartition("/")[0], Module())


def _is_meant(file: Path) -> bool:
    """Whether a file that cannot be read is one of infrastructure."""
    if file.name.endswith((".tf", ".tf.json")) or COMPOSE.fullmatch(file.name):
        return True
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return looks_like_kubernetes(text) or '"planned_values"' in text


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for base, directories, names in os.walk(path):
        directories[:] = sorted(name for name in directories if name not in _LEFT_OUT)
        yield from (Path(base, name) for name in sorted(names) if name.endswith(_SUFFIXES))
