"""Pin the one companyos wheel that this repository accepts: copy it to vendor/ and write down its SHA-256."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENT = ROOT / "requirements" / "companyos.txt"
ANSWERS = ROOT / ".copier-answers.yml"
EXTRAS = "authz,flags,observability"


def main(arguments: list[str]) -> int:
    """Pin the wheel named on the command line; 0 when it is pinned, 2 when it cannot be."""
    if len(arguments) != 1:
        print("usage: make pin WHEEL=path/to/companyos-VERSION-py3-none-any.whl", file=sys.stderr)
        return 2
    wheel = Path(arguments[0])
    if not re.fullmatch(r"companyos-[^-]+-py3-none-any\.whl", wheel.name) or not wheel.is_file():
        print(f"not a companyos wheel: {wheel}", file=sys.stderr)
        return 2
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    source = f"./vendor/{wheel.name}"
    _vendor(wheel)
    _write_requirement(source, digest)
    _write_answers(source, digest)
    print(f"pinned {source} sha256 {digest}")
    return 0


def _vendor(wheel: Path) -> None:
    vendor = ROOT / "vendor"
    vendor.mkdir(exist_ok=True)
    target = vendor / wheel.name
    if wheel.resolve() != target.resolve():
        shutil.copyfile(wheel, target)
    for old in vendor.glob("companyos-*.whl"):
        if old.name != wheel.name:
            old.unlink()


def _write_requirement(source: str, digest: str) -> None:
    lines = REQUIREMENT.read_text(encoding="utf-8").splitlines()
    notes = [line for line in lines if line.startswith("#") and "Not pinned yet" not in line]
    lines = [*notes, f"{source}[{EXTRAS}] --hash=sha256:{digest}", ""]
    REQUIREMENT.write_text("\n".join(lines), encoding="utf-8")


def _write_answers(source: str, digest: str) -> None:
    """Keep the recorded answers true, or the next template update would undo the pin."""
    text = ANSWERS.read_text(encoding="utf-8")
    for name, value in (("companyos_source", source), ("companyos_sha256", digest)):
        text = re.sub(rf"(?m)^{name}: .*$", f"{name}: {value}", text)
    ANSWERS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
