"""Sessions that are pickled, copied, or shipped to other processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from support import Clock

from gopacs_session.sandbox import Sandbox

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda original: pickle.loads(pickle.dumps(original)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_has_the_token_and_the_settings(sandbox: Sandbox, clock: Clock, kind: str) -> None:
    """It uses the token for the rest of its life, renews a refused one, and the next; a cold copy fetches its own."""
    with sandbox.session(scope="email", timeout=7, leeway=0) as session:
        session.headers["X-Desk"] = "north"
        for _ in range(2):
            with COPIES[kind](session) as twin:
                assert (twin.environment, twin.timeout) == (session.environment, 7)
                twin.get(sandbox.api_url)
            session.fetch_token()
        with COPIES[kind](session) as twin:
            twin.get(sandbox.api_url)
            sandbox.revoke_tokens()
            assert twin.get(sandbox.api_url).status_code == 200
            clock.advance(296)
            twin.get(sandbox.api_url)
    assert [exchange.token_number for exchange in sandbox.api_requests] == [1, 2, 3, 3, 4, 5]
    assert {exchange.headers["X-Desk"] for exchange in sandbox.api_requests} == {"north"}


def test_a_warm_session_shipped_to_processes_costs_no_token_request(sandbox: Sandbox) -> None:
    """Worker processes that were started afresh use the shipped session's token."""
    with sandbox.session() as session, ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        session.fetch_token()
        answers = [pool.submit(session.get, sandbox.api_url) for _ in range(4)]
        assert [answer.result(60).status_code for answer in answers] == [200] * 4
    assert len(sandbox.token_requests) == 1


@pytest.mark.parametrize("kind", ["pickle", "deepcopy"])
def test_an_answer_can_be_copied_without_the_secret(sandbox: Sandbox, kind: str) -> None:
    """Neither session nor secret hangs on a response, though its request has the token, and can be sent again."""
    with sandbox.session() as session:
        answer = session.get(sandbox.api_url)
        assert sandbox.client_secret.encode() not in pickle.dumps(answer)
        twin = COPIES[kind](answer)
        assert (twin.status_code, twin.json()) == (200, answer.json())
        assert (twin.request.headers, "Bearer ***" in repr(twin.request.headers)) == (answer.request.headers, True)
        sandbox.revoke_tokens()
        # A pickled request has no session any more to renew its token.
        assert session.send(twin.request).status_code == (401 if kind == "pickle" else 200)
