"""Policy bundles: OPA tarballs that are signed, verified, compared, and promoted from dev to staging to prod."""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.authz.bundles.build import build_bundle, sign_bundle
    from companyos.authz.bundles.bundle import Bundle
    from companyos.authz.bundles.engine import BundleEngine
    from companyos.authz.bundles.in_force import BundlePlace, InForce, find_in_force
    from companyos.authz.bundles.interface import (
        BundleBuildError,
        BundleMissingError,
        BundleRefusedError,
        BundleUnverifiableError,
        PromotionRefusedError,
    )
    from companyos.authz.bundles.manifest import Manifest
    from companyos.authz.bundles.promotion import Candidate, judge_promotion, promote_bundle
    from companyos.authz.bundles.promotions import BundlesInForce, Promotions, promotions_of
    from companyos.authz.bundles.recording import record_promotions
    from companyos.authz.bundles.trust import BundleTrust, private_key
    from companyos.authz.bundles.verification import VerifiedBundle, judge_bundle, load_bundle, verify_bundle

__all__ = (
    "Bundle",
    "BundleBuildError",
    "BundleEngine",
    "BundleMissingError",
    "BundlePlace",
    "BundleRefusedError",
    "BundleTrust",
    "BundleUnverifiableError",
    "BundlesInForce",
    "Candidate",
    "InForce",
    "Manifest",
    "PromotionRefusedError",
    "Promotions",
    "VerifiedBundle",
    "build_bundle",
    "find_in_force",
    "judge_bundle",
    "judge_promotion",
    "load_bundle",
    "private_key",
    "promote_bundle",
    "promotions_of",
    "record_promotions",
    "sign_bundle",
    "verify_bundle",
)

_HOMES = {
    "build": ("build_bundle", "sign_bundle"),
    "bundle": ("Bundle",),
    "engine": ("BundleEngine",),
    "in_force": ("BundlePlace", "InForce", "find_in_force"),
    "interface": (
        "BundleBuildError",
        "BundleMissingError",
        "BundleRefusedError",
        "BundleUnverifiableError",
        "PromotionRefusedError",
    ),
    "manifest": ("Manifest",),
    "promotion": ("Candidate", "judge_promotion", "promote_bundle"),
    "promotions": ("BundlesInForce", "Promotions", "promotions_of"),
    "recording": ("record_promotions",),
    "trust": ("BundleTrust", "private_key"),
    "verification": ("VerifiedBundle", "judge_bundle", "load_bundle", "verify_bundle"),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
