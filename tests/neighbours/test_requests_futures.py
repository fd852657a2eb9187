"""requests-futures: requests in the background, on the session that is handed to it."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import pytest
from requests_futures.sessions import FuturesSession

from gopacs_session import GopacsSession, InvalidClientError
from gopacs_session.sandbox import Sandbox


# For more than 10 it mounts adapters of its own.
@pytest.mark.parametrize("workers", [8, 16])
def test_all_futures_share_one_token(sandbox: Sandbox, session: GopacsSession, workers: int) -> None:
    """32 requests on the threads of a cold session cost one token request."""
    with FuturesSession(session=session, max_workers=workers) as background:
        futures = [background.get(f"{sandbox.api_url}/{number}") for number in range(32)]
        assert {future.result(30).status_code for future in as_completed(futures, 30)} == {200}
    assert sorted(int(exchange.path[1:]) for exchange in sandbox.api_requests) == list(range(32))
    assert {exchange.token_number for exchange in sandbox.api_requests} == {1}
    assert len(sandbox.token_requests) == 1


def test_a_revoked_token_is_replaced_once_for_all(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """Futures that were refused with the same token share one renewal, and each is replayed."""
    with FuturesSession(session=revoked, max_workers=8) as background:
        futures = [background.post(f"{sandbox.api_url}/message", json={"number": number}) for number in range(8)]
        assert {future.result(30).status_code for future in futures} == {200}
    assert len(sandbox.token_requests) == 2


def test_an_error_comes_out_of_the_future(sandbox: Sandbox) -> None:
    """What the session would have raised, result() raises."""
    with sandbox.session(client_secret="wrong") as session, FuturesSession(session=session) as background:
        future = background.get(f"{sandbox.api_url}/participants")
        with pytest.raises(InvalidClientError):
            future.result(30)
    assert sandbox.api_requests == []


def test_closing_it_leaves_the_session_open(sandbox: Sandbox, session: GopacsSession) -> None:
    """The session that was handed over goes on when the FuturesSession is closed."""
    with FuturesSession(session=session) as background:
        background.get(f"{sandbox.api_url}/background").result(30)
    assert session.get(f"{sandbox.api_url}/foreground").status_code == 200
    assert len(sandbox.token_requests) == 1


def test_worker_processes_use_the_shipped_token(sandbox: Sandbox, session: GopacsSession) -> None:
    """On a ProcessPoolExecutor each request takes a copy of the session along, with its token if it has one."""
    session.fetch_token()
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        background = FuturesSession(executor=pool, session=session)
        futures = [background.get(f"{sandbox.api_url}/{number}") for number in range(4)]
        assert {future.result(60).status_code for future in futures} == {200}
    assert len(sandbox.token_requests) == 1
