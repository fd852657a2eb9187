"""tenacity and stamina: repeat what an outage of the authorization server made fail, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import stamina
import tenacity
from support import Clock

from gopacs_session import AuthorizationServerError, GopacsSession, InvalidClientError
from gopacs_session.sandbox import Sandbox


def until_it_answers(state: tenacity.RetryCallState) -> float:
    """Seconds to wait: those that the server asked for, if it did."""
    error = state.outcome and state.outcome.exception()
    return (isinstance(error, AuthorizationServerError) and error.retry_after) or 5.0


def by_tenacity(call: Callable[[], Any], clock: Clock) -> Any:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(AuthorizationServerError),
        wait=until_it_answers,
        stop=tenacity.stop_after_attempt(3),
        reraise=True,
        sleep=clock.advance,
    )
    return retrying(call)


def test_tenacity(sandbox: Sandbox, clock: Clock) -> None:
    """What the server asks for is waited for, once."""
    began = clock.monotonic
    with sandbox.session() as session:
        sandbox.answer_next_token_requests(1, 503, headers={"Retry-After": "120"})
        assert by_tenacity(lambda: session.get(sandbox.api_url), clock).status_code == 200
    assert clock.monotonic - began == 120
    assert len(sandbox.token_requests) == 2


def test_tenacity_repeats_no_wrong_secret(sandbox: Sandbox, clock: Clock) -> None:
    """Refused credentials are no AuthorizationServerError: they cost one token request."""
    with sandbox.session(client_secret="wrong") as session, pytest.raises(InvalidClientError):
        by_tenacity(lambda: session.get(sandbox.api_url), clock)
    assert len(sandbox.token_requests) == 1


def seconds_to_wait(error: Exception) -> bool | float:
    """Whether stamina is to try again, and if the server told, when."""
    return isinstance(error, AuthorizationServerError) and (error.retry_after or True)


@stamina.retry(on=seconds_to_wait, attempts=3, timeout=None, wait_initial=0, wait_jitter=0)
def by_stamina(session: GopacsSession, url: str) -> int:
    return session.get(url).status_code


@pytest.mark.usefixtures("pauses")
def test_stamina(sandbox: Sandbox) -> None:
    """Four failures at the token endpoint are three tries of the session's, and one more call of stamina's."""
    with sandbox.session() as session:
        sandbox.answer_next_token_requests(4, 503)
        assert by_stamina(session, sandbox.api_url) == 200
    assert len(sandbox.token_requests) == 5
    with sandbox.session(client_secret="wrong") as session, pytest.raises(InvalidClientError):
        by_stamina(session, sandbox.api_url)
    assert len(sandbox.token_requests) == 6
