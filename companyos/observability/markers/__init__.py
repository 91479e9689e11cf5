"""Release markers: when which version went where, and what the golden signals did before and after.

A marker is a CDEvent on the ledger, a structured log event, an annotation for Grafana and a gauge for Prometheus.
"""

from __future__ import annotations

from companyos.observability.markers.compare import Comparison, compare
from companyos.observability.markers.errors import MarkerError
from companyos.observability.markers.marker import KINDS, SPEC_VERSION, Marker
from companyos.observability.markers.outlets import annotation, exposition
from companyos.observability.markers.recording import find_marker, mark, markers
from companyos.observability.markers.schema import problems

__all__ = (
    "KINDS",
    "SPEC_VERSION",
    "Comparison",
    "Marker",
    "MarkerError",
    "annotation",
    "compare",
    "exposition",
    "find_marker",
    "mark",
    "markers",
    "problems",
)
