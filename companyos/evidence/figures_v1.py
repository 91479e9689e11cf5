"""Version 1 of the figures of a pack. It never changes: every pack of version 1 is judged by it, however old.

What shall be counted otherwise is a new version, in a module of its own.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

from companyos.canonical import canonical_bytes
from companyos.evidence.errors import MemberInvalidError
from companyos.evidence.sarif_v1 import count_results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reader = Callable[[list[bytes]], dict[str, Any]]

__all__ = ("figures",)


def figures(members: Mapping[str, bytes]) -> dict[str, Any]:
    """The figures by folder; JSON values only.

    Raises:
        MemberInvalidError: a member is not in the format of its folder.
    """
    readers: dict[str, Reader] = {"tests": _junit, "findings": _sarif, "sbom": _cyclonedx, "cost": _cost}
    found: dict[str, Any] = {}
    for folder, read in readers.items():
        contents = [members[name] for name in sorted(members) if name.startswith(f"{folder}/")]
        if contents:
            found[folder] = _guarded(folder, read, contents)
    return found


def _guarded(folder: str, read: Reader, contents: list[bytes]) -> dict[str, Any]:
    try:
        found = read(contents)
        canonical_bytes(found)  # text in it may be such that no summary could carry it
    except (ValueError, LookupError, TypeError, AttributeError, ET.ParseError, expat.ExpatError, RecursionError) as bad:
        raise MemberInvalidError(
            f"a member under {folder}/ is not in its format", got=f"{type(bad).__name__}: {bad}"
        ) from bad
    return found


def _junit(contents: list[bytes]) -> dict[str, Any]:
    count: Counter[str] = Counter(passed=0, failed=0, skipped=0)
    for content in contents:
        _refuse_document_type(content)
        root = ET.fromstring(content)  # noqa: S314 - document types are refused above
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        if root.tag not in {"testsuites", "testsuite"}:
            raise ValueError(f"root element is {root.tag!r}")
        for suite in root.iter():
            if suite.tag in {"testsuites", "testsuite"}:
                _compare_totals(suite)
        for case in root.iter("testcase"):
            tags = {child.tag for child in case}
            count["failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"] += 1
    return dict(count)


def _refuse_document_type(content: bytes) -> None:
    """A document type could define entities that grow without bound; JUnit files have none, in whatever encoding."""

    def refuse(*_: object) -> None:
        raise ValueError("JUnit file with a document type")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(content, True)


def _compare_totals(suite: ET.Element) -> None:
    """Refuse a suite that says other numbers than its cases give.

    A case may hold several failures, which some tools count once and some each. Pytest counts an error after the test
    as a test, or not, differently from the cases it writes: there the total may differ by the number of errors.
    """
    cases = list(suite.iter("testcase"))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        found = [sum(child.tag == tag for child in case) for case in cases]
        _compare(suite, attribute, sum(map(bool, found)), sum(found))
    errors = sum(case.find("error") is not None for case in cases)
    _compare(suite, "tests", len(cases) - errors, len(cases) + errors)


def _compare(suite: ET.Element, attribute: str, low: int, high: int) -> None:
    said = suite.get(attribute)
    if said is not None and not low <= int(said) <= high:
        raise ValueError(f"a {suite.tag} says {attribute}={said[:40]!r}, its cases give {low}")


def _sarif(contents: list[bytes]) -> dict[str, Any]:
    count: Counter[str] = Counter(error=0, warning=0, note=0, none=0)
    unfinished = 0
    for content in contents:
        document = _json(content)
        if document["version"] != "2.1.0":
            raise ValueError(f"SARIF version {document['version']!r}")
        for run in document["runs"]:
            count.update(count_results(run))
            unfinished += sum(not _finished(call) for call in run.get("invocations", ()))
    return {**count, "unfinished_runs": unfinished}


def _finished(invocation: dict[str, Any]) -> bool:
    value = invocation["executionSuccessful"]
    if not isinstance(value, bool):
        raise TypeError(f"executionSuccessful is {value!r}")
    return value


def _cyclonedx(contents: list[bytes]) -> dict[str, Any]:
    components = 0
    for content in contents:
        document = _json(content)
        if document["bomFormat"] != "CycloneDX":
            raise ValueError("not a CycloneDX document")
        listed = document.get("components", [])
        if not isinstance(listed, list):
            raise TypeError("components are not a list")
        components += len(listed)
    return {"components": components}


def _cost(contents: list[bytes]) -> dict[str, Any]:
    decisions = [_json(content) for content in contents if content.lstrip().startswith(b"{")]
    gates = [{"decision": item["decision"], "reason": item["reason"]} for item in decisions]
    if not all(isinstance(text, str) for gate in gates for text in gate.values()):
        raise TypeError("a decision or a reason is not text")
    return {"gates": gates}


def _json(content: bytes) -> Any:
    """The JSON value; a key that is there twice, which readers take differently, is refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            raise ValueError("an object has the same key twice")
        return value

    return json.loads(content, object_pairs_hook=once)
