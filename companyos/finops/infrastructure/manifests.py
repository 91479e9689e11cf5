"""Kubernetes manifests and compose files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from companyos._yaml import StrictLoader
from companyos.finops.infrastructure.interface import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("COMPOSE", "Documents", "compose_resources", "kubernetes_resources", "looks_like_kubernetes")

COMPOSE = re.compile(r"(docker-)?compose([.-][\w.-]+)?\.ya?ml", re.IGNORECASE)
"""Names of compose files."""
Documents = list[tuple[int, dict[str, Any]]]
"""Documents of a file, each with its first line."""
_KUBERNETES = re.compile(r"^\s*-?\s*apiVersion:", re.MULTILINE), re.compile(r"^\s*-?\s*kind:", re.MULTILINE)
_WORKLOADS = frozenset({"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "StatefulSet"})
_COSTLY = _WORKLOADS | {"Namespace", "PersistentVolumeClaim"}
_SPOT = {
    "lifecycle": "spot",
    "node.kubernetes.io/lifecycle": "spot",
    "karpenter.sh/capacity-type": "spot",
    "eks.amazonaws.com/capacitytype": "spot",
    "cloud.google.com/gke-spot": "true",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
"""Labels of nodes that say spot."""


def looks_like_kubernetes(text: str) -> bool:
    """Whether a text of YAML is meant as manifests."""
    return all(shape.search(text) for shape in _KUBERNETES)


def documents(text: str) -> Documents:
    """The documents of a file, items of lists among them.

    Raises:
        yaml.YAMLError: it is no YAML, or none that is read here.
    """
    loader = StrictLoader(text)
    found: Documents = []
    while loader.check_node():
        node = loader.get_node()
        value = None if node is None else loader.construct_document(node)
        if node is None or not isinstance(value, dict):
            continue
        if value.get("kind") == "List" and isinstance(node, yaml.MappingNode):
            items = next((child for key, child in node.value if key.value == "items"), None)
            nodes = items.value if isinstance(items, yaml.SequenceNode) else []
            pairs = zip(nodes, value.get("items") or (), strict=False)
            found += [(child.start_mark.line + 1, item) for child, item in pairs if isinstance(item, dict)]
        else:
            found.append((node.start_mark.line + 1, value))
    return found


def kubernetes_resources(files: list[tuple[str, Documents]]) -> Iterator[Resource]:
    """What costs money in manifests; a workload has the labels of its namespace too, where that is among them."""
    spaces = {
        _meta(value).get("name"): _labels(_meta(value))
        for _, found in files
        for _, value in found
        if value.get("kind") == "Namespace"
    }
    for path, found in files:
        for line, value in found:
            if value.get("kind") in _COSTLY and "apiVersion" in value:
                yield _kubernetes(path, line, value, spaces)


def compose_resources(path: str, text: str, found: Documents) -> Iterator[Resource]:
    """The services of a compose file."""
    for _, value in found:
        services = value.get("services")
        for name, given in (services if isinstance(services, dict) else {}).items():
            body = given if isinstance(given, dict) else {}
            deploy = body.get("deploy")
            tags = _pairs(body.get("labels")) | _pairs(deploy.get("labels") if isinstance(deploy, dict) else None)
            at = re.search(rf"^\s+[\"']?{re.escape(str(name))}[\"']?\s*:", text, re.MULTILINE)
            line = text.count("\n", 0, at.end()) + 1 if at else 1
            yield Resource(f"service {name}", path, line, tags)


def _kubernetes(path: str, line: int, value: dict[str, Any], spaces: dict[Any, dict[str, str]]) -> Resource:
    kind, meta = str(value["kind"]), _meta(value)
    space = meta.get("namespace")
    template = _template(kind, value)
    spec = template.get("spec") if isinstance(template.get("spec"), dict) else {}
    tags = spaces.get(space, {}) | _labels(meta) | _labels(_meta(template))
    volumes = spec.get("volumes") if isinstance(spec, dict) else None
    claims = any("persistentVolumeClaim" in one for one in volumes or () if isinstance(one, dict))
    return Resource(
        f"{kind}/{meta.get('name', '(no name)')}",
        path,
        line,
        tags,
        on_spot=_on_spot(spec or {}) if kind in _WORKLOADS else None,
        keeps_state=kind == "StatefulSet" or claims or tags.get("stateful", "").casefold() == "true",
        lives_in=f"Namespace/{space}" if space in spaces else None,
    )


def _template(kind: str, value: dict[str, Any]) -> dict[str, Any]:
    """What describes the pods of a workload."""
    if kind == "Pod":
        return value
    steps = ["spec", "jobTemplate", "spec", "template"] if kind == "CronJob" else ["spec", "template"]
    found: Any = value
    for step in steps:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _meta(value: dict[str, Any]) -> dict[str, Any]:
    meta = value.get("metadata")
    return meta if isinstance(meta, dict) else {}


def _labels(meta: dict[str, Any]) -> dict[str, str]:
    return _pairs(meta.get("annotations")) | _pairs(meta.get("labels"))


def _on_spot(spec: dict[str, Any]) -> bool:
    if any(_SPOT.get(key.casefold()) == value.casefold() for key, value in _pairs(spec.get("nodeSelector")).items()):
        return True
    found: Any = spec
    for step in ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"):
        found = found.get(step) if isinstance(found, dict) else None
    terms = found if isinstance(found, list) else []
    return bool(terms) and all(_asks_for_spot(term) for term in terms)  # one of the terms is enough for a node


def _asks_for_spot(term: Any) -> bool:
    wanted = term.get("matchExpressions") if isinstance(term, dict) else None
    return any(
        one.get("operator") == "In"
        and bool(one.get("values"))
        and all(str(value).casefold() == _SPOT.get(str(one.get("key")).casefold()) for value in one["values"])
        for one in wanted or ()
        if isinstance(one, dict)
    )


def _pairs(value: Any) -> dict[str, str]:
    """Labels as a mapping, or as a list of `key=value`."""
    if isinstance(value, list):
        value = dict(str(one).partition("=")[::2] for one in value)
    if not isinstance(value, dict):
        return {}
    return {str(key): _text(one) for key, one in value.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
