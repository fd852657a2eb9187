"""Many threads on one session."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from support import Clock, at_once

import gopacs_session.grant
from gopacs_session import AuthorizationServerError, InvalidClientError, TokenRequestError
from gopacs_session.environment_variables import variables
from gopacs_session.sandbox import Sandbox


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


def test_32_threads_on_refused_credentials_cost_one_token_request(sandbox: Sandbox) -> None:
    """32 threads whose client is refused share one token request and its typed error; nothing reaches the API."""
    sandbox.token_delay = 0.2
    with sandbox.session(client_secret="wrong") as session:
        started = time.perf_counter()
        errors = at_once(32, lambda: session.get(f"{sandbox.api_url}/participants"))
        assert time.perf_counter() - started < 3 * sandbox.token_delay
    assert len(sandbox.token_requests) == 1
    assert {type(error) for error in errors} == {InvalidClientError}
    assert {(error.status_code, error.error) for error in errors} == {(401, "unauthorized_client")}
    assert len({id(error) for error in errors}) == 32
    assert sandbox.api_requests == []


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs a signal to one thread")
def test_an_interrupted_renewal_is_taken_over_by_a_thread_that_waits(sandbox: Sandbox) -> None:
    """Ctrl-C in the thread that fetches the token stops that thread alone: another one that waits fetches it."""
    with sandbox.session() as session:
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(session.get(f"{sandbox.api_url}/participants")))

        def interrupt() -> None:
            sandbox.wait_for_token_requests(1)
            waiting.start()
            os.kill(os.getpid(), signal.SIGINT)

        with sandbox.hold_token_requests():
            interrupter = threading.Thread(target=interrupt)
            interrupter.start()
            with pytest.raises(KeyboardInterrupt):
                session.get(f"{sandbox.api_url}/participants")
            interrupter.join()
        waiting.join()
    assert [answer.status_code for answer in answers] == [200]
    assert len(sandbox.token_requests) == 2


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("pickled", [False, True], ids=["made here", "pickled"])
def test_a_child_forked_in_mid_renewal_works(sandbox: Sandbox, pickled: bool) -> None:
    """A process forked while another thread renews the token renews for itself, on connections of its own."""
    with sandbox.session() as session:
        session = pickle.loads(pickle.dumps(session)) if pickled else session
        session.get(f"{sandbox.api_url}/warm")
        session.token = None
        with sandbox.hold_token_requests():
            renewing = threading.Thread(target=session.get, args=[f"{sandbox.api_url}/parent"])
            renewing.start()
            sandbox.wait_for_token_requests(2)
            child = os.fork()
            if child == 0:
                os._exit(0 if session.get(f"{sandbox.api_url}/child", timeout=10).status_code == 200 else 1)
            sandbox.wait_for_token_requests(3)
        assert os.waitpid(child, 0) == (child, 0)
        renewing.join()
        assert session.get(f"{sandbox.api_url}/parent").status_code == 200
    assert [exchange.path for exchange in sandbox.api_requests].count("/child") == 1
    assert bore_a_token(sandbox)


def test_a_renewal_that_hangs_does_not_hang_the_others(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for a renewal that never ends get a typed error, and the next request renews by itself."""
    monkeypatch.setattr(gopacs_session.grant, "LONGEST_PAUSE", 0.0)
    with sandbox.session(token_timeout=0.05) as session:
        hung, release = threading.Event(), threading.Event()

        class Hanging(HTTPAdapter):
            def send(self, *args: Any, **options: Any) -> requests.Response:
                hung.set()
                release.wait(30)
                raise requests.ConnectionError

        adapter = session.get_adapter(f"{sandbox.api_url}/")
        session.mount(sandbox.environment.token_url, Hanging())
        renewing = threading.Thread(target=at_once, args=[1, lambda: session.get(sandbox.api_url)])
        renewing.start()
        hung.wait(10)
        errors = at_once(8, lambda: session.get(sandbox.api_url))
        assert {type(error) for error in errors} == {AuthorizationServerError}
        assert all("did not finish within 0.45 s" in str(error) for error in errors)
        session.mount(sandbox.environment.token_url, adapter)
        assert session.get(sandbox.api_url).status_code == 200
        release.set()
        renewing.join()


def test_a_longer_token_timeout_makes_the_others_wait_longer(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token_timeout that was raised after construction holds for those who wait, too: there is one token request."""
    monkeypatch.setattr(gopacs_session.grant, "LONGEST_PAUSE", 0.0)
    answers: list[Any] = []
    with sandbox.session(token_timeout=0.05) as session:
        session.token_timeout = 10
        with sandbox.hold_token_requests():
            threads = [
                threading.Thread(target=lambda: answers.extend(at_once(1, lambda: session.get(sandbox.api_url))))
                for _ in range(2)
            ]
            threads[0].start()
            sandbox.wait_for_token_requests(1)
            threads[1].start()
            threads[1].join(1)
        for thread in threads:
            thread.join()
    assert [getattr(answer, "status_code", answer) for answer in answers] == [200, 200]
    assert len(sandbox.token_requests) == 1


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


PROGRAM = """
import time
from gopacs_session import GopacsSession
session = GopacsSession.from_env()
session.token = {**session.fetch_token(), "expires_at": time.time() + 30}
input()  # Until token requests are held.
print(session.get(%r).status_code, flush=True)
input()  # Until there is one.
"""


def test_a_program_can_end_in_mid_renewal(sandbox: Sandbox) -> None:
    """A renewal behind requests keeps no program from ending."""
    environ = {**os.environ, **variables(sandbox.client_id, sandbox.client_secret, sandbox.environment)}
    environ["REQUESTS_CA_BUNDLE"] = sandbox.ca_file
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM % sandbox.api_url], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdin
    sandbox.wait_for_token_requests(1)
    with sandbox.hold_token_requests():
        program.stdin.write(b"\n")
        program.stdin.flush()
        sandbox.wait_for_token_requests(2)
        assert program.communicate(b"\n", timeout=20) == (b"200\n", None)
    assert program.returncode == 0


def test_a_secret_that_needs_a_token_is_an_error_not_a_deadlock(sandbox: Sandbox) -> None:
    """A client_secret callable that calls GOPACS through its own session gets a typed error."""

    def vault() -> str:
        return session.get(sandbox.api_url).text

    with sandbox.session(client_secret=vault) as session, pytest.raises(TokenRequestError, match="callable"):
        session.get(sandbox.api_url)
    assert sandbox.token_requests == sandbox.api_requests == []


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs a signal to one thread")
def test_a_signal_handler_that_sends_in_mid_renewal_gets_an_error(sandbox: Sandbox) -> None:
    """A handler that interrupts the renewing thread to send a request does not deadlock with it."""
    caught: list[Exception] = []

    def cancel_orders(*_: Any) -> None:
        try:
            session.post(f"{sandbox.api_url}/cancel")
        except TokenRequestError as error:
            caught.append(error)
        released.set()

    before = signal.signal(signal.SIGUSR1, cancel_orders)
    released = threading.Event()

    def interrupt() -> None:
        with sandbox.hold_token_requests():
            held.set()
            sandbox.wait_for_token_requests(1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            released.wait(10)

    held = threading.Event()
    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    held.wait(10)
    try:
        with sandbox.session() as session:
            assert session.get(f"{sandbox.api_url}/participants").status_code == 200
    finally:
        interrupter.join()
        signal.signal(signal.SIGUSR1, before)
    assert [str(error) for error in caught] == [
        "No access token: it was asked for while this thread was already renewing it."
    ]
