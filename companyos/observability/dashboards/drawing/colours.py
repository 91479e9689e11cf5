"""Colours of the pictures, for a light and a dark ground.

Each colour of a line has at least 3:1 to its ground and text at least 4.5:1 (WCAG 2.2, 1.4.11 and 1.4.3); no two
lines differ by colour alone, because each also has a pattern of dashes of its own.
"""

from __future__ import annotations

__all__ = ("DASHES", "THEMES", "contrast", "style")

THEMES = {
    "light": {
        "ground": "#ffffff",
        "panel": "#f7f8fa",
        "edge": "#767c85",
        "grid": "#d5d9df",
        "text": "#1c2128",
        "quiet": "#4a525c",
        "alarm": "#b3261e",
        "mark": "#2b5fb3",
        "series": ("#0b6e99", "#b34700", "#2e7d32", "#7b3fa0", "#a11d5b", "#5d5a00", "#33691e", "#3949ab"),
    },
    "dark": {
        "ground": "#12151a",
        "panel": "#1b2027",
        "edge": "#8a929d",
        "grid": "#363d47",
        "text": "#eef1f5",
        "quiet": "#b4bcc7",
        "alarm": "#ff8a80",
        "mark": "#8ab4f8",
        "series": ("#5cc8f5", "#ffab66", "#81d886", "#cfa0f0", "#ff8fc0", "#e0d95c", "#b5e08a", "#9fb0ff"),
    },
}
"""What each name is in each theme; `series` are those of the lines, used in turn."""
DASHES = ("", "6 3", "2 2", "9 3 2 3", "12 4", "4 2 1 2", "1 3", "8 2 2 2 2 2")
"""Patterns of the lines, in the same turn."""


def contrast(first: str, second: str) -> float:
    """The contrast of two colours `#rrggbb`, 1 to 21 (WCAG 2.2, relative luminance)."""
    brighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def style() -> str:
    """The style sheet of a picture: light, and dark where the reader prefers it.

    Without custom properties of CSS, which many a viewer of SVG does not know.
    """
    shapes = (
        "text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;font-size:11px}.h{font-size:20px}"
        ".r{font-size:15px}.t{font-size:13px}.h,.r,.t{font-weight:600}.e,.g,.l,.s{fill:none}"
        ".m{stroke-dasharray:2 3}.l{stroke-dasharray:7 4}.s{stroke-width:1.6;stroke-linejoin:round}"
    )
    dashes = "".join(f".s{place}{{stroke-dasharray:{dash}}}" for place, dash in enumerate(DASHES) if dash)
    return f"{shapes}{dashes}{_colours('light')}@media (prefers-color-scheme:dark){{{_colours('dark')}}}"


def _colours(theme: str) -> str:
    named = THEMES[theme]
    rules = (
        "text{{fill:{text}}}.q{{fill:{quiet}}}.a{{fill:{alarm}}}.k{{fill:{mark}}}.ground{{fill:{ground}}}"
        ".p{{fill:{panel};stroke:{grid}}}.x{{fill:{panel};stroke:{text}}}.e{{stroke:{edge}}}.g{{stroke:{grid}}}"
        ".m{{stroke:{mark}}}.l{{stroke:{alarm}}}"
    ).format(**named)
    return rules + "".join(f".s{place}{{stroke:{colour}}}" for place, colour in enumerate(named["series"]))


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[place : place + 2], 16) / 255) for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
