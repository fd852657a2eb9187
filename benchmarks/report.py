"""The page's tables and pictures from raw figures: python benchmarks/report.py FIGURES.json DIRECTORY"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from contenders import OURS
from table import UNITS, Figures, bounds, number, side_by_side

# A light card, so that shades of grey can be told apart on a dark page, too, and on paper.
WIDTH, BAR, LABEL, FIGURE = 400, 20, 150, 72  # pixels: as wide as a phone
CARD, INK, DARK, LIGHT = "#fafafa", "#222222", "#333333", "#aaaaaa"

CPU = "CPU for a request, TLS to nginx"

Blocks = dict[str, dict[str, float]]  # what each bar stands for, and its length, by the heading of a block


def write(path: Path, directory: Path) -> None:
    """What the figures in a file allow: a part of them makes a part of the first table only."""
    recorded = json.loads(path.read_text(encoding="utf-8"))
    figures: Figures = recorded["figures"]
    directory.mkdir(parents=True, exist_ok=True)
    texts = {"table.txt": [*bounds(figures), "", *made_with(recorded["machine"])]}
    if "Cold burst" in figures:
        blocks = {case: medians(of) for case, of in figures["Cold burst"].items()}
        texts["burst.svg"] = picture("First request of each thread, no connection yet", blocks, "s")
    if CPU in figures:
        texts["cpu.svg"] = picture("CPU for a request", {"": medians(figures[CPU]["1 thread"])}, UNITS[CPU])
    if len(figures) == len(UNITS):
        texts["side-by-side.txt"] = side_by_side(figures)
    for name, lines in texts.items():
        (directory / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        if name.endswith(".txt"):
            print(*lines, "", sep="\n")


def made_with(machine: dict[str, Any]) -> list[str]:
    return [f"- {name}: {value}" for name, value in machine.items()]


def medians(case: dict[str, list[float]]) -> dict[str, float]:
    return {name: median(values) for name, values in case.items()}


def picture(title: str, blocks: Blocks, unit: str) -> list[str]:
    """Horizontal bars, ours dark, in SVG."""
    top, shapes = 24, [f'<text x="12" y="24" font-weight="bold">{escape(title)}</text>']
    for heading, bars in blocks.items():
        if heading:
            top += BAR + 6
            shapes.append(f'<text x="12" y="{top}">{escape(heading)}</text>')
        top += 8
        longest = max(length for length in bars.values() if length != float("inf"))
        for name, length in bars.items():
            shapes += bar(top, name, length, longest, unit)
            top += BAR
    height = top + 12
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="{CARD}"/>',
        *shapes,
        "</svg>",
    ]


def bar(top: float, name: str, length: float, longest: float, unit: str) -> list[str]:
    """A failed one has none."""
    width = 0.0 if length == float("inf") else length / longest * (WIDTH - LABEL - FIGURE - 24)
    left, shade = LABEL + 16, DARK if name == OURS else LIGHT
    return [
        f'<text x="{left - 6}" y="{top + 14}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{left}" y="{top + 3}" width="{width:.1f}" height="{BAR - 6}" fill="{shade}"/>',
        f'<text x="{left + width + 5:.1f}" y="{top + 14}">{number(length, unit)}</text>',
    ]


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
