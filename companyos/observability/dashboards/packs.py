"""Starter packs: the dashboard that a new service of each kind begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.observability.dashboards.errors import DashboardError
from companyos.observability.dashboards.interface import Dashboard, Panel, Query, Row, check_name, uid_of
from companyos.observability.dashboards.signals import (
    ENVIRONMENT,
    Signal,
    database_calls,
    http_calls,
    http_requests,
    jobs,
)
from companyos.observability.dashboards.slo_panels import objectives_row

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("DEPENDENCIES", "KINDS", "objectives", "starter_pack")

KINDS = ("api", "worker", "frontend")
"""Kinds of service that there is a pack for."""
DEPENDENCIES = {"http": http_calls, "database": database_calls}
"""Kinds of dependency whose calls the conventions have a metric for."""
_WORDS = {
    "http": ("Latency", "Traffic by route", "http_server_active_requests", "reqps"),
    "worker": ("Duration", "Traffic by destination", "messaging_client_active_jobs", "ops"),
}
"""Titles, the gauge of what is in hand, and the unit of traffic."""
_PARTS = {"http_route": "route", "messaging_destination_name": "destination"}


def starter_pack(
    kind: str,
    service: str,
    *,
    canary: str = "canary",
    production: str = "prod",
    dependencies: Iterable[str] = tuple(DEPENDENCIES),
    tags: Iterable[str] = (),
) -> Dashboard:
    """The dashboard of one service: objectives, golden signals, errors, canary against production, dependencies.

    `canary` and `production` are the environments (`deployment.environment.name`) that are compared. `dependencies`
    says which kinds of calls the service makes and measures: a panel that asks for what nobody measures stays empty.

    Raises:
        DashboardError: there is no such kind of service or of dependency, or a name cannot be used in a query.
    """
    if kind not in KINDS:
        raise DashboardError(f"no starter pack of kind {kind!r}", expected=", ".join(KINDS))
    check_name(service, "a service")
    work = jobs(service) if kind == "worker" else http_requests(service)
    compared = f'=~"{check_name(canary, "an environment")}|{check_name(production, "an environment")}"'
    called = tuple(_dependency(name, service) for name in dict.fromkeys(dependencies))
    rows = (
        objectives_row(service),
        Row("Golden signals", _golden(kind, work)),
        Row("Errors", _errors(kind, work)),
        Row("Canary and production", _comparison(work, compared)),
        *((Row("Dependencies", _called(called)),) if called else ()),
    )
    info = f'target_info{{service_name="{service}"}}'
    return Dashboard(
        uid=uid_of(service),
        title=f"{service}: golden signals and objectives",
        description=f"Made by CompanyOS from the starter pack for the kind {kind}.",
        rows=rows,
        environments=f'label_values({work.metric}_count{{service_name="{service}"}}, {ENVIRONMENT})',
        releases=f"count by (service_version) ({info}) unless count by (service_version) ({info} offset 2m)",
        tags=("companyos", kind, *tags),
    )


def objectives(services: Iterable[str], *, tags: Iterable[str] = ()) -> Dashboard:
    """A dashboard of nothing but the objectives of one or more services.

    Raises:
        DashboardError: no service, or a name that cannot be used in a query.
    """
    names = tuple(sorted({check_name(service, "a service") for service in services}))
    if not names:
        raise DashboardError("a dashboard of objectives needs a service", got="none")
    return Dashboard(
        uid=uid_of(f"slo-{'-'.join(names)}"),
        title=f"{', '.join(names)}: objectives",
        description="Made by CompanyOS from service level objectives.",
        rows=(objectives_row(*names),),
        tags=("companyos", "slo", *tags),
    )


def _dependency(name: str, service: str) -> Signal:
    if name not in DEPENDENCIES:
        raise DashboardError(f"no kind of dependency {name!r}", expected=", ".join(DEPENDENCIES))
    return DEPENDENCIES[name](service)


def _golden(kind: str, work: Signal) -> tuple[Panel, ...]:
    latency, traffic, active, unit = _WORDS["worker" if kind == "worker" else "http"]
    quantiles = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    in_hand = f'{active}{{service_name="{work.service}",{ENVIRONMENT}=~"$environment"}}'
    return (
        Panel(
            f"{latency} (p50, p95, p99)",
            "Half, 95 % and 99 % take less than this. The dots are exemplars: single measurements that lead to their"
            " trace.",
            "s",
            tuple(Query(work.quantile(share), name, exemplar=name == "p99") for name, share in quantiles),
            minimum=0,
        ),
        Panel(
            "Error rate: share that failed",
            "Of all that was done, the part that failed by a fault of ours. Without traffic there is no figure.",
            "percentunit",
            (Query(work.failing_share(), "failing"),),
            minimum=0,
        ),
        Panel(traffic, "How much is asked of the service.", unit, (Query(work.traffic(work.part), _label(work.part)),)),
        Panel(
            "Saturation: in hand at once",
            "How much is being worked on at the same moment in each environment.",
            "short",
            (Query(f"sum by ({ENVIRONMENT}) ({in_hand})", _label(ENVIRONMENT)),),
            minimum=0,
        ),
    )


def _errors(kind: str, work: Signal) -> tuple[Panel, ...]:
    top = Panel(
        "Top 5 error types",
        "The most frequent values of error.type; `none` where there was traffic and nothing failed.",
        "ops",
        (Query(work.top_errors(5), _label("error_type")),),
        minimum=0,
    )
    if kind == "frontend":
        refused = Signal(work.metric, work.service, 'http_response_status_code=~"4.."', work.part)
        return (
            top,
            Panel(
                "Refused share by route (4xx)",
                "Pages and files that were asked for and not given: broken links, missing files, expired sessions.",
                "percentunit",
                (Query(refused.failing_share(refused.part), _label(refused.part)),),
                minimum=0,
            ),
        )
    return (
        top,
        Panel(
            f"Failing share by {_PARTS[work.part]}",
            "Where it fails.",
            "percentunit",
            (Query(work.failing_share(work.part), _label(work.part)),),
            minimum=0,
        ),
    )


def _comparison(work: Signal, compared: str) -> tuple[Panel, ...]:
    by = (ENVIRONMENT,)
    asked = (
        ("Failing share", "percentunit", work.failing_share(*by, environment=compared)),
        ("p95", "s", work.quantile(0.95, *by, environment=compared)),
        ("Traffic", "ops", work.traffic(*by, environment=compared)),
    )
    return tuple(
        Panel(
            f"{title}: canary and production",
            "The same figure for both environments; without a canary only production is drawn.",
            unit,
            (Query(expr, _label(ENVIRONMENT)),),
            width=8,
            minimum=0,
        )
        for title, unit, expr in asked
    )


def _called(dependencies: tuple[Signal, ...]) -> tuple[Panel, ...]:
    measured = "Measured by the caller: " + ", ".join(signal.metric for signal in dependencies) + "."
    return (
        Panel(
            "Dependencies: p95 of calls",
            f"95 % of the calls to each dependency take less than this. {measured}",
            "s",
            tuple(Query(signal.quantile(0.95, signal.part), _label(signal.part)) for signal in dependencies),
            minimum=0,
        ),
        Panel(
            "Dependencies: failing share of calls",
            f"Of the calls to each dependency, the part that failed. {measured}",
            "percentunit",
            tuple(Query(signal.failing_share(signal.part), _label(signal.part)) for signal in dependencies),
            minimum=0,
        ),
    )


def _label(name: str) -> str:
    return f"{{{{{name}}}}}"
