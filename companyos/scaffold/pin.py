"""Which companyos a new repository depends on: one wheel, from a stated source, by its SHA-256.

Nobody holds the name on the public index, so a version number alone would be an invitation to whoever takes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from companyos._version import __version__
from companyos.scaffold.bundle import file_digest, template_files
from companyos.scaffold.errors import PinError
from companyos.scaffold.store import cache_directory, source_checkout

__all__ = ("VENDOR", "Pin", "find_pin", "pin_wheel", "vendor")

VENDOR = "vendor"
"""Directory of the new repository that a local wheel is copied to."""

_WHEEL_NAME = re.compile(r"^companyos-(?P<version>[^-]+)-py3-none-any\.whl$")
_BUILD = "import sys, hatchling.build as b; print(b.build_wheel(sys.argv[1]))"


@dataclass(frozen=True, slots=True)
class Pin:
    """The one companyos that a repository accepts."""

    source: str
    """URL, or path relative to the repository."""
    sha256: str
    """SHA-256 of the wheel, 64 hexadecimal digits."""
    wheel: Path | None = None
    """The file to copy to `source` when that is a path."""


def pin_wheel(wheel: Path) -> Pin:
    """The pin for a wheel on this machine, to be copied into the repository's `vendor/`.

    Raises:
        PinError: it is not a readable wheel of companyos.
    """
    if not _WHEEL_NAME.match(wheel.name):
        raise PinError("not a companyos wheel", got=wheel.name, expected="companyos-VERSION-py3-none-any.whl")
    try:
        return Pin(f"./{VENDOR}/{wheel.name}", file_digest(wheel), wheel.resolve())
    except OSError as error:
        raise PinError("the wheel cannot be read", got=error, hint="name an existing file") from error


def find_pin() -> Pin:
    """The pin for the companyos that runs now: the wheel it was installed from, or one built from its checkout.

    Raises:
        PinError: neither is to be had (installed from an index, or its wheel is gone).
    """
    recorded = _installed_from()
    if recorded is not None:
        return recorded
    root = source_checkout()
    if root is not None:
        return pin_wheel(_built(root))
    raise PinError(
        "it is not known which wheel this companyos was installed from",
        expected="a wheel by URL or file, with its digest (PEP 610)",
        hint="name the wheel with --companyos-wheel FILE",
    )


def vendor(repository: Path, pin: Pin) -> None:
    """Put the pinned wheel into the repository's `vendor/`, in place of any other; nothing to do for a URL."""
    folder = repository / VENDOR
    kept = pin.wheel.name if pin.wheel else None
    for old in folder.glob("companyos-*.whl"):
        if old.name != kept:
            old.unlink()
    if pin.wheel is not None:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(pin.wheel, folder / pin.wheel.name)


def _installed_from() -> Pin | None:
    """What `direct_url.json` records (PEP 610), if it names a wheel whose digest is known."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        text = distribution("companyos").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    record = json.loads(text) if text else {}
    url = record.get("url", "")
    archive = record.get("archive_info")
    if archive is None or not url.endswith(".whl"):
        return None
    digest = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=")
    if url.startswith("file:"):
        return _local(Path(unquote(urlsplit(url).path)), digest)
    return Pin(url, digest) if digest else None


def _local(wheel: Path, digest: str) -> Pin | None:
    if not wheel.is_file():
        return None
    pin = pin_wheel(wheel)
    if digest and pin.sha256 != digest:
        raise PinError(
            "the wheel that companyos was installed from has changed since",
            got=pin.sha256,
            expected=digest,
            hint="install companyos again, or name its wheel with --companyos-wheel FILE",
        )
    return pin


def _built(root: Path) -> Path:
    """The wheel of the checkout at `root`, built once for each state of its files."""
    folder = cache_directory() / "wheels" / _state(root)
    wheel = folder / f"companyos-{__version__}-py3-none-any.whl"
    if not wheel.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="wheel-", dir=folder) as scratch:
            _build(root, Path(scratch))
            Path(scratch, wheel.name).replace(wheel)
    return wheel


def _state(root: Path) -> str:
    """Digest over everything that the wheel is made from."""
    files = {*template_files(root)}
    files |= {path.relative_to(root) for path in (root / "companyos").rglob("*") if path.suffix != ".pyc"}
    files |= {Path(name) for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE")}
    total = hashlib.sha256()
    for relative in sorted(files):
        path = root / relative
        if path.is_file():
            total.update(f"{relative.as_posix()}\0{file_digest(path)}\n".encode())
    return total.hexdigest()[:32]


def _build(root: Path, target: Path) -> None:
    env = os.environ | {"SOURCE_DATE_EPOCH": "1767225600", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(_builder(root, target), cwd=root, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PinError(
            "the wheel of this checkout could not be built",
            got=(done.stderr or done.stdout)[-400:],
            hint="pip install hatchling, or name a wheel with --companyos-wheel FILE",
        )


def _builder(root: Path, target: Path) -> list[str]:
    """The build backend if it is here; otherwise an installer that fetches it."""
    if find_spec("hatchling"):
        return [sys.executable, "-c", _BUILD, str(target)]
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(target), str(root)]
    if shutil.which("uv"):
        return ["uv", "build", "--quiet", "--wheel", "--out-dir", str(target), str(root)]
    raise PinError(
        "nothing here can build the wheel of this checkout",
        expected="hatchling, pip or uv",
        hint="pip install hatchling, or name a wheel with --companyos-wheel FILE",
    )
