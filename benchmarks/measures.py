"""What is measured. Each function returns raw figures by contender, taken in turns within one run."""

from __future__ import annotations

import gc
import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier
from typing import Any
from unittest import mock

import requests
from contenders import CONTENDERS, Contender
from requests.adapters import HTTPAdapter
from server import Remote
from urllib3 import HTTPResponse

import gopacs_session.tokens
from gopacs_session import GopacsSession

Figures = dict[str, list[float]]


class Canned(HTTPAdapter):
    """Answers at once, without a network."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        raw = HTTPResponse(io.BytesIO(b"{}"), headers={"Content-Type": "application/json"}, status=200)
        return self.build_response(request, raw)


def cpu_per_request(remote: Remote, rounds: int, threads: int = 1) -> Figures:
    """Microseconds of CPU for one request, the network taken out by an adapter that answers at once."""
    contenders = {name: make(remote.service) for name, make in CONTENDERS.items()}
    figures: Figures = {name: [] for name in contenders}
    batch = max(1, 200 // threads)
    for contender in contenders.values():
        contender.session.mount("https://", Canned())
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            for name, contender in contenders.items():
                started = time.process_time()
                list(pool.map(lambda _, c=contender: repeat(c, remote.service.api_url, batch), range(threads)))
                figures[name].append((time.process_time() - started) / batch / threads * 1e6)
    return figures


def repeat(contender: Contender, url: str, times: int) -> None:
    for _ in range(times):
        contender.get(url)


def cpu_on_64_threads(remote: Remote, rounds: int) -> Figures:
    """The same on 64 threads that share one session."""
    return cpu_per_request(remote, rounds, threads=64)


def throughput(remote: Remote, rounds: int, threads: int) -> Figures:
    """Requests per second over TLS on one session."""
    contenders = {name: CONTENDERS[name](remote.service) for name in ("plain requests", "gopacs_session")}
    figures: Figures = {name: [] for name in contenders}
    batch = max(4, 256 // threads)
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            for name, contender in contenders.items():
                started = time.perf_counter()
                list(pool.map(lambda _, c=contender: repeat(c, remote.service.api_url, batch), range(threads)))
                figures[name].append(batch * threads / (time.perf_counter() - started))
    return figures


def at_an_expiry(remote: Remote, threads: int) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Token requests, API requests without a good token, and seconds of the slowest request, when a token expires.

    The token endpoint takes 200 ms.
    """
    requests_made, refused, slowest = {}, {}, {}
    for name, make in CONTENDERS.items():
        if name == "plain requests":
            continue
        contender = make(remote.service)
        contender.session.mount("https://", HTTPAdapter(pool_maxsize=threads))
        each(threads, lambda c=contender: c.get(remote.service.api_url))
        remote.delay(0.2)
        remote.count()
        contender.expire()
        slowest[name] = max(each(threads, lambda c=contender: timed(lambda: c.get(remote.service.api_url))))
        remote.delay(0)
        requests_made[name], refused[name] = remote.count()
    return requests_made, refused, slowest


def each(threads: int, call: Callable[[], Any]) -> list[Any]:
    """The results of `call` in threads that set off together; a failed one took for ever."""
    barrier = Barrier(threads)

    def run(_: int) -> Any:
        barrier.wait()
        try:
            return call()
        except Exception:  # noqa: BLE001 - some contenders raise here; the figure shows it
            return float("inf")

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def on_a_stale_token(remote: Remote, requests_count: int) -> tuple[list[float], list[float]]:
    """Seconds of requests while a stale token is renewed behind them, and of requests on a fresh one."""
    contender = CONTENDERS["gopacs_session"](remote.service)
    url = remote.service.api_url
    fresh = [timed(lambda: contender.get(url)) for _ in range(requests_count)]
    remote.delay(0.2)
    session = contender.session
    session.token = {**session.token, "expires_at": time.time() + 30}  # type: ignore[attr-defined]
    stale = [timed(lambda: contender.get(url)) for _ in range(requests_count)]
    remote.delay(0)
    return stale, fresh


def processes(commands: dict[str, list[str]], rounds: int, environ: dict[str, str]) -> Figures:
    """Seconds of whole processes."""
    figures: Figures = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
            figures[name].append(time.perf_counter() - started)
    return figures


def imports(rounds: int, environ: dict[str, str]) -> Figures:
    """Seconds to import."""
    modules = ("requests", "requests_oauthlib", "gopacs_session")
    return processes({name: [sys.executable, "-c", f"import {name}"] for name in modules}, rounds, environ)


BARE = """
import os, requests
form = {"grant_type": "client_credentials", "client_id": os.environ["GOPACS_CLIENT_ID"],
        "client_secret": os.environ["GOPACS_CLIENT_SECRET"]}
print(requests.post(os.environ["GOPACS_TOKEN_URL"], data=form).json()["access_token"])
"""


def token_command(rounds: int, environ: dict[str, str]) -> Figures:
    """Seconds of ``gopacs-session token`` from start to end, and of a bare script that does the same."""
    ours = [sys.executable, "-m", "gopacs_session", "token"]
    return processes({"bare requests": [sys.executable, "-c", BARE], "gopacs_session": ours}, rounds, environ)


def memory(sessions: int) -> tuple[dict[str, float], int]:
    """Kilobytes of a session with its token, and the threads that were left behind."""
    figures = {}
    answer = {"access_token": "x" * 1200, "expires_in": 300, "expires_at": time.time() + 300}

    def ours() -> requests.Session:
        session = GopacsSession("client", "secret")
        session.token = {**answer, "access_token": answer["access_token"] + str(id(session))}
        return session

    for name, make in {"plain requests": requests.Session, "gopacs_session": ours}.items():
        gc.collect()
        before = resident()
        kept = [make() for _ in range(sessions)]
        figures[name] = (resident() - before) / sessions
        del kept
    return figures, threading.active_count()


def resident() -> float:
    """Kilobytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4


def simulated_month(rate: int, days: float) -> dict[str, float]:
    """A session's life on an injected clock: so many requests a second, tokens of 300 s.

    A request is reduced to what it asks the session for, its Authorization header; a month of them whole takes an hour.
    """
    now = [0.0]
    issued: list[float] = []
    counts: dict[str, float] = {"requests": 0, "without a token": 0}

    class Server(Canned):
        def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
            issued.append(now[0])
            body = b'{"access_token": "abc", "token_type": "Bearer", "expires_in": 300}'
            return self.build_response(request, HTTPResponse(io.BytesIO(body), status=200, preload_content=False))

    session = GopacsSession("client", "secret")
    session.mount("https://", Server())
    with (
        mock.patch.object(gopacs_session.tokens, "monotonic", lambda: now[0]),
        mock.patch.object(gopacs_session.tokens, "time", lambda: now[0]),
    ):
        for tick in range(int(rate * 86400 * days)):
            now[0] = tick / rate
            counts["without a token"] += "Authorization" not in session.auth_header
            if threading.active_count() > 1:
                finish_renewals()
    counts["requests"] = int(rate * 86400 * days)
    counts["token requests"] = len(issued)
    counts["lifetimes less the leeway"] = days * 86400 / 240
    counts["early"] = sum(later - earlier < 240 for earlier, later in pairwise(issued))
    return counts


def finish_renewals() -> None:
    for thread in threading.enumerate():
        if thread.name == "gopacs_session renewal":
            thread.join()
