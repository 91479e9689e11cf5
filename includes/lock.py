"""Write requirements.lock and requirements-dev.lock anew: third-party packages by digest, for any platform.

What companyos needs is read from its pinned wheel, so the wheel must be in vendor/ (`make pin` puts it there).
"""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("authz", "flags", "observability")


def main() -> int:
    """Compile both files with uv; 2 when the wheel is not here."""
    wheels = sorted(ROOT.glob("vendor/companyos-*.whl"))
    if len(wheels) != 1:
        print("vendor/ holds no companyos wheel: run make pin WHEEL=...", file=sys.stderr)
        return 2
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime = [*project["project"]["dependencies"], *_needs(wheels[0])]
    _compile(runtime, "requirements.lock")
    _compile(
        [*runtime, *project["dependency-groups"]["dev"], "-c requirements.lock"],
        "requirements-dev.lock",
    )
    return 0


def _needs(wheel: Path) -> list[str]:
    """What the wheel requires, with our extras."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(item for item in archive.namelist() if item.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    found = []
    for line in metadata.get_all("Requires-Dist", []):
        extra = re.search(r"""extra == ['"]([a-z-]+)['"]""", line)
        if extra is None or extra[1] in EXTRAS:
            found.append(re.sub(r"""\s*(and|;)\s*\(?extra == ['"][a-z-]+['"]\)?""", "", line))
    return [line for line in found if not line.startswith("companyos[")]


def _compile(requirements: list[str], target: str) -> None:
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header"]
    command += [
        "--python-version",
        "3.11",
        "--no-annotate",
        "--upgrade",
        "-",
        "--output-file",
        target,
    ]
    subprocess.run(command, input="\n".join(requirements), text=True, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
