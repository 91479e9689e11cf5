"""The bundle in force: what the ledger says was promoted last, found where bundles lie, and verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.archive import MAX_PACKED_BYTES
from companyos.authz.bundles.bundle import Bundle, read_bytes
from companyos.authz.bundles.engine import BundleEngine
from companyos.authz.bundles.interface import BundleMissingError, BundleRefusedError
from companyos.authz.bundles.manifest import moment_text
from companyos.authz.bundles.trust import BundleTrust
from companyos.authz.bundles.verification import verify_bundle
from companyos.canonical import sha256_hex
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from companyos.authz.bundles.promotions import Promoted, Promotions
    from companyos.authz.bundles.verification import VerifiedBundle

__all__ = ("BundlePlace", "InForce", "archive_digest", "archives", "find_in_force")

_MAX_ARCHIVES = 1000


@dataclass(frozen=True, slots=True)
class BundlePlace:
    """Which bundle, for which stage, and where it is looked for."""

    name: str
    """Which bundle."""
    stage: str
    """The stage it must be in force in."""
    store: Path
    """Directory in which built bundles lie, `*.tar.gz` under any names; nothing in it is trusted."""
    trust: Path
    """The file that names the keys which count."""
    scope: str | None = None
    """The scope that the signature must name; None for the key's own."""


@dataclass(frozen=True, slots=True)
class InForce:
    """A bundle that verifies and is what the ledger says is in force."""

    data: bytes
    """The tarball."""
    verified: VerifiedBundle
    """What is in it, and until when it counts."""
    promoted: Promoted
    """The promotion that put it in force."""

    @property
    def archive(self) -> str:
        """Digest of the tarball: another one than at the promotion if it was signed again."""
        return archive_digest(self.data)

    def engine(self) -> BundleEngine:
        """An engine over it."""
        return BundleEngine(self.verified.bundle, self.verified.until)

    def to_dict(self) -> dict[str, Any]:
        """What the ledger is told of it."""
        manifest = self.verified.bundle.manifest
        return {
            "name": manifest.name,
            "version": manifest.version,
            "stage": self.promoted.stage,
            "digest": self.promoted.digest,
            "archive": self.archive,
            "key": self.verified.key,
            "until": moment_text(self.verified.until),
            "promotion": self.promoted.index,
        }


def find_in_force(place: BundlePlace, promotions: Promotions, *, at: datetime | None = None) -> InForce:
    """The bundle that was promoted to the stage last, if it is there and everything holds at `at` (default: now).

    It is found by what is in it, whatever its file is called, and may have been signed again since: what counts is the
    digest that was promoted.

    Raises:
        BundleRefusedError: nothing was promoted yet (`bundle.not_promoted`), or what is there under that version does
            not verify, named by its rule.
        BundleMissingError: it is not there.
        ConfigError: the store or the trust configuration cannot be read.
    """
    promoted = promotions.in_force(place.name, place.stage)
    if promoted is None:
        raise BundleRefusedError(
            "bundle.not_promoted",
            f"no {place.name} was promoted to {place.stage} yet",
            hint=f"companyos bundle promote FILE --to {place.stage}",
        )
    trust = BundleTrust.load(place.trust)
    refusals: list[BundleRefusedError] = []
    for data in _candidates(place, promoted):
        try:
            verified = verify_bundle(data, trust, promotions, stage=place.stage, scope=place.scope, at=at)
        except BundleRefusedError as error:
            refusals.append(error)
            continue
        return InForce(data, verified, promoted)
    if refusals:
        raise refusals[0]
    raise BundleMissingError(
        f"{promoted.name} {promoted.version} is in force in {promoted.stage}, and is not there",
        got=f"{len(archives(place.store))} *.tar.gz in {place.store}, none of which is it",
        expected=promoted.digest,
        hint=f"put the file that was promoted into {place.store}",
    )


def archives(store: Path) -> list[Path]:
    """The files of a store that may be bundles, by name.

    Raises:
        ConfigError: it cannot be read, or holds too many.
    """
    try:
        found = sorted(path for path in store.iterdir() if path.name.endswith(".tar.gz") and path.is_file())
    except OSError as error:
        raise ConfigError(
            f"cannot read the directory of bundles {store}", got=error.strerror, hint="mend authz.bundle.store"
        ) from error
    if len(found) > _MAX_ARCHIVES:
        raise ConfigError(f"{store} holds too many bundles", got=len(found), expected=f"at most {_MAX_ARCHIVES}")
    return found


def archive_digest(data: bytes) -> str:
    """What a tarball is known by, byte for byte: `sha256:…`."""
    return f"sha256:{sha256_hex(data)}"


def _candidates(place: BundlePlace, promoted: Promoted) -> Iterator[bytes]:
    """What is, or says that it is, the promoted version: first the very file that was promoted, if it is there."""
    others: list[Path] = []
    for path in archives(place.store):
        data = _read(path)
        if data is not None and archive_digest(data) == promoted.archive:
            yield data
        else:
            others.append(path)
    for path in others:
        data = _read(path)
        if data is not None and _claims_to_be(data, promoted):
            yield data


def _read(path: Path) -> bytes | None:
    """The bytes of a file; None if it cannot be read or is too large: others' files are no reason to stop."""
    try:
        return read_bytes(path, MAX_PACKED_BYTES)
    except (BundleRefusedError, ConfigError):
        return None


def _claims_to_be(data: bytes, promoted: Promoted) -> bool:
    """By what its manifest says, so that a file which was tampered with is refused by its rule, and not passed over."""
    try:
        bundle = Bundle.from_bytes(data)
    except BundleRefusedError:
        return False
    return (bundle.manifest.name, bundle.manifest.version) == (promoted.name, promoted.version)
