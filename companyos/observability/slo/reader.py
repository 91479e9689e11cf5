"""OpenSLO files in, typed objects out: https://github.com/OpenSLO/OpenSLO, versions `openslo/v1` and `openslo/v1alpha`.

Everything that is wrong is reported together, each problem with its file, line and field.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.observability.slo import alerting, indicators, objects, v1alpha
from companyos.observability.slo.errors import Problem, SloError
from companyos.observability.slo.fields import Fields, Gathered
from companyos.observability.slo.openslo import Documents
from companyos.observability.slo.yamltree import Refusal, documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from companyos.observability.slo.openslo import Service, Slo

__all__ = ("read", "read_files")

V1, V1ALPHA = "openslo/v1", "openslo/v1alpha"
KINDS = ("DataSource", "SLO", "SLI", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "Service")


@dataclass
class _Files:
    """What was found, before anything refers to anything."""

    gathered: Gathered = field(default_factory=Gathered)
    held: dict[str, dict[str, Fields]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    """By kind and name, all but the SLOs."""
    slos: list[tuple[str, Fields]] = field(default_factory=list)
    """With their versions; nothing refers to them, so those of two services may have the same name."""


def read_files(paths: Iterable[Path | str]) -> Documents:
    """Read OpenSLO files as one set: what one defines another may refer to.

    Raises:
        SloError: a file cannot be read, or something in it is wrong.
    """
    sources: dict[str, bytes] = {}
    unread = []
    for path in paths:
        try:
            sources[str(path)] = Path(path).read_bytes()
        except OSError as error:
            unread.append(Problem(str(path), 0, "", f"cannot be read: {error.strerror}"))
    if unread:
        raise SloError(unread)
    return read(sources)


def read(sources: Mapping[str, bytes]) -> Documents:
    """Read the contents of OpenSLO files, by the names to report them under.

    Raises:
        SloError: something is wrong; its `problems` are all there are.
    """
    files = _Files()
    for name, data in sources.items():
        _read_file(files, name, data)
    gathered = files.gathered
    services = tuple(objects.service(fields) for fields in files.held["Service"].values())
    slos = tuple(_slos(files))
    if not slos and not gathered.problems:
        gathered.problems.append(Problem(next(iter(sources), "-"), 0, "", "there is no object of kind SLO"))
    _check_services(slos, services, gathered)
    if gathered.problems:
        raise SloError(gathered.problems)
    return Documents(slos, services, tuple(sorted(set(gathered.warnings))), _digest(sources.values()))


def _read_file(files: _Files, name: str, data: bytes) -> None:
    try:
        for document in documents(data, name):
            several = isinstance(document.value, list)
            for index, node in enumerate(document.value if several else [document]):
                _sort_in(files, Fields(node, f"[{index}]" if several else "", name, files.gathered))
    except Refusal as refusal:
        files.gathered.problems.append(refusal.problem)


def _sort_in(files: _Files, top: Fields) -> None:
    top.only("apiVersion", "kind", "metadata", "spec")
    version = top.choice("apiVersion", (V1, V1ALPHA), required=True)
    kind = top.choice("kind", KINDS, required=True)
    if version is None or kind is None:
        return
    metadata = top.fields("metadata", required=True)
    # Without a name it is kept as well, so that the rest of its problems are told with this one.
    name = ("" if metadata is None else metadata.name("name")) or f"{top.file}:{top.line}"
    if kind == "SLO":
        files.slos.append((version, top))
        return
    if version == V1ALPHA and kind != "Service":
        top.problem("kind", f"got {kind} of {V1ALPHA}; of that version SLO and Service are read")
        return
    before = files.held[kind].get(name)
    if before is not None:
        top.problem("metadata.name", f"there is another {kind} {name!r} at {before.file}:{before.line}")
    files.held[kind][name] = top


def _slos(files: _Files) -> Iterator[Slo]:
    held = files.held
    sources = {name: objects.data_source(fields) for name, fields in held["DataSource"].items()}
    queries = indicators.Queries(sources)
    slis = {name: indicators.sli(fields, queries) for name, fields in held["SLI"].items()}
    targets = {name: alerting.target(fields) for name, fields in held["AlertNotificationTarget"].items()}
    conditions = {name: alerting.condition(fields) for name, fields in held["AlertCondition"].items()}
    known = alerting.Known(conditions, targets)
    policies = {name: alerting.policy(fields, known) for name, fields in held["AlertPolicy"].items()}
    references = objects.Known(queries, slis, known, policies)
    for version, fields in files.slos:
        slo = v1alpha.slo(fields) if version == V1ALPHA else objects.slo(fields, references)
        if slo is not None:
            yield slo


def _check_services(slos: Iterable[Slo], services: Iterable[Service], gathered: Gathered) -> None:
    """A reference to a service may dangle, says the specification; where services are defined it is worth a word."""
    known = {service.metadata.name for service in services}
    for slo in slos:
        if known and slo.service not in known:
            place = slo.metadata.place
            what = f"no Service {slo.service!r} is defined; there are {', '.join(sorted(known)[:5])}"
            gathered.warnings.append(Problem(place.file, place.line, "spec.service", what))


def _digest(contents: Iterable[bytes]) -> str:
    each = sorted(hashlib.sha256(data).digest() for data in contents)
    return f"sha256:{hashlib.sha256(b''.join(each)).hexdigest()}"
