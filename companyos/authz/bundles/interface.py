"""What the parts of bundles promise each other: the rules by which a bundle is refused, and the kinds of refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.authz.interface import PolicyError
from companyos.decision import Decision, Finding, Severity
from companyos.errors import IntegrityError, MissingExtraError, RefusedError, UnverifiableError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = (
    "PROMOTION_RULES",
    "RULES",
    "BundleBuildError",
    "BundleMissingError",
    "BundleRefusedError",
    "BundleUnverifiableError",
    "PromotionRefusedError",
    "judged",
)

RULES = {
    "bundle.gzip": "A bundle is one whole gzip member and nothing after it.",
    "bundle.tar": "A bundle is a plain tar archive with whole blocks, right checksums and a zeroed end.",
    "bundle.size": "Bytes, bytes of each file, number of files and ratio of compression are bounded.",
    "bundle.traversal": "No name leads out of the bundle.",
    "bundle.absolute": "No name is absolute, but for the one slash that OPA puts before every name.",
    "bundle.name": "Names are plain ASCII, so that they are the same everywhere.",
    "bundle.link": "A bundle holds no symbolic and no hard links.",
    "bundle.device": "A bundle holds files and directories, no devices and no pipes.",
    "bundle.extension": "A bundle uses no extension of tar: no headers of pax, no long names or sparse files of GNU.",
    "bundle.duplicate": "Each name is there once, whatever its letter case, and is not a file and a directory.",
    "bundle.kind": "A bundle holds policies, data, metadata and tests, and nothing that other tools might run.",
    "bundle.manifest": "The manifest says what the bundle is, in its bounds and in one spelling.",
    "bundle.data": "Data is JSON or YAML that every reader understands in the same way, within the manifest's roots.",
    "bundle.metadata": "Each policy belongs to a directory whose metadata names its owner.",
    "bundle.unsigned": "A bundle has exactly one signature.",
    "bundle.token": "A signature is a compact JWS in its one spelling.",
    "bundle.header": "A signature's header holds alg, kid and typ: no key, certificate, address or extension.",
    "bundle.algorithm": "A signature has the algorithm that the trust configuration gives its key.",
    "bundle.unknown_key": "A signature names a key of the trust configuration.",
    "bundle.key_expired": "A key counts until its not_after.",
    "bundle.key_not_yet_valid": "A key counts from its not_before.",
    "bundle.key_revoked": "A revoked key does not count.",
    "bundle.signature": "The signature holds.",
    "bundle.scope": "The signature is for the scope that is asked for.",
    "bundle.hash": "Each file is signed by a hash that nobody can collide.",
    "bundle.file_added": "No file is there that was not signed.",
    "bundle.file_removed": "No file is missing that was signed.",
    "bundle.file_changed": "Each file is as it was signed.",
    "bundle.clock": "A bundle is not signed in the future, nor is the ledger newer than now.",
    "bundle.expired": "A bundle counts until its expiry.",
    "bundle.older": "A bundle is not older than the one of its name that the ledger knows.",
    "bundle.version_reused": "A version of a bundle names one content only.",
    "bundle.not_promoted": "What is loaded for a stage was promoted to it.",
}
"""Why a bundle is refused, by name."""

PROMOTION_RULES = {
    "promotion.bundle": "Only a bundle that verifies is promoted.",
    "promotion.order": "A bundle goes from dev to staging to prod, one after the other.",
    "promotion.older": "A stage never goes back to an older version.",
    "promotion.author": "Nobody promotes their own bundle beyond dev.",
    "promotion.untested": "A bundle without tests is not promoted.",
    "promotion.tests": "A bundle is promoted only if all its tests pass.",
    "promotion.policy": "The policies load: no function they may not call, nothing the engine does not know.",
    "promotion.combination": "The fixed rule in a bundle, by which another OPA decides, is the one of this version.",
    "promotion.metering": "The policies answer within their time and memory.",
    "promotion.repeated": "A version is promoted to a stage once.",
}
"""Why a promotion is refused, by name."""


class BundleRefusedError(IntegrityError):
    """A bundle was read and is not to be trusted; `rule` names why."""

    code = "authz.bundle"

    def __init__(self, rule: str, what: str, *, got: object = None, expected: object = None, hint: str = "") -> None:
        self.rule = rule
        super().__init__(f"{rule}: {what}", got=got, expected=expected, hint=hint or None)


class BundleUnverifiableError(UnverifiableError):
    """Whether a bundle may be used could not be found out; never to be read as a pass."""

    code = "authz.bundle_unverifiable"


class BundleMissingError(BundleUnverifiableError):
    """The bundle that the ledger says is in force is not where bundles lie."""

    code = "authz.bundle_missing"


class BundleBuildError(PolicyError):
    """No bundle can be made of what was given."""

    code = "authz.bundle_build"


class PromotionRefusedError(RefusedError):
    """A bundle may not enter a stage; `rule` names why."""

    code = "authz.promotion"

    def __init__(self, rule: str, what: str, *, got: object = None, expected: object = None, hint: str = "") -> None:
        self.rule = rule
        super().__init__(f"{rule}: {what}", got=got, expected=expected, hint=hint or None)


def judged(identity: str, call: Callable[[], Decision]) -> Decision:
    """What a call decides; a refusal by name is a denial, a check that could not be made is undetermined.

    Raises:
        MissingExtraError: what the check needs is not installed.
    """
    try:
        return call()
    except MissingExtraError:
        raise
    except (BundleRefusedError, PromotionRefusedError) as error:
        finding = Finding(error.rule, error.what, Severity.HIGH, hint=error.hint)
        return Decision.denied(error.rule, _sentence(error), findings=[finding])
    except UserError as error:
        return Decision.undetermined(f"{identity}.{error.code}", _sentence(error))


def _sentence(error: UserError) -> str:
    parts = (error.what, error.got and f"got: {error.got}", error.expected and f"expected: {error.expected}")
    return "; ".join(part for part in (*parts, error.hint and f"next: {error.hint}") if part)
