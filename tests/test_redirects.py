"""Where the token goes when the API redirects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import requests_mock

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Sandbox

# Where production redirects to, and whether the token goes along.
LOCATIONS = {
    "/moved": True,
    "https://other.gopacs-services.eu/": True,
    "https://API.gopacs-services.eu:8443/": True,
    "http://api.gopacs-services.eu/": False,
    "https://api.acc.gopacs-services.eu/": False,
    "https://gopacs-services.eu.elsewhere.example/": False,
    "https://user:password@elsewhere.example/": False,
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", LOCATIONS)
def test_the_token_stays_within_the_environment(location: str, status: int) -> None:
    """A redirect to an own host, whatever its port, over https, has the token; no other has it."""
    with requests_mock.Mocker() as mock, GopacsSession("trader", "s3cret") as session:
        session.token = {"access_token": "stored"}
        mock.get(requests_mock.ANY)
        mock.get("https://api.gopacs-services.eu/", status_code=status, headers={"Location": location})
        assert session.get("https://api.gopacs-services.eu/").status_code == 200
        first, second = [request.headers.get("Authorization") for request in mock.request_history]
    assert first == "Bearer stored"
    assert (second == "Bearer stored") == LOCATIONS[location]


@pytest.fixture
def other() -> Iterator[Sandbox]:
    """Another server; ``localhost`` belongs to the session's environment, and 127.0.0.1 does not."""
    with Sandbox() as other:
        yield other


def foreign(server: Sandbox) -> str:
    return server.api_url.replace("localhost", "127.0.0.1")


@pytest.fixture
def session(sandbox: Sandbox, other: Sandbox) -> Iterator[GopacsSession]:
    """A session that trusts both servers, `other` by both of its names."""
    with sandbox.session() as session:
        sandbox.trust(session)
        other.trust(session)
        session.mount(foreign(other), session.get_adapter(f"{other.api_url}/"))
        yield session


@pytest.mark.parametrize("listed", [True, False], ids=["in netrc", "not there"])
def test_a_token_that_was_dropped_does_not_come_back(
    sandbox: Sandbox, other: Sandbox, session: GopacsSession, listed: bool
) -> None:
    """A chain that left the environment and returns has netrc's credentials for each host, as in requests, or none."""
    if listed:
        Path(os.environ["NETRC"]).write_text("machine 127.0.0.1 login user password there\n")
    session.trust_env = True
    sandbox.answer_next_api_requests(1, 302, headers={"Location": foreign(other)})
    other.answer_next_api_requests(1, 302, headers={"Location": f"{sandbox.api_url}/back"})
    assert session.get(sandbox.api_url).status_code == 401
    basic = requests.auth._basic_auth_str("user", "there") if listed else None
    assert [exchange.authorization for exchange in other.api_requests] == [basic]
    assert [exchange.authorization is None for exchange in sandbox.api_requests] == [False, True]
    assert len(sandbox.token_requests) == 1


def test_a_foreign_redirect_into_the_environment_brings_no_token(
    sandbox: Sandbox, other: Sandbox, session: GopacsSession
) -> None:
    """A foreign host can't make the session send an authenticated request."""
    other.answer_next_api_requests(1, 307, headers={"Location": f"{sandbox.api_url}/message"})
    assert session.post(foreign(other), data=b"<forged/>").status_code == 401
    assert (sandbox.token_requests, sandbox.api_requests[0].authorization) == ([], None)


def test_a_redirect_after_a_replay_is_replayed_in_its_turn(sandbox: Sandbox, revoked: GopacsSession) -> None:
    """It has the token that the first request had; hooks see all answers but the refusals."""
    seen = []
    sandbox.answer_next_api_requests(1, 401)
    sandbox.answer_next_api_requests(1, 307, headers={"Location": "/moved"})
    hook = {"response": lambda answer, **_: seen.append(answer.status_code)}
    answer = revoked.post(f"{sandbox.api_url}/message", data=b"<message/>", hooks=hook)
    assert (answer.status_code, seen) == (200, [307, 200])
    assert [exchange.body for exchange in sandbox.api_requests] == [b"<message/>"] * 4
    assert len(sandbox.token_requests) == 2
