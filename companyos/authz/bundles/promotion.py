"""Promotion: a bundle enters a stage if it verifies, in order, with passing tests, by someone other than its author."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from companyos.authz._text import is_visible, plain
from companyos.authz.audit import SOURCE
from companyos.authz.bundles.bundle import COMBINATION, combination
from companyos.authz.bundles.checks import meter
from companyos.authz.bundles.interface import BundleRefusedError, PromotionRefusedError, judged
from companyos.authz.bundles.manifest import moment_text, version_key
from companyos.authz.bundles.promotions import PROMOTED, Promoted, broken_rule, promotions_of
from companyos.authz.bundles.verification import verify_bundle
from companyos.authz.interface import PolicyError
from companyos.authz.layout import STAGES
from companyos.authz.metering import MeterExceededError
from companyos.canonical import sha256_hex
from companyos.decision import Decision
from companyos.errors import IntegrityError
from companyos.ports import Personal

if TYPE_CHECKING:
    from companyos.authz.bundles.checks import TestReport
    from companyos.authz.bundles.promotions import Promotions
    from companyos.authz.bundles.trust import BundleTrust
    from companyos.authz.bundles.verification import VerifiedBundle
    from companyos.authz.metering import Limits
    from companyos.ledger import Ledger
    from companyos.ports import Receipt

__all__ = ("Candidate", "judge_promotion", "person_of", "promote_bundle", "require_promotable")

ALLOWED = "bundle.promoted"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bundle that someone wants in a stage."""

    data: bytes
    """The tarball."""
    stage: str
    """Where it is to go."""
    by: str
    """Who promotes it."""


def promote_bundle(
    candidate: Candidate,
    trust: BundleTrust,
    ledger: Ledger,
    *,
    database: Any = None,
    scope: str | None = None,
    at: datetime | None = None,
    limits: Limits | None = None,
) -> Receipt:
    """Put a bundle in force in a stage: every rule is checked, then the ledger is told.

    Raises:
        PromotionRefusedError, BundleRefusedError: named by the rule that it breaks.
        UnverifiableError: something could not be checked.
    """
    promotions = promotions_of(ledger, database)
    verified, report = require_promotable(candidate, trust, promotions, scope=scope, at=at, limits=limits)
    return _append(candidate, verified, report, ledger)


def require_promotable(
    candidate: Candidate,
    trust: BundleTrust,
    promotions: Promotions,
    *,
    scope: str | None = None,
    at: datetime | None = None,
    limits: Limits | None = None,
) -> tuple[VerifiedBundle, TestReport]:
    """The verified bundle and its tests' report, if it may enter the stage.

    Raises:
        PromotionRefusedError, BundleRefusedError: named by the rule that it breaks.
        UnverifiableError: something could not be checked.
    """
    if candidate.stage not in STAGES:
        raise PromotionRefusedError(
            "promotion.order", "no such stage", got=candidate.stage, expected=" → ".join(STAGES)
        )
    if not candidate.by.strip() or len(candidate.by) > 200 or not is_visible(candidate.by):
        raise PromotionRefusedError("promotion.author", "nobody promotes it", expected="a name of visible characters")
    verified = _verified(candidate, trust, promotions, scope, at)
    _check_rules(candidate, verified, promotions)
    return verified, _check_policies(verified, limits)


def judge_promotion(
    candidate: Candidate,
    trust: BundleTrust,
    promotions: Promotions,
    *,
    scope: str | None = None,
    at: datetime | None = None,
    limits: Limits | None = None,
) -> Decision:
    """`require_promotable` as a decision: a refusal by name is a denial, what could not be checked is undetermined."""

    def judge() -> Decision:
        verified, report = require_promotable(candidate, trust, promotions, scope=scope, at=at, limits=limits)
        manifest = verified.bundle.manifest
        return Decision.allowed(
            ALLOWED,
            f"{manifest.name} {manifest.version} may enter {candidate.stage}",
            facts={**verified.to_dict(), "stage": candidate.stage, "tests": report.total},
        )

    return judged("promotion", judge)


def person_of(name: str) -> str:
    """Whom a name means: of `Ann <ann@example.org>` the address, without the differences that nobody sees."""
    address = re.search(r"<([^<>]+)>\s*$", name)
    return plain(address[1] if address else name)


def _verified(
    candidate: Candidate, trust: BundleTrust, promotions: Promotions, scope: str | None, at: datetime | None
) -> VerifiedBundle:
    try:
        return verify_bundle(candidate.data, trust, _only_stage(promotions, candidate.stage), scope=scope, at=at)
    except BundleRefusedError as error:
        if error.rule == "bundle.older":
            raise PromotionRefusedError(
                "promotion.older", error.what, got=error.got, expected=error.expected
            ) from error
        raise PromotionRefusedError(
            "promotion.bundle", error.what, got=error.got, expected=error.expected, hint=error.hint or ""
        ) from error


def _only_stage(promotions: Promotions, stage: str) -> Promotions:
    """What is older is judged by the stage it enters: dev may be ahead of prod."""
    from companyos.authz.bundles.promotions import Promotions as Kept

    return Kept(tuple(entry for entry in promotions.entries if entry.stage == stage), promotions.newest_time)


def _check_rules(candidate: Candidate, verified: VerifiedBundle, promotions: Promotions) -> None:
    manifest = verified.bundle.manifest
    wanted = Promoted(
        manifest.name,
        manifest.version,
        candidate.stage,
        verified.bundle.digest,
        "",
        person_of(manifest.created_by),
        person_of(candidate.by),
        "",
        verified.key,
        datetime.now(UTC),
        0,
    )
    rule = broken_rule(wanted, promotions.entries)
    if rule is None:
        return
    known = [entry.stage for entry in promotions.of(manifest.name) if _same(entry, wanted)]
    texts = {
        "promotion.order": f"{candidate.stage} comes after {_before(candidate.stage)}",
        "promotion.author": f"{candidate.by} built it, and somebody else must promote it",
        "promotion.repeated": f"it is in {candidate.stage} already",
        "promotion.older": f"a newer version is in {candidate.stage}",
        "bundle.version_reused": "the version is known with another content",
    }
    raise PromotionRefusedError(
        rule if rule.startswith("promotion.") else "promotion.bundle",
        f"{manifest.name} {manifest.version}: {texts.get(rule, rule)}",
        got=f"promoted to: {', '.join(known) or 'nothing yet'}",
        hint=_hint(rule, candidate.stage),
    )


def _hint(rule: str, stage: str) -> str:
    if rule == "promotion.order":
        return f"companyos bundle promote FILE --to {_before(stage)}"
    if rule == "promotion.author":
        return "have somebody else run the same command, with --by"
    if rule in {"promotion.repeated", "promotion.older"}:
        return "companyos bundle list shows what is in force; a change needs a higher version in metadata.yaml"
    return "give it a higher version in metadata.yaml, and build and sign it again"


def _same(entry: Promoted, wanted: Promoted) -> bool:
    return version_key(entry.version) == version_key(wanted.version)


def _before(stage: str) -> str:
    place = STAGES.index(stage)
    return STAGES[place - 1] if place else "nothing"


def _check_policies(verified: VerifiedBundle, limits: Limits | None) -> TestReport:
    bundle = verified.bundle
    if bundle.manifest.engine == "rego" and bundle.files.get(COMBINATION) != combination():
        raise PromotionRefusedError(
            "promotion.combination",
            f"{COMBINATION} is missing, or not the one of this version",
            hint="build it again with this version of companyos",
        )
    try:
        report = meter(bundle, limits)
    except MeterExceededError as error:
        raise PromotionRefusedError("promotion.metering", error.what, got=error.got, expected=error.expected) from error
    except PolicyError as error:
        raise PromotionRefusedError("promotion.policy", error.what, got=error.got, expected=error.expected) from error
    if not report.total:
        raise PromotionRefusedError(
            "promotion.untested", "it declares no tests", expected="tests/*.yaml", hint="write tests and build it again"
        )
    if report.failures:
        raise PromotionRefusedError(
            "promotion.tests",
            f"{len(report.failures)} of {report.total} tests failed",
            got="; ".join(report.failures[:3]),
        )
    return report


def _append(candidate: Candidate, verified: VerifiedBundle, report: TestReport, ledger: Ledger) -> Receipt:
    manifest = verified.bundle.manifest
    data = {
        "name": manifest.name,
        "version": manifest.version,
        "stage": candidate.stage,
        "digest": verified.bundle.digest,
        "archive": f"sha256:{sha256_hex(candidate.data)}",
        "revision": manifest.revision,
        "engine": manifest.engine,
        "expires": moment_text(manifest.expires),
        "key": verified.key,
        "tests": report.total,
        "created_by": _personal(manifest.created_by),
        "promoted_by": _personal(candidate.by),
    }
    # One entry a version and stage: of two who promote at once, the ledger takes one.
    identity = f"bundle:{manifest.name}:{'.'.join(map(str, version_key(manifest.version)))}:{candidate.stage}"
    try:
        return ledger.append(PROMOTED, data, id=identity, source=SOURCE, stream=f"bundle:{manifest.name}")
    except IntegrityError as error:
        if error.code != "ledger.id_reused":
            raise
        raise PromotionRefusedError(
            "promotion.repeated", f"{manifest.name} {manifest.version} was promoted to {candidate.stage} meanwhile"
        ) from error


def _personal(name: str) -> Personal:
    return Personal(name, person_of(name))
