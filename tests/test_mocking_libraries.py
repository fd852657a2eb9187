"""Users' own tests, with requests-mock and responses in place of a server; tests/neighbours has the rest of these."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
import requests_mock
import responses

from gopacs_session import PRODUCTION, GopacsAuth, GopacsSession

API = "https://api.gopacs-services.eu/uftp-participants/v3/participants/DSO"
TOKEN_URL = PRODUCTION.token_url
ANSWERS = [{"access_token": name, "token_type": "Bearer", "expires_in": 300} for name in ("first", "second")]


def by_session() -> requests.Response:
    with GopacsSession("trader", "s3cret") as session:
        return session.get(API)


def by_auth() -> requests.Response:
    return requests.get(API, auth=GopacsAuth("trader", "s3cret"), timeout=60)


CALLS = pytest.mark.parametrize("call", [by_session, by_auth])


def bearers(history: list[requests.PreparedRequest]) -> list[str | None]:
    return [request.headers.get("Authorization") for request in history if request.url != TOKEN_URL]


@CALLS
def test_requests_mock(call: Callable[[], requests.Response]) -> None:
    """requests-mock serves tokens and answers, the replay of a 401 included."""
    with requests_mock.Mocker(case_sensitive=True) as mock:
        mock.post(TOKEN_URL, [{"json": answer} for answer in ANSWERS])
        mock.get(API, [{"status_code": 401}, {"json": {"participants": 3}}])
        assert call().json() == {"participants": 3}
        assert bearers(mock.request_history) == ["Bearer first", "Bearer second"]
        assert mock.request_history[0].text.startswith("grant_type=client_credentials&client_id=trader&")


@CALLS
@responses.activate
def test_responses(call: Callable[[], requests.Response]) -> None:
    """responses serves tokens and answers, the replay of a 401 included."""
    for answer in ANSWERS:
        responses.post(TOKEN_URL, json=answer)
    responses.get(API, status=401)
    responses.get(API, json={"participants": 3})
    assert call().json() == {"participants": 3}
    assert bearers([call.request for call in responses.calls]) == ["Bearer first", "Bearer second"]
