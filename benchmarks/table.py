"""What must hold: bounds on our figures, and a row of the page's first table for each."""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple

from contenders import HTTPX, OURS, PARENT, PLAIN, TUNED, URLLIB3
from expiries import FRESH, STALE, SUM

Figures = dict[str, dict[str, dict[str, list[float]]]]  # raw, by measure, by case such as "4 threads", by contender

UNITS = {
    "CPU for a request, no network": "µs",
    "CPU for a request, TLS to nginx": "µs",
    "Requests per second, TLS to nginx": "/s",
    "nginx busy": "%",
    "Cold burst": "s",
    "First request of a program": "s",
    "First request after an idle hour": "s",
    "Slowest request at an expiry": "s",
    "Token requests at an expiry": "",
    "Without a good token at an expiry": "",
    "Time to start Python and import": "s",
    "Time to get a token on the command line": "s",
    "CPU for a request, by environment": "µs",
    "Memory of a session": "kB",
}


class Must(NamedTuple):
    """A bound on one of our figures over another one, in one case or in each.

    Attributes:
        bound: None where there is no promise.
        least: whether the bound is a lower one.
    """

    measure: str
    over: str
    bound: float | None
    case: str | None = None
    figure: str = OURS
    least: bool = False


MUSTS = (
    Must("CPU for a request, no network", PLAIN, 1.03),
    Must("CPU for a request, no network", PARENT, 1),
    Must("CPU for a request, TLS to nginx", PLAIN, 1.03),
    Must("CPU for a request, TLS to nginx", TUNED, None),
    Must("Requests per second, TLS to nginx", PLAIN, 0.98, least=True),
    Must("Requests per second, TLS to nginx", TUNED, None),
    Must("Requests per second, TLS to nginx", URLLIB3, None),
    Must("Cold burst", PLAIN, None, "1 thread"),
    Must("Cold burst", PLAIN, 0.5, "16 threads"),
    Must("Cold burst", PLAIN, 0.5, "64 threads"),
    Must("Cold burst", HTTPX, 1.5, "16 threads"),
    Must("Cold burst", HTTPX, 1.5, "64 threads"),
    Must("First request of a program", PLAIN, 1.1),
    Must("First request after an idle hour", SUM, 1.1),
    Must("First request after an idle hour", PLAIN, 1),
    Must("Slowest request at an expiry", SUM, 1.25),
    Must("Slowest request at an expiry", FRESH, 1.25, figure=STALE),
    Must("Time to start Python and import", PARENT, 1.1),
    Must("Time to get a token on the command line", PLAIN, 1.1),
    Must("CPU for a request, by environment", f"{PLAIN}, 30 variables", 1.03, figure=f"{OURS}, 30 variables"),
    Must("CPU for a request, by environment", f"{PLAIN}, 1,000 variables", 1.03, figure=f"{OURS}, 1,000 variables"),
    Must("CPU for a request, by environment", f"{OURS}, 30 variables", None, figure=f"{OURS}, 300 variables"),
    Must("CPU for a request, by environment", f"{OURS}, 30 variables", None, figure=f"{OURS}, 1,000 variables"),
    Must("Memory of a session", PLAIN, 2, "not connected"),
    Must("Memory of a session", PLAIN, 1.1, "with a connection"),
)


def bounds(figures: Figures) -> list[str]:
    """Medians and their ratios, in Markdown."""
    lines = ["| measure | the session | beside | ratio | must be |", "|---|---|---|---|---|"]
    for must in MUSTS:
        for case, of in figures.get(must.measure, {}).items():
            if must.case in (None, case):
                lines.append(_row(must, case, of))
    return lines


def _row(must: Must, case: str, of: dict[str, list[float]]) -> str:
    def told(name: str) -> str:
        return number(median(of[name]), UNITS[must.measure])

    ratio = median(of[must.figure]) / median(of[must.over])
    measure, ours = ", ".join(filter(None, [must.measure, case])), told(must.figure)
    if must.figure != OURS:
        ours = f"{must.figure.removeprefix(OURS + ', ')}: {ours}"
    return f"| {measure} | {ours} | {must.over}: {told(must.over)} | {ratio:.2f} | {_verdict(must, ratio)} |"


def _verdict(must: Must, ratio: float) -> str:
    if must.bound is None:
        return ""
    sign, holds = ("≥", ratio >= must.bound) if must.least else ("≤", ratio <= must.bound)
    return f"{sign} {must.bound:g}{'' if holds else ', **missed**'}"


SIDE_BY_SIDE = {
    "CPU for a request": ("CPU for a request, TLS to nginx", "1 thread"),
    "requests per second": ("Requests per second, TLS to nginx", "1 thread"),
    "token requests": ("Token requests at an expiry", "32 threads"),
    "without a good token": ("Without a good token at an expiry", "32 threads"),
    "slowest": ("Slowest request at an expiry", "32 threads"),
}


def side_by_side(figures: Figures) -> list[str]:
    """Every contender in a few measures, in Markdown."""
    chosen = {title: (figures[measure][case], UNITS[measure]) for title, (measure, case) in SIDE_BY_SIDE.items()}
    lines = [f"| | {' | '.join(chosen)} |", "|---" * (len(chosen) + 1) + "|"]
    for name in figures["CPU for a request, TLS to nginx"]["1 thread"]:
        cells = (number(median(of[name]), unit) if name in of else "" for of, unit in chosen.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def number(value: float, unit: str) -> str:
    if value == float("inf"):
        return "failed"
    digits = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}"
    return f"{digits} {unit}".strip()


def of_any(case: dict[str, list[float]]) -> Any:
    """The highest median of any contender."""
    return max(median(values) for values in case.values())
