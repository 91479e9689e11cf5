"""Checking log lines that were written: every line has its fields, and nothing in it that the safety net would mask.

What `check_masked` finds was written past this room, or before the net knew its shape. It knows shapes and names, not
meanings: a clean log is not proved to be free of personal data.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

from companyos.decision import Decision, Finding, Severity, combine
from companyos.observability.lines import line_schema
from companyos.observability.redaction import MARGIN, MAX_TEXT, Redactor
from companyos.observability.runtime import DEVELOPMENT
from companyos.observability.semconv import SEVERITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ("FIELD_RULES", "MASK_RULES", "check_fields", "check_log", "check_masked")

FIELD_RULES = {
    "OBS-FIELDS.json": "A line is one JSON object, each key once.",
    "OBS-FIELDS.missing": "Each line has every required field, null where nothing is known.",
    "OBS-FIELDS.type": "Each required field is of its type and form.",
    "OBS-FIELDS.level": "The level is one of the five, and its severity number fits.",
    "OBS-FIELDS.debug": "DEBUG is written in development only.",
    "OBS-FIELDS.trace": "A line names both a trace and a span, or neither.",
}
"""What the control OBS-FIELDS may report."""
MASK_RULES = {"OBS-REDACTION.unmasked": "Nothing that the safety net knows is in a line."}
"""What is reported of a log in which something was not masked."""
LONGEST_LINE = 1 << 20
"""Bytes; a longer line is not read."""
MOST_FINDINGS = 100
"""Findings that are listed; the facts say how many there are."""
_ENDS = re.compile(r"[^a-z]")


def check_log(lines: Iterable[bytes], name: str = "-", *, redactor: Redactor | None = None) -> Decision:
    """Both checks over the lines of one log; `name` is where they are from."""
    kept = list(lines)
    return combine([check_fields(kept, name), check_masked(kept, name, redactor=redactor)], reason="log.clean")


def check_fields(lines: Iterable[bytes], name: str = "-") -> Decision:
    """Does every line have its fields? Denied with findings by the rules of OBS-FIELDS; undetermined without a line."""
    findings: list[Finding] = []
    count = 0
    for number, line in enumerate(lines, 1):
        count += 1
        findings += [Finding(rule, text, Severity.MEDIUM, name, number) for rule, text in _problems(line)]
    return _answer("log.fields", count, findings)


def check_masked(lines: Iterable[bytes], name: str = "-", *, redactor: Redactor | None = None) -> Decision:
    """Would the net still mask anything? Findings name the field and never show its value.

    Undetermined if there is no line, or if one cannot be read.
    """
    net = redactor or Redactor()
    findings: list[Finding] = []
    count, unread = 0, 0
    for number, line in enumerate(lines, 1):
        count += 1
        try:
            read = _read(line)
        except ValueError:
            unread += 1
            # Whoever writes past the logger does not write JSON.
            if _is_unmasked(line, net):
                findings.append(_leak("the line", name, number))
            continue
        findings += [_leak(f"the field {net.text(field)[:80]!r}", name, number) for field in _unmasked(read, net)]
    if unread and not findings:
        return Decision.undetermined("log.unreadable", f"{unread} of {count} lines are no JSON objects")
    return _answer("log.masked", count, findings)


def _leak(where: str, name: str, number: int) -> Finding:
    text = f"{where} holds what should have been masked"
    return Finding("OBS-REDACTION.unmasked", text, Severity.HIGH, name, number, hint="classify it, or leave it out")


def _is_unmasked(line: bytes, net: Redactor) -> bool:
    """Whether the net would mask anything in a line that is no JSON object; it is looked at piece by piece."""
    text = line[:LONGEST_LINE].decode("utf-8", "replace")
    pieces = (text[start : start + MAX_TEXT] for start in range(0, len(text), MAX_TEXT - MARGIN))
    return any(net.text(piece) != piece for piece in pieces)


def _answer(reason: str, count: int, findings: list[Finding]) -> Decision:
    facts = {"lines": count, "findings": len(findings)}
    if findings:
        text = f"{len(findings)} findings in {count} lines"
        return Decision.denied(reason, text, findings=findings[:MOST_FINDINGS], facts=facts)
    if not count:
        return Decision.undetermined("log.empty", "there is no line to check")
    return Decision.allowed(reason, f"{count} lines", facts=facts)


def _unmasked(value: dict[str, Any], net: Redactor) -> Iterator[str]:
    for key, item in value.items():
        shown = net.field(key, item)
        if (shown != item and not _only_bounded(item, shown)) or net.text(key) != key:
            yield key


def _only_bounded(item: Any, shown: Any) -> bool:
    """Whether a difference is one of size: a line that was written within other bounds is no leak."""
    return (
        isinstance(item, str) and isinstance(shown, str) and shown.endswith(" characters)") and item[:64] == shown[:64]
    )


def _problems(line: bytes) -> Iterator[tuple[str, str]]:
    try:
        read = _read(line)
    except ValueError as error:
        yield "OBS-FIELDS.json", f"not one JSON object: {error}"
        return
    for found in _validator().iter_errors(read):
        if found.validator == "required":
            yield "OBS-FIELDS.missing", found.message
        else:
            field = ".".join(map(str, found.path))
            rule = "level" if field in {"level", "severity_number"} else "type"
            yield f"OBS-FIELDS.{rule}", f"{field} is not as the schema of a log line has it"
    yield from _contradictions(read)


def _contradictions(line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    level, number = line.get("level"), line.get("severity_number")
    if isinstance(level, str) and level in SEVERITY and number != SEVERITY[level]:
        yield "OBS-FIELDS.level", f"level {level} goes with severity number {SEVERITY[level]}"
    environment = line.get("env")
    if level == "DEBUG" and isinstance(environment, str) and _ENDS.split(environment.lower())[0] not in DEVELOPMENT:
        yield "OBS-FIELDS.debug", "DEBUG is written outside of development"
    if (line.get("trace_id") is None) != (line.get("span_id") is None):
        yield "OBS-FIELDS.trace", "a trace without its span, or a span without its trace"


def _read(line: bytes) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise ValueError(f"more than {LONGEST_LINE} bytes")
    try:
        read = json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(read, dict):
        raise ValueError(f"{type(read).__name__} instead of an object")  # noqa: TRY004 - like every other reason
    return read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


@functools.cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(line_schema())
