"""Draw the pictures of docs/dashboards.md from a real Prometheus: `SYSTEM_PACKAGES=1 python scripts/pictures.py`.

The services of the pictures never ran: their thirty days are made with a fixed seed and put into a Prometheus by
`promtool tsdb create-blocks-from`, as are the records of their compiled objectives. The same program gives the same
bytes. Each picture's caption says so.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
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
from companyos.observability.slo import Group, Rules, compile_rules  # noqa: E402
from companyos.observability.slo import read as read_slos  # noqa: E402
from companyos.observability.slo.kits import render  # noqa: E402
from tests.observability.dashboards.history import DAY, Disturbance, Past, openmetrics  # noqa: E402
from tests.services import Prometheus, available  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.observability.dashboards import Dashboard

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
    at = END - 30 * DAY
    api = Past(
        at,
        END,
        fine_from=END - 7 * HOUR,
        parts={"/documents": (9.0, 0.04), "/search": (4.0, 0.09)},
        incidents=(
            Disturbance(at + 6 * DAY, at + 6 * DAY + 1500, 0.22, 2),
            Disturbance(at + 15 * DAY, at + 17 * DAY, 0.0015, 1.3),
            Disturbance(END - 5400, END - 4200, 0.06, 4),
        ),
        canary=Disturbance(END - 4 * HOUR, END - 10_000, 0.01, 1.5, "KeyError"),
    )
    worker = Past(
        END - 7 * DAY,
        END,
        service="mail",
        kind="worker",
        fine_from=END - 7 * HOUR,
        incidents=(Disturbance(END - 3 * HOUR, END - 2 * HOUR, 0.15, 6, "SMTPServerDisconnected"),),
    )
    return (
        Scene(
            api,
            {
                "dashboard-api.svg": (starter_pack("api", "orders"), 6 * HOUR),
                "objectives-30d.svg": (objectives(["orders"]), 30 * DAY),
            },
        ),
        Scene(worker, {"dashboard-worker.svg": (starter_pack("worker", "mail"), 6 * HOUR)}),
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
    first, *others = passes(past)
    # The period's ratio is a sum of these: evenly dense, or some hours would count for more than others.
    server.remember(first, start=past.start, end=END, every_seconds=past.coarse_step)
    for rules in others:
        server.remember(rules, start=past.start, end=past.fine_from, every_seconds=1800)
        server.remember(rules, start=past.fine_from, end=END, every_seconds=past.coarse_step)


def drawn(scene: Scene, prometheus: PrometheusOverTime) -> dict[str, str]:
    """The pictures of a scene, by name."""
    return {
        name: draw(read(to_json(board)), prometheus, TimeRange(END - seconds, END), note=NOTE)
        for name, (board, seconds) in scene.pictures.items()
    }


def passes(past: Past) -> Iterable[str]:
    """Rule files to be remembered one after the other, each with what rests only on the ones before it."""
    compiled = compile_rules(read_slos({"slo.yaml": render(past.kind, past.service).encode()}))
    left = [rule for group in compiled.groups for rule in group.rules if NEEDED.fullmatch(rule.name) and not rule.alert]
    known: set[tuple[str, str]] = set()
    names = {rule.name for rule in left}
    while left:
        ready = [
            rule
            for rule in left
            if {(name, rule.labels["slo_id"]) for name in set(_RECORD.findall(rule.expr)) & names} <= known
        ]
        yield Rules((Group("past", tuple(ready)),), (), compiled.digest, compiled.slo_ids).to_yaml()
        known |= {(rule.name, rule.labels["slo_id"]) for rule in ready}
        left = [rule for rule in left if rule not in ready]


if __name__ == "__main__":
    sys.exit(main())
