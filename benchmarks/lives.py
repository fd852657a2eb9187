"""Many sessions, and one that lives long."""

from __future__ import annotations

import gc
import io
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import ceil
from typing import Any
from unittest import mock

import requests
from expiries import finish_renewals
from load import Figures
from requests.adapters import HTTPAdapter
from table import OURS, PLAIN
from urllib3 import HTTPResponse

import gopacs_session.clock
from gopacs_session import GopacsSession

API_URL = "https://api.gopacs-services.eu/"
LIFE, LEEWAY = 300, 60  # seconds
RATE = 10  # requests a second


# -- many sessions ---------------------------------------------------------------------------------------------------


def memory(sessions: int, rounds: int) -> tuple[Figures, list[float]]:
    """Kilobytes of a session that has made a request, and the threads that so many of ours leave behind.

    Each kind has a process of its own: memory that another has freed would be used again.
    """
    kinds = {PLAIN: _plain, OURS: _ours}
    figures: Figures = {name: [] for name in kinds}
    left: list[float] = []
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for _ in range(rounds):
            for name, make in kinds.items():
                kilobytes, threads_left = pool.apply(_kilobytes, (make, sessions))
                figures[name].append(kilobytes)
                left += [threads_left] if name == OURS else []
    return figures, left


def _plain(number: int) -> requests.Session:
    session = requests.Session()
    session.headers["Authorization"] = "Bearer " + _access_token(number)
    session.get(API_URL)
    return session


def _ours(number: int) -> requests.Session:
    """It gets a token, makes a request, and renews the token behind it."""
    session = GopacsSession("my-api-client", "its-secret")
    session.get(API_URL)
    session.token = {**session.token, "expires_at": session.token["expires_at"] - LIFE + LEEWAY / 2}
    session.get(API_URL)
    finish_renewals()
    return session


def _kilobytes(make: Callable[[int], requests.Session], sessions: int) -> tuple[float, int]:
    with answered_by(_answers()):
        make(-1).close()  # What is imported late or cached is no session's.
        before, threads = _resident(), threading.active_count()
        kept = [make(number) for number in range(sessions)]
        return (_resident() - before) / len(kept), threading.active_count() - threads


def _resident() -> float:
    """Kilobytes of this process in memory."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4


def _access_token(number: int) -> str:
    return f"{number:01200}"  # as long as one of Keycloak's


def _answers() -> Callable[[requests.PreparedRequest], bytes]:
    numbers = iter(range(10**9))
    return lambda request: _token_answer(next(numbers)) if _asks_for_token(request) else b"{}"


def _token_answer(number: int) -> bytes:
    return b'{"access_token": "%s", "token_type": "Bearer", "expires_in": %d}' % (_access_token(number).encode(), LIFE)


def _asks_for_token(request: requests.PreparedRequest) -> bool:
    return "/realms/" in str(request.url)


@contextmanager
def answered_by(answer: Callable[[requests.PreparedRequest], bytes]) -> Iterator[None]:
    """Without a network; the sessions keep the adapters that they have."""

    def send(self: HTTPAdapter, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        raw = HTTPResponse(io.BytesIO(answer(request)), status=200, preload_content=False)
        return self.build_response(request, raw)

    with mock.patch.object(HTTPAdapter, "send", send):
        yield


# -- a long life -----------------------------------------------------------------------------------------------------


def whole_requests(days: float) -> dict[str, float]:
    """A session's life on an injected clock, judged by what reaches the servers."""
    return _life(days, lambda session: session.get(API_URL))


def headers_only(days: float) -> dict[str, float]:
    """The same with requests that are reduced to what they ask the session for: their Authorization header."""
    return _life(days, lambda session: session.auth_header["Authorization"])


def _life(days: float, call: Callable[[GopacsSession], Any]) -> dict[str, float]:
    now, issued, bad = [0.0], [], 0

    def answer(request: requests.PreparedRequest) -> bytes:
        nonlocal bad
        if _asks_for_token(request):
            issued.append(now[0])
            return _token_answer(len(issued))
        bad += not _good(request.headers.get("Authorization"), issued, now[0])
        return b"{}"

    session = GopacsSession("my-api-client", "its-secret", leeway=LEEWAY)
    with answered_by(answer), clock(now):
        for tick in range(int(RATE * 86400 * days)):
            now[0] = tick / RATE
            header = call(session)
            if isinstance(header, str):
                bad += not _good(header, issued, now[0])
            if threading.active_count() > 1:
                finish_renewals()
    return {
        "lifetimes": ceil(days * 86400 / (LIFE - LEEWAY)),
        "token requests": len(issued),
        "early": sum(later - earlier < LIFE - LEEWAY for earlier, later in pairwise(issued)),
        "without a good token": bad,
    }


def _good(authorization: str | None, issued: list[float], now: float) -> bool:
    """Whether it holds a token that was issued and has not expired."""
    number = int((authorization or "Bearer 0").removeprefix("Bearer "))
    return 0 < number <= len(issued) and now < issued[number - 1] + LIFE


@contextmanager
def clock(now: list[float]) -> Iterator[None]:
    with (
        mock.patch.object(gopacs_session.clock, "monotonic", lambda: now[0]),
        mock.patch.object(gopacs_session.clock, "time", lambda: now[0]),
    ):
        yield
