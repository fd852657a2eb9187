"""Draw the figures: python benchmarks/plot.py [DIRECTORY]

One SVG for each measure, from figures.json in the same directory; readable in grey.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

mpl.rcParams.update({"svg.hashsalt": "gopacs_session", "font.size": 9, "svg.fonttype": "none"})

BARS = {
    "cpu": ("cpu-per-request", "CPU per request, one thread", "µs"),
    "cpu, 64 threads": ("cpu-on-64-threads", "CPU per request, 64 threads on one session", "µs"),
    "import": ("import", "Time to import", "s"),
    "token command": ("token-command", "A token on the command line, start to end", "s"),
    "memory": ("memory", "Memory of a session with its token", "kB"),
}
GROUPS = {
    "throughput": ("throughput", "Requests per second over TLS, by threads", "requests/s"),
    "token requests": ("token-requests", "Token requests for one expired token, by threads", ""),
    "slowest": ("slowest-at-an-expiry", "Slowest request at an expiry, token endpoint taking 0.2 s, by threads", "s"),
}
OURS, OTHERS = "0.15", "0.7"


def main(directory: Path) -> None:
    figures = json.loads((directory / "figures.json").read_text(encoding="utf-8"))
    for key, (name, title, unit) in BARS.items():
        bars(directory / f"{name}.svg", title, unit, {k: middle(v) for k, v in figures[key].items()})
    for prefix, (name, title, unit) in GROUPS.items():
        by_threads = {int(key.split(", ")[1]): figures[key] for key in figures if key.startswith(f"{prefix}, ")}
        groups(directory / f"{name}.svg", title, unit, by_threads)


def middle(value: Any) -> float:
    return float(median(value) if isinstance(value, list) else value)


def bars(path: Path, title: str, unit: str, values: dict[str, float]) -> None:
    figure, axes = pyplot.subplots(figsize=(6.5, 0.6 + 0.32 * len(values)), layout="constrained")
    names = list(values)[::-1]
    drawn = axes.barh(names, [values[n] for n in names], color=[OURS if "gopacs" in n else OTHERS for n in names])
    axes.bar_label(drawn, [f"{values[n]:.3g} {unit}" for n in names], padding=3)
    finish(figure, axes, title, path)


def groups(path: Path, title: str, unit: str, by_threads: dict[int, dict[str, Any]]) -> None:
    """A row of bars for each contender, one for each number of threads; a failed one has none."""
    names = list(next(iter(by_threads.values())))[::-1]
    figure, axes = pyplot.subplots(figsize=(6.5, 0.6 + 0.16 * len(names) * (len(by_threads) + 1)), layout="constrained")
    for row, (threads, values) in enumerate(reversed(by_threads.items())):
        places = [index * (len(by_threads) + 1) + row for index in range(len(names))]
        numbers = [middle(values[n]) for n in names]
        shown = [0 if number == float("inf") else number for number in numbers]
        drawn = axes.barh(places, shown, color=[OURS if "gopacs" in n else OTHERS for n in names])
        labels = [f"{threads}: " + ("failed" if n == float("inf") else f"{n:.3g} {unit}") for n in numbers]
        axes.bar_label(drawn, labels, padding=3, fontsize=7)
    middles = [index * (len(by_threads) + 1) + (len(by_threads) - 1) / 2 for index in range(len(names))]
    axes.set_yticks(middles, names)
    finish(figure, axes, title, path)


def finish(figure: Any, axes: Any, title: str, path: Path) -> None:
    axes.set_title(title, loc="left")
    axes.set_xticks([])
    axes.margins(x=0.18)
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/benchmarks"))
