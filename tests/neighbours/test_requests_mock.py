"""requests-mock in users' own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import requests
import requests_mock

from gopacs_session import PRODUCTION, GopacsAuth, GopacsSession
from gopacs_session.sandbox import Sandbox

API = "https://api.gopacs-services.eu/uftp-participants/v3/participants/DSO"


def register(mock: Any) -> None:
    """Two tokens, and an API that refuses the first."""
    mock.register_uri("POST", PRODUCTION.token_url, [{"json": {"access_token": name}} for name in ("first", "second")])
    mock.register_uri("GET", API, [{"status_code": 401}, {"json": {"participants": 3}}])


def bearers(mock: Any) -> list[str | None]:
    """The Authorization of each request that was answered."""
    return [request.headers.get("Authorization") for request in mock.request_history]


@contextmanager
def mounted(session: GopacsSession) -> Iterator[requests_mock.Adapter]:
    adapter = requests_mock.Adapter()
    session.mount("https://", adapter)
    yield adapter


@pytest.mark.parametrize(
    "mocked",
    [lambda session: requests_mock.Mocker(), lambda session: requests_mock.Mocker(session=session), mounted],
    ids=["for all sessions", "for one session", "a mounted adapter"],
)
def test_a_session(mocked: Callable[[GopacsSession], AbstractContextManager[Any]]) -> None:
    """However requests-mock is used, it answers token and API requests, those for the replay of a 401 included."""
    with GopacsSession("trader", "s3cret") as session, mocked(session) as mock:
        register(mock)
        assert session.get(API).json() == {"participants": 3}
        assert bearers(mock) == [None, "Bearer first", None, "Bearer second"]


def test_an_auth_object(requests_mock: requests_mock.Mocker) -> None:
    """So it does for requests with an auth object."""
    register(requests_mock)
    assert requests.get(API, auth=GopacsAuth("trader", "s3cret"), timeout=60).json() == {"participants": 3}
    assert bearers(requests_mock) == [None, "Bearer first", None, "Bearer second"]


def test_a_token_endpoint_that_nobody_registered() -> None:
    """Whoever forgets the token endpoint gets requests-mock's own error, which names it; the API is not asked."""
    with GopacsSession("trader", "s3cret") as session, requests_mock.Mocker() as mock:
        mock.get(API)
        with pytest.raises(requests_mock.NoMockAddress, match=PRODUCTION.token_url):
            session.get(API)
        assert [request.url for request in mock.request_history] == [PRODUCTION.token_url]


def test_a_real_authorization_server(sandbox: Sandbox, session: GopacsSession) -> None:
    """With real_http the tokens come from the sandbox, which never sees the mocked path."""
    with requests_mock.Mocker(session=session, real_http=True) as mock:
        mock.get(f"{sandbox.api_url}/mocked", [{"status_code": 401}, {"text": "mocked"}])
        assert session.get(f"{sandbox.api_url}/mocked").text == "mocked"
        assert session.get(f"{sandbox.api_url}/real").status_code == 200
    assert [(exchange.path, exchange.token_number) for exchange in sandbox.api_requests] == [("/real", 2)]
