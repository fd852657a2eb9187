"""Many threads on one session; processes that fork or end; signals."""

from __future__ import annotations

import copy
import io
import math
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from support import Clock, Offline, at_once, exit_status, forked, in_background, needs_fork

import gopacs_session.grant
from gopacs_session import AuthorizationServerError, GopacsSession, TokenRequestError
from gopacs_session.sandbox import Sandbox

needs_signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs a signal to one thread")


@pytest.mark.usefixtures("eager_switching")
def test_32_threads_share_each_token_request(sandbox: Sandbox, clock: Clock) -> None:
    """Each time that there is no token, or that it expires, under 32 threads, one token request serves them all."""
    with sandbox.session() as session:
        for times in range(1, 11):
            answers = at_once(32, lambda: session.get(sandbox.api_url))
            assert [answer.status_code for answer in answers] == [200] * 32
            assert len(sandbox.token_requests) == times
            clock.advance(sandbox.token_lifetime)
    assert all(exchange.authorization for exchange in sandbox.api_requests)


class Hanging(HTTPAdapter):
    """Hangs in its first request until it is released, and is patient with the others."""

    def __init__(self) -> None:
        super().__init__()
        self.hung, self.release = threading.Event(), threading.Event()

    def send(self, *args: Any, **options: Any) -> requests.Response:
        if not self.hung.is_set():
            self.hung.set()
            self.release.wait(30)
            raise requests.ConnectionError
        return super().send(*args, **{**options, "timeout": 10})


@pytest.mark.usefixtures("pauses")
def test_a_renewal_that_hangs_does_not_hang_the_others(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for a renewal that never ends get a typed error, and the next request renews by itself."""
    monkeypatch.setattr(gopacs_session.grant, "LONGEST_PAUSE", 0.05)
    with sandbox.session(token_timeout=0.05) as session:
        hanging = Hanging()
        session.mount(sandbox.environment.token_url, hanging)
        renewing = in_background(lambda: session.get(sandbox.api_url))
        assert hanging.hung.wait(10)
        errors = at_once(8, lambda: session.get(sandbox.api_url))
        assert {type(error) for error in errors} == {AuthorizationServerError}
        assert all("did not renew it within 0.55 s" in str(error) for error in errors)
        assert session.get(sandbox.api_url).status_code == 200
        hanging.release.set()
        assert renewing.result(10).status_code == 200


# -- ends --------------------------------------------------------------------------------------------------------------

PROGRAM = """
import atexit, os, sys, threading, time
from gopacs_session import GopacsSession

url = %r

class Desk:
    session = GopacsSession.from_env()

    def call(self):
        return self.session.get(url)

    def look_at_the_end(self, sys=sys, print=print):  # Globals may be None by then.
        assert sys.is_finalizing()
        try:
            print("a token" if self.session.auth_header else "")
        except Exception:
            print("an error")  # Nothing can be imported any more, and connecting imports something.

desk = Desk()
desk.session.token = {"access_token": "stale", "expires_in": 300, "expires_at": time.time() + 30}
"""
IN_MID_RENEWAL = "Desk.session.token = None; threading.Thread(target=Desk.session.get, args=[url], daemon=True).start()"
AT_THE_END = "Desk.__del__ = Desk.look_at_the_end"
# What a program does; token requests in flight when it ends; what it prints.
ENDS = [
    ("desk.call()", 1, b""),
    ("atexit.register(desk.call)", 0, b""),
    (AT_THE_END, 0, b"a token\n"),
    (IN_MID_RENEWAL, 1, b""),
    (f"{IN_MID_RENEWAL}; {AT_THE_END}", 1, b"an error\n"),
]


@contextmanager
def running(sandbox: Sandbox, statements: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    # A measurement of the tests' coverage has an end of its own, which would come before the program's.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environ |= {"GOPACS_CLIENT_ID": sandbox.client_id, "GOPACS_CLIENT_SECRET": sandbox.client_secret}
    environ |= {"GOPACS_TOKEN_URL": sandbox.environment.token_url, "GOPACS_API_DOMAINS": "localhost"}
    environ |= {"GOPACS_CA_BUNDLE": sandbox.ca_file}
    command = [sys.executable, *options, "-c", PROGRAM % sandbox.api_url + statements]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=environ, **pipes) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.mark.parametrize("statements, token_requests, output", ENDS)
def test_a_program_ends(sandbox: Sandbox, statements: str, token_requests: int, output: bytes) -> None:
    """Whatever a program does with a stale token, or in a renewal that nobody finishes, it ends."""
    sandbox.answer_next_api_requests(math.inf, 200)
    with running(sandbox, f"{statements}; input()") as program, sandbox.hold_token_requests():
        sandbox.wait_for_token_requests(token_requests)
        assert program.communicate(b"\n", timeout=30) == (output, None)
    assert program.returncode == 0


# -- forks -------------------------------------------------------------------------------------------------------------


WITHOUT_POOLS = """
from requests.adapters import HTTPAdapter
WithoutPools = type("WithoutPools", (HTTPAdapter,), {"__init__": lambda self: None, "close": lambda self: None})
Desk.session.mount("https://elsewhere.example/", WithoutPools())
"""


@needs_fork
def test_a_child_shows_no_fault(sandbox: Sandbox) -> None:
    """Python in development mode warns of nothing in a forked child, whose parent has connections and any adapters."""
    statements = f"{WITHOUT_POOLS}desk.call(); process = os.fork(); desk.call(); process and os.waitpid(process, 0)"
    with running(sandbox, statements, "-X", "dev") as program:
        assert program.communicate(timeout=30) == (b"", None)
    assert (program.returncode, [exchange.status for exchange in sandbox.api_requests]) == (0, [401, 200, 200, 200])


def locks(session: requests.Session) -> list[Any]:
    adapter: Any = session.get_adapter("https://localhost")
    [pool] = adapter.poolmanager.pools._container.values()
    return [session.cookies._cookies_lock, adapter.poolmanager.pools.lock, pool.pool.mutex, adapter._lock]


@needs_fork
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_child_forked_in_mid_renewal_works(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, copied: Callable[[GopacsSession], GopacsSession]
) -> None:
    """While threads of its parent renew and hold locks, a child sends, renews, and lets its own connections go."""

    def works() -> bool:
        assert session.get(sandbox.api_url).ok
        session.close()
        return bool(session.fetch_token())

    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks(session):
                stack.enter_context(lock)
            held.set()
            let_go.wait(30)

    with copied(sandbox.session()) as session:
        session.get(sandbox.api_url)
        caplog.set_level("DEBUG", "urllib3")
        with sandbox.hold_token_requests():
            renewing = in_background(session.fetch_token)
            sandbox.wait_for_token_requests(2)
            holding = in_background(hold)
            assert held.wait(10)
            child = forked(works)
            sandbox.wait_for_token_requests(3)
        assert exit_status(child) == 0
        let_go.set()
        holding.result(10)
        assert renewing.result(10) == session.token
        assert session.get(sandbox.api_url).status_code == 200
    assert " connection" not in caplog.text  # It goes on with the one that it had.


# -- interrupts --------------------------------------------------------------------------------------------------------


class SoftTimeLimitExceeded(Exception):
    """As Celery's signal handler raises it."""


@needs_signals
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SoftTimeLimitExceeded])
def test_an_interrupt_is_its_threads_alone(sandbox: Sandbox, kind: type[BaseException]) -> None:
    """What a signal handler raises reaches the thread that renews as it is; one that waits takes the renewal over."""

    def strike() -> Future[int]:
        sandbox.wait_for_token_requests(1)
        waiting = in_background(lambda: session.get(sandbox.api_url).status_code)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        return waiting

    def interrupt(*_: Any) -> None:
        raise kind

    before = signal.signal(signal.SIGUSR1, interrupt)
    with sandbox.session() as session:
        with sandbox.hold_token_requests():
            striking = in_background(strike)
            with pytest.raises(kind):
                session.get(sandbox.api_url)
            waiting = striking.result(10)
        assert waiting.result(10) == 200
    signal.signal(signal.SIGUSR1, before)
    assert len(sandbox.token_requests) == 2


def test_a_secret_that_needs_a_token_is_an_error_not_a_deadlock(sandbox: Sandbox) -> None:
    """A client_secret callable that calls GOPACS through its own session gets a typed error."""
    session = sandbox.session(client_secret=lambda: session.get(sandbox.api_url).text)
    with session, pytest.raises(TokenRequestError, match="while this thread was already renewing it"):
        session.get(sandbox.api_url)
    assert sandbox.token_requests == sandbox.api_requests == []


class AtOnce(Offline):
    """Answers everything with a token, and with an answer that may be closed at any time."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        answer = super().send(request)
        answer.raw, answer._content = io.BytesIO(), b'{"access_token":"abc","expires_in":300}'
        return answer


@needs_signals
# An interrupt may strike a callback of a weak reference, where Python can only tell of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_hundreds_of_interrupts_leave_a_session_that_works() -> None:
    """Whenever a signal handler raises, the next request in its thread works, as does one in another thread."""

    def interrupt(*_: Any) -> None:
        struck.append(True)
        raise KeyboardInterrupt

    def renew() -> bool:
        session.token = None
        return bool(session.auth_header)

    def renew_until_struck(times: int) -> None:
        # A function, since an interrupt of a loop's jump back escapes the try around it (CPython 3.13). And a count,
        # since Python drops what is raised in a callback of a weak reference, and the like.
        while len(struck) < times:
            renew()

    struck: list[bool] = []
    session, arrived = GopacsSession("client", "secret", "acceptance"), 0
    session.mount("https://", AtOnce())
    moments = random.Random(10)  # noqa: S311 - no cryptography
    before = signal.signal(signal.SIGALRM, interrupt)
    for number in range(1, 401):
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-6, 4e-4))
                renew_until_struck(number)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            arrived += 1
        assert renew()
    signal.signal(signal.SIGALRM, before)
    assert in_background(renew).result(10)
    assert arrived > 300
