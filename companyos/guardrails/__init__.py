"""Controls over a source tree: each is a check, the violations it must catch, and its page.

`run(tree, controls)` runs them; `Gate(name, requires).evaluate(tree, controls)` demands some; `to_sarif(report)` tells
others. The controls themselves are `placeholders_control()` (G01), `secrets_control()` (G02) and
`packages_control()` (G03); names load on first use.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.guardrails.catalogue import Catalogue, load_catalogue
    from companyos.guardrails.gate import Gate
    from companyos.guardrails.interface import Hit, Rule, TreeControl, judge, tree_control
    from companyos.guardrails.packages import (
        Answer,
        IndexUnreachableError,
        PackageIndex,
        SnapshotIndex,
        open_index,
        packages_control,
        verify_packages,
    )
    from companyos.guardrails.placeholders import placeholders_control
    from companyos.guardrails.runner import Report, Result, run, select
    from companyos.guardrails.sarif import to_bytes, to_sarif
    from companyos.guardrails.secrets import EngineError, SecretEngine, secrets_control
    from companyos.guardrails.tree import Tree, TreeError

__all__ = (
    "Answer",
    "Catalogue",
    "EngineError",
    "Gate",
    "Hit",
    "IndexUnreachableError",
    "PackageIndex",
    "Report",
    "Result",
    "Rule",
    "SecretEngine",
    "SnapshotIndex",
    "Tree",
    "TreeControl",
    "TreeError",
    "judge",
    "load_catalogue",
    "open_index",
    "packages_control",
    "placeholders_control",
    "run",
    "secrets_control",
    "select",
    "to_bytes",
    "to_sarif",
    "tree_control",
    "verify_packages",
)

_HOMES = {
    "catalogue": ("Catalogue", "load_catalogue"),
    "gate": ("Gate",),
    "interface": ("Hit", "Rule", "TreeControl", "judge", "tree_control"),
    "packages": (
        "Answer",
        "IndexUnreachableError",
        "PackageIndex",
        "SnapshotIndex",
        "open_index",
        "packages_control",
        "verify_packages",
    ),
    "placeholders": ("placeholders_control",),
    "runner": ("Report", "Result", "run", "select"),
    "sarif": ("to_bytes", "to_sarif"),
    "secrets": ("EngineError", "SecretEngine", "secrets_control"),
    "tree": ("Tree", "TreeError"),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
