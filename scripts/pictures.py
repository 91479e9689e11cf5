"""Draw the pictures of docs/dashboards.md from a real Prometheus: `SYSTEM_PACKAGES=1 python scripts/pictures.py`.

The services of the pictures never ran: their days are made with a fixed seed and put into a Prometheus by `promtool
tsdb create-blocks-from`. So are the records of their compiled objectives, after that Prometheus has evaluated their
rules over those days. The same program gives the same bytes. Each picture's caption says so.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from companyos.observability.dashboards import (  # noqa: E402 - found by the line above
    PrometheusOverTime,
    TimeRange,
    draw,
    objectives,
    read,
    starter_pack,
    to_json,
)
from companyos.observability.slo import compile_rules  # noqa: E402
from companyos.observability.slo import read as read_slos  # noqa: E402
from companyos.observability.slo.kits import render  # noqa: E402
from tests.observability.dashboards.history import DAY, Disturbance, Past, openmetrics  # noqa: E402
from tests.services import Prometheus, available  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from companyos.observability.dashboards import Dashboard
    from companyos.observability.slo import Rule

IMAGES = ROOT / "docs" / "images"
HOUR = 3600
END = 1_793_620_800  # 2026-11-02 12:00 UTC
NOTE = (
    "The past of an invented service, made with a fixed seed and backfilled by promtool, as are the records of its"
    " objectives; alerts are not evaluated in such a past."
)
NEEDED = re.compile(
    r"slo:(sli_(bad|total|good):.*|sli_error:ratio_rate(5m|7d|30d)|(objective|error_budget|.*burn_rate|.*remaining):ratio)"
)
"""The records that dashboards ask for, and those that they are made of."""
_RECORD = re.compile(r"slo:[a-z0-9_:]+")


@dataclass(frozen=True, slots=True)
class Scene:
    """A service with its past, and the pictures of it."""

    past: Past
    """What happened."""
    pictures: dict[str, tuple[Dashboard, int]] = field(default_factory=dict)
    """By file name: the dashboard, and the seconds before the end that it shows."""


def scenes() -> tuple[Scene, ...]:
    """What is drawn."""
    at = END - 3 * DAY
    api = Past(
        at,
        END,
        fine_from=END - 7 * HOUR,
        parts={"/documents": (9.0, 0.04), "/search": (4.0, 0.09)},
        incidents=(Disturbance(at + DAY, at + DAY + HOUR, 0.002, 1.6), Disturbance(END - 5400, END - 4200, 0.06, 4)),
        canary=Disturbance(END - 4 * HOUR, END - 10_000, 0.01, 1.5, "KeyError"),
    )
    worker = Past(
        END - 2 * DAY,
        END,
        service="mail",
        kind="worker",
        fine_from=END - 7 * HOUR,
        incidents=(
            Disturbance(END - 40 * HOUR, END - 39 * HOUR, 0.2, 2),
            Disturbance(END - 30 * HOUR, END - 18 * HOUR, 0.01, 1.5, "ConnectionResetError"),
            Disturbance(END - 3 * HOUR, END - 9000, 0.06, 6, "SMTPServerDisconnected"),
        ),
    )
    return (
        Scene(api, {"dashboard-api.svg": (starter_pack("api", "orders"), 6 * HOUR)}),
        Scene(
            worker,
            {
                "dashboard-worker.svg": (starter_pack("worker", "mail"), 6 * HOUR),
                "objectives.svg": (objectives(["mail"]), 2 * DAY - HOUR),
            },
        ),
    )


def main() -> int:
    """Draw every picture; 1 if one has a panel without data, or is too large for the repository."""
    IMAGES.mkdir(exist_ok=True)
    bad = []
    for scene in scenes():
        server = Prometheus(available("prometheus"), history=openmetrics(scene.past))
        try:
            remember(server, scene.past)
            for name, text in drawn(scene, PrometheusOverTime(server.url, 60)).items():
                (IMAGES / name).write_text(text, encoding="utf-8")
                print(f"docs/images/{name}: {len(text)} bytes")
                bad += [name] if ">no data<" in text or "was refused" in text or len(text) > 200_000 else []
        finally:
            server.stop()
    print("\n".join(f"{name}: a panel without data, or too large" for name in bad), file=sys.stderr, end="")
    return 1 if bad else 0


def remember(server: Prometheus, past: Past) -> None:
    """Record the objectives over the whole past."""
    for rules in passes(past):
        prometheus = PrometheusOverTime(server.url, 120)
        server.add([line for name, found in rules.items() for line in recorded(name, found, prometheus, past)])


def recorded(name: str, rules: Iterable[Rule], prometheus: PrometheusOverTime, past: Past) -> Iterator[str]:
    """The answers of a Prometheus to the rules of one record over the whole past, as lines of OpenMetrics."""
    yield f"# TYPE {name} gauge\n"
    for rule in rules:
        for series in prometheus.over(rule.expr, start=past.start, end=past.end, step=past.coarse_step):
            labels = {**series.labels, **rule.labels}
            written = ",".join(f'{key}="{value}"' for key, value in labels.items() if key != "__name__")
            yield from (f"{name}{{{written}}} {value!r} {moment:.0f}\n" for moment, value in series.points)


def drawn(scene: Scene, prometheus: PrometheusOverTime) -> dict[str, str]:
    """The pictures of a scene, by name."""
    return {
        name: draw(read(to_json(board)), prometheus, TimeRange(END - seconds, END), note=NOTE)
        for name, (board, seconds) in scene.pictures.items()
    }


def passes(past: Past) -> Iterator[dict[str, list[Rule]]]:
    """Rules by the name of their record, first those that rest on no other record, then all others.

    What rests on a record of the second kind holds that record's own expression in its place.
    """
    compiled = compile_rules(read_slos({"slo.yaml": render(past.kind, past.service).encode()}))
    rules = [
        rule for group in compiled.groups for rule in group.rules if NEEDED.fullmatch(rule.name) and not rule.alert
    ]
    names = {rule.name for rule in rules}
    first = [rule for rule in rules if not names & set(_RECORD.findall(rule.expr))]
    later: list[Rule] = []
    for rule in rules:
        if rule in first:
            continue
        later.append(replace(rule, expr=_spelt_out(rule, later)))
    for part in (first, later):
        yield {name: [rule for rule in part if rule.name == name] for name in dict.fromkeys(r.name for r in part)}


def _spelt_out(rule: Rule, others: Iterable[Rule]) -> str:
    expr = rule.expr
    for other in others:
        if other.labels["slo_id"] == rule.labels["slo_id"]:
            selected = re.compile(rf"{re.escape(other.name)}(?![a-z0-9_:])\{{[^}}]*\}}")
            expr = f"({other.expr})".join(selected.split(expr))
    return expr


if __name__ == "__main__":
    sys.exit(main())
