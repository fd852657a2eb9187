"""Make the table and the pictures from the raw figures once more: python benchmarks/report.py [DIRECTORY]"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot
from table import MEASURES, MUSTS, OURS, Measure, Must, middle

mpl.rcParams.update({"svg.hashsalt": "gopacs_session", "svg.fonttype": "none", "font.size": 9})
DARK, LIGHT = "0.15", "0.7"  # Shades of grey: to be printed, and for those who see no colours.
BAR, GAP = 0.2, 0.25  # inches


def write(directory: Path) -> None:
    """The table, printed too, and a picture for each measure."""
    recorded = json.loads((directory / "figures.json").read_text(encoding="utf-8"))
    figures = recorded["figures"]
    rows = [(must, case, must.value(of)) for must in MUSTS for case, of in cases(must, figures)]
    text = "\n".join([*table(rows, figures), "", *made_with(recorded["machine"])]) + "\n"
    (directory / "table.txt").write_text(text, encoding="utf-8")
    print(text)
    for key, measure in MEASURES.items():
        if any(len(of) > 1 for of in figures[key].values()):  # One number is no picture.
            draw(directory / f"{key}.svg", measure, figures[key])


def cases(must: Must, figures: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(case, of) for case, of in figures[must.measure].items() if must.case in (None, case)]


def table(rows: list[tuple[Must, str, float]], figures: dict[str, Any]) -> list[str]:
    """In Markdown, a row for each bound."""
    lines = ["| measure | case | figure | over | ratio | must be |", "|---|---|---|---|---|---|"]
    for must, case, value in rows:
        measure, of = MEASURES[must.measure], figures[must.measure][case]
        over = f"{must.over}: {number(middle(of[must.over]), measure.unit)}" if isinstance(must.over, str) else ""
        over = over or (number(must.over, measure.unit) if must.over != 1 else "")
        bound = f"{'≥' if must.least else '≤'} {must.bound:g}{'' if must.holds(value) else ', **missed**'}"
        figure = f"{must.figure}: {number(middle(of[must.figure]), measure.unit)}"
        lines.append(f"| {measure.title} | {case} | {figure} | {over} | {value:.3g} | {bound} |")
    return lines


def made_with(machine: dict[str, str]) -> list[str]:
    return [f"- {name}: {value}" for name, value in machine.items()]


def number(value: float, unit: str) -> str:
    if value == float("inf"):
        return "failed"
    digits = f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"
    return f"{digits} {unit}".strip()


def draw(path: Path, measure: Measure, by_case: dict[str, dict[str, Any]]) -> None:
    """A block of bars for each case; a contender that failed has none."""
    height = sum(BAR * len(of) + GAP for of in by_case.values()) + 2 * GAP
    heights = [len(of) for of in by_case.values()]
    figure, blocks = pyplot.subplots(
        len(by_case), squeeze=False, figsize=(7, height), height_ratios=heights, layout="constrained"
    )
    figure.suptitle(measure.title, x=0.01, ha="left", fontsize=10)
    for axes, (case, of) in zip(blocks[:, 0], by_case.items(), strict=True):
        draw_case(axes, case, {name: middle(values) for name, values in of.items()}, measure.unit)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw_case(axes: Any, case: str, values: dict[str, float], unit: str) -> None:
    names = list(values)[::-1]
    lengths = [0 if values[name] == float("inf") else values[name] for name in names]
    bars = axes.barh(names, lengths, color=[DARK if OURS in name else LIGHT for name in names])
    axes.bar_label(bars, [number(values[name], unit) for name in names], padding=3)
    axes.set_title(case, loc="left", fontsize=9)
    axes.set_xticks([])
    axes.margins(x=0.2)
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/benchmarks"))
