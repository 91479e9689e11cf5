"""Policies from the bundle that was promoted last: the ledger is followed, and what is newer is verified anew.

Nothing of the bundle's content is unpacked to a disk: workers read a private copy of the verified file and take no
other bytes than those. What no longer verifies by the keys that count now decides no more; what could merely not be
looked at leaves in force what was verified before, until that expires.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from companyos._version import __version__
from companyos.authz.bundles import BundleEngine, BundleRefusedError, BundleTrust, find_in_force
from companyos.authz.bundles.archive import MAX_PACKED_BYTES
from companyos.authz.bundles.bundle import Bundle, read_bytes
from companyos.authz.bundles.following import FollowedPromotions
from companyos.authz.bundles.in_force import archive_digest, archives
from companyos.authz.bundles.verification import verify_signature
from companyos.authz.engines.pool import WorkerEngine
from companyos.authz.interface import PoliciesWithdrawnError
from companyos.errors import CompanyOSError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.authz.bundles import BundlePlace, InForce
    from companyos.ledger import Ledger
    from companyos.ports import AccessRequest, Opinion
    from companyos.server.policies import Loaded

__all__ = ("PromotedPolicies", "bundle_engine")


class PromotedPolicies:
    """The bundle that is in force in a stage, by the ledger. Close it after use, when nothing is loaded any more."""

    def __init__(self, place: BundlePlace, ledger: Ledger, **pool: Any) -> None:
        """`pool` are the settings of the `WorkerEngine`."""
        self._place = place
        self._promotions = FollowedPromotions(ledger)
        self._pool = pool
        # Changed by whoever retires one, in any thread: go over a copy.
        self._open: list[_Served] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Follow the ledger no more."""
        self._promotions.close()

    def fingerprint(self) -> str:
        """Digest over the newest promotion, the files that may be it, the trust file, and whether what serves expired.

        Of the ledger only the entries since the last time are read. What cannot be read is part of it.
        """
        state = hashlib.sha256()
        for part in (self._promoted(), *self._files(), *(served.has_expired() for served in tuple(self._open))):
            state.update(f"\0{part}".encode("utf-8", "surrogateescape"))
        return state.hexdigest()

    def load(self) -> Loaded:
        """Verify what is in force, and start workers over a copy of it.

        Raises:
            BundleRefusedError: it is not to be trusted, or nothing was promoted yet.
            BundleMissingError: it is not where bundles lie.
            LedgerDamagedError, StoreUnreadableError: the ledger cannot be followed.
            PolicyError: the engine refuses it.
            ConfigError: the directory of bundles or the trust file cannot be read.
        """
        self._judge_again()
        found = find_in_force(self._place, self._promotions.now())
        return self._serve(found)

    def _serve(self, found: InForce) -> _Served:
        scratch = Path(tempfile.mkdtemp(prefix="companyos-bundle-"))
        try:
            copy = scratch / "bundle.tar.gz"
            copy.write_bytes(found.data)
            arguments = {
                "path": str(copy),
                "archive": found.archive,
                "until": found.verified.until.timestamp(),
            }
            engine = _BundleWorkers(f"{__name__}:{bundle_engine.__name__}", arguments, **self._pool)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return _Served(found, engine, scratch, self._open)

    def _judge_again(self) -> None:
        """Hold what serves against the keys that count now; if they cannot be read, what was verified stays."""
        try:
            trust = BundleTrust.load(self._place.trust)
        except ConfigError:
            return
        for served in tuple(self._open):
            served.judge(trust, self._place.scope)

    def _promoted(self) -> str:
        try:
            promoted = self._promotions.now().in_force(self._place.name, self._place.stage)
        except CompanyOSError as error:
            return type(error).__name__
        return "nothing" if promoted is None else f"{promoted.index} {promoted.digest}"

    def _files(self) -> Iterator[str]:
        yield _state(self._place.trust)
        try:
            yield from map(_state, archives(self._place.store))
        except ConfigError as error:
            yield type(error).__name__


class _Served:
    """A bundle that decides, or has decided, and is not closed yet."""

    def __init__(self, found: InForce, engine: _BundleWorkers, scratch: Path, listed: list[_Served]) -> None:
        self.found = found
        self.engine = engine
        self._scratch = scratch
        self._listed = listed
        listed.append(self)

    @property
    def identity(self) -> str:
        """What is the same only if it is the same file, counting for as long."""
        return f"{self.found.archive} {self.found.verified.until.isoformat()}"

    @property
    def origin(self) -> Mapping[str, Any]:
        """The promotion that put it in force, and the version of CompanyOS, whose fixed rules are applied with it."""
        return {"bundle": self.found.to_dict(), "companyos": __version__}

    def has_expired(self) -> bool:
        """Whether it decides no more because its time is over."""
        return datetime.now(UTC) >= self.found.verified.until

    def judge(self, trust: BundleTrust, scope: str | None) -> None:
        """Let it decide only if its signature holds by these keys."""
        try:
            verify_signature(self.found.data, trust, scope=scope)
        except BundleRefusedError as error:
            self.engine.withdrawn = None if self.has_expired() else error.message
        else:
            self.engine.withdrawn = None

    def close(self) -> None:
        """End its workers and remove the copy."""
        self._listed.remove(self)
        self.engine.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


class _BundleWorkers(WorkerEngine):
    """Workers over a bundle, whose trust may end before its time."""

    withdrawn: str | None = None
    """Why it decides no more; None while it does."""

    def decide(self, request: AccessRequest) -> Opinion:
        """The policies' opinion of a request.

        Raises:
            PoliciesWithdrawnError: they do not count any more.
            EngineError: as every `WorkerEngine`.
        """
        if self.withdrawn is not None:
            raise PoliciesWithdrawnError("the bundle of policies is not trusted any more", got=self.withdrawn)
        return super().decide(request)


def bundle_engine(path: str, archive: str, until: float) -> BundleEngine:
    """The engine over a file that was verified; what a worker makes.

    Raises:
        BundleRefusedError: it is not that file any more.
    """
    data = read_bytes(Path(path), MAX_PACKED_BYTES)
    if archive_digest(data) != archive:
        raise BundleRefusedError("bundle.file_changed", "the copy that workers read was changed", expected=archive)
    return BundleEngine(Bundle.from_bytes(data), datetime.fromtimestamp(until, UTC))


def _state(path: Path) -> str:
    """Name, size, time and inode of a file; what differs as soon as the file may differ."""
    try:
        found = path.stat()
    except OSError as error:
        return f"{path.name} {type(error).__name__}"
    return f"{path.name} {found.st_size} {found.st_mtime_ns} {found.st_ino}"
