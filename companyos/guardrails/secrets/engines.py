"""The engines that G02 accepts: our own detectors, always there, and gitleaks where it is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from companyos._extras import install_command
from companyos.errors import MissingToolError, UnverifiableError
from companyos.guardrails.interface import Hit
from companyos.guardrails.secrets.detectors import DETECTORS
from companyos.guardrails.secrets.placeholders import is_filler, is_harmless_name, is_reference
from companyos.guardrails.secrets.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.guardrails.secrets.detectors import Detector
    from companyos.guardrails.tree import Tree

__all__ = ("EngineError", "Gitleaks", "OwnDetectors", "SecretEngine")

_TIMEOUT_SECONDS = 300
_LEAKS_FOUND = 1
_LONGEST_MARK = 600
_CONFIG = r"""
[extend]
useDefault = true
[[allowlists]]
description = "lock files hold digests"
paths = ['''(^|/)(requirements[^/]*\.(txt|lock)|requirements/[^/]+\.txt|pylock.*\.toml|uv\.lock)$''']
"""
_RULE_OF = {
    "aws": "G02.aws-key",
    "github": "G02.git-host-token",
    "gitlab": "G02.git-host-token",
    "gcp": "G02.google-key",
    "jwt": "G02.json-web-token",
    "anthropic": "G02.model-provider-key",
    "openai": "G02.model-provider-key",
    "huggingface": "G02.model-provider-key",
    "npm": "G02.package-registry-token",
    "pypi": "G02.package-registry-token",
    "private": "G02.private-key",
    "slack": "G02.slack-token",
    "stripe": "G02.stripe-key",
    "curl": "G02.url-credentials",
}


class EngineError(UnverifiableError):
    """An engine is installed and could not do its work."""

    code = "guardrails.engine"


class SecretEngine(Protocol):
    """Something that finds secrets in a tree."""

    @property
    def name(self) -> str:
        """Its name in reports."""
        ...

    def scan(self, tree: Tree) -> dict[str, list[Hit]]:
        """Hits by the id of the rule they belong to.

        Raises:
            MissingToolError: it is not installed.
            EngineError: it is installed and failed.
        """
        ...


class OwnDetectors:
    """The detectors of this package, or those given."""

    name = "companyos"

    def __init__(self, detectors: Mapping[str, Detector] = DETECTORS) -> None:
        self._detectors = detectors

    def scan(self, tree: Tree) -> dict[str, list[Hit]]:
        """Hits by rule id."""
        return {
            rule: [hit for path, text in tree.texts.items() for hit in detect(path, text)]
            for rule, detect in self._detectors.items()
        }


class Gitleaks:
    """The gitleaks program, run over exactly the files of the tree, with our configuration and never the tree's own.

    Found beside the running interpreter (the `guardrails` extra installs it there) or on the PATH. Its report is
    redacted by itself; the tree's `gitleaks:allow` comments and ignore files do not count.
    """

    name = "gitleaks"

    def __init__(self, program: str | None = None) -> None:
        self._given = program

    def scan(self, tree: Tree) -> dict[str, list[Hit]]:
        """Hits by rule id.

        Raises:
            MissingToolError: gitleaks is not installed.
            EngineError: it failed, or its report cannot be read.
        """
        program = self.program()
        with tempfile.TemporaryDirectory(prefix="companyos-gitleaks-") as scratch:
            report = self._run(program, tree, Path(scratch))
        hits: dict[str, list[Hit]] = {}
        for item in report:
            rule, hit = _hit(item)
            if not _is_harmless(tree.texts.get(hit.path, ""), item):
                hits.setdefault(rule, []).append(hit)
        return hits

    def program(self) -> str:
        """Where the program is.

        Raises:
            MissingToolError: nowhere.
        """
        beside = Path(sysconfig.get_path("scripts")) / "gitleaks"
        found = self._given or (str(beside) if beside.is_file() else None) or shutil.which("gitleaks")
        if not found or not Path(found).is_file():
            raise MissingToolError("gitleaks is not installed", hint=install_command("guardrails"))
        return found

    def _run(self, program: str, tree: Tree, scratch: Path) -> list[dict[str, Any]]:
        source, report, config = scratch / "tree", scratch / "report.json", scratch / "config.toml"
        config.write_text(_CONFIG, encoding="utf-8")
        _mirror(tree, source)
        command = [program, "dir", ".", "--no-banner", "--no-color", "--redact", "--ignore-gitleaks-allow"]
        command += ["--follow-symlinks", "--log-level=error", f"--config={config}", f"--gitleaks-ignore-path={scratch}"]
        command += ["--report-format=json", f"--report-path={report}", f"--exit-code={_LEAKS_FOUND}"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GITLEAKS_")}
        try:
            done = subprocess.run(
                command, cwd=source, env=environment, capture_output=True, check=False, timeout=_TIMEOUT_SECONDS
            )
            if done.returncode not in {0, _LEAKS_FOUND}:
                raise EngineError("gitleaks failed", got=f"exit {done.returncode}: {_last_line(done.stderr)}")
            found = json.loads(report.read_bytes())
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            raise EngineError("gitleaks gave no report", got=type(error).__name__, expected="a JSON report") from error
        # Exit 1 is both "leaks found" and "could not start": only a report with leaks in it makes it the first.
        if not isinstance(found, list) or bool(found) != (done.returncode == _LEAKS_FOUND):
            raise EngineError("gitleaks' report and exit status disagree", got=f"exit {done.returncode}")
        return found


def _mirror(tree: Tree, target: Path) -> None:
    target.mkdir()
    for path in tree.texts:
        link = target / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(tree.root / path)


def _hit(item: dict[str, Any]) -> tuple[str, Hit]:
    try:
        path = Path(item["SymlinkFile"] or item["File"]).as_posix().removeprefix("./")
        name, line = str(item["RuleID"]), int(item["StartLine"])
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError("gitleaks' report is not as documented", got=f"{type(error).__name__}: {error}") from error
    rule = _RULE_OF.get(name.partition("-")[0], "G02.assigned-secret")
    return rule, Hit(path, max(line, 1), f"{RULES[rule].meaning} (gitleaks: {name})")


def _is_harmless(text: str, item: dict[str, Any]) -> bool:
    lines = text.split("\n")
    row = int(item["StartLine"]) - 1
    if item.get("EndLine") != item["StartLine"] or not 0 <= row < len(lines):
        return False
    value = _marked(lines[row], int(item["StartColumn"]) - 1, int(item["EndColumn"]))
    if is_filler(value):
        return True
    # This rule marks name and value together: it goes by the name, and takes any text for a secret.
    named = re.search(r"([\w.\-]+)[\"'\]]*\s*[:=]+\s*[\"'`]?([^\"'`]*)", value)
    if item["RuleID"] != "generic-api-key" or named is None:
        return False
    name, literal = named.groups()
    dotted = re.match(r"\s*[A-Za-z_]\w*(\.[A-Za-z_]\w*)+(?![^\s|,;)\]])", literal)
    return is_harmless_name(name) or is_reference(literal) or dotted is not None


def _marked(line: str, start: int, end: int) -> str:
    # gitleaks counts columns of later lines from 2: go back to where the word begins.
    least = max(0, start - _LONGEST_MARK)
    while least < start <= len(line) and re.match(r"[\w.\-]", line[start - 1]):
        start -= 1
    return line[start : min(end, start + 2 * _LONGEST_MARK)].strip("\"' ,;")


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no output"
