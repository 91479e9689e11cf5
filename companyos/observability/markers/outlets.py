"""Markers for tools that draw: annotations for Grafana, a gauge for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.observability.markers.marker import Marker

__all__ = ("METRIC", "annotation", "exposition")

METRIC = "companyos_release_marker"
"""When a version went to an environment, in seconds since 1970; the version is a label."""


def annotation(marker: Marker) -> dict[str, Any]:
    """The marker as the body of `POST /api/annotations` of Grafana's HTTP API; `time` is in milliseconds."""
    revision = f" ({marker.revision})" if marker.revision else ""
    return {
        "time": int(marker.at.timestamp() * 1000),
        "tags": ["release", marker.kind, f"service:{marker.service}", f"env:{marker.environment}"],
        "text": f"{marker.service} {marker.version}{revision} {marker.kind} to {marker.environment}",
    }


def exposition(markers: Iterable[Marker]) -> str:
    """The newest marker of each service, environment and version as OpenMetrics text.

    For the node exporter's textfile collector (as a file `*.prom`) or a push gateway: a marker is made by a pipeline,
    which is gone before anybody could scrape it.
    """
    newest: dict[tuple[str, str, str], Marker] = {}
    for marker in markers:
        newest[marker.service, marker.environment, marker.version] = marker
    lines = [
        f"# HELP {METRIC} When this version went to this environment, in seconds since 1970.",
        f"# TYPE {METRIC} gauge",
        *(f"{METRIC}{{{_labels(marker)}}} {marker.at.timestamp():.3f}" for _, marker in sorted(newest.items())),
        "# EOF",
    ]
    return "".join(f"{line}\n" for line in lines)


def _labels(marker: Marker) -> str:
    labels = {
        "service_name": marker.service,
        "deployment_environment_name": marker.environment,
        "service_version": marker.version,
        "vcs_ref_head_revision": marker.revision or "",
        "kind": marker.kind,
    }
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
