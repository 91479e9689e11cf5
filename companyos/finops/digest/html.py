"""The digest as one HTML file: tables, and charts in SVG, without scripts and without anything from outside."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from companyos.finops.charts import chart, html_page
from companyos.finops.digest.sections import sections
from companyos.finops.interface import CostLine

if TYPE_CHECKING:
    from companyos.finops.digest.model import Digest
    from companyos.finops.digest.sections import Section

__all__ = ("to_html",)


def to_html(digest: Digest) -> str:
    """The whole digest as a page of its own."""
    when = f"{digest.week.start} to {digest.week.days[-1]}, as of {digest.as_of:%Y-%m-%d %H:%M} UTC."
    parts = [f"<p>{when} Extract: <code>{escape(digest.extract or 'none')}</code></p>"]
    for section in sections(digest):
        parts.append(_section(section))
        if section.title == "Costs":
            parts += _days(digest)
        if section.title == "What moved most":
            parts += _moves(digest)
    return html_page(f"Digest of {digest.label}", "\n".join(parts))


def _section(section: Section) -> str:
    note = f"<p>{escape(section.note)}</p>" if section.note else ""
    if not section.rows:
        return f"<h2>{escape(section.title)}</h2>{note}"
    kinds = [' class="number"' if at in section.numbers else "" for at in range(len(section.headings))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(text)}</th>' for kind, text in zip(kinds, section.headings, strict=True)
    )
    rows = "".join(
        f"<tr>{''.join(f'<td{kind}>{escape(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>"
        for row in section.rows
    )
    return f"<h2>{escape(section.title)}</h2>{note}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _days(digest: Digest) -> list[str]:
    currencies = sorted({line.currency for line in digest.days})
    return [
        chart([line for line in digest.days if line.currency == name], f"Costs by day, this week and before, {name}")
        for name in currencies
    ]


def _moves(digest: Digest) -> list[str]:
    lines = [CostLine(f"{one.by} {one.key}", one.currency, one.change, 0) for one in digest.moves]
    return [
        chart([line for line in lines if line.currency == name], f"Change against the week before, {name}")
        for name in sorted({line.currency for line in lines})
    ]
