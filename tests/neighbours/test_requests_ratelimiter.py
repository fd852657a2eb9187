"""requests-ratelimiter: a limit on the session, and one on an adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

import pytest
import requests
from requests_ratelimiter import LimiterAdapter, LimiterMixin
from support import Clock, at_once

from gopacs_session import Environment, GopacsSession
from gopacs_session.sandbox import Sandbox

NEVER = 0  # seconds to wait for one's turn: one request too many fails at once


class LimitedGopacsSession(LimiterMixin, GopacsSession):
    """A session with a limit. LimiterMixin drops unknown options: a misspelt environment must not be one."""

    def __init__(self, client_id: str, client_secret: str, environment: Environment | str, **options: Any) -> None:
        super().__init__(client_id=client_id, client_secret=client_secret, environment=environment, **options)


@pytest.fixture
def environment(sandbox: Sandbox) -> Environment:
    """The sandbox under two names, as GOPACS has hosts for tokens and for each API."""
    return Environment("sandbox", sandbox.environment.token_url.replace("localhost", "127.0.0.1"), ("localhost",))


Make = Callable[..., GopacsSession]


def limited(sandbox: Sandbox, environment: Environment, **limits: Any) -> GopacsSession:
    """With the mixin, the session itself waits."""
    session = LimitedGopacsSession(sandbox.client_id, sandbox.client_secret, environment, **limits)
    session.verify = sandbox.ca_file
    return session


def mounted(sandbox: Sandbox, environment: Environment, **limits: Any) -> GopacsSession:
    """With the adapter, whatever passes through it waits."""
    session = GopacsSession(sandbox.client_id, sandbox.client_secret, environment)
    session.mount("https://", LimiterAdapter(**limits))
    session.verify = sandbox.ca_file
    return session


BOTH = pytest.mark.parametrize("kind", [limited, mounted], ids=["LimiterMixin", "LimiterAdapter"])


@pytest.fixture
def make(sandbox: Sandbox, environment: Environment) -> Iterator[Make]:
    with ExitStack() as sessions:
        yield lambda kind, **limits: sessions.enter_context(kind(sandbox, environment, **limits))


@BOTH
def test_a_burst_is_slowed_down(sandbox: Sandbox, make: Make, kind: Make) -> None:
    """16 threads on a cold session keep to the limit, and share one token request."""
    session = make(kind, per_second=10)
    started = monotonic()
    answers = at_once(16, lambda: session.get(f"{sandbox.api_url}/participants"))
    assert [answer.status_code for answer in answers] == [200] * 16
    eleventh = sorted(exchange.started for exchange in sandbox.api_requests)[10]
    assert eleventh - started > 0.95
    assert len(sandbox.token_requests) == 1


@BOTH
def test_a_renewal_under_a_full_limit(sandbox: Sandbox, make: Make, kind: Make, clock: Clock) -> None:
    """When the token expires while requests queue for their turn, one renewal serves all, and nothing locks up."""
    session = make(kind, per_second=10, per_host=False)
    session.get(f"{sandbox.api_url}/warm")
    clock.advance(sandbox.token_lifetime)
    answers = at_once(16, lambda: session.get(f"{sandbox.api_url}/participants"))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert len(sandbox.token_requests) == 2


@BOTH
def test_the_token_request_has_a_limit_of_its_own(sandbox: Sandbox, make: Make, kind: Make) -> None:
    """Limits are counted for each host: an API's full limit does not keep the session from its token."""
    session = make(kind, per_hour=1, max_delay=NEVER)
    session.get(f"{sandbox.api_url}/participants", auth=("user", "password"))
    with pytest.raises(requests.Timeout, match="Rate limit not cleared"):
        session.get(f"{sandbox.api_url}/participants")
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (1, 1)


@pytest.mark.parametrize("kind, calls", [(limited, 3), (mounted, 2)], ids=["LimiterMixin", "LimiterAdapter"])
def test_whether_a_replay_counts(sandbox: Sandbox, make: Make, kind: Make, calls: int) -> None:
    """A replayed request passes the adapter twice but the session once: only LimiterAdapter counts it as two."""
    session = make(kind, per_hour=2, max_delay=NEVER)
    session.fetch_token()
    sandbox.revoke_tokens()
    assert session.get(f"{sandbox.api_url}/participants").status_code == 200
    try:
        session.get(f"{sandbox.api_url}/participants")
    except requests.Timeout:
        assert kind is mounted
    assert len(sandbox.api_requests) == calls


def test_options_that_do_not_arrive(make: Make) -> None:
    """LimiterMixin passes on neither None nor misspelt names; a missing environment is an error."""
    session = make(limited, per_second=10, timeout=None, leewy=30)
    assert session.timeout == 60
    with pytest.raises(TypeError, match="environment"):
        LimitedGopacsSession("trader", "s3cret", enviroment="acceptance")
