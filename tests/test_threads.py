"""Many threads on one session."""

from __future__ import annotations

import io
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from support import Clock, Offline, at_once, exit_status, forked, in_background, needs_fork

import gopacs_session.grant
from gopacs_session import AuthorizationServerError, GopacsSession, InvalidClientError, TokenRequestError
from gopacs_session.environment_variables import variables
from gopacs_session.renewal import Renewal
from gopacs_session.sandbox import Sandbox

needs_signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs a signal to one thread")


def bore_a_token(sandbox: Sandbox) -> bool:
    return all(exchange.authorization for exchange in sandbox.api_requests)


def test_32_threads_on_a_cold_session_cost_one_token_request(sandbox: Sandbox) -> None:
    """32 threads that start together on a session without a token share one token request."""
    with sandbox.session() as session:
        answers = at_once(32, lambda: session.get(f"{sandbox.api_url}/participants"))
    assert [answer.status_code for answer in answers] == [200] * 32
    assert len(sandbox.token_requests) == 1
    assert bore_a_token(sandbox)


@pytest.mark.usefixtures("eager_switching")
def test_32_threads_on_an_expired_token_cost_one_token_request(sandbox: Sandbox, clock: Clock) -> None:
    """Each of 20 times that a token expires under 32 threads, one token request serves them all."""
    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/warm")
        for expiry in range(1, 21):
            clock.advance(sandbox.token_lifetime)
            answers = at_once(32, lambda: session.get(f"{sandbox.api_url}/participants"))
            assert [answer.status_code for answer in answers] == [200] * 32
            assert len(sandbox.token_requests) == 1 + expiry
    assert bore_a_token(sandbox)


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("tries, kind", [(1, InvalidClientError), (3, AuthorizationServerError)])
def test_32_threads_share_a_failure(sandbox: Sandbox, tries: int, kind: type[TokenRequestError]) -> None:
    """32 threads whose client is refused, or whose server is down, share one renewal and its typed error."""
    sandbox.client_enabled = kind is AuthorizationServerError
    sandbox.answer_next_token_requests(tries if sandbox.client_enabled else 0, 503)
    sandbox.token_delay = 0.2
    called = threading.Semaphore(0)

    def call() -> None:
        called.release()
        session.get(f"{sandbox.api_url}/participants")

    with sandbox.session() as session:
        with sandbox.hold_token_requests():
            calls = in_background(lambda: at_once(32, call))
            assert all(called.acquire(timeout=10) for _ in range(32))
        errors = calls.result(30)
    assert len(sandbox.token_requests) == tries
    assert {(type(error), error.status_code) for error in errors} == {(kind, 401 if tries == 1 else 503)}
    assert len({id(error) for error in errors}) == 32
    assert sandbox.api_requests == []


@needs_signals
def test_an_interrupted_renewal_is_taken_over_by_a_thread_that_waits(sandbox: Sandbox) -> None:
    """Ctrl-C in the thread that fetches the token stops that thread alone: another one that waits fetches it."""
    with sandbox.session() as session:

        def interrupt() -> Future[Any]:
            sandbox.wait_for_token_requests(1)
            waiting = in_background(lambda: session.get(f"{sandbox.api_url}/participants"))
            os.kill(os.getpid(), signal.SIGINT)
            return waiting

        with sandbox.hold_token_requests():
            interrupter = in_background(interrupt)
            with pytest.raises(KeyboardInterrupt):
                session.get(f"{sandbox.api_url}/participants")
            waiting = interrupter.result(10)
        assert waiting.result(10).status_code == 200
    assert len(sandbox.token_requests) == 2


@needs_fork
@pytest.mark.parametrize("pickled", [False, True], ids=["made here", "pickled"])
def test_a_child_forked_in_mid_renewal_works(sandbox: Sandbox, pickled: bool) -> None:
    """A process forked while another thread renews the token renews for itself, on connections of its own."""
    with sandbox.session() as session:
        session = pickle.loads(pickle.dumps(session)) if pickled else session
        session.get(f"{sandbox.api_url}/warm")
        session.token = None
        with sandbox.hold_token_requests():
            renewing = in_background(lambda: session.get(f"{sandbox.api_url}/parent"))
            sandbox.wait_for_token_requests(2)
            child = forked(lambda: session.get(f"{sandbox.api_url}/child", timeout=10).ok)
            sandbox.wait_for_token_requests(3)
        assert exit_status(child) == 0
        renewing.result(10)
        assert session.get(f"{sandbox.api_url}/parent").status_code == 200
    assert [exchange.path for exchange in sandbox.api_requests].count("/child") == 1
    assert bore_a_token(sandbox)


class Hanging(HTTPAdapter):
    """Sends nothing, and fails once it is released."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.hung, self.release, self.error = threading.Event(), threading.Event(), error

    def send(self, *args: Any, **options: Any) -> requests.Response:
        self.hung.set()
        self.release.wait(30)
        raise self.error


def test_a_renewal_that_hangs_does_not_hang_the_others(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for a renewal that never ends get a typed error, and the next request renews by itself."""
    monkeypatch.setattr(gopacs_session.grant, "LONGEST_PAUSE", 0.05)
    with sandbox.session(token_timeout=0.05) as session:
        adapter, hanging = session.get_adapter(f"{sandbox.api_url}/"), Hanging(requests.ConnectionError())
        session.mount(sandbox.environment.token_url, hanging)
        renewing = in_background(lambda: session.get(sandbox.api_url))
        hanging.hung.wait(10)
        errors = at_once(8, lambda: session.get(sandbox.api_url))
        assert {type(error) for error in errors} == {AuthorizationServerError}
        assert all("did not finish within 0.55 s" in str(error) for error in errors)
        session.mount(sandbox.environment.token_url, adapter)
        session.token_timeout = 10
        assert session.get(sandbox.api_url).status_code == 200
        hanging.release.set()
        assert renewing.result(10).status_code == 200


def test_a_renewal_that_hung_through_thousands_of_others_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reports an error with its variables can show one of a renewal that hung, whatever was renewed meanwhile."""
    monkeypatch.setattr(gopacs_session.grant, "LONGEST_PAUSE", 0.0)
    hanging = Hanging(ZeroDivisionError())
    session = GopacsSession("client", "secret", "acceptance", token_timeout=0.01)
    session.mount("https://", hanging)
    renewing = in_background(session.fetch_token)
    hanging.hung.wait(10)
    with pytest.raises(AuthorizationServerError, match="did not finish"):
        session.fetch_token()
    session.mount("https://", AtOnce())
    for _ in range(2000):
        session.fetch_token()
    hanging.release.set()
    error = renewing.exception(10)
    assert error is not None
    assert "renewal" in "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def test_a_longer_token_timeout_makes_the_others_wait_longer(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token_timeout that was raised after construction holds for those who wait, too: there is one token request."""
    monkeypatch.setattr(gopacs_session.grant, "LONGEST_PAUSE", 0.0)
    with sandbox.session(token_timeout=0.05) as session:
        session.token_timeout = 10
        with sandbox.hold_token_requests():
            renewing = in_background(lambda: session.get(sandbox.api_url).status_code)
            sandbox.wait_for_token_requests(1)
            waiting = in_background(lambda: session.get(sandbox.api_url).status_code)
            wait([waiting], 1)
        assert (renewing.result(10), waiting.result(10)) == (200, 200)
    assert len(sandbox.token_requests) == 1


def test_those_who_gave_up_waiting_disturb_no_later_renewal(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread whose patience with a renewal ends does not have others start beside the one that came after it."""
    monkeypatch.setattr(gopacs_session.grant, "LONGEST_PAUSE", 0.0)
    hanging = Hanging(requests.ConnectionError())

    def start() -> Future[Any]:
        return in_background(lambda: session.get(sandbox.api_url))

    with sandbox.session() as session:
        session.mount(sandbox.environment.token_url, hanging)
        started = [start()]
        hanging.hung.wait(10)
        for session.token_timeout in 0.03, 0.1:
            started.append(start())
            wait(started[-1:], 0.1)
        _, impatient, patient = started
        wait([impatient])
        session.token_timeout = 10
        session.mount(sandbox.environment.token_url, session.get_adapter("https://"))
        with sandbox.hold_token_requests():
            started.append(start())
            sandbox.wait_for_token_requests(1)
            wait([patient])
            started.append(start())
            wait(started[-1:], 0.2)
            assert len(sandbox.token_requests) == 1
        hanging.release.set()
        wait(started)


def test_a_burst_of_64_threads_keeps_its_connections(sandbox: Sandbox) -> None:
    """64 threads that send at once need 64 connections, which serve the next burst, too."""
    together = threading.Barrier(64)
    with sandbox.session() as session:
        session.fetch_token()
        sandbox._on_request = lambda exchange: together.wait(20)
        for _ in range(2):
            answers = at_once(64, lambda: session.get(sandbox.api_url))
            assert [answer.status_code for answer in answers] == [200] * 64
        assert pool_of(session).num_connections == 64


def test_a_thread_that_cannot_be_started_harms_nobody(
    sandbox: Sandbox, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At a limit of threads a stale token is used on, and renewed by a request when it is unusable."""
    with sandbox.session() as session:
        session.get(f"{sandbox.api_url}/warm")
        clock.advance(250)

        def refuse(thread: threading.Thread) -> None:
            if thread.name == "gopacs_session renewal":
                raise RuntimeError("can't start new thread")
            start(thread)

        start = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert session.get(f"{sandbox.api_url}/stale").status_code == 200
        clock.advance(50)
        assert session.get(f"{sandbox.api_url}/expired").status_code == 200
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 1, 2]
    assert "can't start new thread" in caplog.text


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
            print("none")  # Nothing can be imported any more, and connecting imports something.

def loop():
    while True:
        Desk.session.token = None
        desk.call()

desk = Desk()
stale = lambda: {**Desk.session.fetch_token(), "expires_at": time.time() + 30}
"""

ENDS = {
    "in mid-renewal behind a request": ("Desk.session.token = stale(); desk.call()", b""),
    "with a request at exit": ("Desk.session.token = stale(); atexit.register(desk.call)", b""),
    "with a __del__ and a stale token": (
        "Desk.session.token = stale(); Desk.__del__ = Desk.look_at_the_end",
        b"a token\n",
    ),
    "with a daemon thread that sends": ("threading.Thread(target=loop, daemon=True).start(); desk.call()", b""),
}


@contextmanager
def running(sandbox: Sandbox, statements: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    # A measurement of the tests' coverage has an end of its own, which would come before the program's.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environ |= variables(sandbox.client_id, sandbox.client_secret, sandbox.environment)
    environ["REQUESTS_CA_BUNDLE"] = sandbox.ca_file
    command = [sys.executable, *options, "-c", PROGRAM % sandbox.api_url + statements]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=environ, **pipes) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.mark.parametrize("end", ENDS)
def test_a_program_ends(sandbox: Sandbox, end: str) -> None:
    """Whatever a program does with its session at its end, it ends."""
    statements, output = ENDS[end]
    with running(sandbox, statements) as program:
        assert program.communicate(timeout=30) == (output, None)
    assert program.returncode == 0


RENEWALS = {
    "of another thread": "threading.Thread(target=Desk.session.get, args=[url], daemon=True).start()",
    "behind a request": "desk.call()",
}


@pytest.mark.parametrize("renewal", RENEWALS)
@pytest.mark.parametrize("last", ["", "; Desk.__del__ = Desk.look_at_the_end"], ids=["without", "and with"])
def test_a_program_ends_in_mid_renewal(sandbox: Sandbox, renewal: str, last: str) -> None:
    """A renewal by a thread that will never finish it keeps no program from ending, with and without a last request."""
    stale = "Desk.session.token = stale(); " if renewal == "behind a request" else ""
    statements = f"{stale}print('ready', flush=True); input(); {RENEWALS[renewal]}; input(){last}"
    with running(sandbox, statements) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        with sandbox.hold_token_requests():
            program.stdin.write(b"\n")
            program.stdin.flush()
            sandbox.wait_for_token_requests(2 if stale else 1)
            assert bool(program.communicate(b"\n", timeout=30)[0]) == bool(last)
    assert program.returncode == 0


# -- forks -------------------------------------------------------------------------------------------------------------

LOCKS: dict[str, Callable[[Any], Any]] = {
    "the cookie jar's": lambda session: session.cookies._cookies_lock,
    "the pools'": lambda session: session.get_adapter("https://localhost").poolmanager.pools.lock,
    "the connections'": lambda session: pool_of(session).pool.mutex,
    "the TLS contexts'": lambda session: pool_of(session).contexts._lock,
}


def pool_of(session: requests.Session) -> Any:
    [pool] = session.get_adapter("https://localhost").poolmanager.pools._container.values()
    return pool


# One that sends by other means than urllib3's.
WITHOUT_POOLS = """
from requests.adapters import HTTPAdapter
WithoutPools = type("WithoutPools", (HTTPAdapter,), {"__init__": lambda self: None, "close": lambda self: None})
Desk.session.mount("https://elsewhere.example/", WithoutPools())
"""


@needs_fork
@pytest.mark.parametrize("adapter", ["", WITHOUT_POOLS], ids=["requests'", "without pools"])
def test_a_child_tells_of_no_fault(sandbox: Sandbox, adapter: str) -> None:
    """Python in development mode warns of nothing in a forked child, whose parent has connections and any adapters."""
    statements = f"{adapter}desk.call(); process = os.fork(); desk.call(); process and os.waitpid(process, 0)"
    with running(sandbox, statements, "-X", "dev") as program:
        assert program.communicate(timeout=30) == (b"", None)
    assert program.returncode == 0
    assert len(sandbox.api_requests) == 3


class Broken(HTTPAdapter):
    """Has nothing of requests' own, and says so by an error of its own."""

    def __init__(self) -> None: ...
    def close(self) -> None: ...

    @property
    def poolmanager(self) -> Any:
        raise NotImplementedError


@needs_fork
@pytest.mark.parametrize("adapter", [HTTPAdapter, Broken])
def test_a_child_leaves_its_parents_connection_alone(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, adapter: type[HTTPAdapter]
) -> None:
    """A child neither uses nor ends its parent's connection, whatever an adapter of another session does there."""
    caplog.set_level("DEBUG", "urllib3")
    with sandbox.session() as other, sandbox.session() as session:
        other.mount("https://elsewhere.example/", adapter())
        session.get(sandbox.api_url)
        assert exit_status(forked(lambda: session.get(sandbox.api_url).ok)) == 0
        assert session.get(sandbox.api_url).ok
    assert "dropped connection" not in caplog.text


@needs_fork
@pytest.mark.parametrize("lock", LOCKS)
def test_a_child_forked_while_another_thread_has_a_lock_works(sandbox: Sandbox, lock: str) -> None:
    """Whatever a thread of the parent was doing, its child sends requests, renews, and can let its connections go."""

    def works() -> bool:
        status = session.get(sandbox.api_url).status_code
        session.token = None
        for finalizer in list(weakref.finalize._registry):  # As at exit; but only those of connections.
            if finalizer.peek()[1].__name__ == "_close_pool_connections":
                finalizer()
        return (status, session.get(sandbox.api_url).status_code) == (200, 200)

    with sandbox.session() as session:
        session.get(sandbox.api_url)
        held, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            with LOCKS[lock](session):
                held.set()
                let_go.wait(30)

        holding = in_background(hold)
        held.wait(10)
        assert exit_status(forked(works)) == 0
        let_go.set()
        holding.result(10)


@needs_fork
def test_a_child_forked_by_the_renewing_thread_works(sandbox: Sandbox) -> None:
    """A client_secret callable that forks leaves the child a session that renews for itself."""
    processes: list[int] = []

    def vault() -> str:
        if not processes:
            processes.append(0)
            processes[0] = forked(lambda: session.get(f"{sandbox.api_url}/child").ok)
        return sandbox.client_secret

    with sandbox.session(client_secret=vault) as session:
        assert session.get(f"{sandbox.api_url}/parent").status_code == 200
    assert exit_status(processes[0]) == 0
    assert len(sandbox.token_requests) == 2


# -- interrupts --------------------------------------------------------------------------------------------------------


def test_a_secret_that_needs_a_token_is_an_error_not_a_deadlock(sandbox: Sandbox) -> None:
    """A client_secret callable that calls GOPACS through its own session gets a typed error."""

    def vault() -> str:
        return session.get(sandbox.api_url).text

    with sandbox.session(client_secret=vault) as session, pytest.raises(TokenRequestError, match="callable"):
        session.get(sandbox.api_url)
    assert sandbox.token_requests == sandbox.api_requests == []


class Late(TimeoutError):
    """A deadline of the user's."""


class Lost(ConnectionError):
    """A connection of the user's own."""


@contextmanager
def signal_while(held: Callable[[], bool], handler: Callable[[], Any]) -> Iterator[None]:
    """Interrupt the main thread by a signal, which `handler` answers, once `held`."""

    def interrupt() -> None:
        while not held():
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: handler())
    interrupter = in_background(interrupt)
    try:
        yield
    finally:
        interrupter.result()
        signal.signal(signal.SIGUSR1, before)


def main_thread_waits() -> bool:
    """Whether it waits for another thread's renewal."""
    return sys._current_frames()[threading.main_thread().ident or 0].f_code is Renewal.wait.__code__


@needs_signals
@pytest.mark.parametrize("kind", [TimeoutError, ConnectionError, Late, Lost])
def test_a_deadline_of_the_callers_in_mid_renewal_is_the_callers(sandbox: Sandbox, kind: type[Exception]) -> None:
    """What a signal handler raises while a token is asked for reaches the caller as it is, and no try follows."""
    deadline = kind("no later")

    def expire() -> None:
        raise deadline

    with sandbox.session() as session:
        with (
            sandbox.hold_token_requests(),
            signal_while(lambda: len(sandbox.token_requests) == 1, expire),
            pytest.raises(kind) as caught,
        ):
            session.get(sandbox.api_url)
        assert caught.value is deadline
        assert len(sandbox.token_requests) == 1
        assert session.get(sandbox.api_url).status_code == 200
    assert len(sandbox.token_requests) == 2


@needs_signals
def test_a_deadline_of_a_thread_that_waits_is_its_own(sandbox: Sandbox) -> None:
    """A handler that raises while its thread waits for another's renewal ends that wait alone."""

    def expire() -> None:
        raise TimeoutError

    with sandbox.session() as session:
        with sandbox.hold_token_requests():
            renewing = in_background(lambda: session.get(sandbox.api_url).status_code)
            sandbox.wait_for_token_requests(1)
            with signal_while(main_thread_waits, expire), pytest.raises(TimeoutError):
                session.get(sandbox.api_url)
        assert renewing.result(10) == 200
    assert len(sandbox.token_requests) == 1


@needs_signals
def test_a_signal_handler_may_send_while_its_thread_waits(sandbox: Sandbox) -> None:
    """A handler that sends a request while its thread waits for another's renewal waits for that, too."""
    answers: list[int] = []

    def cancel_orders() -> None:
        held.close()
        answers.append(session.post(f"{sandbox.api_url}/cancel").status_code)

    with sandbox.session() as session, ExitStack() as held:
        held.enter_context(sandbox.hold_token_requests())
        renewing = in_background(lambda: session.get(sandbox.api_url))
        sandbox.wait_for_token_requests(1)
        with signal_while(main_thread_waits, cancel_orders):
            answers.append(session.get(f"{sandbox.api_url}/participants").status_code)
        renewing.result(10)
    assert answers == [200, 200]
    assert len(sandbox.token_requests) == 1


@needs_signals
def test_a_signal_handler_that_sends_in_mid_renewal_gets_an_error(sandbox: Sandbox) -> None:
    """A handler that interrupts the renewing thread to send a request does not deadlock with it."""

    def cancel_orders() -> None:
        with held, pytest.raises(TokenRequestError, match="while this thread was already renewing it"):
            session.post(f"{sandbox.api_url}/cancel")

    with sandbox.session() as session, ExitStack() as held:
        held.enter_context(sandbox.hold_token_requests())
        with signal_while(lambda: len(sandbox.token_requests) == 1, cancel_orders):
            assert session.get(f"{sandbox.api_url}/participants").status_code == 200
    assert [exchange.path for exchange in sandbox.api_requests] == ["/participants"]


class AtOnce(Offline):
    """Answers everything with a token, and with an answer that may be closed at any time."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        answer = super().send(request)
        answer.raw, answer._content = io.BytesIO(), b'{"access_token":"abc","expires_in":300}'
        return answer


@needs_signals
# An interrupt may strike a callback of a weak reference, where Python can only tell of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("eager_switching")
def test_hundreds_of_interrupts_leave_a_session_that_works() -> None:
    """Whenever a signal handler raises in one thread, the next request there works, as do those of another thread."""

    class Interrupt(BaseException):
        """Whatever a signal handler raises."""

    def interrupt(*_: Any) -> None:
        struck.append(True)
        raise Interrupt

    def loop() -> int:
        count = 0
        while not ended.is_set():
            session.token = None
            assert session.auth_header
            count += 1
        return count

    def send_until_struck(times: int) -> None:
        # A function, since an interrupt of a loop's jump back escapes the try around it (CPython 3.13). And a count,
        # since Python drops what is raised in a callback of a weak reference, and the like.
        while len(struck) < times:
            assert session.auth_header
            session.token = None

    struck: list[bool] = []
    session, ended, arrived = GopacsSession("client", "secret", "acceptance"), threading.Event(), 0
    session.mount("https://", AtOnce())
    moments = random.Random(10)  # noqa: S311 - no cryptography
    before = signal.signal(signal.SIGALRM, interrupt)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(loop)
        for number in range(1, 401):
            session.token = None
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-6, 4e-4))
                    send_until_struck(number)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupt:
                arrived += 1
            assert session.auth_header
        ended.set()
        signal.signal(signal.SIGALRM, before)
        assert other.result() > 0
    assert arrived > 300
