"""Ways to put load on contenders, taken in turns, so that a slow moment of the machine strikes them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from threading import Barrier
from typing import Any

Figures = dict[str, list[float]]  # by contender, one for each round

FAILED = float("inf")


def in_turns(contenders: dict[str, Any], rounds: int, measure: Callable[[Any], Any]) -> dict[str, list[Any]]:
    """What is measured of each contender in each round; who comes after whom changes from round to round."""
    figures: dict[str, list[Any]] = {name: [] for name in contenders}
    order, chance = list(contenders), Random(1)
    for _ in range(rounds):
        chance.shuffle(order)
        for name in order:
            figures[name].append(measure(contenders[name]))
    return figures


def columns(figures: dict[str, list[Any]]) -> list[Figures]:
    """Figures for each of the things that were measured together."""
    number = len(next(iter(figures.values()))[0])
    return [{name: [row[n] for row in rows] for name, rows in figures.items()} for n in range(number)]


class Threads:
    """A number of threads that work for one contender at a time."""

    def __init__(self, number: int, pool: ThreadPoolExecutor) -> None:
        self.number, self._pool = number, pool

    def calls(self, call: Callable[[], Any], times: int) -> tuple[float, float]:
        """Seconds, and seconds of CPU, that a call took, so many of them in each thread, one after the other."""

        def repeat(_: int) -> None:
            for _ in range(times):
                call()

        started, cpu = time.perf_counter(), time.process_time()
        list(self._pool.map(repeat, range(self.number)))
        all_of_them = times * self.number
        return (time.perf_counter() - started) / all_of_them, (time.process_time() - cpu) / all_of_them

    def burst(self, call: Callable[[], Any]) -> float:
        """Seconds that the slowest of calls took, one in each thread, all set off together; FAILED for an exception."""
        barrier = Barrier(self.number)

        def once(_: int) -> float:
            barrier.wait()
            try:
                return seconds(call)
            except Exception:  # noqa: BLE001 - some contenders raise here; the figure shows it
                return FAILED

        return max(self._pool.map(once, range(self.number)))


@contextmanager
def threads(number: int) -> Iterator[Threads]:
    with ThreadPoolExecutor(number) as pool:
        some = Threads(number, pool)
        some.burst(lambda: None)  # Starts them.
        yield some


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
