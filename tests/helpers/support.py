from __future__ import annotations

import os
import random
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Barrier, Thread
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter


class Clock:
    """The session's clocks, under the test's hand; `wall` can be set apart from the monotonic one."""

    def __init__(self) -> None:
        self.monotonic = 1_000.0
        self.wall = 1_800_000_000.0

    def advance(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


def in_background(call: Callable[[], Any]) -> Future[Any]:
    """What `call` returns or raises in a thread of its own, which keeps no program from ending if it hangs."""
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the test looks at it, and would wait for ever for no outcome
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    return outcome


def at_once(threads: int, call: Callable[[], Any]) -> list[Any]:
    """What `call` returned or raised in each of so many threads that set off together."""
    barrier = Barrier(threads)

    def run() -> Any:
        barrier.wait()
        return call()

    outcomes = [in_background(run) for _ in range(threads)]
    return [outcome.exception() or outcome.result() for outcome in outcomes]


class Recording(HTTPAdapter):
    """An adapter of the user's own that keeps method and URL of what it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str | None, str | None]] = []

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        self.sent.append((request.method, request.url))
        return super().send(request, *args, **options)


class Offline(BaseAdapter):
    """Answers each request at once, with the same status and body, and connects to nothing."""

    def __init__(self, status: int = 200, body: bytes = b"") -> None:
        super().__init__()
        self.status, self.body = status, body

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        answer = requests.Response()
        answer.status_code, answer._content = self.status, self.body
        answer.request, answer.url = request, str(request.url)
        return answer

    def close(self) -> None:
        """There is nothing to close."""


def needs_fork(test: Callable[..., None]) -> Callable[..., None]:
    test = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")(test)
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")(test)


def forked(call: Callable[[], Any]) -> int:
    """The process id of a forked child that exits with 0 if `call` returns something true."""
    process = os.fork()
    if process == 0:
        signal.alarm(20)  # It ends there, if it hangs.
        with suppress(BaseException):
            os._exit(0 if call() else 1)
        os._exit(2)
    return process


def exit_status(process: int) -> int:
    """That of a forked child."""
    return os.waitpid(process, 0)[1]


def finish_renewals() -> None:
    """Wait for renewals behind requests."""
    for thread in threading.enumerate():
        if thread.name == "gopacs_session renewal":
            thread.join(30)


def unassigned_port() -> int:
    """A free port below those that systems assign by themselves, which another test might be given meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no cryptography
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
