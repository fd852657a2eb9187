"""tenacity, and urllib3's Retry on the session's adapter: their retries, the session's own, and the replay of a 401."""

from __future__ import annotations

import math
from typing import Any

import pytest
import tenacity
from support import Clock
from urllib3.util import Retry

from gopacs_session import AuthorizationServerError, GopacsSession, InvalidClientError
from gopacs_session.sandbox import Sandbox


def seconds_to_wait(state: tenacity.RetryCallState) -> float:
    """Those that the server asked for, if it did."""
    error = state.outcome and state.outcome.exception()
    return (isinstance(error, AuthorizationServerError) and error.retry_after) or 5.0


def by_tenacity(session: GopacsSession, url: str, clock: Clock) -> int:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(AuthorizationServerError),
        wait=seconds_to_wait,
        stop=tenacity.stop_after_attempt(3),
        reraise=True,
        sleep=clock.advance,
    )
    return retrying(session.get, url).status_code


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("outage, headers, seconds", [(1, {"Retry-After": "120"}, 120), (4, {}, 5)])
def test_tenacity(sandbox: Sandbox, clock: Clock, outage: int, headers: dict[str, str], seconds: float) -> None:
    """After an outage the request goes out, once the time has passed that the server asked for."""
    began = clock.monotonic
    with sandbox.session() as session:
        sandbox.answer_next_token_requests(outage, 503, headers=headers)
        assert by_tenacity(session, sandbox.api_url, clock) == 200
    assert clock.monotonic - began == seconds
    assert len(sandbox.token_requests) == outage + 1


def test_tenacity_repeats_no_wrong_secret(sandbox: Sandbox, clock: Clock) -> None:
    """Refused credentials are no AuthorizationServerError: they cost one token request."""
    with sandbox.session(client_secret="wrong") as session, pytest.raises(InvalidClientError):
        by_tenacity(session, sandbox.api_url, clock)
    assert len(sandbox.token_requests) == 1


def with_retry(sandbox: Sandbox, total: int, statuses: list[int], **options: Any) -> GopacsSession:
    """A session with urllib3's Retry on the adapter that it comes with."""
    session = sandbox.session()
    adapter: Any = session.get_adapter("https://")
    adapter.max_retries = Retry(total, backoff_factor=0, status_forcelist=statuses, **options)
    return session


@pytest.mark.parametrize(
    "method, answers, seen",
    [
        ("GET", [503, 401, 503], [(503, 1), (401, 1), (503, 2), (200, 2)]),
        # An API that answered 503 may have executed a POST.
        ("POST", [401, 503], [(401, 1), (503, 2)]),
    ],
)
def test_retries_and_replay(sandbox: Sandbox, method: str, answers: list[int], seen: list[tuple[int, int]]) -> None:
    """The adapter retries each 503 to a GET, the session replays the 401, and the caller sees the last answer."""
    with with_retry(sandbox, 1, [503]) as session:
        for status in answers:
            sandbox.answer_next_api_requests(1, status)
        assert session.request(method, sandbox.api_url).status_code == seen[-1][0]
    assert [(exchange.status, exchange.token_number) for exchange in sandbox.api_requests] == seen


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("options, tries", [({}, 3), ({"allowed_methods": None}, 3 * 3)])
def test_tries_at_the_token_endpoint(sandbox: Sandbox, options: dict[str, Any], tries: int) -> None:
    """Retry leaves POSTs to the session; with allowed_methods=None the tries multiply."""
    with with_retry(sandbox, 2, [503], **options) as session:
        sandbox.answer_next_token_requests(math.inf, 503)
        with pytest.raises(AuthorizationServerError):
            session.get(sandbox.api_url)
    assert len(sandbox.token_requests) == tries
