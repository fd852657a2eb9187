"""Users' own tests, with requests-mock and responses in place of a server."""

from __future__ import annotations

import pytest
import requests
import requests_mock
import responses

from gopacs_session import PRODUCTION, GopacsSession, TokenRequestError

API = "https://api.gopacs-services.eu/uftp-participants/v3/participants/DSO"
TOKEN_URL = PRODUCTION.token_url
ANSWERS = [{"access_token": name, "token_type": "Bearer", "expires_in": 300} for name in ("first", "second")]


def bearers(history: list[requests.PreparedRequest]) -> list[str | None]:
    return [request.headers.get("Authorization") for request in history if request.url != TOKEN_URL]


@pytest.mark.parametrize("scope", ["everywhere", "one session"])
def test_requests_mock(scope: str) -> None:
    """requests-mock serves tokens and answers, for all sessions or for one, the replay of a 401 included."""
    with GopacsSession("trader", "s3cret") as session:
        target = {} if scope == "everywhere" else {"session": session}
        with requests_mock.Mocker(case_sensitive=True, **target) as mock:
            mock.post(TOKEN_URL, [{"json": answer} for answer in ANSWERS])
            mock.get(API, [{"status_code": 401}, {"json": {"participants": 3}}, {"json": {"participants": 4}}])
            assert session.get(API).json() == {"participants": 3}
            assert session.get(API).json() == {"participants": 4}
            assert bearers(mock.request_history) == ["Bearer first", "Bearer second", "Bearer second"]
            assert mock.request_history[0].text.startswith("grant_type=client_credentials&client_id=trader&")


def test_a_mounted_requests_mock_adapter() -> None:
    """requests-mock's adapter can be mounted on the session as on any other."""
    adapter = requests_mock.Adapter()
    adapter.register_uri("POST", TOKEN_URL, [{"json": answer} for answer in ANSWERS])
    adapter.register_uri("GET", API, [{"status_code": 401}, {"text": "fine"}])
    with GopacsSession("trader", "s3cret") as session:
        session.mount("https://", adapter)
        assert session.get(API).text == "fine"


@responses.activate
def test_responses() -> None:
    """responses serves tokens and answers, the replay of a 401 included."""
    for answer in ANSWERS:
        responses.post(TOKEN_URL, json=answer)
    responses.get(API, status=401)
    responses.get(API, json={"participants": 3})
    with GopacsSession("trader", "s3cret") as session:
        assert session.get(API).json() == {"participants": 3}
    assert bearers([call.request for call in responses.calls]) == ["Bearer first", "Bearer second"]


def test_a_token_endpoint_that_nobody_registered() -> None:
    """A test that forgot the token endpoint is told so, and its API request is not sent without a token."""
    with requests_mock.Mocker() as mock, GopacsSession("trader", "s3cret") as session:
        mock.get(API)
        with pytest.raises(TokenRequestError, match="NoMockAddress"):
            session.get(API)
        assert bearers(mock.request_history) == []
