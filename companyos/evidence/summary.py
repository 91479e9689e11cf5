"""The figures of a pack, computed from its members by whoever builds it and again by whoever verifies it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from companyos.evidence.errors import MemberInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ("EXPECTED", "not_supplied", "summarise")

EXPECTED = (
    "tests/",
    "findings/",
    "sbom/",
    "cost/",
    "dpia/",
    "accessibility/",
    "approvals/",
    "vulnerabilities/",
)
"""Folders that a complete pack fills; what is missing is listed as not supplied, and never green."""


def summarise(members: Mapping[str, bytes]) -> dict[str, Any]:
    """The figures of all members, by folder; JSON values only.

    Raises:
        MemberInvalidError: a member is not in the format of its folder.
    """
    readers: tuple[tuple[str, Callable[[list[bytes]], dict[str, Any]]], ...] = (
        ("tests", _junit),
        ("findings", _sarif),
        ("sbom", _cyclonedx),
        ("cost", _cost),
    )
    figures: dict[str, Any] = {}
    for folder, read in readers:
        contents = [members[name] for name in sorted(members) if name.startswith(f"{folder}/")]
        if contents:
            figures[folder] = _guarded(folder, read, contents)
    return figures | {"not_supplied": not_supplied(members)}


def not_supplied(members: Mapping[str, bytes]) -> list[str]:
    """The expected kinds of evidence that the pack does not hold."""
    return [folder.rstrip("/") for folder in EXPECTED if not any(name.startswith(folder) for name in members)]


def _guarded(folder: str, read: Callable[[list[bytes]], dict[str, Any]], contents: list[bytes]) -> dict[str, Any]:
    try:
        return read(contents)
    except (ValueError, KeyError, TypeError, AttributeError, ET.ParseError, RecursionError) as error:
        raise MemberInvalidError(
            f"a member under {folder}/ is not in its format", got=f"{type(error).__name__}: {error}"
        ) from error


def _junit(contents: list[bytes]) -> dict[str, Any]:
    count: Counter[str] = Counter(passed=0, failed=0, skipped=0)
    for content in contents:
        # A document type could define entities that grow without bound; JUnit files have none.
        if b"<!DOCTYPE" in content:
            raise ValueError("JUnit file with a document type")
        root = ET.fromstring(content)  # noqa: S314 - document types are refused above
        if root.tag not in {"testsuites", "testsuite"}:
            raise ValueError(f"root element is {root.tag}")
        for case in root.iter("testcase"):
            tags = {child.tag for child in case}
            count["failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"] += 1
    return dict(count)


def _sarif(contents: list[bytes]) -> dict[str, Any]:
    count: Counter[str] = Counter(error=0, warning=0, note=0, none=0)
    unfinished = 0
    for content in contents:
        document = json.loads(content)
        if document["version"] != "2.1.0":
            raise ValueError(f"SARIF version {document['version']}")
        for run in document["runs"]:
            count.update(result.get("level", "warning") for result in run["results"])
            unfinished += sum(1 for call in run.get("invocations", ()) if not call["executionSuccessful"])
    return {**count, "unfinished_runs": unfinished}


def _cyclonedx(contents: list[bytes]) -> dict[str, Any]:
    components = 0
    for content in contents:
        document = json.loads(content)
        if document["bomFormat"] != "CycloneDX":
            raise ValueError("not a CycloneDX document")
        components += len(document.get("components", ()))
    return {"components": components}


def _cost(contents: list[bytes]) -> dict[str, Any]:
    decisions = [json.loads(content) for content in contents if content.lstrip().startswith(b"{")]
    return {"gates": [{"decision": item["decision"], "reason": item["reason"]} for item in decisions]}
