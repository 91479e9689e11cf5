"""The playbook's objectives as files to begin with, one kit for each kind of service."""

from __future__ import annotations

import re
from importlib.resources import files

from companyos.observability.slo.errors import KitError

__all__ = ("KINDS", "render")

KINDS = ("api", "frontend", "worker")
"""The kinds of services that there are kits for."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_PLACEHOLDER = "@SERVICE@"


def render(kind: str, service: str) -> str:
    """The OpenSLO file of a kind of service, for the service of that name (`service_name` in its metrics).

    Raises:
        KitError: there is no such kind, or the name is not one of RFC 1123 (63 small letters, digits and hyphens).
    """
    if kind not in KINDS:
        raise KitError("there is no SLO kit of that kind", got=kind, expected=" or ".join(KINDS))
    if not _NAME.fullmatch(service):
        raise KitError(
            "that is not the name of a service",
            got=service,
            expected="up to 63 small letters, digits and hyphens, as in host names",
        )
    text = files("companyos.observability.slo").joinpath("kitfiles", f"{kind}.yaml").read_text(encoding="utf-8")
    return text.replace(_PLACEHOLDER, service)
