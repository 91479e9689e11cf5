"""A cost report as one HTML file: tables, and bars drawn in SVG, without scripts and without anything from outside."""

from __future__ import annotations

from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.finops.interface import CostLine

__all__ = ("chart", "html_page", "html_report")

LABEL, WIDTH, HEIGHT, GAP = 220, 640, 22, 6
"""Sizes of a bar chart, in SVG units."""
SHOWN = 30
"""Bars of one chart; the table has every line."""
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --bar: #0b6bcb; --credit: #b3261e; --line: #d0d7de; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --bar: #58a6ff; --credit: #ff7b72; --line: #30363d; }
}
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 60rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; overflow-wrap: anywhere; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { height: auto; max-width: 100%; } svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
.bar { fill: var(--bar); } .credit { fill: var(--credit); }
"""


def html_report(lines: Sequence[CostLine], days: Sequence[CostLine], *, by: str, measure: str, extract: str) -> str:
    """The report of `lines` by `by` and of `days`, a chart and a table a currency; `extract` names the data."""
    sections = []
    for currency in sorted({line.currency for line in lines}):
        own = [line for line in lines if line.currency == currency]
        dated = [line for line in days if line.currency == currency]
        total = sum((line.amount for line in own), Decimal(0))
        sections += [
            f"<h2>{escape(currency)} {_cents(total)}</h2>",
            chart(own, f"Costs by {by}, {currency}"),
            chart(dated, f"Costs by day, {currency}") if by != "day" else "",
            _table(own, by, measure),
        ]
    body = "\n".join(sections) if sections else "<p>No costs.</p>"
    note = f"Measure: {escape(measure)}. Extract: <code>{escape(extract)}</code>. "
    return html_page(f"Costs by {by}", f"<p>{note}Currencies are never added to each other.</p>\n{body}")


def html_page(title: str, body: str) -> str:
    """A page of its own around `body`, which is HTML already: no scripts, and nothing loaded from anywhere."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{body}
</body>
</html>
"""


def chart(lines: Sequence[CostLine], title: str) -> str:
    """Horizontal bars in SVG, one a line; amounts below zero in another colour."""
    shown = lines[:SHOWN]
    most = max((abs(line.amount) for line in shown), default=Decimal(0)) or Decimal(1)
    bars = "".join(_bar(line, at, line.amount / most) for at, line in enumerate(shown))
    left = f", the first {SHOWN} of {len(lines)}" if len(lines) > SHOWN else ""
    height = len(shown) * (HEIGHT + GAP)
    return (
        f'<figure><svg role="img" viewBox="0 0 {LABEL + WIDTH + 120} {height}" aria-label="{escape(title)}">'
        f"<title>{escape(title)}{left}</title>{bars}</svg><figcaption>{escape(title)}{left}</figcaption></figure>"
    )


def _bar(line: CostLine, at: int, share: Decimal) -> str:
    top, width = at * (HEIGHT + GAP), round(abs(share) * WIDTH, 1)
    label = line.key if len(line.key) <= 32 else f"{line.key[:31]}…"
    kind = "credit" if share < 0 else "bar"
    return (
        f'<text x="{LABEL - 8}" y="{top + 15}" text-anchor="end">{escape(label)}</text>'
        f'<rect class="{kind}" x="{LABEL}" y="{top}" width="{width}" height="{HEIGHT}">'
        f"<title>{escape(line.key)}: {escape(line.currency)} {_cents(line.amount)}</title></rect>"
        f'<text x="{LABEL + float(width) + 6}" y="{top + 15}">{_cents(line.amount)}</text>'
    )


def _table(lines: Sequence[CostLine], by: str, measure: str) -> str:
    rows = "".join(
        f'<tr><td>{escape(line.key)}</td><td class="number">{line.amount:,f}</td>'
        f'<td class="number">{line.rows}</td></tr>'
        for line in lines
    )
    return (
        f'<table><caption>Exact sums</caption><thead><tr><th scope="col">{escape(by)}</th>'
        f'<th scope="col" class="number">{escape(measure)}</th><th scope="col" class="number">charges</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _cents(amount: Decimal) -> str:
    return f"{amount:,.2f}"
