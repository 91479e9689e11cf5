"""Controls over a source tree: each is a check, the violations it must catch, and its page.

`run(tree, controls)` runs them; `Gate(name, requires).evaluate(tree, controls)` demands some; `to_sarif(report)` tells
others. The controls themselves are `placeholders_control()` (G01), `secrets_control()` (G02) and
`packages_control()` (G03); names load on first use.
"""

from typing import TYPE_CHECKING

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

_HOME = {
    "Answer": "packages",
    "Catalogue": "catalogue",
    "EngineError": "secrets",
    "Gate": "gate",
    "Hit": "interface",
    "IndexUnreachableError": "packages",
    "PackageIndex": "packages",
    "Report": "runner",
    "Result": "runner",
    "Rule": "interface",
    "SecretEngine": "secrets",
    "SnapshotIndex": "packages",
    "Tree": "tree",
    "TreeControl": "interface",
    "TreeError": "tree",
    "judge": "interface",
    "load_catalogue": "catalogue",
    "open_index": "packages",
    "packages_control": "packages",
    "placeholders_control": "placeholders",
    "run": "runner",
    "secrets_control": "secrets",
    "select": "runner",
    "to_bytes": "sarif",
    "to_sarif": "sarif",
    "tree_control": "interface",
    "verify_packages": "packages",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module that owns it, on first use (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'companyos.guardrails' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"companyos.guardrails.{home}"), name)
    globals()[name] = value
    return value
