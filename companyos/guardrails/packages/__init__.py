"""G03: hallucinated or unverified packages. See `docs/guardrails.md#g03`."""

from companyos.guardrails.packages.configured import configured_index, open_index
from companyos.guardrails.packages.control import packages_control, take_snapshot, verify_packages
from companyos.guardrails.packages.indexes import ChainIndex, DirectoryIndex, HttpIndex, OfflineIndex, SnapshotIndex
from companyos.guardrails.packages.interface import Answer, Dependency, IndexUnreachableError, PackageIndex

__all__ = (
    "Answer",
    "ChainIndex",
    "Dependency",
    "DirectoryIndex",
    "HttpIndex",
    "IndexUnreachableError",
    "OfflineIndex",
    "PackageIndex",
    "SnapshotIndex",
    "configured_index",
    "open_index",
    "packages_control",
    "take_snapshot",
    "verify_packages",
)
