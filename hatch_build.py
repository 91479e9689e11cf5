"""Put the golden templates into the wheel, as a Git bundle with the version's tag."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ("TemplateBundleHook",)


class TemplateBundleHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds `companyos/scaffold/template.bundle`; an editable install reads the working copy instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the bundle in a scratch directory and add it to the wheel."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from companyos.scaffold.bundle import build

        self._scratch = tempfile.TemporaryDirectory(prefix="companyos-wheel-")
        bundle = Path(self._scratch.name, "template.bundle")
        build(Path(self.root), bundle, self.metadata.version)
        for path in (bundle, bundle.with_suffix(".json")):
            build_data["force_include"][str(path)] = f"companyos/scaffold/{path.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatch calls it so
        """Remove the scratch directory."""
        if version != "editable":
            self._scratch.cleanup()
