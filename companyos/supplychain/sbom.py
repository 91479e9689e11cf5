"""Bills of materials (CycloneDX 1.6) through cyclonedx-py, byte-stable for the same input."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.canonical import canonical_bytes
from companyos.errors import UnverifiableError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("SbomError", "create_sbom")

TIMEOUT_SECONDS = 120
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==", re.MULTILINE)
_HASH = re.compile(r"--hash=sha\d+:([0-9a-fA-F]+)")


class SbomError(UnverifiableError):
    """A bill of materials could not be made, or leaves something out."""

    code = "supplychain.sbom"


def create_sbom(lock_file: Path, *, name: str, version: str) -> bytes:
    """The bill of materials of a hash-pinned requirements file, as canonical JSON.

    The serial number and the time, which would differ from run to run, are left out; everything else is what the
    tool says.

    Raises:
        SbomError: the tool fails, or a pinned requirement or its hashes are missing in what it says.
        MissingExtraError: cyclonedx-py is not installed.
    """
    require("cyclonedx_py", extra="supplychain")
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(lock_file), "--of", "JSON", "--sv", "1.6"]
    try:
        run = subprocess.run([*command, "-o", "-"], capture_output=True, check=True, timeout=TIMEOUT_SECONDS)
        document: dict[str, Any] = json.loads(run.stdout)
    except subprocess.CalledProcessError as error:
        raise SbomError("cyclonedx-py failed", got=error.stderr.decode(errors="replace")[-400:]) from error
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise SbomError("cyclonedx-py gave no bill of materials", got=error) from error
    document.pop("serialNumber", None)
    document.setdefault("metadata", {}).pop("timestamp", None)
    document["metadata"]["component"] = {"type": "application", "name": name, "version": version, "bom-ref": "root"}
    _complete(document, lock_file)
    return canonical_bytes(document)


def _complete(document: dict[str, Any], lock_file: Path) -> None:
    text = lock_file.read_text(encoding="utf-8")
    pinned = {_normal(match) for match in _PINNED.findall(text)}
    hashes = {_normal(component["name"]): _hashes(component) for component in document.get("components", ())}
    missing = sorted(name for name in pinned if not hashes.get(name)) or sorted(
        set(_HASH.findall(text)) - set().union(*hashes.values())
    )
    if missing or not pinned:
        raise SbomError(
            f"the bill of materials of {lock_file.name} is incomplete",
            got=", ".join(missing) or "no pinned requirement",
            expected="every requirement pinned with ==, and its hashes",
        )


def _hashes(component: dict[str, Any]) -> set[str]:
    """The tool lists what a requirement may hash to with the place it is distributed from."""
    return {
        listed["content"] for place in component.get("externalReferences", ()) for listed in place.get("hashes", ())
    }


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
