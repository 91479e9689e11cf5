"""The control OBS-REDACTION: what must not leave, in every place that a field can hide, and what only looks like it.

The check sends a value through the real logger, tracer and meter, and looks at all that comes out. It answers as the
net does: denied if the value was withheld, allowed if it came out. Values that must be withheld are put together at run
time, so that a scan of the source finds nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.controls import Control, Specimen
from companyos.decision import Decision, Finding, Severity
from companyos.observability.logfile import MASK_RULES, check_masked
from companyos.observability.specimens._places import MARK, PLACES, emitted
from companyos.observability.specimens._values import LOOKALIKES, NAMES, PLANTED, Planted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ("ID", "Emission", "check", "redaction_control")

ID = "OBS-REDACTION"
RULES = {
    f"{ID}.secret": "Tokens, keys and passwords of known shapes are masked.",
    f"{ID}.name": "What stands under the name of a secret is masked, whatever it is.",
    f"{ID}.address": "E-mail addresses are masked.",
    f"{ID}.card": "Card numbers are masked, however they are separated.",
    f"{ID}.account": "Bank account numbers (IBAN) are masked.",
    f"{ID}.host": "Internal host names are masked.",
    f"{ID}.word": "The words that the company names, such as its tenants, are masked.",
    **MASK_RULES,
}
_EVERYWHERE = ("secret", "address", "card", "account", "host", "word")


@dataclass(frozen=True, slots=True)
class Emission:
    """A value to be sent through the signals of a service."""

    place: str
    """Where it hides."""
    value: str
    """What is sent."""
    cores: tuple[str, ...]
    """The parts that say something; if one of them comes out, the value was not withheld."""
    rule: str
    """What kind of value it is."""
    key: str = "note"
    """The name of the field."""


def check(case: Emission | Path) -> Decision:
    """Is this value withheld? For a log file: was everything in it?"""
    if not isinstance(case, Emission):
        with case.open("rb") as lines:
            return check_masked(lines, case.name)
    came_out = emitted(case.place, case.key, case.value)
    if MARK not in came_out:
        return Decision.undetermined(f"{ID}.nothing", f"nothing came out of the place {case.place!r}")
    if any(core in came_out for core in case.cores):
        return Decision.allowed(f"{ID}.plain", "it came out as it is")
    finding = Finding(case.rule, f"a value in the place {case.place!r} was withheld", Severity.HIGH)
    return Decision.denied(case.rule, finding.message, findings=[finding])


def redaction_control() -> Control:
    """The control over what leaves in signals."""
    return Control(
        id=ID,
        title="Secrets and personal data that leave in logs, spans, metrics or baggage",
        check=check,
        rules=RULES,
        specimens=tuple(_specimens()),
        docs="observability.md",
        subject="signal",
    )


def _planted(name: str, place: str, planted: Planted, key: str = "note") -> Specimen:
    rule = f"{ID}.{planted.rule}"
    emission = Emission(place, planted.value, planted.cores, rule, key)
    return Specimen(f"{name} in {place}", lambda _: emission, rule)


def _clean(name: str, place: str, value: str, key: str = "note") -> Specimen:
    emission = Emission(place, value, (value,), f"{ID}.secret", key)
    return Specimen(f"{name} in {place}", lambda _: emission)


def _log_file(text: Callable[[], str]) -> Callable[[Path], Path]:
    def build(scratch: Path) -> Path:
        path = scratch / "service.log"
        path.write_text(text(), encoding="utf-8")
        return path

    return build


def _specimens() -> list[Specimen]:
    found: list[Specimen] = []
    first = {kind: next(p for p in PLANTED.values() if p.rule == kind) for kind in _EVERYWHERE}
    for kind, planted in first.items():
        found += [_planted(f"the first {kind}", place, planted) for place in PLACES]
    found += [_planted(name, "a field", planted) for name, planted in PLANTED.items()]
    found += [_planted(name, "an exception's text", planted) for name, planted in PLANTED.items()]
    named = Planted("name", "blue heron 7", ("heron",))
    for key in NAMES:
        found += [_planted(f"{key}:", place, named, key) for place in ("a field", "a nested field", "a span attribute")]
    found += [_clean(name, place, value) for name, value in LOOKALIKES.items() for place in _LOOKED_AT]
    token = PLANTED["GitHub token"].value
    found += [
        Specimen(
            f"a log in which a token stands under {key!r}",
            _log_file(lambda key=key: json.dumps({"event": "x", key: {"inner": [token]}}) + "\n"),  # type: ignore[misc]
            f"{ID}.unmasked",
        )
        for key in ("note", "data")
    ]
    found += [
        Specimen(
            "a log with a line of plain text", _log_file(lambda: f"{_harmless()}using {token}\n"), f"{ID}.unmasked"
        ),
        Specimen("a log without any", _log_file(_harmless)),
    ]
    return found


_LOOKED_AT = ("a field", "a nested field", "an exception's text", "a span attribute")


def _harmless() -> str:
    return json.dumps({"event": "x", "values": list(LOOKALIKES.values())}) + "\n"
