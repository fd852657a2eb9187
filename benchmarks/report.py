"""The table, with the bounds that must hold, and the picture."""

from __future__ import annotations

from html import escape
from statistics import median

from contenders import HTTPX, OURS, PARENT, PLAIN
from measures import BURST, CPU, EXPIRY, IMPORT, PARTS, RATE, TOKEN_REQUESTS, UNAUTHENTICATED, Figures

UNITS = {CPU: "µs", RATE: "/s", IMPORT: "ms", TOKEN_REQUESTS: "", UNAUTHENTICATED: ""}  # seconds, where none is named
RATIOS = (  # of our figure over another one, and its bound
    (CPU, PLAIN, "≤ 1.03"),
    (CPU, PARENT, "≤ 1"),
    (RATE, PLAIN, "≥ 0.98"),
    (BURST.format(16), PLAIN, "≤ 0.5"),
    (BURST.format(16), HTTPX, "≤ 1.5"),
    (BURST.format(64), PLAIN, "≤ 0.5"),
    (BURST.format(64), HTTPX, "≤ 1.5"),
    (EXPIRY, PARTS, "≤ 1.25"),
    (IMPORT, PARENT, "≤ 1.1"),
)
COUNTS = ((TOKEN_REQUESTS, 1), (UNAUTHENTICATED, 0))  # what ours must be in every round
PICTURED = (CPU, RATE, BURST.format(16), BURST.format(64), UNAUTHENTICATED)

# A light card, so that shades of grey can be told apart on a dark page, too, and on paper.
WIDTH, BAR, LABEL, FIGURE = 400, 20, 130, 72  # pixels: as wide as a phone
CARD, INK, DARK, LIGHT = "#fafafa", "#222222", "#333333", "#aaaaaa"


def table(figures: Figures) -> list[str]:
    """Medians and their ratios, in Markdown."""
    lines = ["| measure | gopacs_session | beside | ratio | must be |", "|---|---|---|---|---|"]
    for measure, other, bound in RATIOS:
        ours, theirs = (median(figures[measure][name]) for name in (OURS, other))
        ratio, (sign, limit) = round(ours / theirs, 2), bound.split()  # It is no more precise than that.
        holds = ratio <= float(limit) if sign == "≤" else ratio >= float(limit)
        beside = f"{other}: {number(theirs, measure)}"
        lines.append(f"| {measure} | {number(ours, measure)} | {beside} | {ratio:.2f} | {verdict(bound, holds)} |")
    for measure, count in COUNTS:
        most, textbook = max(figures[measure][OURS]), number(median(figures[measure][PARENT]), measure)
        lines.append(f"| {measure} | {most:.0f} | {PARENT}: {textbook} | | {verdict(str(count), most == count)} |")
    return lines


def verdict(bound: str, holds: bool) -> str:
    return bound if holds else f"{bound}, **missed**"


def number(value: float, measure: str) -> str:
    digits = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}"
    return f"{digits} {UNITS.get(measure, 's')}".strip()


def picture(figures: Figures) -> list[str]:
    """A block of horizontal bars for each measure, ours dark, in SVG."""
    top, shapes = 12, []
    for measure in PICTURED:
        medians = {name: median(values) for name, values in figures[measure].items() if name != PARTS}
        top += BAR
        shapes.append(f'<text x="12" y="{top}" font-weight="bold">{escape(measure)}</text>')
        top += 6
        for name, value in medians.items():
            shapes += bar(top, name, value / max(medians.values()), number(value, measure))
            top += BAR
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {top + 12}" width="{WIDTH}" '
        f'height="{top + 12}" font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
        "<title>gopacs_session beside what a user might pick instead</title>",
        f'<rect width="{WIDTH}" height="{top + 12}" rx="6" fill="{CARD}"/>',
        *shapes,
        "</svg>",
    ]


def bar(top: int, name: str, share: float, figure: str) -> list[str]:
    left, width, shade = LABEL + 16, share * (WIDTH - LABEL - FIGURE - 24), DARK if name == OURS else LIGHT
    return [
        f'<text x="{left - 6}" y="{top + 14}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{left}" y="{top + 3}" width="{width:.1f}" height="{BAR - 6}" fill="{shade}"/>',
        f'<text x="{left + width + 5:.1f}" y="{top + 14}">{figure}</text>',
    ]
