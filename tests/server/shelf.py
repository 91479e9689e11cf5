"""A company that decides by a bundle: its store, its trust file, and versions that are built, signed and promoted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import yaml

from companyos.authz.bundles import Bundle, build_bundle, private_key, sign_bundle
from companyos.authz.bundles.token import token
from companyos.signing import PrivateKey
from tests.server.conftest import POLICY, ROOT, write_company, write_policies

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {
    "authz": {"bundle": {"name": "records"}},
    "server": {"reload_seconds": 0.05, "rate_per_second": 100_000, "rate_burst": 100_000},
}
TESTS = """- name: anyone reads
  request: {subject: {id: u-1, type: user}, action: read, resource: {id: r-1, type: record}}
  expect: {decision: allow}
"""


class Shelf:
    """What a team does with bundles, by the real command line where it promotes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = directory / "bundles"
        if not directory.exists():
            write_company(directory, SETTINGS)
            self.store.mkdir()
            PrivateKey.generate().save(directory / "release.pem")
            self.trust()
        self.key = private_key(f"file:{directory / 'release.pem'}")

    def copy(self, directory: Path) -> Shelf:
        """The same company once more: promoting by the command line is too slow to be done for each test anew."""
        return Shelf(shutil.copytree(self.directory, directory))

    def path(self, version: str) -> Path:
        """Where a version lies that was built."""
        return self.directory / f"records-{version}.tar.gz"

    def forget(self) -> None:
        """Lose the ledger, and with it what was promoted."""
        shutil.rmtree(self.directory / ".companyos")

    def trust(self, **more: object) -> None:
        """Write the trust file in one step, its one key with `more`."""
        key = {"id": "release", "public_key": "file:release.pem.pub", "algorithm": "EdDSA", **more}
        draft = self.directory / "draft.yaml"
        draft.write_text(yaml.safe_dump({"keys": [key]}), encoding="utf-8")
        draft.replace(self.directory / "bundle-trust.yaml")

    def build(self, version: str) -> Path:
        """A signed version outside of the store, whose reads are allowed as `cert.read-VERSION`."""
        policies = self.directory / f"policies-{version}"
        write_policies(policies, {"policy.rego": POLICY.replace("cert.read", reason(version))})
        (policies / "tests").mkdir(exist_ok=True)
        (policies / "tests" / "reads.yaml").write_text(TESTS, encoding="utf-8")
        expires = datetime.now(UTC) + timedelta(days=30)
        built = build_bundle([policies], created_by="ann@example.org", expires=expires, name="records", version=version)
        path = self.path(version)
        path.write_bytes(sign_bundle(built, self.key, "release").to_bytes())
        return path

    def put(self, path: Path, data: bytes | None = None) -> Path:
        """Lay a bundle into the store in one step, or other bytes under its name."""
        draft = self.directory / "draft"
        draft.write_bytes(path.read_bytes() if data is None else data)
        return draft.replace(self.store / path.name)

    def promote(self, path: Path, *stages: str) -> None:
        """Promote through all stages, or those that are named."""
        for stage in stages or ("dev", "staging", "prod"):
            command = [sys.executable, "-m", "companyos", "bundle", "promote", path.name, "--to", stage, "--by", "bob"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(
                command, cwd=self.directory, capture_output=True, text=True, check=False, env=environment
            )
            assert done.returncode == 0, done.stderr

    def release(self, version: str) -> Path:
        """Build, lay into the store, promote to prod."""
        built = self.build(version)
        self.put(built)
        self.promote(built)
        return built

    def signed_again(self, path: Path, seconds: float) -> bytes:
        """The same content under a signature that counts for so long."""
        bundle, now = Bundle.from_bytes(path.read_bytes()), datetime.now(UTC)
        signatures = token(bundle.files, self.key, "release", issued_at=now, expires=now + timedelta(seconds=seconds))
        return Bundle(bundle.files, bundle.manifest, signatures).to_bytes()


def digest_of(path: Path) -> str:
    """The digest that a bundle is promoted by."""
    return Bundle.from_bytes(path.read_bytes()).digest


def reason(version: str) -> str:
    """By which reason a version allows reads."""
    return f"cert.read-{version.replace('.', '-')}"


def altered(data: bytes) -> bytes:
    """The bundle with a policy changed after it was signed."""
    bundle = Bundle.from_bytes(data)
    files = {
        name: content.replace(b'input.action == "read"', b'input.action != "read"')
        for name, content in bundle.files.items()
    }
    assert files != bundle.files
    return Bundle(files, bundle.manifest, bundle.signatures).to_bytes()
