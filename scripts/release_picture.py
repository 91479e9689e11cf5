"""Draw the picture of docs/markers.md from a real Prometheus: `SYSTEM_PACKAGES=1 python scripts/release_picture.py`.

The service never ran: its past is made by the tests' history and put into a Prometheus by `promtool tsdb
create-blocks-from`. The same program gives the same bytes.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from companyos.observability.dashboards.prometheus import PrometheusOverTime  # noqa: E402 - found by the line above
from companyos.observability.markers import Marker, compare, picture  # noqa: E402
from tests.observability.history import Phase, history  # noqa: E402
from tests.services import Prometheus, available  # noqa: E402

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def main() -> None:
    """Write docs/images/release.svg."""
    past = history(AT.timestamp() - 2400, [Phase(40, errors=0.0002), Phase(40, errors=0.05, slow=0.2)])
    prometheus = Prometheus(available("prometheus"), history=past)
    try:
        marker = Marker("orders", "1.3.0", "prod", revision="3f2c1ab", kind="upgraded", at=AT, id="release")
        found = compare(marker, PrometheusOverTime(prometheus.url), now=AT.timestamp() + 1800)
    finally:
        prometheus.stop()
    target = ROOT / "docs" / "images" / "release.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(picture.svg(found), encoding="utf-8")
    print(picture.text(found))
    print(found.decision.message)


if __name__ == "__main__":
    main()
