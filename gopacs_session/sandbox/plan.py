"""Answers that a test planned."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, repeat

from .exchange import Answer


class Plan:
    """A queue of answers, which may have no end."""

    def __init__(self) -> None:
        self._answers: Iterator[Answer] = iter(())

    def add(self, answer: Answer, n: float) -> None:
        """Plan `answer` for `n` requests, after those planned before; 0 drops these."""
        coming = repeat(answer) if n == math.inf else repeat(answer, int(n))
        self._answers = chain(self._answers, coming) if n else iter(())

    def next(self) -> Answer | None:
        """The next answer, taken from the plan; None if there is none."""
        return next(self._answers, None)
