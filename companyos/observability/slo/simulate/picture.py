"""Pictures of incidents: bars for a terminal, and a web page that needs nothing besides itself."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from companyos.observability.slo.simulate.outcomes import AlertOutcome, IncidentOutcome, SubjectOutcome

__all__ = ("bars", "duration", "web_page")

CELLS = 40
_LEVELS = "·▁▂▃▄▅▆▇█"
WIDTH, LEFT, ROW = 900, 190, 22
_COLOURS = {"page": "#c62828", "ticket": "#ef8f00"}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { text-align: left; padding: .15rem .8rem .15rem 0; }
svg { max-width: 100%; height: auto; } .bad { color: #c62828; font-weight: 600; } .note { color: #666; }
"""


def duration(seconds: float | None) -> str:
    """Such as `1h 30m`, or `-` for never."""
    if seconds is None:
        return "-"
    left = round(seconds)
    sign, left = ("-", -left) if left < 0 else ("", left)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return sign + " ".join(parts[:2]) if parts else "0s"


def _span(incident: IncidentOutcome) -> float:
    """How long the picture is, in seconds: a little longer than everything in it."""
    ends = [sum(seconds for seconds, _ in incident.stretches)]
    ends += [end for alert in incident.alerts for span in alert.spans_seconds for end in span if end is not None]
    return max(*ends, 60.0) * 1.05


def bars(incident: IncidentOutcome) -> list[str]:
    """One line of the errors, then one for each alert, all to the same scale of time."""
    width = _span(incident) / CELLS
    lines = ["".join(_LEVELS[_level(_errors_in(incident, at * width, (at + 1) * width))] for at in range(CELLS))]
    for alert in incident.alerts:
        fires = (
            any(begin < (at + 1) * width and (end is None or end > at * width) for begin, end in alert.spans_seconds)
            for at in range(CELLS)
        )
        lines.append("".join("█" if each else "·" for each in fires))
    return lines


def _level(errors: float) -> int:
    """Nothing, or one of eight levels; a trace of errors is more than nothing."""
    return 0 if errors <= 0 else max(1, min(8, round(errors * 8)))


def _errors_in(incident: IncidentOutcome, begin: float, end: float) -> float:
    """The highest share of errors within a time."""
    highest, at = 0.0, 0.0
    for seconds, errors in incident.stretches:
        if at < end and at + seconds > begin:
            highest = max(highest, errors)
        at += seconds
    return highest


def web_page(outcomes: Iterable[SubjectOutcome]) -> str:
    """A page with a timeline and a table for each incident; no script, nothing from elsewhere."""
    body = "".join(_subject(outcome) for outcome in outcomes)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Simulated alerts</title>'
        f"<style>{_STYLE}</style></head><body><h1>Simulated alerts</h1>\n"
        f'<p class="note">Synthetic incidents, evaluated by companyos slo simulate. A dashed line is the '
        f"detection that follows from the mathematics of burn rates.</p>\n{body}</body></html>\n"
    )


def _subject(outcome: SubjectOutcome) -> str:
    title = f"{outcome.slo_id}: {outcome.objective * 100:.6g} % over {outcome.period_days:g} days"
    parts = [f"<h2>{escape(title)}</h2>\n"]
    parts += [f'<p class="bad">{escape(text)}</p>\n' for text in outcome.findings]
    parts += [f'<p class="note">{escape(text)}</p>\n' for text in outcome.warnings]
    for incident in outcome.incidents:
        verdict = "paged" if incident.paged else "no page"
        wrong = "" if incident.as_expected else ' class="bad"'
        parts.append(f"<h3{wrong}>{escape(incident.name)}: {escape(incident.title)} ({verdict})</h3>\n")
        parts.append(_timeline(incident))
        parts.append(_table(incident))
    if outcome.healthy is not None:
        one = outcome.healthy
        parts.append(f"<p>{one.days} healthy days, {one.requests} requests: {one.false_pages} false pages.</p>\n")
    return "".join(parts)


def _timeline(incident: IncidentOutcome) -> str:
    whole = _span(incident)
    height = ROW * (len(incident.alerts) + 3)
    rows = [_errors_row(incident, whole)]
    rows += [_alert_row(alert, number, whole) for number, alert in enumerate(incident.alerts)]
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" font-size="12" '
        f'aria-label="{escape(incident.name, quote=True)}">{"".join(rows)}{_axis(whole, height)}</svg>\n'
    )


def _x(seconds: float, whole: float) -> str:
    return f"{LEFT + (WIDTH - LEFT - 10) * max(0.0, min(seconds, whole)) / whole:.1f}"


def _errors_row(incident: IncidentOutcome, whole: float) -> str:
    # Heights are relative to the worst stretch: what burns slowly has to be seen, too.
    worst = max((errors for _, errors in incident.stretches), default=0.0) or 1.0
    base, points, at = 2 * ROW, [], 0.0
    for seconds, errors in incident.stretches:
        level = base - (2 * ROW - 6) * errors / worst
        points += [f"{_x(at, whole)},{level:.1f}", f"{_x(at + seconds, whole)},{level:.1f}"]
        at += seconds
    points = [f"{_x(0, whole)},{base}", *points, f"{_x(at, whole)},{base}"]
    label = f'<text x="0" y="{base - 6}">errors, at most {worst:.3g}</text>'
    return f'{label}<polygon points="{" ".join(points)}" fill="#90a4ae"/>'


def _alert_row(alert: AlertOutcome, number: int, whole: float) -> str:
    top = ROW * (number + 2) + 4
    colour = _COLOURS.get(alert.severity, "#1565c0")
    name = escape(f"{alert.severity} {alert.key or alert.name}"[:28])
    parts = [f'<text x="0" y="{top + 12}">{name}</text>']
    for begin, end in alert.spans_seconds:
        left, right = _x(begin, whole), _x(whole if end is None else end, whole)
        width = max(1.0, float(right) - float(left))
        parts.append(f'<rect x="{left}" y="{top}" width="{width:.1f}" height="{ROW - 8}" fill="{colour}"/>')
    if alert.expected_detection_seconds is not None:
        at = _x(alert.expected_detection_seconds, whole)
        line = f'x1="{at}" x2="{at}" y1="{top - 2}" y2="{top + ROW - 6}"'
        parts.append(f'<line {line} stroke="#222" stroke-dasharray="3 2"/>')
    return "".join(parts)


def _axis(whole: float, height: int) -> str:
    marks = []
    for part in range(5):
        seconds = whole / 1.05 * part / 4
        at = _x(seconds, whole)
        marks.append(f'<line x1="{at}" x2="{at}" y1="4" y2="{height - 16}" stroke="#ddd"/>')
        marks.append(f'<text x="{at}" y="{height - 3}" text-anchor="middle" fill="#666">{duration(seconds)}</text>')
    return "".join(marks)


def _table(incident: IncidentOutcome) -> str:
    headings = (
        "alert",
        "severity",
        "detected",
        "by mathematics",
        "reset",
        "by mathematics",
        "budget spent at detection",
    )
    rows: list[Sequence[str]] = [
        (
            alert.key or alert.name,
            alert.severity,
            duration(alert.detection_seconds),
            duration(alert.expected_detection_seconds) if alert.computable else "?",
            duration(alert.reset_seconds),
            duration(alert.expected_reset_seconds) if alert.computable else "?",
            "" if alert.budget_spent is None else f"{alert.budget_spent:.1%}",
        )
        for alert in incident.alerts
    ]
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>\n"
