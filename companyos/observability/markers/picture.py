"""A comparison for people: a table with bars for the terminal, and before and after as one SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from companyos.observability.markers.compare import Comparison
    from companyos.observability.markers.shift import Shift

__all__ = ("svg", "text")

_BAR = 24
_WIDTH, _HEIGHT, _LEFT, _TOP = 720, 180, 64, 56
_STYLE = (
    "svg{font:13px sans-serif;background:#fff;color:#1b1f24}text{fill:currentColor}.axis{stroke:#656d76}"
    ".line{fill:none;stroke:#0b5cad;stroke-width:2}.mark{stroke:#b42318;stroke-width:2;stroke-dasharray:5 3}"
    "@media(prefers-color-scheme:dark){svg{background:#0d1117;color:#e6edf3}.line{stroke:#58a6ff}"
    ".mark{stroke:#ff7b72}.axis{stroke:#8b949e}}"
)


def text(found: Comparison) -> str:
    """The comparison as lines of plain text; a bar is as long as its value is of the larger of the two."""
    marker = found.marker
    revision = f" ({marker.revision})" if marker.revision else ""
    lines = [
        f"{marker.service} {marker.version}{revision} {marker.kind} to {marker.environment} at {marker.at:%FT%TZ}",
        f"{found.before_seconds // 60} min before, {found.after_seconds // 60} min after",
        "",
        *(_line(*row) for row in _rows(found)),
    ]
    lines += ["", *(shift.sentence() for shift in found.shifts)] if found.shifts else []
    if found.traces:
        lines += ["", f"failed at {marker.revision or marker.version}: traces {', '.join(found.traces)}"]
    return "\n".join(lines)


def _rows(found: Comparison) -> Iterator[tuple[str, float | None, float | None, str, float]]:
    before, after = found.before, found.after
    for name, field, unit, scale in (
        ("rate", "rate", "/s", 1),
        ("errors", "error_share", "%", 100),
        ("p50", "p50", "ms", 1000),
        ("p95", "p95", "ms", 1000),
        ("p99", "p99", "ms", 1000),
    ):
        yield name, getattr(before, field, None), getattr(after, field, None), unit, scale
    yield "burn rate", found.burn(before), found.burn(after), "x", 1


def _line(name: str, before: float | None, after: float | None, unit: str, scale: float) -> str:
    top = max(before or 0, after or 0)
    cells = (f"{_number(value, scale, unit):>12} {_bar(value, top)}" for value in (before, after))
    return f"{name:<10}{'  '.join(cells)}".rstrip()


def _number(value: float | None, scale: float, unit: str) -> str:
    return "no data" if value is None else f"{value * scale:.4g} {unit}"


def _bar(value: float | None, top: float) -> str:
    length = round(_BAR * value / top) if value and top > 0 else 0
    return f"{'█' * length:<{_BAR}}"


def svg(found: Comparison) -> str:
    """The series of each quantile across the release, one below the other, with a line where the release was."""
    shifts = [shift for shift in found.shifts if len(shift.points) > 1]
    marker = found.marker
    title = f"{marker.service} {marker.version}: latency before and after the release"
    height = _TOP + len(shifts) * (_HEIGHT + 40) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(title)}</title>',
        f'<desc id="d">{escape("; ".join(shift.sentence() for shift in shifts) or "no data")}</desc>',
        f"<style>{_STYLE}</style>",
        f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>',
        f'<text x="8" y="40">{escape(found.decision.message.partition(";")[0] or found.decision.reason)}</text>',
    ]
    for number, shift in enumerate(shifts):
        parts += _panel(shift, marker.at.timestamp(), _TOP + number * (_HEIGHT + 40))
    note = "drawn by CompanyOS from Prometheus; times in UTC, dashed: the release"
    parts += [f'<text x="8" y="{height - 8}">{note}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def _panel(shift: Shift, released: float, top: int) -> Iterator[str]:
    start, end = shift.points[0][0], shift.points[-1][0]
    highest = max(value for _, value in shift.points) or 1
    bottom, right = top + _HEIGHT, _WIDTH - 16

    def x(at: float) -> float:
        return _LEFT + (right - _LEFT) * (at - start) / (end - start)

    yield f'<text x="8" y="{top + 12}">{escape(shift.name)}, ms</text>'
    yield f'<text x="{_LEFT - 6}" y="{top + 30}" text-anchor="end">{highest * 1000:.0f}</text>'
    yield f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0</text>'
    yield f'<path class="axis" fill="none" d="M{_LEFT} {top + 20}V{bottom}H{right}"/>'
    line = _path([(x(at), bottom - (_HEIGHT - 24) * value / highest) for at, value in shift.points])
    yield f'<path class="line" d="{line}"/>'
    yield f'<path class="mark" d="M{x(released):.1f} {top + 16}V{bottom}"/>'
    for at, anchor in ((start, "start"), (end, "end")):
        yield f'<text x="{x(at):.0f}" y="{bottom + 16}" text-anchor="{anchor}">{_clock(at)}</text>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _clock(at: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"
