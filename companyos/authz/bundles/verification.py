"""Whether a bundle may be used: its form, its signature, its files, its expiry, and its place in the ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from companyos.authz.bundles.archive import MAX_PACKED_BYTES
from companyos.authz.bundles.bundle import Bundle, read_bytes
from companyos.authz.bundles.interface import BundleRefusedError, BundleUnverifiableError, judged
from companyos.authz.bundles.manifest import moment_text, version_key
from companyos.authz.bundles.token import read_token, signed_files
from companyos.decision import Decision

if TYPE_CHECKING:
    from pathlib import Path

    from companyos.authz.bundles.promotions import Promoted, Promotions
    from companyos.authz.bundles.token import SignedFiles
    from companyos.authz.bundles.trust import BundleKey, BundleTrust
    from companyos.authz.policyset import PolicySet

__all__ = ("CLOCK_TOLERANCE", "VerifiedBundle", "judge_bundle", "load_bundle", "verify_bundle", "verify_signature")

CLOCK_TOLERANCE = timedelta(seconds=60)
"""How far clocks may differ."""
VERIFIED = "bundle.verified"


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """A bundle whose signature, files and expiry hold."""

    bundle: Bundle
    """What is in it."""
    key: str
    """Id of the key that signed it."""
    algorithm: str
    """The key's algorithm."""
    signed_at: datetime | None
    """When the signer says that it signed; None if it says nothing."""
    until: datetime
    """From when on it holds no more, whatever ends first: the bundle, its signature or its key."""
    promoted: Promoted | None = None
    """The ledger's record of this version at the stage that was asked for; None if no stage was."""

    def to_dict(self) -> dict[str, Any]:
        """What people are shown of it."""
        return {
            **self.bundle.manifest.to_dict(),
            "digest": self.bundle.digest,
            "key": self.key,
            "algorithm": self.algorithm,
            "signed_at": None if self.signed_at is None else moment_text(self.signed_at),
            "stage": None if self.promoted is None else self.promoted.stage,
            "files": sorted(self.bundle.files),
        }


def verify_signature(
    data: bytes, trust: BundleTrust, *, scope: str | None = None, at: datetime | None = None
) -> VerifiedBundle:
    """The bundle in a tarball, if signature, files and expiry hold at `at` (default: now).

    Whether a newer one is known is not asked: that is what `verify_bundle` is for.

    Raises:
        BundleRefusedError: named by its rule.
    """
    moment = datetime.now(UTC) if at is None else at
    bundle = Bundle.from_bytes(data)
    signed = read_token(bundle.signatures, trust, at=moment, scope=scope)
    signed_files(bundle.files, signed)
    _check_claims(signed.issued_at, signed.not_before, signed.expires_at, moment)
    if moment >= bundle.manifest.expires:
        raise BundleRefusedError(
            "bundle.expired",
            f"{bundle.manifest.name} {bundle.manifest.version} is not to be used any more",
            got=f"{_ago(moment - bundle.manifest.expires)} after {moment_text(bundle.manifest.expires)}",
            hint="build a newer version of it, or check the clock of this machine",
        )
    signed_at = None if signed.issued_at is None else datetime.fromtimestamp(signed.issued_at, UTC)
    until = _until(bundle, signed, trust.key(signed.key))
    return VerifiedBundle(bundle, signed.key, signed.algorithm, signed_at, until)


def verify_bundle(
    data: bytes,
    trust: BundleTrust,
    promotions: Promotions | None,
    *,
    stage: str | None = None,
    scope: str | None = None,
    at: datetime | None = None,
) -> VerifiedBundle:
    """The bundle in a tarball, if everything holds: with `stage`, it must be what is in force there.

    Raises:
        BundleRefusedError: named by its rule.
        BundleUnverifiableError: there is no ledger that could tell whether a newer one is known.
    """
    moment = datetime.now(UTC) if at is None else at
    verified = verify_signature(data, trust, scope=scope, at=moment)
    if promotions is None:
        raise BundleUnverifiableError(
            "the signature holds, but without a ledger nobody can tell whether a newer bundle is known",
            got=f"{verified.bundle.manifest.name} {verified.bundle.manifest.version}",
            hint="run it where companyos.yaml is",
        )
    _check_ledger_clock(promotions, moment)
    promoted = _check_place(verified.bundle, promotions, stage)
    return replace(verified, promoted=promoted)


def judge_bundle(
    data: bytes,
    trust: BundleTrust,
    promotions: Promotions | None,
    *,
    stage: str | None = None,
    scope: str | None = None,
    at: datetime | None = None,
) -> Decision:
    """`verify_bundle` as a decision: a refusal by name is a denial, what could not be checked is undetermined."""

    def judge() -> Decision:
        verified = verify_bundle(data, trust, promotions, stage=stage, scope=scope, at=at)
        manifest = verified.bundle.manifest
        place = "not older than what the ledger knows" if stage is None else f"in force in {stage}"
        return Decision.allowed(
            VERIFIED, f"{manifest.name} {manifest.version}: signature holds, {place}", facts=verified.to_dict()
        )

    return judged("bundle", judge)


def load_bundle(
    path: Path,
    trust: BundleTrust,
    promotions: Promotions | None,
    *,
    stage: str | None = None,
    scope: str | None = None,
    at: datetime | None = None,
) -> PolicySet:
    """The policies of a verified bundle file, for an engine: `RegoEngine.of(load_bundle(...))`.

    Raises:
        BundleRefusedError: named by its rule.
        BundleUnverifiableError: there is no ledger to check it against.
        ConfigError: it cannot be read.
    """
    data = read_bytes(path, MAX_PACKED_BYTES)
    return verify_bundle(data, trust, promotions, stage=stage, scope=scope, at=at).bundle.policy_set()


def _until(bundle: Bundle, signed: SignedFiles, key: BundleKey) -> datetime:
    ends = [end.timestamp() for end in (bundle.manifest.expires, key.not_after, key.revoked_at) if end is not None]
    return datetime.fromtimestamp(min([*ends, *([] if signed.expires_at is None else [signed.expires_at])]), UTC)


def _check_claims(issued: float | None, not_before: float | None, expires: float | None, moment: datetime) -> None:
    now, tolerance = moment.timestamp(), CLOCK_TOLERANCE.total_seconds()
    for name, start in (("signed", issued), ("valid only from a moment", not_before)):
        if start is not None and start > now + tolerance:
            raise BundleRefusedError(
                "bundle.clock",
                f"{name} in the future",
                got=f"{_ago(timedelta(seconds=start - now))} ahead of this machine's clock",
                expected=f"at most {tolerance:.0f} s",
                hint="one of the two clocks is wrong",
            )
    if expires is not None and now >= expires:
        raise BundleRefusedError(
            "bundle.expired",
            "the signature does not count any more",
            got=f"{_ago(timedelta(seconds=now - expires))} late",
        )


def _check_ledger_clock(promotions: Promotions, moment: datetime) -> None:
    newest = promotions.newest_time
    if newest is not None and newest > moment + CLOCK_TOLERANCE:
        raise BundleRefusedError(
            "bundle.clock",
            "the ledger is newer than now",
            got=f"this machine's clock is {_ago(newest - moment)} behind",
            expected=f"at most {CLOCK_TOLERANCE.total_seconds():.0f} s",
        )


def _check_place(bundle: Bundle, promotions: Promotions, stage: str | None) -> Promoted | None:
    manifest, digest = bundle.manifest, bundle.digest
    known = promotions.of(manifest.name)
    other = next((p for p in known if _same_version(p, manifest.version) and p.digest != digest), None)
    if other is not None:
        raise BundleRefusedError(
            "bundle.version_reused",
            f"{manifest.name} {manifest.version} is known with another content",
            got=digest,
            expected=other.digest,
        )
    newest = promotions.in_force(manifest.name, stage) if stage else _newest(known)
    if newest is not None and version_key(manifest.version) < version_key(newest.version):
        raise BundleRefusedError(
            "bundle.older",
            f"an older {manifest.name} than the one that the ledger knows",
            got=manifest.version,
            expected=f"{newest.version} (in {newest.stage})",
            hint="to go back, build the old policies under a new version",
        )
    if stage is None:
        return None
    if newest is None or newest.digest != digest:
        raise BundleRefusedError(
            "bundle.not_promoted",
            f"{manifest.name} {manifest.version} was not promoted to {stage}",
            expected="nothing" if newest is None else newest.version,
            hint=f"companyos bundle promote --to {stage}",
        )
    return newest


def _same_version(promoted: Promoted, version: str) -> bool:
    return version_key(promoted.version) == version_key(version)


def _newest(known: tuple[Promoted, ...]) -> Promoted | None:
    return max(known, key=lambda promoted: version_key(promoted.version), default=None)


def _ago(delta: timedelta) -> str:
    return f"{int(delta.total_seconds())} s"
