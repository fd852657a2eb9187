"""A signal handler that raises, wherever it can in a renewal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType
from typing import Any

import requests

from gopacs_session import PRODUCTION, renewal, tokens

from .tap import Tap, client

START = "https://api.gopacs-services.eu/start"
COUNTED = {tokens.__file__, renewal.__file__, threading.__file__}


class Interrupted(BaseException):
    """What the handler raises, as KeyboardInterrupt."""


class Gate(Tap):
    """Lets token requests wait."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.open = threading.Event(), threading.Event()

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if request.method == "POST":
            self.arrived.set()
            assert self.open.wait(10)
        return super().send(request, *args, **options)


def is_interrupted(call: Callable[[], Any], at: int) -> bool:
    """Whether there were so many chances to interrupt the call, the last of which was taken.

    CPython runs signal handlers where a function of Python's starts, and where one of C's has returned.
    """
    left = at

    def chance(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        if event in ("call", "c_return") and frame.f_code.co_filename in COUNTED:
            left -= 1
            if not left:
                raise Interrupted

    before = sys.getprofile()
    sys.setprofile(chance)
    try:
        call()
    except Interrupted:
        return True
    finally:
        sys.setprofile(before)
    return False


def test_an_interrupted_renewal_leaves_a_session_that_works() -> None:
    """Wherever a handler raises in the thread that renews, that thread and others get a token afterwards."""
    at, interrupted = 0, True
    with ThreadPoolExecutor(1) as pool:
        while interrupted:
            at += 1
            session = client(PRODUCTION, Tap())
            interrupted = is_interrupted(session.fetch_token, at)
            session.token = None
            assert pool.submit(session.get, START).result(10).status_code == 200
            session.token = None
            assert session.get(START).status_code == 200


def test_an_interrupted_wait_holds_nobody_up() -> None:
    """Wherever a handler raises in a thread that waits for another's renewal, that one and its followers go on."""
    at, interrupted = 0, True
    with ThreadPoolExecutor(2) as pool:
        while interrupted:
            at += 1
            gate = Gate()
            session = client(PRODUCTION, gate)
            renewing = pool.submit(session.fetch_token)
            assert gate.arrived.wait(10)
            waiting = pool.submit(is_interrupted, session.fetch_token, at)
            wait([waiting], timeout=0.02)  # Until it is interrupted, or waits.
            gate.open.set()
            interrupted = waiting.result(10)
            assert renewing.result(10)
            assert session.get(START).status_code == 200
