from __future__ import annotations

import random
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

from gopacs_session import GopacsSession


class Clock:
    """The session's clocks, under the test's hand; `wall` can be set apart from the monotonic one."""

    def __init__(self) -> None:
        self.monotonic = 1_000.0
        self.wall = 1_800_000_000.0

    def advance(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


def at_once(threads: int, call: Callable[[], Any]) -> list[Any]:
    """What `call` returned or raised in each of so many threads that set off together."""
    barrier = Barrier(threads)

    def run(_: int) -> Any:
        barrier.wait()
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def unassigned_port() -> int:
    """A free port below those that systems assign by themselves, which another test might be given meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no cryptography
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def call_the_api(session: GopacsSession, url: str) -> int:
    """The status of a GET, in a function that other processes can import."""
    with session:
        return session.get(url).status_code
