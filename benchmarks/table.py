"""The measures: what each is called, and what must hold of it."""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple

Cases = dict[str, dict[str, Any]]  # raw figures by case, such as "4 threads", and by contender

OURS, PLAIN, PARENT = "gopacs_session", "plain requests", "requests-oauthlib"


class Measure(NamedTuple):
    title: str
    unit: str


MEASURES = {
    "cpu": Measure("CPU for a request", "µs"),
    "throughput": Measure("Requests per second", "/s"),
    "token-requests": Measure("Token requests at an expiry", ""),
    "refused": Measure("Requests without a good token at an expiry", ""),
    "slowest": Measure("Slowest request at an expiry, a token request taking 0.2 s", "s"),
    "import": Measure("Time to start Python and import", "s"),
    "token-command": Measure("Time to get a token on the command line", "s"),
    "memory": Measure("Memory of a session", "kB"),
    "threads-left": Measure("Threads left behind", ""),
    "life": Measure("A long life", ""),
}


class Must(NamedTuple):
    """A bound on one of our figures, or on its ratio to another one, in one case or in each.

    Attributes:
        over: the contender whose figure it is divided by, or a number.
        least: whether the bound is a lower one.
    """

    measure: str
    figure: str
    over: str | float
    bound: float
    case: str | None = None
    least: bool = False

    def value(self, figures: dict[str, Any]) -> float:
        """The ratio of the medians, in one case."""
        return middle(figures[self.figure]) / (middle(figures[self.over]) if isinstance(self.over, str) else self.over)

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.least else value <= self.bound


MUSTS = (
    Must("cpu", OURS, PLAIN, 1.03, case="1 thread"),
    Must("cpu", OURS, PLAIN, 1.05, case="64 threads"),
    Must("cpu", OURS, PARENT, 1),
    Must("throughput", OURS, PLAIN, 0.98, least=True),
    Must("token-requests", OURS, 1, 1),
    Must("refused", OURS, 1, 0),
    Must("slowest", OURS, 0.2, 1.25),
    Must("slowest", f"{OURS}, no token", 0.2, 1.25),
    Must("slowest", f"{OURS}, stale token", f"{OURS}, fresh token", 1.25),
    Must("import", OURS, "requests_oauthlib", 1.10),
    Must("token-command", OURS, "requests.post", 1.15),
    Must("memory", OURS, PLAIN, 2),
    Must("threads-left", OURS, 1, 0),
    Must("life", "token requests", "lifetimes", 1),
    Must("life", "early", 1, 0),
    Must("life", "without a good token", 1, 0),
)


def middle(figures: Any) -> float:
    """The median of raw figures; a count that is always the same is kept as it is."""
    return float(median(figures) if isinstance(figures, list) else figures)
