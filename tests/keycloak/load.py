"""Many threads that make requests all the time, and a record of what came of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import requests

PAUSE = 0.05  # seconds of rest in each thread between two requests


@dataclass(frozen=True)
class Outcome:
    """One request: when it was made, by `time.time()`, and its status or the exception it ended with."""

    started: float
    ended: float
    result: int | Exception


@final
class Load:
    """Makes requests while its block runs; each thread makes one after another.

    Args:
        call: makes one request.
        threads: how many at a time.

    Attributes:
        outcomes (list[Outcome]): of all requests that have ended, in that order.
    """

    def __init__(self, call: Callable[[], requests.Response], threads: int) -> None:
        self._call = call
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self.outcomes: list[Outcome] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def results(self, since: float = 0.0) -> Counter[int | type[Exception]]:
        """Count the statuses, and the types of exceptions, of requests that were made at this time or later."""
        results = [outcome.result for outcome in list(self.outcomes) if outcome.started >= since]
        return Counter(type(result) if isinstance(result, Exception) else result for result in results)

    def wait_for(self, result: int | type[Exception], since: float = 0.0) -> None:
        """Wait until the threads could each have met this result twice with requests made since."""
        wait_until(lambda: self.results(since)[result] >= 2 * len(self._threads))

    def _run(self) -> None:
        while not self._over.wait(PAUSE):
            started, result = time.time(), self._result()
            self.outcomes.append(Outcome(started, time.time(), result))

    def _result(self) -> int | Exception:
        try:
            return self._call().status_code
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return as soon as the condition holds; it is an error if it does not come to hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"what was waited for did not come in {seconds} s"
        time.sleep(0.02)
