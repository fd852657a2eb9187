"""Many threads on one session."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from support import Clock, at_once

from gopacs_session import InvalidClientError
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
def test_a_child_forked_in_mid_renewal_works(sandbox: Sandbox) -> None:
    """A process forked while another thread renews the token renews for itself, on connections of its own."""
    with sandbox.session() as session:
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
