"""ProcessPoolExecutor: a warm session in worker processes; tests/test_copies.py has one shipped with each task."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier

import pytest

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox

WORKERS = 4
SECONDS = 60
METHODS = pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
# Python's own warning, from 3.12: the sandbox's threads live in the parent, and a fork has to survive that here.
FORK = pytest.mark.filterwarnings(r"ignore:This process \(pid=\d+\) is multi-threaded:DeprecationWarning")


class Worker:
    """What a worker process was given when it started."""

    session: GopacsSession
    all_here: Barrier


def start(session: GopacsSession, all_here: Barrier) -> None:
    Worker.session, Worker.all_here = session, all_here


def call(url: str) -> tuple[int, int, str]:
    """Process, status, and path that the server saw, of one request. All workers do one at the same time."""
    Worker.all_here.wait(SECONDS)
    answer = Worker.session.get(url)
    return os.getpid(), answer.status_code, answer.json()["path"]


@pytest.fixture
def session(sandbox: Sandbox, session: GopacsSession) -> GopacsSession:
    """A session with a token and an open connection."""
    session.get(f"{sandbox.api_url}/warm")
    return session


def have_all_call(session: GopacsSession, sandbox: Sandbox, method: str) -> None:
    """Each worker calls the API four times, and the parent once in between; each gets the answers to its own calls."""
    context = multiprocessing.get_context(method)
    given = session, context.Barrier(WORKERS)
    with ProcessPoolExecutor(WORKERS, context, initializer=start, initargs=given) as pool:
        results = {f"/{number}": pool.submit(call, f"{sandbox.api_url}/{number}") for number in range(4 * WORKERS)}
        assert session.get(f"{sandbox.api_url}/parent").json()["path"] == "/parent"
        answers = {path: result.result(SECONDS) for path, result in results.items()}
    assert all((status, seen) == (200, path) for path, (_, status, seen) in answers.items())
    assert len({process for process, *_ in answers.values()} - {os.getpid()}) == WORKERS


@FORK
@METHODS
def test_a_warm_session_serves_all_workers(sandbox: Sandbox, session: GopacsSession, method: str) -> None:
    """Given to each worker when it starts, inherited or pickled, a session with a token costs no token request."""
    have_all_call(session, sandbox, method)
    assert {exchange.token_number for exchange in sandbox.api_requests} == {1}
    assert len(sandbox.token_requests) == 1


@FORK
@METHODS
def test_a_revoked_token_costs_each_process_one_renewal(sandbox: Sandbox, session: GopacsSession, method: str) -> None:
    """Processes share no token: after a revocation each worker renews once, and so does the parent."""
    sandbox.revoke_tokens()
    have_all_call(session, sandbox, method)
    assert len(sandbox.token_requests) == 1 + WORKERS + 1
